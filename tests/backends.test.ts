/** Every backend against the float64 oracle, for any configuration; its streams, moved from one backend to another. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type AudioCodes, type Backend, MimiConfig, MimiModel, wasm } from "../mod.ts";
import { native } from "../src/backends/onnx/native.ts";
import { onnxWasm } from "../src/backends/onnx/onnx-wasm.ts";
import type { Program } from "../src/core/backend.ts";
import { decoderNetwork, encoderNetwork } from "../src/core/mimi.ts";
import type { Network } from "../src/core/network.ts";
import { onEveryBackend, readings } from "./support/backends.ts";
import { assertClose, assertCodes } from "./support/compare.ts";
import { openGolden, testPath } from "./support/files.ts";
import { oracle } from "./support/oracle.ts";
import { random, randomWeights } from "./support/random.ts";
import { cuts, join, slice } from "./support/streams.ts";
import { SMALL, VARIANTS } from "./support/variants.ts";

for (const [name, fields] of Object.entries(VARIANTS)) {
  onEveryBackend(`any configuration: ${name}`, async (backend) => {
    const rng = random(name), config = new MimiConfig({ ...SMALL, ...fields }), { frameSize } = config;
    const encoder = encoderNetwork(config), decoder = decoderNetwork(config);
    const weights = randomWeights(rng, [encoder, decoder]);
    const frames = rng.integer(4, 9), samples = frames * frameSize - rng.integer(0, frameSize - 1);
    const codebooks = rng.integer(config.numSemanticQuantizers, config.numQuantizers), pcm = rng.floats(samples);
    const both = (network: Network) =>
      Promise.all([backend, oracle()].map((b) => b.compile(network, weights, { precision: "f32" })));
    const encode = async (program: Program, state = program.createState(), from = 0, to = frames) => {
      const codes = new Uint16Array(codebooks * (to - from));
      const audio = [pcm.subarray(from * frameSize, to * frameSize)];
      await program.step([state], { audio, codes: [codes], codebooks }, to - from);
      return codes;
    };

    // The latent, partial last frame included; then codes; then audio.
    const [a, b] = await both(encoder), codes = [await encode(a), await encode(b)];
    let same = 0;
    codes[1].forEach((code, i) => same += +(code === codes[0][i]));
    assert.ok(same >= codes[1].length * 0.97, `${same} of ${codes[1].length} codes equal`);

    const [c, d] = await both(decoder), exact: AudioCodes = { data: codes[1], shape: [1, codebooks, frames] };
    const decode = async (program: Program, state = program.createState(), from = 0, to = frames) => {
      const audio = new Float32Array((to - from) * frameSize);
      await program.step([state], { audio: [audio], codes: [slice(exact, from, to).data], codebooks }, to - from);
      return audio;
    };
    const audio = [await decode(c), await decode(d)];
    assertClose("audio", audio[0], audio[1], 1e-5, true);

    // A stream may move from one backend to the other half-way: the saved state means the same to both.
    const half = Math.floor(frames / 2);
    for (const [from, to] of [[a, b], [b, a]]) {
      const first = from.createState(), second = to.createState();
      await encode(from, first, 0, half);
      const saved = await from.save(first);
      await to.load(second, saved);
      assert.deepEqual(await to.save(second), saved);
      const tail = await encode(to, second, half);
      let equal = 0;
      slice({ ...exact, data: codes[1] }, half, frames).data.forEach((code, i) => equal += +(code === tail[i]));
      assert.ok(equal >= tail.length * 0.95, `moved encoder: ${equal} of ${tail.length} codes equal`);
    }
    for (const [from, to] of [[c, d], [d, c]]) {
      const first = from.createState(), second = to.createState();
      await decode(from, first, 0, half);
      await to.load(second, await from.save(first));
      const tail = await decode(to, second, half);
      assertClose("moved decoder", tail, audio[1].subarray(half * frameSize), 1e-4, true);
    }
    for (const program of [a, b, c, d]) program.close();
  });
}

// window_3s goes past the tiny model's attention window several times over.
const golden = await openGolden("tiny_window_3s"), input = await golden.f32("input");
const [, codebooks, frames] = golden.shape("codes"), margin = await golden.f32("code_margin");
const codes: AudioCodes = { data: Uint16Array.from(await golden.i32("codes")), shape: [1, codebooks, frames] };
const audio = await golden.f32("audio");
const TINY = testPath("models/tiny-hf");

const assertGolden = (what: string, actual: AudioCodes) =>
  assertCodes(what, actual.data, codes.data, margin, frames, 1);

onEveryBackend("a stream is the whole, however it is cut, and begins anew after reset", async (backend) => {
  const rng = random("cuts"), model = await MimiModel.fromPretrained(TINY, { backend });
  const encoder = model.createEncoder(), decoder = model.createDecoder();
  for (let round = 0; round < 3; round++) {
    const parts: AudioCodes[] = [], out = new Float32Array(audio.length);
    for (const [from, to] of cuts(rng, input.length)) parts.push(await encoder.encode(input.subarray(from, to)));
    parts.push(await encoder.finish());
    assertGolden("cut", join(parts));
    for (const [from, to] of cuts(rng, frames)) {
      out.set((await decoder.decode(slice(codes, from, to))).audioValues.data, from * 1920);
    }
    assertClose("cut", out, audio, 1e-4);
    await encoder.encode(input.subarray(0, 5000));
    await encoder.reset();
    await decoder.reset();
  }
  model.close();
});

onEveryBackend("streams do not disturb each other, nor do calls that nobody awaits", async (backend) => {
  const model = await MimiModel.fromPretrained(TINY, { backend }), half = Math.floor(frames / 2);
  const results = await Promise.all([0, 1, 2].flatMap(() => {
    const encoder = model.createEncoder(), decoder = model.createDecoder();
    const heard = [encoder.encode(input.subarray(0, 12345)), encoder.encode(input.subarray(12345)), encoder.finish()];
    const said = [decoder.decode(slice(codes, 0, half)), decoder.decode(slice(codes, half, frames))];
    return [Promise.all(heard).then(join), Promise.all(said)];
  }));
  for (const result of results) {
    if (!Array.isArray(result)) assertGolden("beside others", result);
    else assertClose("beside others", result.flatMap((part) => [...part.audioValues.data]), audio, 1e-4);
  }
  model.close();
});

onEveryBackend("a pool gives what streams give alone", async (backend) => {
  const model = await MimiModel.fromPretrained(TINY, { backend }), pool = model.createPool({ maxStreams: 3 });
  const streams = [0, 1, 2].map(() => pool.createEncoder());
  const all = await Promise.all(streams.map(async (encoder) => {
    const first = encoder.encode(input.subarray(0, 20000)), second = encoder.encode(input.subarray(20000));
    return join([await first, await second, await encoder.finish()]);
  }));
  for (const result of all) assertGolden("pool", result);
  model.close();
});

onEveryBackend("a stream goes on in another backend where its snapshot was taken", async (backend) => {
  const rng = random("snapshots");
  const [here, there] = await Promise.all([backend, wasm()].map((b) => MimiModel.fromPretrained(TINY, { backend: b })));
  for (const [from, to] of [[here, there], [there, here]]) {
    const at = rng.integer(1, frames - 1) * 1920 + rng.integer(0, 1919);
    const first = from.createEncoder(), second = to.createEncoder();
    const before = await first.encode(input.subarray(0, at));
    await second.restore(structuredClone(await first.snapshot()));
    assertGolden("moved", join([before, await second.encode(input.subarray(at)), await second.finish()]));

    const cut = rng.integer(1, frames - 1), speaking = from.createDecoder(), going = to.createDecoder();
    const begun = await speaking.decode(slice(codes, 0, cut));
    await going.restore(await speaking.snapshot());
    const ended = await going.decode(slice(codes, cut, frames));
    assertClose("moved", [...begun.audioValues.data, ...ended.audioValues.data], audio, 1e-4);
  }
  here.close();
  there.close();
});

test("the example of a backend has measured all of that", () => {
  assert.ok(readings.length > 100);
  for (const { direction, streams, frames, milliseconds, realTime } of readings) {
    assert.ok(
      ["encode", "decode"].includes(direction) && streams >= 1 && frames >= 1 && milliseconds >= 0 && realTime > 0,
    );
  }
  assert.ok(readings.some(({ streams }) => streams > 1), "a pool's steps have several streams");
});

onEveryBackend("integers are refused with what helps", async (backend) => {
  await assert.rejects(MimiModel.fromPretrained("mini", { backend, precision: "int12" }), {
    code: "ERR_NOT_SUPPORTED",
    message: /has no precision "int12", only "f32": ask for that/,
  });
}, (name) => name !== "wasm" && !name.startsWith("metered"));

test("options of backends are checked", () => {
  const wrong: [() => Backend, RegExp][] = [
    [() => native({ threads: 0 }), /^native: threads must be an integer from 1, got 0\.$/],
    [() => native({ provider: "rocm" as "cuda" }), /^native: provider must be one of cpu, cuda, .*, got "rocm"\.$/],
    [
      () => native({ cores: 2 } as object),
      /^native: unknown option "cores"\. Known options: ort, threads, provider\.$/,
    ],
    [() => onnxWasm({ threads: 1.5 }), /^onnxWasm: threads must be an integer from 1, got 1\.5\.$/],
    [() => onnxWasm({ ort: {} }), /^onnxWasm: ort must be a module of ONNX Runtime, such as .*, got an object/],
  ];
  for (const [make, message] of wrong) assert.throws(make, { code: "ERR_INVALID_ARGUMENT", message });
});
