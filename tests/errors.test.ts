/** Wrong calls: each gets one typed error that names the argument, what was expected and what came, and spoils nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AudioCodes,
  type Backend,
  InvalidStateError,
  isMimiError,
  MimiDecoderStream,
  MimiEncoderStream,
  type MimiErrorCode,
  MimiModel,
  MimiRangeError,
  MimiTypeError,
  NotSupportedError,
  type Program,
  type StreamSnapshot,
  wasm,
} from "../mod.ts";
import { testPath } from "./support/files.ts";

const TINY = testPath("models/tiny-hf"); // 4 codebooks of 64, 1 semantic
const model = await MimiModel.fromPretrained(TINY);
const tone = Float32Array.from({ length: 5000 }, (_, i) => ((i % 100) - 50) / 200);
const good = await model.encode(tone);

type Kind = new (...args: never[]) => Error;
type Case = [what: string, call: () => unknown, kind: Kind, code: MimiErrorCode, message: RegExp];

async function fails([what, call, kind, code, message]: Case): Promise<void> {
  let error: unknown;
  try {
    await call();
  } catch (caught) {
    error = caught;
  }
  assert.ok(error instanceof kind, `${what}: ${error ?? "no error"}`);
  assert.ok(isMimiError(error), what);
  assert.equal(error.code, code, `${what}: ${error.message}`);
  assert.match(error.message, message, what);
}

function cases(name: string, list: Case[]): void {
  for (const one of list) test(`${name}: ${one[0]}`, () => fails(one));
}

const any = <T>(value: unknown): T => value as T; // a caller without types
const tensor = (shape: number[], fill = 0.1) => ({
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(fill),
  shape,
});
const buffer = (sampleRate: number, numberOfChannels: number) => ({
  sampleRate,
  numberOfChannels,
  length: tone.length,
  getChannelData: () => tone,
});
const withSample = (value: number) => Float32Array.from(tone, (v, i) => i === 321 ? value : v);

cases("encode", [
  [
    "nothing",
    () => model.encode(any(undefined)),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /audio must be .*got undefined/,
  ],
  ["empty", () => model.encode(new Float32Array(0)), MimiRangeError, "ERR_EMPTY_INPUT", /empty/],
  ["empty batch", () => model.encode(tensor([0, 1, 10])), MimiRangeError, "ERR_EMPTY_INPUT", /empty/],
  ["NaN", () => model.encode(withSample(NaN)), MimiRangeError, "ERR_NOT_FINITE", /sample 321 is NaN/],
  ["infinity", () => model.encode(withSample(-Infinity)), MimiRangeError, "ERR_NOT_FINITE", /sample 321 is -Infinity/],
  ["too loud", () => model.encode(withSample(-1e30)), MimiRangeError, "ERR_OUT_OF_RANGE", /sample 321 is -1.*1000000/],
  [
    "AudioBuffer without samples",
    () => model.encode({ ...buffer(24000, 1), getChannelData: () => any([1]) }),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /getChannelData .* got Array\(1\)/,
  ],
  ["length", () => model.getEncodedLength(any(undefined)), MimiRangeError, "ERR_OUT_OF_RANGE", /integer from 0/],
  ["a list", () => model.encode(any([0, 1])), MimiTypeError, "ERR_INVALID_ARGUMENT", /got Array\(2\)/],
  [
    "doubles",
    () => model.encode(any(new Float64Array(9))),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /got Float64Array\(9\)/,
  ],
  [
    "rank 2",
    () => model.encode(tensor([2, 100])),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /\[batch, 1, samples\], got shape \[2,100\]/,
  ],
  [
    "stereo tensor",
    () => model.encode(tensor([1, 2, 100])),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /got shape \[1,2,100\]/,
  ],
  [
    "shape against data",
    () => model.encode({ data: tone, shape: [1, 1, 7] }),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /needs 7 values, data has 5000/,
  ],
  [
    "rate",
    () => model.encode(tone, { samplingRate: 16000 }),
    MimiRangeError,
    "ERR_SAMPLING_RATE",
    /24000 Hz.*16000 Hz.*resample\(\)/,
  ],
  ["AudioBuffer rate", () => model.encode(buffer(48000, 1)), MimiRangeError, "ERR_SAMPLING_RATE", /48000/],
  [
    "AudioBuffer rate hidden",
    () => model.encode(buffer(48000, 1), { samplingRate: 24000 }),
    MimiRangeError,
    "ERR_SAMPLING_RATE",
    /48000/,
  ],
  [
    "AudioBuffer channels",
    () => model.encode(buffer(24000, 2)),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /2 channels, expected 1.*downmix\(\)/,
  ],
  [
    "no codebooks",
    () => model.encode(tone, { numQuantizers: 0 }),
    MimiRangeError,
    "ERR_NUM_QUANTIZERS",
    /from 1 to 4, got 0/,
  ],
  [
    "too many",
    () => model.encode(tone, { numQuantizers: 5 }),
    MimiRangeError,
    "ERR_NUM_QUANTIZERS",
    /from 1 to 4, got 5/,
  ],
  [
    "a fraction",
    () => model.encode(tone, { numQuantizers: 1.5 }),
    MimiTypeError,
    "ERR_NUM_QUANTIZERS",
    /integer, got 1.5/,
  ],
  [
    "a string",
    () => model.encode(tone, { numQuantizers: any("8") }),
    MimiTypeError,
    "ERR_NUM_QUANTIZERS",
    /integer, got "8"/,
  ],
  [
    "unknown option",
    () => model.encode(tone, any({ numQuantisers: 2 })),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /"numQuantisers".*numQuantizers/,
  ],
  [
    "options",
    () => model.encode(tone, any(3)),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /options must be an object, got 3/,
  ],
  [
    "tail",
    () => model.encode(tone, { tail: any("kyutai") }),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /"transformers" or "zeros", got "kyutai"/,
  ],
]);

const masked = (rows: number[][]) => model.encode(tensor([rows.length, 1, 6]), { paddingMask: rows });
cases("paddingMask", [
  ["left", () => masked([[0, 0, 1, 1, 1, 1]]), MimiRangeError, "ERR_PADDING", /0 at 0 and 1 at 2.*right/],
  ["hole", () => masked([[1, 1, 0, 1, 1, 1]]), MimiRangeError, "ERR_PADDING", /0 at 2 and 1 at 3.*right/],
  ["a two", () => masked([[1, 2, 0, 0, 0, 0]]), MimiRangeError, "ERR_PADDING", /is 2 at 1, expected 0 or 1/],
  ["strings", () => masked(any([Array(6).fill("1")])), MimiRangeError, "ERR_PADDING", /expected 0 or 1/],
  ["empty row", () => masked([[1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]]), MimiRangeError, "ERR_EMPTY_INPUT", /row 1/],
  ["other shape", () => masked([[1, 1, 1]]), MimiTypeError, "ERR_INVALID_ARGUMENT", /\[1, 6\].*got shape \[1,3\]/],
  [
    "no mask",
    () => model.encode(tone, { paddingMask: any("1111") }),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /got "1111"/,
  ],
]);

const codes = (value: number) => [[1, 2, value], [1, 2, 3]];
cases("decode", [
  [
    "special token",
    () => model.decode(codes(64)),
    MimiRangeError,
    "ERR_CODE_OUT_OF_RANGE",
    /code 64 at row 0, codebook 0, frame 2.*0 to 63.*special tokens/,
  ],
  [
    "bigint",
    () => model.decode({ data: BigInt64Array.of(1n, 2048n), shape: [1, 2, 1] }),
    MimiRangeError,
    "ERR_CODE_OUT_OF_RANGE",
    /2048n at row 0, codebook 1, frame 0/,
  ],
  ["negative", () => model.decode(codes(-1)), MimiRangeError, "ERR_CODE_OUT_OF_RANGE", /code -1/],
  ["fraction", () => model.decode(codes(1.5)), MimiRangeError, "ERR_CODE_OUT_OF_RANGE", /code 1.5/],
  ["NaN", () => model.decode(codes(NaN)), MimiRangeError, "ERR_CODE_OUT_OF_RANGE", /code NaN/],
  ["string", () => model.decode(any([["1"]])), MimiRangeError, "ERR_CODE_OUT_OF_RANGE", /code "1"/],
  ["ragged", () => model.decode([[1, 2], [1]]), MimiTypeError, "ERR_INVALID_ARGUMENT", /2 items, got Array\(1\)/],
  [
    "rank 1",
    () => model.decode(any([1, 2])),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /\[batch, codebooks, frames\], got shape \[2\]/,
  ],
  ["rank 4", () => model.decode(any([[[[1]]]])), MimiTypeError, "ERR_INVALID_ARGUMENT", /got shape \[1,1,1,1\]/],
  [
    "bare array",
    () => model.decode(any(new Int32Array(8))),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /Int32Array\(8\).*say its shape/,
  ],
  ["nothing", () => model.decode(any(null)), MimiTypeError, "ERR_INVALID_ARGUMENT", /got null/],
  [
    "too many codebooks",
    () => model.decode([[1], [1], [1], [1], [1]]),
    MimiRangeError,
    "ERR_NUM_QUANTIZERS",
    /5 codebooks asked for, 4 are loaded/,
  ],
  [
    "no codebooks",
    () => model.decode({ data: new Uint16Array(0), shape: [1, 0, 3] }),
    MimiRangeError,
    "ERR_NUM_QUANTIZERS",
    /0 codebooks/,
  ],
  [
    "no frames",
    () => model.decode({ data: new Uint16Array(0), shape: [1, 4, 0] }),
    MimiRangeError,
    "ERR_EMPTY_INPUT",
    /no frames/,
  ],
  [
    "mask",
    () => model.decode([[1]], { paddingMask: any(7) }),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /paddingMask.*got 7/,
  ],
  ["fromFrames: nothing", () => AudioCodes.fromFrames([]), MimiTypeError, "ERR_INVALID_ARGUMENT", /list of frames/],
  [
    "fromFrames: ragged",
    () => AudioCodes.fromFrames([[1, 2], [1]]),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /frame 1 has 1 codes, frame 0 has 2/,
  ],
  [
    "fromFrames: a hole",
    () => AudioCodes.fromFrames(any([[1], , [2]])),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /frame 1 has undefined codes/,
  ],
  ["fromFrames: range", () => AudioCodes.fromFrames([[70000]]), MimiRangeError, "ERR_CODE_OUT_OF_RANGE", /70000/],
]);

const two = await MimiModel.fromPretrained(TINY, { numQuantizers: 2 });
const encoderOnly = await MimiModel.fromPretrained(TINY, { part: "encoder" }),
  decoderOnly = await MimiModel.fromPretrained(TINY, { part: "decoder" });
const closed = await MimiModel.fromPretrained(TINY),
  orphan = closed.createEncoder(),
  orphanDecoder = closed.createDecoderSync();
closed.close();
const closedEncoder = model.createEncoder(), closedDecoder = model.createDecoder();
closedEncoder.close();
closedDecoder.close();

/** A backend that computes as wasm does and pretends to need time. */
const later: Backend = {
  name: "later",
  sync: false,
  available: () => Promise.resolve(true),
  async compile(network, tensors, options): Promise<Program> {
    const program = await wasm().compile(network, tensors, options);
    return new Proxy(program, {
      get(target, key) {
        const value = Reflect.get(target, key, target);
        if (typeof value !== "function") return value;
        const bound = value.bind(target);
        return ["step", "save", "load", "reset"].includes(String(key))
          ? async (...args: unknown[]) => (await new Promise((done) => setTimeout(done, 1)), bound(...args))
          : bound;
      },
    });
  },
};
const asynchronous = await MimiModel.fromPretrained(TINY, { backend: later });

