/** A codec from outside: examples/pocket-tts against its own Python package, and streams of latents. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { promisify } from "node:util";
import { pocketTts } from "../examples/pocket-tts/codec.ts";
import {
  type Backend,
  type Codec,
  type CodecConfig,
  LatentModel,
  type Latents,
  type Layer,
  mimi,
  type Network,
  wasm,
} from "../mod.ts";
import { checkNetwork } from "../src/core/check-network.ts";
import { openCheckpoint } from "../src/core/checkpoint.ts";
import { LatentModel as CoreLatentModel } from "../src/core/latent-model.ts";
import { bytesInMemory, Safetensors } from "../src/core/safetensors.ts";
import { fromPCM16, toPCM16, WAV_HEADER_BYTES } from "../src/file/wav.ts";
import { ROOT, RUNTIME, SAMPLE } from "./support/cli.ts";
import { assertClose } from "./support/compare.ts";
import { openGolden, testJSON, testPath, TESTS } from "./support/files.ts";
import { oracle } from "./support/oracle.ts";
import { type Random, random, randomWeights } from "./support/random.ts";
import { deterministicWeights, recipesOf } from "./support/weights.ts";

const codec = pocketTts, FRAME = 1920;
const speech = await (await openGolden("full_14s")).i32("pcm16");
const samples = (first: number, count: number) =>
  Float32Array.from(speech.subarray(first, first + count), (v) => v / 32768);

const golden = await openGolden("pocket_tts_tiny"), input = samples(24000, 5 * FRAME + 700);
const expected: Latents = { data: await golden.f32("latents"), shape: golden.shape("latents") };
const model = await LatentModel.fromPretrained(testPath("models/pocket-tts-tiny"), { codec });
const whole = (await model.encode(input)).latents, frames = whole.shape[1], channels = whole.shape[2];
const audio = (await model.decode(whole)).audioValues.data;

const slice = ({ data }: Latents, from: number, to: number): Latents => ({
  data: data.slice(from * channels, to * channels),
  shape: [1, to - from, channels],
});
const join = (parts: Latents[]): Latents => ({
  data: Float32Array.from(parts.flatMap(({ data }) => [...data])),
  shape: [1, parts.reduce((n, { shape }) => n + shape[1], 0), channels],
});

const SHORTER: Network = {
  direction: "decode",
  frameSize: 960,
  layers: [{
    ...{ kind: "convTranspose", name: "short", inChannels: 32, outChannels: 1 },
    ...{ kernel: 960, stride: 960, groups: 1, bias: true },
  }],
};

test("the codec is made of the public API alone", async () => {
  const text = await readFile(new URL("../examples/pocket-tts/codec.ts", TESTS), "utf8");
  assert.deepEqual([...text.matchAll(/from "(.+)"/g)].map(([, from]) => from), ["mimi-audio"]);
});

// pocket-tts 4.0.1 approximates GELU by tanh, which 2.1.0 and Mimi do not; goldens are there of both.
const EXACT = 1e-5, TANH = 3e-4;

test("a tiny model: latents and audio are those of pocket-tts", async () => {
  assert.deepEqual(whole.shape, expected.shape);
  assert.deepEqual(whole.shape, [1, 6, 32]);
  assertClose("latents", whole.data, expected.data, EXACT, true);
  assertClose("latents, tanh", whole.data, await golden.f32("latents_tanh"), TANH, true);
  const { audioValues } = await model.decode(expected);
  assert.deepEqual(audioValues.shape, [1, 1, 6 * FRAME]);
  assertClose("audio", audioValues.data, await golden.f32("audio"), EXACT, true);
  assertClose("audio, tanh", audioValues.data, await golden.f32("audio_tanh"), TANH, true);
});

test("the published size: 16 positions a frame, past the 250 that a query sees", async () => {
  const name = "pocket-tts-spec", golden = await openGolden("pocket_tts_full"), config = codec.parseConfig({});
  const recipes = await recipesOf(name), made = await deterministicWeights(name);
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const { name, shape } of recipes) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, end += 4 * shape.reduce((a, b) => a * b, 1)] };
  }
  const text = new TextEncoder().encode(JSON.stringify(header)), bytes = new Uint8Array(8 + text.length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  let at = 8 + text.length;
  for (const recipe of recipes) {
    const { buffer } = await made.read(recipe);
    bytes.set(new Uint8Array(buffer), at);
    at += buffer.byteLength;
  }
  const networks = [codec.encoder!(config), codec.decoder(config)], backend = wasm();
  const file = await Safetensors.open(bytesInMemory(bytes, "published.safetensors"));
  const weights = openCheckpoint(file, codec, config, networks);
  const [encoder, decoder] = [
    await backend.compile(networks[0], weights, { precision: "f32" }),
    await backend.compile(networks[1], weights, { precision: "f32" }),
  ];
  const model = new CoreLatentModel(codec, { config, backend, encoder, decoder, fingerprint: "0", precision: "f32" });
  const latents = { data: await golden.f32("latents"), shape: golden.shape("latents") };
  const own = (await model.encode(samples(0, 20 * FRAME))).latents;
  assert.deepEqual(own.shape, [1, 20, 32]);
  assertClose("latents", own.data, latents.data, EXACT, true);
  assertClose("latents, tanh", own.data, await golden.f32("latents_tanh"), TANH, true);
  const last = (await model.decode(latents)).audioValues.data.subarray(-2 * FRAME);
  assertClose("audio", last, await golden.f32("audio_last2"), EXACT, true);
  assertClose("audio, tanh", last, await golden.f32("audio_tanh_last2"), TANH, true);
  model.close();
});

test("any cut gives the latents and the audio of the whole, bit by bit", async () => {
  const rng = random("cuts of latents");
  for (let round = 0; round < 8; round++) {
    const encoder = model.createEncoder(), decoder = model.createDecoder(), parts: Latents[] = [];
    const out = new Float32Array(audio.length);
    for (let at = 0; at < input.length;) {
      const end = Math.min(input.length, at + Math.max(1, Math.round(8000 ** rng.next())));
      parts.push(await encoder.encode(input.subarray(at, end)));
      at = end;
    }
    parts.push(await encoder.finish());
    assert.deepEqual(join(parts), whole);
    for (let frame = 0; frame < frames;) {
      const end = Math.min(frames, frame + rng.integer(0, 3));
      out.set((await decoder.decode(slice(whole, frame, end))).audioValues.data, frame * FRAME);
      frame = end;
    }
    assert.deepEqual(out, audio);
    encoder.close();
    decoder.close();
  }
});

test("the last frame is that of padded audio, as in pocket-tts, unless transformers' is asked for", async () => {
  const padded = new Float32Array(6 * FRAME);
  padded.set(input);
  assert.deepEqual((await model.encode(padded)).latents, whole);
  const other = (await model.encode(input, { tail: "transformers" })).latents;
  assert.deepEqual(slice(other, 0, 5), slice(whole, 0, 5));
  assert.notDeepEqual(other, whole);
  const encoder = model.createEncoder({ tail: "transformers" });
  assert.deepEqual(join([await encoder.encode(input), await encoder.finish()]), other);
});

test("rows of a batch, with and without a mask", async () => {
  const length = input.length, short = 3 * FRAME + 50, data = new Float32Array(2 * length);
  data.set(input.subarray(0, short));
  data.set(input, length);
  const batch = { data, shape: [2, 1, length] };
  const paddingMask = [short, length].map((n) => Array.from({ length }, (_, i) => +(i < n)));
  const { latents, latentsMask } = await model.encode(batch, { paddingMask });
  assert.deepEqual(latents.shape, [2, 6, 32]);
  assert.deepEqual([...latentsMask.data], [1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1]);
  assert.deepEqual(latents.data.subarray(6 * 32), whole.data);
  const alone = (await model.encode(input.subarray(0, short))).latents;
  assert.deepEqual(latents.data.subarray(0, 4 * 32), alone.data);
  assert.ok(latents.data.subarray(4 * 32, 6 * 32).every((v) => v === 0));
  const both = await model.decode(latents, { paddingMask: { data: new Uint8Array(2 * 5000), shape: [2, 5000] } });
  assert.deepEqual(both.audioValues.shape, [2, 1, 5000]);
  assert.deepEqual(both.audioValues.data.subarray(5000), audio.subarray(0, 5000));
});

test("streams move half-way between the wasm backend and the oracle", async () => {
  const slow = await LatentModel.fromPretrained(testPath("models/pocket-tts-tiny"), { codec, backend: oracle() });
  assert.equal(slow.fingerprint, model.fingerprint);
  const some = input.subarray(0, 4 * FRAME), first = some.subarray(0, 2 * FRAME + 100);
  for (const [from, to] of [[model, slow], [slow, model]]) {
    const encoder = from.createEncoder(), parts = [await encoder.encode(first)], snapshot = await encoder.snapshot();
    assert.equal(snapshot.pending.length, 100);
    const next = to.createEncoder();
    await next.restore(structuredClone(snapshot));
    parts.push(await next.encode(some.subarray(first.length)));
    assertClose("latents", join(parts).data, slice(whole, 0, 4).data, 1e-5, true);

    const decoder = from.createDecoder(), out = [(await decoder.decode(slice(whole, 0, 2))).audioValues.data];
    const other = to.createDecoder();
    await other.decode(slice(whole, 3, 4));
    await other.restore(structuredClone(await decoder.snapshot()));
    out.push((await other.decode(slice(whole, 2, 4))).audioValues.data);
    assertClose("audio", [...out[0], ...out[1]], audio.subarray(0, 4 * FRAME), 1e-5, true);
  }
  slow.close();
});

test("reset begins a new stream; a closed one says so", async () => {
  const decoder = model.createDecoder(), encoder = model.createEncoder();
  await decoder.decode(slice(whole, 2, 4));
  await encoder.encode(input.subarray(1000, 5000));
  await Promise.all([decoder.reset(), encoder.reset()]);
  assert.deepEqual((await decoder.decode(whole)).audioValues.data, audio);
  assert.deepEqual(await encoder.encode(input.subarray(0, 3 * FRAME)), slice(whole, 0, 3));
  assert.deepEqual((await decoder.finish()).audioValues.shape, [1, 1, 0]);
  decoder.close();
  await assert.rejects(decoder.decode(whole), { code: "ERR_INVALID_STATE" });
});

test("half a model; a codec without an encoder", async () => {
  const path = testPath("models/pocket-tts-tiny"), decoderOnly = { ...codec, encoder: undefined };
  using half = await LatentModel.fromPretrained(path, { codec, part: "decoder" });
  assert.equal(half.fingerprint, model.fingerprint);
  assert.equal(half.memory.encoder, undefined);
  assert.deepEqual((await half.decode(whole)).audioValues.data, audio);
  await assert.rejects(half.encode(input), { code: "ERR_INVALID_STATE", message: /part: "both" or "encoder"/ });
  await assert.rejects(LatentModel.fromPretrained(path, { codec: decoderOnly }), {
    code: "ERR_CHECKPOINT",
    message: /unknown: mimi\.encoder/,
  });
  const ignores = (name: string) => /^(flow_lm|mimi\.(encoder|downsample))/.test(name);
  const without = { ...decoderOnly, layouts: codec.layouts.map((layout) => ({ ...layout, ignores })) };
  using vocoder = await LatentModel.fromPretrained(path, { codec: without });
  assert.deepEqual((await vocoder.decode(whole)).audioValues.data, audio);
  await assert.rejects(vocoder.encode(input), { code: "ERR_INVALID_STATE", message: /pocket-tts has none/ });
});

test("the first published model has other latents on either side", async () => {
  const json = await testJSON("models/pocket-tts-tiny/config.json") as Record<string, unknown>;
  const config = codec.parseConfig({ ...json, inner_dim: null });
  assert.deepEqual([config.encoderLatent, config.decoderLatent], [24, 32]);
});

test("what is no latent, no codec or no configuration of it", async () => {
  const latents = (data: unknown, shape: number[]) => ({ data, shape }) as Latents, values = new Float32Array(64);
  const wrong: [Latents, string, RegExp][] = [
    [latents(values, [1, 4, 16]), "ERR_INVALID_ARGUMENT", /must be \[batch, frames, 32\], got shape \[1,4,16\]/],
    [latents(values, [64]), "ERR_INVALID_ARGUMENT", /got shape \[64\]/],
    [latents(values, [1, 3, 32]), "ERR_INVALID_ARGUMENT", /needs 96 values, data has 64/],
    [latents([...values], [1, 2, 32]), "ERR_INVALID_ARGUMENT", /Float32Array/],
    [latents(values.map((_, i) => i === 40 ? NaN : 0), [1, 2, 32]), "ERR_NOT_FINITE", /latent 40 is NaN/],
    [latents(values.map((_, i) => i === 3 ? 1e9 : 0), [1, 2, 32]), "ERR_OUT_OF_RANGE", /latent 3/],
    [latents(new Float32Array(0), [1, 0, 32]), "ERR_EMPTY_INPUT", /no frames/],
  ];
  for (const [input, code, message] of wrong) await assert.rejects(model.decode(input), { code, message });
  for (const tail of [null, "none"]) {
    await assert.rejects(model.encode(input, { tail } as object), {
      message: /tail must be "transformers" or "zeros"/,
    });
    assert.throws(() => model.createEncoder({ tail } as object), { message: /tail must be "transformers" or "zeros"/ });
  }
  const decoder = model.createDecoder();
  await assert.rejects(decoder.decode(latents(values, [2, 1, 32])), { message: /takes one row, got a batch of 2/ });
  assert.deepEqual((await decoder.decode(latents(values, [2, 32]))).audioValues.shape, [1, 1, 2 * FRAME]);

  const path = testPath("models/pocket-tts-tiny");
  const load = (options: object) => LatentModel.fromPretrained(path, { codec, ...options });
  const wrongCodecs: [object | undefined, RegExp][] = [
    [undefined, /codec must be a Codec, got undefined/],
    [{}, /codec\.modelType must be/],
    [{ ...codec, tail: "zero" }, /codec\.tail must be "transformers" or "zeros", got "zero"/],
    [{ ...codec, encoder: 5 }, /codec\.encoder must be a function, or left out, got 5/],
    [{ ...codec, layouts: undefined }, /codec\.layouts must be an array/],
    [{ ...codec, layouts: [{ ...codec.layouts[0], sign: "mimi." }] }, /codec\.layouts\[0\]\.sign must be a RegExp/],
    [
      { ...codec, parseConfig: () => undefined },
      /parseConfig must give a configuration with a samplingRate.*undefined/,
    ],
    [{ ...codec, parseConfig: () => ({}) }, /parseConfig must give a configuration with a samplingRate.*undefined/],
  ];
  for (const [codec, message] of wrongCodecs) {
    await assert.rejects(load({ codec }), { code: "ERR_INVALID_ARGUMENT", message });
  }
  await assert.rejects(LatentModel.fromPretrained(path, undefined as never), { message: /codec must be a Codec/ });
  const half: typeof codec = { ...codec, decoder: () => SHORTER };
  await assert.rejects(load({ codec: half }), {
    code: "ERR_INVALID_ARGUMENT",
    message: /frames of encoder and decoder must have as many samples, got 1920 and 960/,
  });
  const zeros: Backend["compile"] = (network, tensors, options) =>
    wasm().compile(network, { read: async (spec) => (await tensors.read(spec)).fill(0) }, options);
  await assert.rejects(load({ backend: { ...wasm(), name: "zeros", compile: zeros } }), {
    code: "ERR_NOT_SUPPORTED",
    message: /the zeros backend computes wrongly on this device/,
  });
  await assert.rejects(load({ backend: { ...wasm(), losesDevice: true }, failover: true }), {
    code: "ERR_NOT_SUPPORTED",
    message: /failover is for models whose frames are codes/,
  });
  await assert.rejects(load({ numQuantizers: 8 }), { code: "ERR_INVALID_ARGUMENT", message: /numQuantizers/ });
  await assert.rejects(load({ worker: true }), { code: "ERR_INVALID_ARGUMENT", message: /worker/ });
  await assert.rejects(LatentModel.fromPretrained(testPath("models/tiny-hf"), { codec: mimi }), {
    code: "ERR_NOT_SUPPORTED",
    message: /frames of mimi are codes/,
  });
  await assert.rejects(LatentModel.fromPretrained(testPath("models/tiny-hf"), { codec, config: {} }), {
    code: "ERR_CHECKPOINT",
    message: /not a checkpoint of pocket-tts/,
  });
  const json = await testJSON("models/pocket-tts-tiny/config.json") as Record<string, object>;
  const configs: [object, RegExp][] = [
    [{ ...json, extra: 1 }, /mimi: extra is no known field/],
    [{ ...json, seanet: undefined }, /seanet must be an object/],
    [{ ...json, seanet: { ...json.seanet, dimension: 25 } }, /transformer: .* must be 25, got 24/],
    [{ ...json, outer_dim: 24 }, /outer_dim must be 16, got 24/],
    [{ ...json, seanet: { ...json.seanet, n_filters: 0 } }, /num_filters must be an integer/],
  ];
  for (const [config, message] of configs) await assert.rejects(load({ config }), { code: "ERR_CONFIG", message });
  await assert.rejects(load({ config: { ...json, inner_dim: 3.5 } }), {
    code: "ERR_INVALID_ARGUMENT",
    message: /pocket-tts, to encode: conv downsample\.conv: outChannels must be an integer from 1, got 3\.5/,
  });
});

test("a codec of other layers: any kind at either end, one position a frame or several", async () => {
  const rng = random("a codec of other layers");
  for (let round = 0; round < 10; round++) await oneCodec(rng);
});

/** Layers of random widths, by the wasm backend and by the oracle. */
async function oneCodec(rng: Random): Promise<void> {
  const width = rng.integer(3, 20), latent = rng.integer(1, 18);
  const strides = [rng.integer(2, 7), rng.integer(1, 5)], frameSize = strides[0] * strides[1];
  const conv = { kind: "conv", dilation: 1, bias: true, padMode: "constant" } as const;
  const linear = (name: string, inChannels: number, outChannels: number): Layer => (
    { kind: "linear", name, inChannels, outChannels, bias: true }
  );
  const up = { kind: "convTranspose", groups: 1, bias: true } as const;
  const other: Codec<CodecConfig> = {
    modelType: "other",
    tail: "transformers",
    parseConfig: () => ({ samplingRate: 8000 }),
    encoder: () => ({
      direction: "encode",
      frameSize,
      layers: [
        { ...conv, name: "in", inChannels: 1, outChannels: width, kernel: 2 * strides[0], stride: strides[0] },
        { ...conv, name: "down", inChannels: width, outChannels: width, kernel: strides[1], stride: strides[1] },
        { kind: "residual", branch: [{ kind: "gelu" }, linear("branch", width, width)], shortcut: [] },
        {
          kind: "residual",
          branch: [{ kind: "gelu" }, linear("narrow", width, latent)],
          shortcut: [linear("project", width, latent)],
        },
        { kind: "gelu" },
      ],
    }),
    decoder: () => ({
      direction: "decode",
      frameSize,
      layers: [
        { kind: "elu" },
        { kind: "residual", branch: [linear("same", latent, latent)], shortcut: [] },
        { ...up, name: "up", inChannels: latent, outChannels: width, kernel: 3 * strides[0], stride: strides[0] },
        { kind: "elu" },
        { ...up, name: "out", inChannels: width, outChannels: 1, kernel: strides[1], stride: strides[1] },
      ],
    }),
    layouts: [],
  };
  const config = other.parseConfig({}), networks = [other.encoder!(config), other.decoder(config)];
  const weights = randomWeights(rng, networks);
  const [fast, slow] = await Promise.all([wasm(), oracle()].map(async (backend) => {
    for (const network of networks) checkNetwork("here", network);
    const compile = (network: Network) => backend.compile(network, weights, { precision: "f32" });
    const [encoder, decoder] = await Promise.all(networks.map(compile));
    return new CoreLatentModel(other, { config, backend, encoder, decoder, fingerprint: "0", precision: "f32" });
  }));
  const input = rng.floats(20 * frameSize + rng.integer(1, frameSize - 1)), { latents } = await fast.encode(input);
  assert.deepEqual(latents.shape, [1, 21, latent]);
  assertClose("latents", latents.data, (await slow.encode(input)).latents.data, 1e-5);
  const { audioValues } = await fast.decode(latents), decoder = fast.createDecoder();
  assert.deepEqual(audioValues.shape, [1, 1, 21 * frameSize]);
  assertClose("audio", audioValues.data, (await slow.decode(latents)).audioValues.data, 1e-5);
  for (let frame = 0; frame < 21; frame++) {
    const one = { data: latents.data.subarray(frame * latent, (frame + 1) * latent), shape: [1, latent] };
    const { data } = (await decoder.decode(one)).audioValues;
    assert.deepEqual(data, audioValues.data.subarray(frame * frameSize, (frame + 1) * frameSize));
  }
}

test("the example: a recording to latents and back, frame by frame", async () => {
  const folder = await mkdtemp(joinPath(tmpdir(), "mimi-pocket-")), out = joinPath(folder, "out.wav");
  try {
    const args = [...RUNTIME, "examples/pocket-tts/main.ts", testPath("models/pocket-tts-tiny"), SAMPLE, out];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: ROOT });
    assert.equal(stderr, "");
    assert.match(stdout, /^it-cannot-complete\.wav: 40 latents of 32 numbers, 3\.2 s of speech/);
    const recording = fromPCM16((await readFile(SAMPLE)).subarray(WAV_HEADER_BYTES));
    const { audioValues } = await model.decode((await model.encode(recording)).latents);
    assert.deepEqual(new Uint8Array((await readFile(out)).subarray(WAV_HEADER_BYTES)), toPCM16(audioValues.data));
  } finally {
    await rm(folder, { recursive: true });
  }
});
