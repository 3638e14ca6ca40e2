/** The measures of speech by which concealment is judged, against values of others. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { sentence } from "./support/loss.ts";
import { melDistance, stoi } from "./support/quality.ts";

const speech = await sentence();

/** Speech that was damaged, by what was done to it. */
function damaged(): Record<string, Float32Array> {
  let seed = 1; // x[n + 1] = 1664525 x[n] + 1013904223 modulo 2^32, from -1 to 1
  const noise = speech.map(() => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 31 - 1;
  });
  return {
    "noise": speech.map((v, i) => v + 0.1 * noise[i]),
    "loud noise": speech.map((v, i) => v + 0.5 * noise[i]),
    "every other 80 ms": speech.map((v, i) => (Math.floor(i / 1920) % 2 === 1 ? 0 : v)),
    "clipped": speech.map((v) => Math.max(-0.02, Math.min(0.02, v))),
    "dull": speech.map((_, i) => speech.subarray(Math.max(0, i - 23), i + 1).reduce((a, b) => a + b, 0) / 24),
  };
}

test("STOI is that of pystoi", () => {
  // pystoi 0.4.1, numpy float64, of the samples of the file as if they were at 10 kHz (where nothing is resampled), and at 24 kHz.
  const expected: Record<string, [at10: number, at24: number]> = {
    "noise": [0.66477, 0.86782],
    "loud noise": [0.45937, 0.66641],
    "every other 80 ms": [0.39525, 0.53658],
    "clipped": [0.70877, 0.80019],
    "dull": [0.93646, 0.9826],
  };
  for (const [name, heard] of Object.entries(damaged())) {
    const [at10, at24] = expected[name], own = [stoi(speech, heard, 10000), stoi(speech, heard, 24000)];
    console.log(`${name}: ${own.map((v) => v.toFixed(5)).join(", ")}; pystoi ${at10}, ${at24}`);
    assert.ok(Math.abs(own[0] - at10) < 2e-5, `${name}: ${own[0]}, pystoi ${at10}`);
    assert.ok(Math.abs(own[1] - at24) < 1e-4, `${name}: ${own[1]}, pystoi ${at24}`);
  }
  assert.ok(Math.abs(stoi(speech, speech, 24000) - 1) < 1e-9);
});

test("mel distance: none to itself, the change in dB of what is louder than the floor, more for more noise", () => {
  const { noise, "loud noise": loud } = damaged(), half = (v: Float32Array) => v.map((s) => s / 2);
  assert.equal(melDistance(speech, speech, 24000), 0);
  assert.ok(Math.abs(melDistance(loud, half(loud), 24000) - 20 * Math.log10(2)) < 0.01);
  assert.ok(melDistance(speech, loud, 24000) > melDistance(speech, noise, 24000) + 5);
});
