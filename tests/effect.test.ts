/** What a codec node is made of, without a clock: frames that are lost, audio in its place, a delay. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MimiModel } from "../mod.ts";
import { RepeatConcealer } from "../src/nodes/conceal.ts";
import { chance, FrameCodec, FrameEncoder } from "../src/nodes/frames.ts";
import { Insert } from "../src/nodes/insert.ts";
import { Delay, Timeline } from "../src/nodes/timeline.ts";
import { testPath } from "./support/files.ts";
import { type Random, random } from "./support/random.ts";

/** Samples in pieces of any length from 1. */
function* pieces(rng: Random, samples: Float32Array): Generator<Float32Array> {
  for (let at = 0; at < samples.length;) yield samples.subarray(at, at += rng.integer(1, 3000));
}

test("a lost frame is the one before it, fading; after the fade, and before any frame, there is silence", () => {
  const concealer = new RepeatConcealer(), one = Uint16Array.of(1), two = Uint16Array.of(2);
  assert.deepEqual(concealer.next(undefined), { codes: undefined, level: 0 });
  assert.deepEqual(concealer.next(one), { codes: one, level: 1 });
  const levels = [1, 2, 3, 4, 5].map(() => concealer.next(undefined));
  assert.deepEqual(levels.map(({ codes }) => codes), [one, one, one, one, undefined]);
  assert.deepEqual(levels.map(({ level }) => level), [1, 0.5, 0.25, 0, 0]);
  assert.deepEqual(concealer.next(two), { codes: two, level: 1 });
  assert.deepEqual(concealer.next(undefined), { codes: two, level: 1 });
  concealer.reset();
  assert.deepEqual(concealer.next(undefined), { codes: undefined, level: 0 });
});

test("frames are lost as often as asked, and others for another seed", () => {
  for (const seed of [0, 1, 2 ** 32 - 1]) {
    const draws = Array.from({ length: 20000 }, (_, t) => chance(seed, t));
    assert.ok(draws.every((v) => v >= 0 && v < 1));
    for (const loss of [0.05, 0.5, 0.9]) {
      const share = draws.filter((v) => v < loss).length / draws.length;
      assert.ok(Math.abs(share - loss) < 0.02, `seed ${seed}: ${share} for ${loss}`);
    }
    // Not in runs: what follows a loss is lost as often as anything.
    const after = draws.slice(1).filter((_, t) => draws[t] < 0.5), again = after.filter((v) => v < 0.5).length;
    assert.ok(Math.abs(again / after.length - 0.5) < 0.02);
  }
  assert.notDeepEqual([0, 1, 2, 3].map((t) => chance(1, t)), [0, 1, 2, 3].map((t) => chance(2, t)));
});

test("the codec with and without promises, however audio is cut, with losses", async () => {
  const rng = random("frame codec"), tiny = await MimiModel.fromPretrained(testPath("models/tiny-hf"));
  const rate = rng.pick([8000, 24000, 44100]),
    audio = rng.floats(Math.round(0.7 * rate), 0.5),
    seed = rng.integer(0, 1e9);
  const settings = Array.from({ length: 10 }, () => ({ quantizers: rng.integer(1, 8), loss: rng.pick([0, 0.5, 1]) }));
  const results: { samples: number[]; frames: number; lost: number }[] = [];
  for (const handles of ["sync", "async", "sync"] as const) {
    const samples: number[] = [];
    const [encoder, decoder] = handles === "sync"
      ? [tiny.createEncoderSync(), tiny.createDecoderSync()]
      : [tiny.createEncoder(), tiny.createDecoder()];
    const codec = new FrameCodec(tiny, encoder, decoder, rate, seed, (some) => void samples.push(...some));
    let first = true;
    for (const piece of results.length === 0 ? [audio] : pieces(rng, audio)) {
      await codec.process(piece, first ? settings : []);
      first = false;
    }
    results.push({ samples, frames: codec.frames, lost: codec.lost });
  }
  const [whole, ...others] = results;
  assert.ok(whole.frames >= 7 && whole.samples.length > 0);
  for (const other of others) assert.deepEqual(other, whole);
  assert.equal(
    whole.lost,
    settings.slice(0, whole.frames).filter(({ loss }, t) => chance(seed, t) < loss).length,
  );
});