cases("state", [
  [
    "codebooks not loaded",
    () => two.encode(tone, { numQuantizers: 3 }),
    MimiRangeError,
    "ERR_NUM_QUANTIZERS",
    /3 codebooks asked for, 2 are loaded.*numQuantizers of fromPretrained/,
  ],
  [
    "codes not loaded",
    () => two.decode(good.audioCodes),
    MimiRangeError,
    "ERR_NUM_QUANTIZERS",
    /4 codebooks asked for, 2 are loaded.*numQuantizers/,
  ],
  [
    "load none",
    () => MimiModel.fromPretrained(TINY, { numQuantizers: 0 }),
    MimiRangeError,
    "ERR_NUM_QUANTIZERS",
    /from 1 to 4, got 0/,
  ],
  [
    "no encoder",
    () => decoderOnly.encode(tone),
    InvalidStateError,
    "ERR_INVALID_STATE",
    /the encoder is not loaded.*part/,
  ],
  [
    "no encoder stream",
    () => decoderOnly.createEncoder(),
    InvalidStateError,
    "ERR_INVALID_STATE",
    /encoder is not loaded/,
  ],
  [
    "no decoder",
    () => encoderOnly.decode(good.audioCodes),
    InvalidStateError,
    "ERR_INVALID_STATE",
    /the decoder is not loaded.*part/,
  ],
  [
    "forward without a decoder",
    () => encoderOnly.forward(tone),
    InvalidStateError,
    "ERR_INVALID_STATE",
    /decoder is not loaded/,
  ],
  ["closed model", () => closed.encode(tone), InvalidStateError, "ERR_INVALID_STATE", /model is closed/],
  ["stream of a closed model", () => orphan.encode(tone), InvalidStateError, "ERR_INVALID_STATE", /model is closed/],
  [
    "decoder of a closed model",
    () => orphanDecoder.decode(good.audioCodes),
    InvalidStateError,
    "ERR_INVALID_STATE",
    /model is closed/,
  ],
  ["closed encoder", () => closedEncoder.encode(tone), InvalidStateError, "ERR_INVALID_STATE", /encoder is closed/],
  [
    "closed decoder",
    () => closedDecoder.decode(good.audioCodes),
    InvalidStateError,
    "ERR_INVALID_STATE",
    /decoder is closed/,
  ],
  [
    "sync on an asynchronous backend",
    () => asynchronous.createEncoderSync(),
    NotSupportedError,
    "ERR_NOT_SUPPORTED",
    /this model's backend is not synchronous/,
  ],
  ["stream options", () => model.createEncoder(any({ rate: 1 })), MimiTypeError, "ERR_INVALID_ARGUMENT", /"rate"/],
  ...(["createDecoder", "createDecoderSync"] as const).map((method): Case => [
    `${method} options`,
    () => model[method](any({ tail: "zeros" })),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    new RegExp(`^${method}: unknown option "tail"`),
  ]),
  ...[MimiEncoderStream, MimiDecoderStream].map((Stream): Case => [
    `${Stream.name} without a model`,
    () => new Stream(any(undefined)),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    new RegExp(`^${Stream.name}: expected a MimiModel, got undefined`),
  ]),
  ["stream too loud", () => model.createEncoder().encode(withSample(3e38)), MimiRangeError, "ERR_OUT_OF_RANGE", /321/],
  [
    "stream input",
    () => model.createEncoder().encode(any([1])),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /pcm must be a Float32Array, got Array\(1\)/,
  ],
  ["stream NaN", () => model.createEncoder().encode(withSample(NaN)), MimiRangeError, "ERR_NOT_FINITE", /sample 321/],
  [
    "stream batch",
    () => model.createDecoder().decode([[[1]], [[1]]]),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /one row, got a batch of 2/,
  ],
]);

