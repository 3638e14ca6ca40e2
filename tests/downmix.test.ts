/** Down-mixing: the formulas of the Web Audio API's section "Down Mixing Speaker Layouts", and wrong calls. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { downmix, isMimiError } from "../mod.ts";
import { random } from "./support/random.ts";

const rng = random("channels"), LENGTH = 500;
const channels = (n: number) => Array.from({ length: n }, () => rng.floats(LENGTH));

/** The specification's sums, channel by name. */
const FORMULAS: Record<string, [n: number, mono: (...samples: number[]) => number]> = {
  "mono": [1, (m) => m],
  "stereo": [2, (l, r) => 0.5 * (l + r)],
  "quad": [4, (l, r, sl, sr) => 0.25 * (l + r + sl + sr)],
  "5.1": [6, (l, r, c, _lfe, sl, sr) => Math.sqrt(0.5) * (l + r) + c + 0.5 * (sl + sr)],
  "3, discrete": [3, (first) => first],
  "5, discrete": [5, (first) => first],
  "8, discrete": [8, (first) => first],
};

for (const [name, [n, mono]] of Object.entries(FORMULAS)) {
  test(`${name}`, () => {
    const input = channels(n), copies = input.map((c) => c.slice()), mix = downmix(input);
    assert.equal(mix.length, LENGTH);
    // Sums in another order differ in the last bit of a double, which can turn the rounding to f32.
    for (let i = 0; i < LENGTH; i++) {
      const expected = mono(...input.map((c) => c[i]));
      assert.ok(
        Math.abs(mix[i] - expected) <= 2 ** -24 * Math.max(1, Math.abs(expected)),
        `${i}: ${mix[i]}, ${expected}`,
      );
    }
    assert.deepEqual(input, copies);
    assert.ok(!input.some((c) => c.buffer === mix.buffer), "the mix is an array of its own");
  });
}

test("mono keeps every bit, no samples stay no samples", () => {
  assert.deepEqual(downmix([Float32Array.of(0, -0, 1e-45, -1)]), Float32Array.of(0, -0, 1e-45, -1));
  assert.deepEqual(downmix([new Float32Array(0), new Float32Array(0)]), new Float32Array(0));
});

test("wrong calls", () => {
  const any = (value: unknown) => value as Float32Array[], good = new Float32Array(4);
  const fails = (input: Float32Array[], code: string, message: RegExp) =>
    assert.throws(() => downmix(input), (error) => {
      assert.ok(isMimiError(error), String(error));
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });
  fails([], "ERR_EMPTY_INPUT", /no channels/);
  fails(any(undefined), "ERR_INVALID_ARGUMENT", /got undefined/);
  fails(any(good), "ERR_INVALID_ARGUMENT", /list of Float32Arrays, got Float32Array\(4\)/);
  fails(any([good, [0, 0, 0, 0]]), "ERR_INVALID_ARGUMENT", /at 1 Array\(4\)/);
  fails(any([good, , good]), "ERR_INVALID_ARGUMENT", /at 1 undefined/);
  fails(
    [good, new Float32Array(5)],
    "ERR_INVALID_ARGUMENT",
    /one length, got Float32Array\(4\) and at 1 Float32Array\(5\)/,
  );
  // Also in a channel that the mix leaves out.
  fails([good, good, good, Float32Array.of(0, 0, NaN, 0), good, good], "ERR_NOT_FINITE", /channel 3: sample 2 is NaN/);
});