test("a frame has the loudness of its samples alone, however audio is cut, after a reset too", async () => {
  const rng = random("loudness"), tiny = await MimiModel.fromPretrained(testPath("models/tiny-hf"));
  const { frameSize, samplingRate } = tiny.config, gains = [1, 0.1, 0, 0.5], levels: number[] = [];
  const audio = Float32Array.from(
    { length: 4 * frameSize },
    (_, i) => gains[Math.floor(i / frameSize)] * (i % 2 ? 1 : -1),
  );
  const sink = (_codes: Uint16Array, _settings: unknown, level: number) =>
    void levels.push(Math.round(level * 100) / 100);
  const encoder = new FrameEncoder(tiny, tiny.createEncoderSync(), samplingRate, sink);
  await encoder.process(audio.subarray(0, 700), [{ quantizers: 1, loss: 0 }]);
  await encoder.reset();
  for (const piece of pieces(rng, audio)) await encoder.process(piece, gains.map(() => ({ quantizers: 1, loss: 0 })));
  assert.deepEqual(levels, [0, -20, -127, -6.02]);
});

test("audio in its place: exact without fades, gaps are counted from the first sound on", () => {
  const timeline = new Timeline(0), out = new Float32Array(10);
  timeline.read(0, out);
  assert.deepEqual([[...out], timeline.missing], [Array(10).fill(0), 0]);
  timeline.write(13, Float32Array.of(1, 2, 3));
  timeline.write(16, Float32Array.of(4));
  timeline.write(22, Float32Array.of(5, 6));
  timeline.read(10, out);
  assert.deepEqual([[...out], timeline.missing], [[0, 0, 0, 1, 2, 3, 4, 0, 0, 0], 3]);
  timeline.read(20, out);
  assert.deepEqual([[...out], timeline.missing], [[0, 0, 5, 6, 0, 0, 0, 0, 0, 0], 11]);
  timeline.write(25, Float32Array.of(7, 7, 7, 7, 7, 8, 9)); // late: what is over is over
  timeline.read(30, out);
  assert.deepEqual([...out.subarray(0, 3)], [8, 9, 0]);
  timeline.clear();
  const { missing } = timeline;
  timeline.read(40, out);
  assert.equal(timeline.missing, missing, "nothing is missed of what was cleared");
});

test("with fades, audio has no steps at gaps and is exact between them", () => {
  const fade = 40, timeline = new Timeline(fade), heard: number[] = [], quantum = new Float32Array(16);
  timeline.write(50, new Float32Array(200).fill(1));
  timeline.write(250, new Float32Array(100).fill(1));
  timeline.write(500, new Float32Array(100).fill(1));
  for (let at = 0; at < 640; at += 16) {
    timeline.read(at, quantum);
    heard.push(...quantum);
  }
  heard.forEach((v, i) => assert.ok(i === 0 || Math.abs(v - heard[i - 1]) < 1.01 / fade, `a step at ${i}`));
  assert.ok(heard.slice(50 + fade, 350 - fade).every((v) => v === 1));
  assert.ok([...heard.slice(0, 50), ...heard.slice(351, 500), ...heard.slice(601)].every((v) => v === 0));
});

test("a delay is a delay for quanta of any length, and a bypass plays it whatever is coded", () => {
  const rng = random("delay"), input = rng.floats(3000), late = rng.integer(1, 700);
  const delay = new Delay(1, late), insert = new Insert(new Timeline(0), late);
  const outputs: number[][] = [[], []];
  let at = 0;
  for (const piece of pieces(rng, input)) {
    const [first, second] = [new Float32Array(piece.length), new Float32Array(piece.length)];
    delay.process([piece], [first]);
    insert.process([piece], [second], at, Float32Array.of(1));
    at += piece.length;
    outputs[0].push(...first);
    outputs[1].push(...second);
  }
  const expected = [...new Float32Array(late), ...input.subarray(0, input.length - late)];
  for (const output of outputs) assert.deepEqual(output, expected);
});
