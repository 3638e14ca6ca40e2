/** Codes and audio of every backend against transformers, tiny and full size. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { MimiConfig, MimiModel } from "../mod.ts";
import { fingerprint } from "../src/core/fingerprint.ts";
import { decoderNetwork, encoderNetwork } from "../src/core/mimi.ts";
import { concatFloats } from "../src/core/tensor.ts";
import { readWav } from "../src/file/wav.ts";
import { onEveryBackend } from "./support/backends.ts";
import { assertClose, assertCodes } from "./support/compare.ts";
import { openGolden, testJSON, testPath } from "./support/files.ts";
import { deterministicWeights } from "./support/weights.ts";

const TINY = ["main_2s", "notmult_30000", "short_1000", "one", "just_961", "frame_1920", "frame_plus1", "window_3s"];

for (const name of TINY) {
  onEveryBackend(`tiny: ${name}`, async (backend) => {
    const golden = await openGolden(`tiny_${name}`), input = await golden.f32("input");
    const model = await MimiModel.fromPretrained(testPath("models/tiny-hf"), { backend });
    const { audioCodes, audioCodesMask } = await model.encode(input);
    const [, codebooks, frames] = golden.shape("codes"), codes = await golden.i32("codes");
    assert.deepEqual(audioCodes.shape, [1, codebooks, frames]);
    assert.deepEqual(audioCodesMask, { data: new Uint8Array(frames).fill(1), shape: [1, frames] });
    const margin = await golden.f32("code_margin");
    assertCodes(name, audioCodes.data, codes, margin, frames, 1);

    const exact = { data: codes, shape: [1, codebooks, frames] };
    const { audioValues } = await model.decode(exact);
    assert.deepEqual(audioValues.shape, [1, 1, frames * 1920]);
    assertClose(`${name} audio`, audioValues.data, await golden.f32("audio"), 1e-4);
    if (golden.has("forward_audio")) {
      const forward = await model.forward(input, { audioCodes: exact });
      assert.deepEqual(forward.audioValues.shape, [1, 1, input.length]);
      assertClose(`${name} forward`, forward.audioValues.data, await golden.f32("forward_audio"), 1e-4);
    }
    for (const k of [1, 2, 3].filter((k) => golden.has(`codes_nq${k}`))) {
      const some = await golden.i32(`codes_nq${k}`);
      const { audioCodes } = await model.encode(input, { numQuantizers: k });
      assertCodes(`${name}, ${k} codebooks`, audioCodes.data, some, margin, frames, 1);
      const decoded = await model.decode({ data: some, shape: [1, k, frames] });
      assertClose(`${name}, ${k} codebooks, audio`, decoded.audioValues.data, await golden.f32(`audio_nq${k}`), 1e-4);
    }
    model.close();
  });
}

onEveryBackend("tiny: a batch without a mask is what transformers gives", async (backend) => {
  const golden = await openGolden("tiny_batch2");
  const model = await MimiModel.fromPretrained(testPath("models/tiny-hf"), { backend });
  const shape = golden.shape("input_values"), input = { data: await golden.f32("input_values"), shape };
  const { audioCodes } = await model.encode(input);
  const [, codebooks, frames] = golden.shape("codes"), codes = await golden.i32("codes");
  assert.deepEqual(audioCodes.shape, [2, codebooks, frames]);
  for (const row of [0, 1]) {
    const part = (from: ArrayLike<number>) =>
      Array.from(from).slice(row * codebooks * frames, (row + 1) * codebooks * frames);
    assertCodes(
      `row ${row}`,
      Uint16Array.from(part(audioCodes.data)),
      part(codes),
      await golden.f32(`code_margin_row${row}`),
      frames,
      1,
    );
  }
  const all = { data: codes, shape: [2, codebooks, frames] };
  assertClose("decode", (await model.decode(all)).audioValues.data, await golden.f32("decode_audio"), 1e-4);
  const paddingMask = { data: await golden.i32("padding_mask"), shape: golden.shape("padding_mask") };
  const cut = await model.decode(all, { paddingMask });
  assert.deepEqual(cut.audioValues.shape, [2, 1, shape[2]]);
  assertClose("decode, cut", cut.audioValues.data, await golden.f32("decode_audio_pm"), 1e-4);
});

test("tiny: with a mask each row is what it is alone", async () => {
  const golden = await openGolden("tiny_batch2"), model = await MimiModel.fromPretrained(testPath("models/tiny-hf"));
  const input = { data: await golden.f32("input_values"), shape: golden.shape("input_values") };
  const paddingMask = { data: await golden.i32("padding_mask"), shape: golden.shape("padding_mask") };
  const { audioCodes, audioCodesMask } = await model.encode(input, { paddingMask });
  const [, codebooks, frames] = audioCodes.shape;
  for (const row of [0, 1]) {
    const alone = (await model.encode(await golden.f32(`raw${row}`))).audioCodes, own = alone.shape[2];
    for (let k = 0; k < codebooks; k++) {
      for (let t = 0; t < frames; t++) {
        const code = audioCodes.data[(row * codebooks + k) * frames + t];
        assert.equal(code, t < own ? alone.data[k * own + t] : 0, `row ${row}, codebook ${k}, frame ${t}`);
      }
    }
    assert.deepEqual(
      [...audioCodesMask.data.slice(row * frames, (row + 1) * frames)],
      Array.from({ length: frames }, (_, t) => +(t < own)),
    );
  }
});

test("tiny: Kyutai's layout gives the same bits", async () => {
  const golden = await openGolden("tiny_main_2s"), input = await golden.f32("input");
  const config = MimiConfig.fromJSON(await testJSON("models/tiny-hf/config.json"));
  const a = await MimiModel.fromPretrained(testPath("models/tiny-hf"));
  const b = await MimiModel.fromPretrained(testPath("models/tiny-kyutai/tokenizer-tiny.safetensors"), { config });
  assert.equal(a.fingerprint, b.fingerprint);
  const codes = (await a.encode(input)).audioCodes;
  assert.deepEqual((await b.encode(input)).audioCodes, codes);
  assert.deepEqual((await a.decode(codes)).audioValues.data, (await b.decode(codes)).audioValues.data);
});

for (const name of ["ratios", "residual", "attention", "latent"]) {
  onEveryBackend(`a configuration of its own: ${name}`, async (backend) => {
    const golden = await openGolden(`variant_${name}`), input = await golden.f32("input");
    const model = await MimiModel.fromPretrained(testPath(`models/variants/${name}`), { backend });
    const [, codebooks, frames] = golden.shape("codes"), codes = await golden.i32("codes");
    const { audioCodes } = await model.encode(input);
    assert.deepEqual(audioCodes.shape, [1, codebooks, frames]);
    const semantic = model.config.numSemanticQuantizers;
    assertCodes(name, audioCodes.data, codes, await golden.f32("code_margin"), frames, semantic);
    const decode = async (k: number) =>
      (await model.decode({ data: codes.slice(0, k * frames), shape: [1, k, frames] })).audioValues.data;
    assertClose(`${name} audio`, await decode(codebooks), await golden.f32("audio"), 1e-4);
    assertClose(
      `${name}, fewer codebooks`,
      await decode(semantic + 1),
      await golden.f32(`audio_nq${semantic + 1}`),
      1e-4,
    );
    await assert.rejects(model.encode(input, { numQuantizers: semantic - 1 }), { code: "ERR_NUM_QUANTIZERS" });
    model.close();
  });
}

test("the embedded model with its sample", async () => {
  const golden = await openGolden("mini_sample"), [, codebooks, frames] = golden.shape("codes");
  const wav = await readWav([await readFile(testPath("../models/mini/it-cannot-complete.wav"))]), pieces = [];
  for await (const [mono] of wav.pieces) pieces.push(mono);
  const model = await MimiModel.fromPretrained("mini"), codes = await golden.i32("codes");
  const { audioCodes } = await model.encode(concatFloats(pieces));
  assertCodes("mini", audioCodes.data, codes, await golden.f32("code_margin"), frames, 1);
  assert.deepEqual(audioCodes.shape, [1, codebooks, frames]);
  const { audioValues } = await model.decode({ data: codes.slice(0, 8 * frames), shape: [1, 8, frames] });
  assertClose("mini audio, 8 codebooks", audioValues.data, await golden.f32("audio_nq8"), 1e-4);
  model.close();
});

/** Backends that go through the full size: onnx-wasm has native's graph, and the others are around wasm. */
const FULL_SIZE = ["wasm", "native"];