const saved = model.createEncoderSync().snapshot();
const changed = (change: (s: StreamSnapshot) => void) => {
  const copy = structuredClone(saved);
  change(copy);
  return () => model.createEncoder().restore(copy);
};
cases("restore", [
  [
    "nothing",
    () => model.createEncoder().restore(any(undefined)),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /snapshot of an encoder, got undefined/,
  ],
  [
    "other kind",
    () => model.createDecoder().restore(saved),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /decoder, got "encoder"/,
  ],
  [
    "other model",
    changed((s) => s.fingerprint = "0123456789abcdef"),
    InvalidStateError,
    "ERR_WRONG_MODEL",
    /0123456789abcdef/,
  ],
  [
    "missing tensor",
    changed((s) => s.state.tensors.pop()),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /does not have the tensors/,
  ],
  [
    "short tensor",
    changed((s) => s.state.tensors[0] = new Float32Array(1)),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /does not have the tensors/,
  ],
  ["position", changed((s) => s.position = -1), MimiTypeError, "ERR_INVALID_ARGUMENT", /integer from 0 to.* got -1/],
  [
    "two positions",
    changed((s) => s.position = 1),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /position and state\.frames must be one integer .*got 1 and 0/,
  ],
  ...[2 ** 23 + 1, 2 ** 31, 2 ** 53 - 1, 0.5, NaN].map((position): Case => [
    `position ${position}`,
    changed((s) => s.position = s.state.frames = position),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    new RegExp(`integer from 0 to 8388608, got ${position}`),
  ]),
  ["pending", changed((s) => s.pending = new Float32Array(1920)), MimiTypeError, "ERR_INVALID_ARGUMENT", /snapshot/],
  ["NaN", changed((s) => s.state.tensors[1][0] = NaN), MimiRangeError, "ERR_NOT_FINITE", /snapshot.*NaN/],
]);

