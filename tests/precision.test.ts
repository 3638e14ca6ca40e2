/** Precisions: how far from f32, the same bits for every cut, company and runtime, and states that move between them. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { type AudioCodes, MimiConfig, MimiModel, type Precision } from "../mod.ts";
import { lower } from "../src/backends/wasm/lower.ts";
import { Memory } from "../src/backends/wasm/memory.ts";
import { RELAXED_KERNELS } from "../src/backends/wasm/kernels-relaxed.wasm.ts";
import { FORMATS } from "../src/backends/wasm/precision.ts";
import type { TensorSource } from "../src/core/backend.ts";
import { decoderNetwork, encoderNetwork } from "../src/core/mimi.ts";
import { inputPositions, type Network, positionsAfter } from "../src/core/network.ts";
import { concatFloats } from "../src/core/tensor.ts";
import { fromPCM16 } from "../src/file/wav.ts";
import { TESTS } from "./support/files.ts";
import { melDistance, snr, stoi } from "./support/quality.ts";
import { random } from "./support/random.ts";
import { deterministicWeights } from "./support/weights.ts";

const INTEGERS = ["int12", "int8"] as const, FRAME = 1920;
const wav = await readFile(new URL("../models/mini/it-cannot-complete.wav", TESTS)),
  speech = fromPCM16(wav.subarray(44));
const models = {
  f32: await MimiModel.fromPretrained("mini", { numQuantizers: 8 }),
  int12: await MimiModel.fromPretrained("mini", { numQuantizers: 8, precision: "int12" }),
  int8: await MimiModel.fromPretrained("mini", { numQuantizers: 8, precision: "int8" }),
};
const codesOf = async (precision: Precision) => (await models[precision].encode(speech)).audioCodes;
const whole = { f32: await codesOf("f32"), int12: await codesOf("int12"), int8: await codesOf("int8") };
const samplesOf = async (precision: Precision, codes: AudioCodes) =>
  (await models[precision].decode(codes)).audioValues.data;

/** Frames [codebooks] of codes of one or more calls. */
function framesOf(...parts: AudioCodes[]): number[][] {
  return parts.flatMap(({ data, shape: [, codebooks, n] }) =>
    Array.from({ length: n }, (_, t) => Array.from({ length: codebooks }, (_, k) => data[k * n + t]))
  );
}

function slice(codes: AudioCodes, from: number, to: number): AudioCodes {
  const [, codebooks, all] = codes.shape, data = new Uint16Array(codebooks * (to - from));
  for (let k = 0; k < codebooks; k++) data.set(codes.data.subarray(k * all + from, k * all + to), k * (to - from));
  return { data, shape: [1, codebooks, to - from] };
}

