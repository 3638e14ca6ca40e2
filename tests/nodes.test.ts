/** The nodes in a real Chromium, with real worklets, workers and a microphone that plays speech. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { AudioCodes, MimiModel, resample } from "../mod.ts";
import type { Session } from "./pages/nodes.ts";
import { inBrowser } from "./support/browser.ts";
import { MINI, nodesSite, unpack } from "./support/nodes-site.ts";

const test = inBrowser({ live: true, microphone: fileURLToPath(new URL("it-cannot-complete.wav", MINI)) });

const mini = await MimiModel.fromPretrained("mini"), { frameSize, samplingRate } = mini.config;

/** Samples that a fade touches: 5 ms, and what rounding adds. */
const fadeOf = (rate: number) => Math.round(0.005 * rate) + 1;

/**
 * Every sample that came out is one of the offline result for what went in, or silence that was told of: nothing is lost,
 * nothing is made up. Fades are left out.
 */
async function assertConserved(session: Session): Promise<{ compared: number }> {
  const { sampleRate: rate, from, events, frames } = session, fade = fadeOf(rate);
  const [passed, out] = session.tracks.map((track) => new Float32Array(unpack(track)));
  const at = (microseconds: number) => Math.round(microseconds * rate / 1e6) - from;
  frames.forEach((frame, i) => assert.equal(frame.index, i, "no frame is lost"));
  const codebooks = new Uint16Array(unpack(frames[0].codes)).length;

  // Codes: those of the audio that passed through the encoder.
  const length = frames.length * frameSize, start = at(frames[0].timestamp);
  const input = resample(passed.subarray(start), rate, samplingRate);
  const whole = Math.min(frames.length, Math.floor((input.length - 128) / frameSize));
  const { audioCodes } = await mini.encode(input.subarray(0, whole * frameSize), { numQuantizers: codebooks });
  const codes = frames.map((frame) => [...new Uint16Array(unpack(frame.codes))]);
  assert.deepEqual(
    codes.slice(0, whole),
    Array.from(
      { length: whole },
      (_, t) => Array.from({ length: codebooks }, (_, k) => audioCodes.data[k * whole + t]),
    ),
  );

  // Audio: what those codes decode to, cut where the node says.
  const { audioValues } = await mini.decode(AudioCodes.fromFrames(codes));
  const decoded = resample(audioValues.data, samplingRate, rate);
  assert.ok(decoded.length >= length);
  assert.ok(out.some((v) => Math.abs(v) > 0.02), "speech comes out");
  let read = 0, compared = 0, silentFrom = 0;
  const equal = (a: number, b: number) => {
    for (let i = a + fade; i < b - fade; i++) {
      if (out[i] !== decoded[read + i - a]) assert.fail(`sample ${i}: ${out[i]}, expected ${decoded[read + i - a]}`);
      compared++;
    }
    read += b - a;
  };
  const silent = (a: number, b: number) => {
    const heard = out.subarray(a, b).findIndex((v) => v !== 0);
    assert.equal(heard, -1, `sample ${a + heard} is not silent`);
  };
  let playing: number | undefined;
  for (const event of [...events].sort((a, b) => a.timestamp - b.timestamp)) {
    const here = Math.min(out.length, at(event.timestamp));
    if (event.type === "playing") {
      silent(silentFrom, here);
      playing = here;
    } else {
      equal(playing!, here);
      playing = undefined;
      if (event.type === "underrun") silentFrom = here;
      else if (event.type === "overflow") {
        read += Math.round(event.duration! * rate / 1e6);
        playing = here;
      }
    }
  }
  if (playing === undefined) silent(silentFrom, out.length);
  else equal(playing, out.length + fade); // no fade at the recording's end
  const { receivedFrames, decodedFrames, droppedFrames, playedSamples, droppedSamples } = session.decoderStats;
  assert.equal(receivedFrames, decodedFrames + droppedFrames);
  assert.equal(playedSamples + droppedSamples, decodedFrames * frameSize * rate / samplingRate);
  assert.equal(session.encoderStats.lostSamples, 0);
  return { compared };
}

for (
  const { isolated, sampleRate, what = "", ...options } of [
    { isolated: true, sampleRate: 24000, seconds: 10 },
    { isolated: false, sampleRate: 48000, seconds: 5, block: 5, what: ", page blocked for 5 s" },
    { isolated: true, sampleRate: 44100, seconds: 5, block: 5, what: ", page blocked for 5 s" },
    { isolated: false, sampleRate: 24000, seconds: 10 },
    { isolated: true, sampleRate: 48000, seconds: 4, pairs: 4, suspend: 1, what: ", four pairs, suspended for 1 s" },
  ]
) {
  const how = `${isolated ? "" : "not "}isolated, ${sampleRate} Hz${what}`;
  test(`microphone -> encoder -> decoder: ${how}`, async (browser) => {
    const { url } = await browser.serve(await nodesSite(), { isolated });
    const page = await browser.open<typeof import("./pages/nodes.ts")>(url);
    assert.equal(await page.call("load", `${url}/mini/`), mini.fingerprint);
    for (const session of await page.call("microphone", { sampleRate, ...options })) {
      assert.equal(session.isolated, isolated);
      assert.equal(session.sampleRate, sampleRate);
      const { compared } = await assertConserved(session);
      const { underruns, underrunSamples, droppedSamples } = session.decoderStats;
      console.log(
        `${how}: ${compared} samples equal, ${underruns} underruns of ${underrunSamples} samples, ${droppedSamples} left out`,
      );
      assert.ok(compared > 2 * sampleRate);
    }
  });
}