test("codes are taken in every integer form", async () => {
  const { data, shape } = good.audioCodes, [, codebooks, frames] = shape;
  const expected = (await model.decode(good.audioCodes)).audioValues.data;
  const lists = Array.from({ length: codebooks }, (_, k) => [...data.subarray(k * frames, (k + 1) * frames)]);
  const byFrame = Array.from({ length: frames }, (_, t) => lists.map((l) => l[t]));
  const forms = [
    lists,
    [lists],
    AudioCodes.fromFrames(byFrame),
    { data: Int32Array.from(data), shape },
    { data: BigInt64Array.from(data, BigInt), shape },
    { data: Uint8Array.from(data), shape },
    { data: [...data], shape: [codebooks, frames] },
  ];
  for (const form of forms) assert.deepEqual((await model.decode(form)).audioValues.data, expected);
});

test("an AudioBuffer of the right kind and a bare tensor are taken", async () => {
  assert.deepEqual((await model.encode(buffer(24000, 1))).audioCodes, good.audioCodes);
  assert.deepEqual((await model.encode({ data: tone, shape: [tone.length] })).audioCodes, good.audioCodes);
  assert.deepEqual((await model.encode(tone, { samplingRate: 24000 })).audioCodes, good.audioCodes);
});

test("a wrong call leaves a stream as it was", async () => {
  const encoder = model.createEncoder(), first = await encoder.encode(tone.subarray(0, 3000));
  for (const wrong of [withSample(NaN), any<Float32Array>("x")]) await assert.rejects(encoder.encode(wrong));
  await assert.rejects(encoder.encode(tone, { numQuantizers: 9 }));
  await assert.rejects(encoder.finish({ numQuantizers: 9 }));
  await assert.rejects(encoder.restore(any({})));
  const rest = [await encoder.encode(tone.subarray(3000)), await encoder.finish()];
  const frame = (c: AudioCodes, t: number) => Array.from({ length: c.shape[1] }, (_, k) => c.data[k * c.shape[2] + t]);
  const all = [first, ...rest].flatMap((c) => Array.from({ length: c.shape[2] }, (_, t) => frame(c, t)));
  assert.deepEqual(AudioCodes.fromFrames(all), good.audioCodes);
});