for (const precision of INTEGERS) {
  const model = models[precision], codes = whole[precision], frames = codes.shape[2];

  test(`${precision}: any cut, snapshots between, and company in a pool give the bits of the whole`, async () => {
    const rng = random(`cuts ${precision}`), samples = await samplesOf(precision, codes);
    for (let round = 0; round < 3; round++) {
      const pool = model.createPool({ maxStreams: 4 }), others = rng.floats(5 * FRAME);
      const company = [pool.createEncoder(), pool.createEncoder()].map((other) => other.encode(others));
      for (const from of [model, pool]) {
        let encoder = from.createEncoder();
        const parts: AudioCodes[] = [];
        for (let at = 0; at < speech.length;) {
          const end = Math.min(speech.length, at + rng.integer(1, 20 * FRAME));
          parts.push(await encoder.encode(speech.subarray(at, end)));
          at = end;
          if (rng.next() < 0.3) {
            const saved = structuredClone(await encoder.snapshot());
            encoder.close();
            encoder = from.createEncoder();
            await encoder.restore(saved);
          }
        }
        parts.push(await encoder.finish());
        encoder.close();
        assert.deepEqual(framesOf(...parts), framesOf(codes));

        const decoder = from.createDecoder(), out = new Float32Array(samples.length);
        for (let at = 0; at < frames;) {
          const end = Math.min(frames, at + rng.integer(1, 20));
          out.set((await decoder.decode(slice(codes, at, end))).audioValues.data, at * FRAME);
          at = end;
        }
        decoder.close();
        assert.deepEqual(out, samples);
      }
      await Promise.all(company);
    }
  });

  test(`${precision}: synchronous handles and workers`, async () => {
    const encoder = model.createEncoderSync(), decoder = model.createDecoderSync();
    const first = encoder.encode(speech.subarray(0, 4 * FRAME));
    assert.deepEqual(framesOf(first), framesOf(codes).slice(0, 4));
    const samples = await samplesOf(precision, codes);
    assert.deepEqual(decoder.decode(first).audioValues.data, samples.slice(0, 4 * FRAME));
    const there = await MimiModel.fromPretrained("mini", { numQuantizers: 8, precision, worker: true });
    assert.deepEqual((await there.encode(speech)).audioCodes, codes);
    assert.deepEqual((await there.decode(codes)).audioValues.data, samples);
    assert.deepEqual(there.memory.decoder!.weights, model.memory.decoder!.weights);
    there.close();
  });

  test(`${precision}: a stream goes on in another precision`, async () => {
    const samples = await samplesOf("f32", whole.f32), half = Math.floor(frames / 2), cut = half * FRAME;
    for (const [from, to] of [[models.f32, model], [model, models.f32]]) {
      const first = from.createDecoder(), second = to.createDecoder();
      await first.decode(slice(whole.f32, 0, half));
      await second.restore(await first.snapshot());
      const { audioValues } = await second.decode(slice(whole.f32, half, frames));
      assert.ok(snr(audioValues.data, samples.subarray(cut)) > 30);
      for (const handle of [first, second]) handle.close();
    }
  });

  test(`${precision}: speech as intelligible and as near as with f32, within 1 %`, async () => {
    const measure = async (p: Precision) => {
      const audio = await samplesOf(p, whole[p]);
      return { stoi: stoi(speech, audio, 24000), mel: melDistance(speech, audio, 24000) };
    };
    const [f32, other] = [await measure("f32"), await measure(precision)];
    const equal = Array.from({ length: 8 }, (_, k) => {
      const row = (c: AudioCodes) => c.data.subarray(k * frames, (k + 1) * frames), a = row(whole.f32), b = row(codes);
      return `${(100 * a.filter((code, t) => code === b[t]).length / frames).toFixed(0)}`;
    });
    console.log(
      `${precision}: STOI ${other.stoi.toFixed(4)} (f32 ${f32.stoi.toFixed(4)}), mel distance ${
        other.mel.toFixed(4)
      } ` +
        `(f32 ${f32.mel.toFixed(4)}), codes equal by level: ${equal.join(" ")} %`,
    );
    assert.ok(f32.stoi > 0.7 && f32.stoi < 1, `the measure itself: ${f32.stoi}`);
    assert.ok(Math.abs(other.stoi / f32.stoi - 1) < 0.01);
    assert.ok(Math.abs(other.mel / f32.mel - 1) < 0.01);
  });
}

test("determinism of the device: one way for every cut and thread, next to exact", async () => {
  const options = { numQuantizers: 8, determinism: "device" } as const;
  using model = await MimiModel.fromPretrained("mini", options);
  using there = await MimiModel.fromPretrained("mini", { ...options, worker: true });
  const exact = await samplesOf("f32", whole.f32), { data } = (await model.decode(whole.f32)).audioValues;
  const differ = data.filter((v, i) => v !== exact[i]).length, dB = differ ? snr(data, exact) : Infinity;
  console.log(`relaxed SIMD: ${RELAXED}, ${differ} of ${data.length} samples differ, ${dB.toFixed(1)} dB`);
  if (RELAXED) assert.ok(dB > 100);
  else assert.equal(differ, 0, "an engine without relaxed SIMD is exact");
  assert.deepEqual((await there.decode(whole.f32)).audioValues.data, data);
  const decoder = model.createDecoderSync(), encoder = model.createEncoderSync(), { shape: [, , n] } = whole.f32;
  const parts = Array.from({ length: n }, (_, t) => decoder.decode(slice(whole.f32, t, t + 1)).audioValues.data);
  assert.deepEqual(concatFloats(parts), data);
  const codes = (await model.encode(speech)).audioCodes, first = encoder.encode(speech.subarray(0, 8 * FRAME));
  assert.deepEqual(framesOf(first), framesOf(codes).slice(0, 8));
  assert.deepEqual((await there.encode(speech)).audioCodes, codes);
  await assert.rejects(MimiModel.fromPretrained("mini", { determinism: "sometimes" as "exact" }), {
    code: "ERR_INVALID_ARGUMENT",
    message: /determinism must be "exact" or "device", got "sometimes"/,
  });
});
/** Whether this engine has relaxed SIMD. */
const RELAXED = WebAssembly.validate(Uint8Array.from(atob(RELAXED_KERNELS), (c) => c.charCodeAt(0)));

