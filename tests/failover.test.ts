/** Streams whose device goes away in any step: the bits of those that never noticed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type AudioCodes, type Backend, DeviceLostError, EngineError, MimiModel, wasm } from "../mod.ts";
import type { Program } from "../src/core/backend.ts";
import { openGolden, testPath } from "./support/files.ts";
import { random } from "./support/random.ts";
import { cuts, join, slice } from "./support/streams.ts";

const TINY = testPath("models/tiny-hf");
const golden = await openGolden("tiny_window_3s"), input = await golden.f32("input");
const here = await MimiModel.fromPretrained(TINY),
  whole = (await here.encode(input)).audioCodes,
  frames = whole.shape[2];
const audio = (await here.decode(whole)).audioValues.data;

/** A program of whose calls `told` hears first: what it throws, or rejects with, they do. */
function watched(program: Program, told: (name: string, args: unknown[]) => void | Promise<void>): Program {
  return new Proxy(program, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const first = told(String(name), args), call = () => value.apply(target, args);
        return first ? first.then(call) : call();
      };
    },
  });
}

/** Wasm on a device that is lost in step `last` of an encoder or decoder, counted over all streams. */
function fragile(last: number): Backend {
  const good = wasm();
  return {
    ...good,
    name: "fragile",
    sync: false,
    losesDevice: true,
    async compile(network, tensors, options) {
      const program = await good.compile(network, tensors, options);
      let steps = 0, lost = false;
      return watched(program, (name) => {
        if (name === "step" && ++steps > last) lost = true;
        if (lost && ["step", "save", "load", "reset"].includes(name)) {
          throw new DeviceLostError("The device of the fragile backend was lost: it fell down.");
        }
      });
    },
  };
}

test("streams, alone and in a pool, go on without a frame missing", async () => {
  const rng = random("failover");
  for (let round = 0; round < 4; round++) {
    const warnings: string[] = [], backend = fragile(rng.integer(0, 60));
    const options = { backend, failover: true, selfTest: false, onWarning: (text: string) => void warnings.push(text) };
    const model = await MimiModel.fromPretrained(TINY, options), pool = model.createPool({ maxStreams: 2 });
    assert.equal(model.backend, "fragile");
    const encoders = [model.createEncoder(), pool.createEncoder(), pool.createEncoder()],
      decoder = model.createDecoder();
    const coded = await Promise.all(encoders.map(async (encoder) => {
      const parts: AudioCodes[] = [];
      for (let t = 0; t < frames; t++) parts.push(await encoder.encode(input.subarray(t * 1920, (t + 1) * 1920)));
      return join([...parts, await encoder.finish()]);
    }));
    for (const codes of coded) assert.deepEqual(codes, whole);
    const out = new Float32Array(audio.length);
    for (const [from, to] of cuts(rng, frames)) {
      out.set((await decoder.decode(slice(whole, from, to))).audioValues.data, from * 1920);
    }
    assert.deepEqual(out, audio);
    assert.deepEqual((await model.encode(input)).audioCodes, whole);
    assert.equal(model.backend, "wasm");
    assert.match(warnings[0], /^mimi-audio: The device of the fragile .* it fell down\. Streams go on in wasm\.$/);
    model.close();
  }
});

test("without failover the error has the stream as it was last saved", async () => {
  const last = random("loss").integer(26, 35),
    model = await MimiModel.fromPretrained(TINY, { backend: fragile(last), selfTest: false });
  const encoder = model.createEncoder(), parts: AudioCodes[] = [];
  const error = await (async () => {
    for (let t = 0; t < frames; t++) parts.push(await encoder.encode(input.subarray(t * 1920, (t + 1) * 1920)));
  })().then(() => undefined, (error) => error);
  assert.ok(error instanceof DeviceLostError, String(error));
  const { position } = error.snapshot!, again = here.createEncoder();
  assert.deepEqual([parts.length, position], [last, 25]);
  await again.restore(error.snapshot!);
  const rest = [await again.encode(input.subarray(position * 1920)), await again.finish()];
  assert.deepEqual(join([...parts.slice(0, position), ...rest]), whole);
});