onEveryBackend("full size: stages of 0.4 s, 4 s, and 14 s past the attention window", async (backend) => {
  const config = new MimiConfig(),
    weights = await deterministicWeights("full-spec"),
    precision = "f32" as const;
  const encoder = await backend.compile(encoderNetwork(config), weights, { precision });
  const decoder = await backend.compile(decoderNetwork(config), weights, { precision });
  const model = new MimiModel({
    config,
    backend,
    encoder,
    decoder,
    numQuantizers: 32,
    fingerprint: await fingerprint(weights, decoderNetwork(config)),
    precision: "f32",
  });

  for (const name of ["full_400ms_stages", "full_4s"]) {
    const golden = await openGolden(name),
      [, codebooks, frames] = golden.shape("codes"),
      codes = await golden.i32("codes");
    const { audioCodes } = await model.encode(await golden.f32("input"));
    assertCodes(name, audioCodes.data, codes, await golden.f32("code_margin"), frames, 1);
    const decode = async (k: number) =>
      (await model.decode({ data: codes.slice(0, k * frames), shape: [1, k, frames] })).audioValues.data;
    assertClose(`${name} audio`, await decode(codebooks), await golden.f32("audio"), 1e-4);
    if (golden.has("audio_nq8")) {
      assertClose(`${name} audio, 8 codebooks`, await decode(8), await golden.f32("audio_nq8"), 1e-4);
    }
  }

  const golden = await openGolden("full_14s"),
    shape = golden.shape("codes"),
    frames = shape[shape.length - 1],
    codes = await golden.i32("codes");
  const input = Float32Array.from(await golden.i32("pcm16"), (v) => v / 32768);
  assertCodes(
    "full_14s",
    (await model.encode(input)).audioCodes.data,
    codes,
    await golden.f32("code_margin"),
    frames,
    1,
  );
  const { audioValues } = await model.decode({ data: codes.slice(0, 8 * frames), shape: [1, 8, frames] });
  assertClose("full_14s audio", audioValues.data.slice(-24000), await golden.f32("audio_nq8_last1s"), 1e-4);
  model.close();
}, (name) => FULL_SIZE.includes(name));
