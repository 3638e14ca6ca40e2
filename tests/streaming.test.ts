/** Streams: the same bits however the input is cut, interleaved, saved, moved or reset, and in every runtime. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { type AudioCodes, MimiDecoderStream, MimiEncoderStream, MimiModel } from "../mod.ts";
import { openGolden, testPath } from "./support/files.ts";
import { random } from "./support/random.ts";
import { cuts, join, slice } from "./support/streams.ts";

// window_3s goes past the tiny model's attention window several times over.
const golden = await openGolden("tiny_window_3s"), input = (await golden.f32("input")).subarray(0, 70123);
const model = await MimiModel.fromPretrained(testPath("models/tiny-hf"));
const whole = (await model.encode(input)).audioCodes, frames = whole.shape[2];
const audio = (await model.decode(whole)).audioValues.data;

test("encoder: any cut gives the codes of the whole", async () => {
  const rng = random("encoder cuts");
  for (let round = 0; round < 12; round++) {
    const encoder = model.createEncoder(), parts: AudioCodes[] = [];
    for (const [from, to] of cuts(rng, input.length)) parts.push(await encoder.encode(input.subarray(from, to)));
    parts.push(await encoder.finish());
    assert.deepEqual(join(parts), whole);
    encoder.close();
  }
});

test("encoder: one sample at a time", () => {
  const encoder = model.createEncoderSync(), parts: AudioCodes[] = [], some = input.subarray(0, 2 * 1920 + 5);
  for (let i = 0; i < some.length; i++) parts.push(encoder.encode(some.subarray(i, i + 1)));
  assert.deepEqual(join(parts), slice(whole, 0, 2));
  encoder.close();
});

test("decoder: any cut gives the audio of the whole", () => {
  const rng = random("decoder cuts");
  for (let round = 0; round < 12; round++) {
    const decoder = model.createDecoderSync(), out = new Float32Array(audio.length);
    for (const [from, to] of cuts(rng, frames)) {
      out.set(decoder.decode(slice(whole, from, to)).audioValues.data, from * 1920);
    }
    assert.deepEqual(out, audio);
    decoder.close();
  }
});

test("tail zeros: the last frame is that of padded audio", async () => {
  const padded = new Float32Array(frames * 1920);
  padded.set(input);
  const expected = (await model.encode(padded)).audioCodes;
  assert.deepEqual((await model.encode(input, { tail: "zeros" })).audioCodes, expected);
  const encoder = model.createEncoder({ tail: "zeros" });
  assert.deepEqual(join([await encoder.encode(input), await encoder.finish()]), expected);
  const lengths = [1, 100, 500, 961, 1500, 3000, 5000], differs = [];
  for (const n of lengths) {
    const [a, b] = await Promise.all(
      (["transformers", "zeros"] as const).map((tail) => model.encode(input.subarray(0, n), { tail })),
    );
    differs.push(a.audioCodes.data.join() !== b.audioCodes.data.join());
  }
  assert.ok(differs.includes(true), "the two tails are the same for every length tried");
});

test("snapshot, restore, reset and interleaving at random change nothing", async () => {
  const rng = random("snapshots");
  for (let round = 0; round < 6; round++) {
    const streams = Array.from(
      { length: 3 },
      () => ({
        encoder: model.createEncoderSync(),
        decoder: model.createDecoderSync(),
        at: 0,
        frame: 0,
        codes: [] as AudioCodes[],
        out: new Float32Array(audio.length),
      }),
    );
    while (streams.some((s) => s.frame < frames)) {
      const s = rng.pick(streams.filter((s) => s.frame < frames)), action = rng.integer(0, 9);
      if (action === 0 && s.at < input.length) {
        // On to another handle, by way of a copy that shares nothing with it.
        const next = model.createEncoderSync();
        next.encode(rng.floats(5000));
        next.restore(structuredClone(s.encoder.snapshot()));
        s.encoder.close();
        s.encoder = next;
      } else if (action === 1) {
        const saved = structuredClone(s.decoder.snapshot());
        s.decoder.decode(slice(whole, 0, rng.integer(0, 3)));
        if (rng.next() < 0.5) s.decoder.reset();
        s.decoder.restore(saved);
      } else if (s.at < input.length) {
        const to = Math.min(input.length, s.at + rng.integer(1, 6000));
        s.codes.push(s.encoder.encode(input.subarray(s.at, to)));
        s.at = to;
        if (to === input.length) s.codes.push(s.encoder.finish());
      } else {
        const to = Math.min(frames, s.frame + rng.integer(1, 20));
        s.out.set(s.decoder.decode(slice(whole, s.frame, to)).audioValues.data, s.frame * 1920);
        s.frame = to;
      }
    }
    for (const s of streams) {
      assert.deepEqual(join(s.codes), whole);
      assert.deepEqual(s.out, audio);
      s.encoder.close();
      s.decoder.close();
    }
  }
});

test("finish and reset begin a new stream", async () => {
  const encoder = model.createEncoder(), decoder = model.createDecoder();
  for (const end of [() => encoder.finish(), () => encoder.reset()]) {
    await encoder.encode(input.subarray(0, 12345));
    await end();
    assert.deepEqual(join([await encoder.encode(input), await encoder.finish()]), whole);
  }
  for (const end of [() => decoder.finish(), () => decoder.reset()]) {
    await decoder.decode(slice(whole, 3, 9));
    await end();
    assert.deepEqual((await decoder.decode(whole)).audioValues.data, audio);
  }
  assert.deepEqual((await decoder.finish()).audioValues.shape, [1, 1, 0]);
  assert.deepEqual((await model.createEncoder().finish()).shape, [1, 4, 0]);
});

test("calls that are not awaited run in order, on copies of their input", async () => {
  const encoder = model.createEncoder(), piece = new Float32Array(3000), pending: Promise<AudioCodes>[] = [];
  for (let at = 0; at < input.length; at += piece.length) {
    const n = Math.min(piece.length, input.length - at);
    piece.set(input.subarray(at, at + n));
    pending.push(encoder.encode(piece.subarray(0, n)));
    piece.fill(9);
  }
  pending.push(encoder.finish());
  assert.deepEqual(join(await Promise.all(pending)), whole);
});

test("fewer codebooks in the middle of a stream leave the rest as it was", async () => {
  const encoder = model.createEncoder(), decoder = model.createDecoder();
  const parts = [
    await encoder.encode(input.subarray(0, 9600)),
    await encoder.encode(input.subarray(9600, 19200), { numQuantizers: 2 }),
    await encoder.encode(input.subarray(19200, 28800)),
  ];
  assert.deepEqual(parts.map((p) => p.shape), [[1, 4, 5], [1, 2, 5], [1, 4, 5]]);
  const middle = slice(whole, 5, 10);
  assert.deepEqual(parts[1].data, middle.data.slice(0, 10));
  assert.deepEqual(parts[2], slice(whole, 10, 15));
  for (const part of parts) assert.equal((await decoder.decode(part)).audioValues.data.length, 9600);
});

test("a stream ends where its positions are no longer exact, and says so", async () => {
  const most = 2 ** 23; // frames of 2 positions
  const encoder = model.createEncoder(), decoder = model.createDecoder(), two = slice(whole, 0, 2);
  for (const handle of [encoder, decoder]) {
    const snapshot = await handle.snapshot();
    snapshot.position = snapshot.state.frames = most - 3;
    await handle.restore(snapshot);
  }
  assert.deepEqual((await encoder.encode(input.subarray(0, 3840))).shape, [1, 4, 2]);
  assert.equal((await decoder.decode(two)).audioValues.data.length, 3840);
  const end = { code: "ERR_INVALID_STATE", message: /lasts at most 8388608 frames \(186 hours\), .* reset\(\)/ };
  const kept = [await encoder.snapshot(), await decoder.snapshot()];
  await assert.rejects(encoder.encode(input.subarray(3840, 7680)), end);
  await assert.rejects(decoder.decode(two), end);
  assert.deepEqual([await encoder.snapshot(), await decoder.snapshot()], kept);
  assert.deepEqual((await encoder.encode(input.subarray(3840, 5760))).shape, [1, 4, 1]);
  assert.deepEqual(await encoder.encode(input.subarray(0, 100)), { data: new Uint16Array(0), shape: [1, 4, 0] });
  await assert.rejects(encoder.finish(), end);
  await encoder.reset();
  await decoder.reset();
  assert.deepEqual(await encoder.encode(input.subarray(0, 3840)), two);
  assert.deepEqual((await decoder.decode(two)).audioValues.data, audio.slice(0, 3840));
});

test("TransformStreams: a reader that stops stops the source", async () => {
  const piece = input.slice(0, 4000), most = 8; // the streams hold a few pieces between them
  let pulled = 0, heard: unknown;
  const source = new ReadableStream<Float32Array>({
    pull(to) {
      if (++pulled > most) to.error(new Error(`${pulled} pieces were pulled for one that was read`));
      else to.enqueue(piece);
    },
    cancel: (reason) => void (heard = reason),
  }, { highWaterMark: 0 });
  const reader = source.pipeThrough(new MimiEncoderStream(model)).pipeThrough(new MimiDecoderStream(model)).getReader();
  assert.equal((await reader.read()).value!.length, 3840);
  const quiet = async (value: () => unknown) => {
    for (let before = {}; before !== value();) {
      before = value() as object;
      await new Promise((done) => setTimeout(done, 20));
    }
  };
  await quiet(() => pulled);
  const before = pulled;
  await reader.cancel("enough");
  await quiet(() => heard);
  assert.equal(heard, "enough");
  assert.equal(pulled, before);
});

test("TransformStreams give the audio of the whole", async () => {
  const rng = random("streams"), parts = [...cuts(rng, input.length)].map(([from, to]) => input.slice(from, to));
  const source = new ReadableStream<Float32Array>({
    start(to) {
      parts.forEach((p) => to.enqueue(p));
      to.close();
    },
  });
  const reader = source.pipeThrough(new MimiEncoderStream(model)).pipeThrough(new MimiDecoderStream(model)).getReader();
  const out = new Float32Array(audio.length);
  for (let at = 0;;) {
    const { done, value } = await reader.read();
    if (done) break;
    out.set(value, at);
    at += value.length;
  }
  assert.deepEqual(out, audio);
});

test("the embedded model: cuts, and the same bits in every runtime", async () => {
  const mini = await MimiModel.fromPretrained("mini"), rng = random("signal", 20261123);
  const signal = Float32Array.from(
    { length: 5 * 24000 + 321 },
    (_, i) => (((i * 131) % 240) / 240 - 0.5) * 0.4 + (rng.next() - 0.5) * 0.05,
  );
  const codes = (await mini.encode(signal)).audioCodes, sound = (await mini.decode(codes)).audioValues.data;
  const encoder = mini.createEncoderSync(), parts: AudioCodes[] = [];
  for (let at = 0; at < signal.length; at += 777) parts.push(encoder.encode(signal.subarray(at, at + 777)));
  parts.push(encoder.finish());
  assert.deepEqual(join(parts), codes);
  const hash = createHash("sha256").update(new Uint8Array(codes.data.buffer)).update(new Uint8Array(sound.buffer))
    .digest("hex");
  assert.equal(hash, EXPECTED_HASH, "codes and samples have other bits than in the runtimes where this was recorded");
});

/** Recorded in Node; Deno, Bun and any other engine or machine must give the same. */
const EXPECTED_HASH: string = "3e5dfc0874925c24acc8197a59d6a766137bbe9208a0d491d6a1f5b13a9f970e";
