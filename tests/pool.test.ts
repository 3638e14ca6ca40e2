/** Pools: streams that share steps give what they would give alone, whoever comes and goes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AudioCodes,
  InvalidStateError,
  type MimiDecoder,
  type MimiEncoder,
  MimiModel,
  MimiRangeError,
  wasm,
} from "../mod.ts";
import { testPath } from "./support/files.ts";
import { random } from "./support/random.ts";

const FRAME = 1920;
const tiny = await MimiModel.fromPretrained(testPath("models/tiny-hf"));

/** Frames [codebooks] of codes, whole or of one call. */
function framesOf({ data, shape: [, codebooks, n] }: AudioCodes): number[][] {
  return Array.from({ length: n }, (_, t) => Array.from({ length: codebooks }, (_, k) => data[k * n + t]));
}

for (const name of ["tiny-hf", "variants/ratios", "variants/residual", "variants/attention", "variants/latent"]) {
  test(`${name}: encoders in a pool give the codes of the whole, cut and mixed at random`, async () => {
    const model = await MimiModel.fromPretrained(testPath(`models/${name}`)), { frameSize } = model.config;
    const rng = random(`pool encoders ${name}`), pool = model.createPool({ maxStreams: 11 });
    const run = async (delay: number) => {
      const pcm = rng.floats(rng.integer(1, 12 * frameSize)), tail = rng.pick(["transformers", "zeros"] as const);
      const numQuantizers = rng.integer(model.config.numSemanticQuantizers, model.numQuantizers);
      const pieces: [number, number][] = [];
      for (let at = 0; at < pcm.length;) {
        const end = Math.min(pcm.length, at + rng.integer(1, 3 * frameSize));
        pieces.push([at, at = end]);
      }
      for (let i = 0; i < delay; i++) await new Promise((resolve) => setTimeout(resolve));
      const encoder = pool.createEncoder({ tail, numQuantizers }), parts: AudioCodes[] = [];
      for (const [from, to] of pieces) parts.push(await encoder.encode(pcm.subarray(from, to)));
      parts.push(await encoder.finish());
      encoder.close();
      const { audioCodes } = await model.encode(pcm, { tail, numQuantizers });
      assert.deepEqual(parts.flatMap(framesOf), framesOf(audioCodes));
    };
    await Promise.all(Array.from({ length: 11 }, (_, i) => run(i % 4)));
    model.close();
  });

  test(`${name}: decoders in a pool give the audio of the whole`, async () => {
    const model = await MimiModel.fromPretrained(testPath(`models/${name}`)),
      { frameSize, codebookSize } = model.config;
    const rng = random(`pool decoders ${name}`), pool = model.createPool({ maxStreams: 9 });
    const run = async (delay: number) => {
      const codebooks = rng.integer(1, model.numQuantizers), count = rng.integer(1, 20);
      const frames = Array.from(
        { length: count },
        () => Array.from({ length: codebooks }, () => rng.integer(0, codebookSize - 1)),
      );
      const sizes = Array.from({ length: count }, () => rng.integer(1, 5));
      const { audioValues } = await model.decode(AudioCodes.fromFrames(frames));
      for (let i = 0; i < delay; i++) await new Promise((resolve) => setTimeout(resolve));
      const decoder = pool.createDecoder(), out = new Float32Array(count * frameSize);
      for (let t = 0, i = 0; t < count; i++) {
        const some = frames.slice(t, t + sizes[i]);
        out.set((await decoder.decode(AudioCodes.fromFrames(some))).audioValues.data, t * frameSize);
        t += some.length;
      }
      decoder.close();
      assert.deepEqual(out, audioValues.data);
    };
    await Promise.all(Array.from({ length: 9 }, (_, i) => run(i % 3)));
    model.close();
  });
}

test("snapshots and resets in a pool, between pools and ordinary handles", async () => {
  const rng = random("pool snapshots"), pool = tiny.createPool({ maxStreams: 4 }), pcm = rng.floats(9 * FRAME);
  const whole = framesOf((await tiny.encode(pcm)).audioCodes);
  const others = [pool.createEncoder(), pool.createEncoder()], noise = rng.floats(9 * FRAME);
  const busy = others.map((o) => o.encode(noise));
  const first = pool.createEncoder(), codes = framesOf(await first.encode(pcm.subarray(0, 4 * FRAME + 7)));
  const snapshot = structuredClone(await first.snapshot());
  await first.reset();
  const again = framesOf(await first.encode(pcm.subarray(0, 4 * FRAME)));
  assert.deepEqual(again, codes);
  for (const next of [pool.createEncoder(), tiny.createEncoder()] satisfies MimiEncoder[]) {
    await next.restore(snapshot);
    assert.deepEqual([...codes, ...framesOf(await next.encode(pcm.subarray(4 * FRAME + 7)))], whole);
    next.close();
  }
  await Promise.all(busy);
  for (const handle of [first, ...others]) handle.close();
});