test("forward: masks and codebooks are its own to complain about", async () => {
  const audioCodes = good.audioCodes, paddingMask = any<number[][]>(5);
  for (const options of [{ paddingMask }, { paddingMask, audioCodes }]) {
    await fails([
      "mask",
      () => model.forward(tone, options),
      MimiTypeError,
      "ERR_INVALID_ARGUMENT",
      /^forward: padding/,
    ]);
  }
  const wrong = () => model.forward(tone, { audioCodes, numQuantizers: 2 });
  await fails([
    "codebooks",
    wrong,
    MimiRangeError,
    "ERR_NUM_QUANTIZERS",
    /^forward: numQuantizers is 2, .* 4 codebooks/,
  ]);
  assert.deepEqual(await model.forward(tone, { audioCodes, numQuantizers: 4 }), await model.forward(tone));
});

const batchOf = (...rows: Float32Array[]) => ({
  data: Float32Array.from(rows.flatMap((row) => [...row])),
  shape: [rows.length, 1, rows[0].length],
});
const other = Float32Array.from(tone, (v, i) => v * (i % 7) / 7);

for (const made of [() => model, () => asynchronous]) {
  const { backend } = made();
  test(`${backend}: arrays and options are read when a call is made`, async () => {
    const model = made(), input = batchOf(tone, other), paddingMask = { data: new Uint8Array(10000), shape: [2, 5000] };
    paddingMask.data.fill(1, 0, 4000).fill(1, 5000);
    const options = { paddingMask, numQuantizers: 3 }, kept = structuredClone({ input, options });
    const codes = { data: new Int32Array(32).map((_, i) => i), shape: [2, 4, 4] }, keptCodes = structuredClone(codes);
    const encoder = model.createEncoder(), perCall = { numQuantizers: 2 };
    await encoder.encode(other);
    const snapshot = await encoder.snapshot(), keptSnapshot = structuredClone(snapshot);
    const calls = [
      model.encode(input, options),
      model.forward(input, options),
      model.decode(codes),
      model.forward(input, { audioCodes: codes }),
      encoder.encode(tone, perCall),
      encoder.restore(snapshot),
      encoder.encode(tone, perCall),
      encoder.finish(perCall),
    ];
    input.data.fill(0.5);
    paddingMask.data.fill(1);
    codes.data.fill(0);
    options.numQuantizers = perCall.numQuantizers = 1;
    snapshot.state.tensors.forEach((t) => t.fill(0.1));
    snapshot.pending.fill(0.3);
    const results = await Promise.all(calls);
    const again = model.createEncoder();
    await again.encode(other);
    assert.deepEqual(results, [
      await model.encode(kept.input, kept.options),
      await model.forward(kept.input, kept.options),
      await model.decode(keptCodes),
      await model.forward(kept.input, { audioCodes: keptCodes }),
      await again.encode(tone, { numQuantizers: 2 }),
      await again.restore(keptSnapshot),
      await again.encode(tone, { numQuantizers: 2 }),
      await again.finish({ numQuantizers: 2 }),
    ]);
  });

  test(`${backend}: closing a model fails what is on its way with a typed error`, async () => {
    const closing = await MimiModel.fromPretrained(TINY, { backend: backend === "later" ? later : wasm() });
    const encoder = closing.createEncoder(), input = batchOf(tone, other);
    const calls = [
      closing.encode(input),
      closing.decode([[[1], [2]], [[3], [4]]]),
      closing.forward(input),
      encoder.encode(tone),
      encoder.snapshot(),
    ];
    const settled = Promise.allSettled(calls);
    closing.close();
    for (const [i, result] of (await settled).entries()) {
      // A synchronous backend was through with whole recordings before the model was closed.
      if (backend === "wasm" && i < 2) assert.equal(result.status, "fulfilled");
      else {
        const error: unknown = (result as PromiseRejectedResult).reason;
        assert.ok(error instanceof InvalidStateError, `call ${i}: ${error}`);
        assert.match(error.message, /the model is closed/);
      }
    }
  });
}