test("the measures: equal recordings, noisier ones", () => {
  const rng = random("measures"), noisy = (level: number) => speech.map((v) => v + level * (rng.next() - 0.5));
  assert.ok(Math.abs(stoi(speech, speech, 24000) - 1) < 1e-9);
  assert.equal(melDistance(speech, speech, 24000), 0);
  const levels = [0.001, 0.02, 2].map(noisy);
  const heard = levels.map((x) => stoi(speech, x, 24000)), far = levels.map((x) => melDistance(speech, x, 24000));
  assert.ok(heard[0] > heard[1] && heard[1] > heard[2] && heard[2] < 0.6, heard.join());
  assert.ok(far[0] < far[1] && far[1] < far[2], far.join());
});

test("less memory with fewer bits, and every byte of it is counted", () => {
  const [f32, int12, int8] = [models.f32, models.int12, models.int8].map(({ memory }) => memory);
  for (const half of ["encoder", "decoder"] as const) {
    assert.ok(f32[half]!.weights > int12[half]!.weights && int12[half]!.weights > int8[half]!.weights);
    for (const memory of [f32, int12, int8]) {
      const { weights, state, total } = memory[half]!;
      assert.ok(total >= weights + state && total % 65536 === 0);
    }
  }
});

/** What leaves a network without its quantizer for some frames of a fresh stream. */
async function run(network: Network, precision: Precision, pcm: Float32Array, codes: Uint16Array, frames: number) {
  const memory = await Memory.create(), formats = FORMATS[precision];
  const lowered = await lower(network, weights, memory, PASS, formats), at = memory.allocate(lowered.stateSize);
  const ports = { audio: [], codes: [codes], codebooks: 8 }, n = inputPositions(network, frames);
  if (network.direction === "encode") memory.view(lowered.input, n).set(pcm);
  const out = lowered.run(n, { streams: [{ at, frames: 0 }], ports, row: 0, frame: 0 });
  const rows = network.layers.reduce((n, layer) => positionsAfter(layer, n), n);
  const size = network.direction === "encode" ? rows * config.hiddenSize : rows;
  return { out: memory.view(out, size).slice(), bytes: memory.total };
}
/** Frames that a pass of the backend covers at most. */
const PASS = 16;
const config = new MimiConfig(), weights = remembered(await deterministicWeights("full-spec"));

/** Tensors that take time to make are made once. */
function remembered(source: TensorSource): TensorSource {
  const made = new Map<string, Promise<Float32Array>>();
  return {
    read(spec) {
      if (!made.has(spec.name)) made.set(spec.name, source.read(spec));
      return made.get(spec.name)!;
    },
  };
}

test("full size, random weights: signal to noise of the decoder's audio and the encoder's latent", async () => {
  const rng = random("full size", 7), frames = 8, pcm = rng.floats(frames * FRAME, 0.3);
  const codes = Uint16Array.from({ length: 8 * frames }, () => rng.integer(0, 2047));
  const encoder = encoderNetwork(config, 8), latent = { ...encoder, layers: encoder.layers.slice(0, -1) };
  const least = { int12: { decoder: 57, latent: 52 }, int8: { decoder: 48, latent: 40 } };
  const decoder = decoderNetwork(config, 8), most = { f32: 200e6, int12: 95e6, int8: 85e6 };
  for (const [what, network] of [["decoder", decoder], ["latent", latent]] as const) {
    const exact = await run(network, "f32", pcm, codes, frames);
    assert.ok(exact.bytes < most.f32, `f32 ${what}: ${exact.bytes} bytes`);
    for (const precision of INTEGERS) {
      const { out, bytes } = await run(network, precision, pcm, codes, frames), dB = snr(out, exact.out);
      console.log(`${precision} ${what}: ${dB.toFixed(1)} dB, ${(bytes / 1e6).toFixed(1)} MB`);
      assert.ok(dB >= least[precision][what], `${precision} ${what}: ${dB} dB`);
      assert.ok(bytes < most[precision], `${precision} ${what}: ${bytes} bytes`);
    }
  }
});

test("the same bits in every runtime", async () => {
  const hash = createHash("sha256");
  for (const precision of INTEGERS) {
    hash.update(new Uint8Array(whole[precision].data.buffer));
    hash.update(new Uint8Array((await samplesOf(precision, whole[precision])).buffer));
  }
  assert.equal(hash.digest("hex"), EXPECTED_HASH, "codes and samples have other bits than where this was recorded");
});

/** Recorded in Node; Deno, Bun and any other engine or machine must give the same. */
const EXPECTED_HASH: string = "901039de6e698d232b8af68a769b7f9482ea318396a7db437845d504ac679d90";