test("what is asked for in one turn shares a step, and a long piece keeps nobody waiting", async () => {
  const compile = wasm().compile, steps: [rows: number, frames: number][] = [];
  const model = await MimiModel.fromPretrained(testPath("models/tiny-hf"), {
    part: "decoder",
    selfTest: false,
    backend: {
      ...wasm(),
      async compile(network, tensors, options) {
        const program = await compile(network, tensors, options), step = program.step.bind(program);
        program.step = (rows, ports, frames) => {
          steps.push([rows.length, frames]);
          return step(rows, ports, frames);
        };
        return program;
      },
    },
  });
  const pool = model.createPool({ maxStreams: 10 }), decoders = Array.from({ length: 10 }, () => pool.createDecoder());
  const one = AudioCodes.fromFrames([[1, 2, 3, 4]]), order: number[] = [];
  const long = AudioCodes.fromFrames(Array.from({ length: 40 }, () => [4, 3, 2, 1]));
  await Promise.all(decoders.map((d, i) => d.decode(i ? one : long).then(() => order.push(i))));
  assert.deepEqual(order, [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
  assert.deepEqual(steps, [[10, 1], [1, 8], [1, 8], [1, 8], [1, 8], [1, 7]]);
  model.close();
});

test("a handle that is closed in the middle of its call makes room once", async () => {
  const pool = tiny.createPool({ maxStreams: 2 }),
    sound = Float32Array.from({ length: 4 * FRAME }, (_, i) => Math.sin(i / 20));
  const leaving = pool.createEncoder(), call = leaving.encode(sound), quiet = sound.map((v) => -0.3 * v);
  await Promise.resolve();
  leaving.close();
  await assert.rejects(call, { code: "ERR_INVALID_STATE" });
  const [loud, soft] = [pool.createEncoder(), pool.createEncoder()];
  const [one, two] = [tiny.createEncoder(), tiny.createEncoder()];
  assert.throws(() => pool.createEncoder(), InvalidStateError);
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(await loud.encode(sound), await one.encode(sound));
    assert.deepEqual(await soft.encode(quiet), await two.encode(quiet));
  }
});

test("room for maxStreams encoders and as many decoders; closing one makes room", async () => {
  const pool = tiny.createPool({ maxStreams: 2 });
  const decoders: MimiDecoder[] = [pool.createDecoder(), pool.createDecoder()], encoder = pool.createEncoder();
  assert.throws(() => pool.createDecoder(), {
    code: "ERR_INVALID_STATE",
    message: "pool.createDecoder: 2 decoders are open, the pool has room for 2 (maxStreams); close one.",
  });
  pool.createEncoder().close();
  pool.createEncoder({ tail: "zeros" }).close();
  decoders[0].close();
  decoders[0].close(); // twice counts once
  const next = pool.createDecoder();
  assert.throws(() => pool.createDecoder(), InvalidStateError);
  assert.throws(() => pool.createEncoder({ numQuantizers: 999 }), MimiRangeError);
  pool.createEncoder().close(); // the failed one took no room
  await encoder.encode(new Float32Array(FRAME));
  for (const handle of [encoder, next, decoders[1]]) handle.close();
});

test("closing a stream fails what waits for it and nothing else; closing the model fails all", async () => {
  const model = await MimiModel.fromPretrained(testPath("models/tiny-hf")), pool = model.createPool({ maxStreams: 3 });
  const [a, b] = [pool.createEncoder(), pool.createEncoder()], pcm = random("pool close").floats(3 * FRAME);
  const waits = [a.encode(pcm), a.encode(pcm), b.encode(pcm)];
  const settled = Promise.allSettled(waits);
  await Promise.resolve().then(() => {}).then(() => a.close());
  const [one, two, three] = await settled;
  for (const result of [one, two]) {
    assert.equal(result.status, "rejected");
    assert.equal((result as PromiseRejectedResult).reason.code, "ERR_INVALID_STATE");
  }
  assert.equal(three.status, "fulfilled");
  const late = assert.rejects(b.encode(pcm), { code: "ERR_INVALID_STATE", message: /the model is closed/ });
  await Promise.resolve().then(() => {});
  model.close();
  await late;
  assert.throws(() => pool.createEncoder(), { code: "ERR_INVALID_STATE" });
  assert.throws(() => model.createPool({ maxStreams: 1 }), { code: "ERR_INVALID_STATE" });
});

test("wrong calls", () => {
  for (
    const [options, code] of [
      [undefined, "ERR_INVALID_ARGUMENT"],
      [{}, "ERR_INVALID_ARGUMENT"],
      [{ maxStreams: "8" }, "ERR_INVALID_ARGUMENT"],
      [{ maxStreams: 8, streams: 8 }, "ERR_INVALID_ARGUMENT"],
      [{ maxStreams: 0 }, "ERR_OUT_OF_RANGE"],
      [{ maxStreams: 1.5 }, "ERR_OUT_OF_RANGE"],
    ] as const
  ) {
    assert.throws(() => tiny.createPool(options as unknown as { maxStreams: number }), { code });
  }
});