test("what a caller does with a snapshot is its own affair", async () => {
  for (const spoil of [transfer, overwrite]) {
    const model = await MimiModel.fromPretrained(TINY, { ...quiet, backend: fragile(5), failover: true });
    const encoder = model.createEncoder(), parts = [await encoder.encode(input.subarray(0, 20 * 1920))];
    spoil((await encoder.snapshot()).state.tensors);
    for (let t = 20; t < frames; t++) parts.push(await encoder.encode(input.subarray(t * 1920, (t + 1) * 1920)));
    assert.equal(model.backend, "wasm");
    assert.deepEqual(join([...parts, await encoder.finish()]), whole, spoil.name);
    model.close();
  }
});

const transfer = (tensors: Float32Array[]) =>
  void structuredClone(0, { transfer: tensors.map(({ buffer }) => buffer) });
const overwrite = (tensors: Float32Array[]) => tensors.forEach((values) => values.fill(1));
const quiet = { selfTest: false, onWarning: () => {} };

test("a lost program is closed when its last stream has left it, and is warned of once", async () => {
  const warnings: string[] = [], closed: string[] = [], backend = fragile(3), { compile } = backend;
  backend.compile = async (network, ...rest) => {
    const program = await compile(network, ...rest);
    return watched(program, (name) => {
      if (name === "close") closed.push(network.direction);
    });
  };
  const model = await MimiModel.fromPretrained(TINY, {
    ...{ backend, selfTest: false, failover: true },
    onWarning(text) {
      warnings.push(text);
      throw new Error("the logger is broken");
    },
  });
  assert.throws(() => model.createEncoderSync(), { code: "ERR_NOT_SUPPORTED" });
  const [one, two] = [model.createEncoder(), model.createEncoder()], piece = input.subarray(0, 1920);
  const before = model.memory.total;
  for (const encoder of [one, two]) await encoder.encode(piece);
  await one.encode(piece);
  await assert.rejects(one.encode(piece), { message: "the logger is broken" });
  const { audioCodes } = await here.encode(input.subarray(0, 1920));
  await one.reset();
  assert.deepEqual(await one.encode(piece), audioCodes);
  assert.deepEqual(closed, []);
  two.close();
  assert.deepEqual(closed, ["encode"]);
  for (let i = 0; i < 4; i++) await model.decode(whole);
  assert.deepEqual(closed, ["encode", "decode"]);
  assert.ok(model.memory.total < 0.6 * before, `${model.memory.total} of ${before}`);
  assert.equal(warnings.length, 1);
  model.close();
  assert.deepEqual(closed, ["encode", "decode"]);
});

test("a step that fails takes no samples", async () => {
  const good = wasm(), steps: number[] = [];
  const backend: Backend = {
    ...good,
    name: "hiccup",
    sync: false,
    async compile(network, tensors, options) {
      const program = await good.compile(network, tensors, options);
      return watched(program, (name, args) => {
        if (name !== "step") return;
        const fails = steps.push(args[2] as number) % 3 === 0;
        return fails ? Promise.reject(new EngineError("ERR_BACKEND", "hiccup")) : Promise.resolve();
      });
    },
  };
  const model = await MimiModel.fromPretrained(TINY, { backend, selfTest: false }), encoder = model.createEncoder();
  const again = <T>(call: () => Promise<T>): Promise<T> => call().catch(call), parts: AudioCodes[] = [];
  for (let at = 0; at < input.length; at += 4000) {
    parts.push(await again(() => encoder.encode(input.subarray(at, at + 4000))));
  }
  assert.deepEqual(join([...parts, await again(() => encoder.finish())]), whole);
  assert.ok(steps.length > frames / 4);
});