test("a stream that is closed while its step runs gives its memory back after it", async () => {
  const closing = asynchronous.createEncoder(), running = closing.encode(tone), waiting = closing.encode(tone);
  const settled = Promise.allSettled([running, waiting]);
  await new Promise((later) => setTimeout(later)); // the step has begun
  closing.close();
  // It takes the memory of closed streams, if there is any.
  const next = asynchronous.createEncoder();
  const codes = [await next.encode(tone), await next.finish()];
  assert.deepEqual(codes.map((c) => c.shape[2]), [2, 1]);
  const whole = await model.createEncoder().encode(tone);
  assert.deepEqual(codes[0], whole);
  for (const result of await settled) {
    assert.match(String((result as PromiseRejectedResult).reason), /InvalidStateError: encoder\.encode: .* closed/);
  }
});

test("an asynchronous backend gives the same through the same handles", async () => {
  assert.equal(asynchronous.backend, "later");
  assert.deepEqual((await asynchronous.encode(tone)).audioCodes, good.audioCodes);
  const encoder = asynchronous.createEncoder(), decoder = asynchronous.createDecoder();
  const parts = await Promise.all([
    encoder.encode(tone.subarray(0, 1000)),
    encoder.encode(tone.subarray(1000)),
    encoder.finish(),
  ]);
  assert.deepEqual(parts.map((p) => p.shape[2]), [0, 2, 1]);
  const audio = await Promise.all(parts.map((p) => decoder.decode(p)));
  const whole = (await model.decode(good.audioCodes)).audioValues.data;
  assert.deepEqual(audio[1].audioValues.data, whole.slice(0, 3840));
  assert.deepEqual(audio[2].audioValues.data, whole.slice(3840));
  const state = await encoder.snapshot();
  await encoder.restore(state);
  assert.deepEqual(await encoder.snapshot(), state);
});
