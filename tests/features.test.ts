/** The feature extractor against transformers' and against wrong calls. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MimiFeatureExtractor, MimiRangeError, MimiTypeError, NotSupportedError } from "../mod.ts";
import { openGolden, testPath } from "./support/files.ts";

const extractor = await MimiFeatureExtractor.fromPretrained(testPath("models/tiny-hf"));
const a = Float32Array.of(1, 2, 3), b = Float32Array.of(4);

test("a batch is padded as transformers pads it", async () => {
  const golden = await openGolden("tiny_batch2");
  const { inputValues, paddingMask } = extractor.extract([await golden.f32("raw0"), await golden.f32("raw1")], {
    samplingRate: 24000,
  });
  assert.deepEqual(inputValues, { data: await golden.f32("input_values"), shape: golden.shape("input_values") });
  assert.deepEqual(paddingMask, { data: await golden.i32("padding_mask"), shape: golden.shape("padding_mask") });
});

test("one recording, plain numbers, the embedded model's settings", async () => {
  const expected = {
    inputValues: { data: a, shape: [1, 1, 3] },
    paddingMask: { data: Int32Array.of(1, 1, 1), shape: [1, 3] },
  };
  assert.deepEqual(extractor.extract(a), expected);
  assert.deepEqual(extractor.extract([a]), expected);
  assert.deepEqual(extractor.extract([1, 2, 3]), expected);
  assert.deepEqual(await MimiFeatureExtractor.fromPretrained("mini"), extractor);
});

test("as many recordings as there are", () => {
  const { inputValues } = new MimiFeatureExtractor().extract(Array.from({ length: 200_000 }, () => Float32Array.of(1)));
  assert.deepEqual(inputValues.shape, [200_000, 1, 1]);
});

test("padding and truncation", () => {
  const shapeOf = (...args: Parameters<typeof extractor.extract>) => extractor.extract(...args).inputValues;
  for (const padding of [true, "longest"] as const) {
    assert.deepEqual(shapeOf([a, b], { padding }), { data: Float32Array.of(1, 2, 3, 4, 0, 0), shape: [2, 1, 3] });
  }
  assert.deepEqual(shapeOf([a, b], { padding: "max_length", maxLength: 4 }).shape, [2, 1, 4]);
  assert.deepEqual(shapeOf([a, b], { padding: "max_length", maxLength: 2 }).shape, [2, 1, 3]);
  assert.deepEqual(extractor.extract([a, a], { padding: false }), {
    inputValues: { data: Float32Array.of(1, 2, 3, 1, 2, 3), shape: [2, 1, 3] },
  });
  assert.deepEqual(shapeOf([a, a], { truncation: true, maxLength: 2 }), {
    data: Float32Array.of(1, 2, 1, 2),
    shape: [2, 1, 2],
  });
  const quiet = new MimiFeatureExtractor({ paddingValue: -1 });
  assert.deepEqual(quiet.extract([a, b]).inputValues.data, Float32Array.of(1, 2, 3, 4, -1, -1));
});

const any = <T>(value: unknown): T => value as T;
const WRONG: [
  name: string,
  call: () => unknown,
  kind: new (...args: never[]) => Error,
  code: string,
  message: RegExp,
][] = [
  [
    "rate",
    () => extractor.extract(a, { samplingRate: 44100 }),
    MimiRangeError,
    "ERR_SAMPLING_RATE",
    /24000 Hz.*44100 Hz/,
  ],
  [
    "stereo",
    () => extractor.extract(any([[a, a]])),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /expected mono audio, recording 0 is Array\(2\)/,
  ],
  ["nothing", () => extractor.extract(any(undefined)), MimiTypeError, "ERR_INVALID_ARGUMENT", /got undefined/],
  ["no recordings", () => extractor.extract([]), MimiTypeError, "ERR_INVALID_ARGUMENT", /got Array\(0\)/],
  [
    "an empty recording",
    () => extractor.extract([a, new Float32Array(0)]),
    MimiRangeError,
    "ERR_EMPTY_INPUT",
    /recording 1 is empty/,
  ],
  [
    "NaN",
    () => extractor.extract([a, Float32Array.of(0, NaN)]),
    MimiRangeError,
    "ERR_NOT_FINITE",
    /recording 1.*sample 1 is NaN/,
  ],
  [
    "padding and truncation",
    () => extractor.extract(a, { padding: true, truncation: true, maxLength: 2 }),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /both/,
  ],
  [
    "no maxLength",
    () => extractor.extract(a, { padding: "max_length" }),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /maxLength .*got undefined/,
  ],
  [
    "unequal without padding",
    () => extractor.extract([a, b], { padding: false }),
    MimiRangeError,
    "ERR_PADDING",
    /3, 1 samples/,
  ],
  [
    "unknown padding",
    () => extractor.extract(a, { padding: any("left") }),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /padding must be .*got "left"/,
  ],
  ["unknown option", () => extractor.extract(a, any({ rate: 1 })), MimiTypeError, "ERR_INVALID_ARGUMENT", /"rate"/],
  [
    "left padding",
    () => MimiFeatureExtractor.fromJSON({ padding_side: "left" }),
    NotSupportedError,
    "ERR_NOT_SUPPORTED",
    /padding_side "left"/,
  ],
  [
    "chunks",
    () => MimiFeatureExtractor.fromJSON({ chunk_length_s: 1 }),
    NotSupportedError,
    "ERR_NOT_SUPPORTED",
    /chunk_length_s 1/,
  ],
  [
    "bad rate",
    () => MimiFeatureExtractor.fromJSON({ sampling_rate: "x" }),
    Error,
    "ERR_CONFIG",
    /sampling_rate must be a number from 1 .*got "x"/,
  ],
  ["a list", () => MimiFeatureExtractor.fromJSON([]), Error, "ERR_CONFIG", /JSON object, got Array\(0\)/],
  [
    "too loud",
    () => extractor.extract([a, Float32Array.of(0, 1e7)]),
    MimiRangeError,
    "ERR_OUT_OF_RANGE",
    /recording 1: sample 1 is 10000000/,
  ],
  [
    "a maxLength that no memory has",
    () => extractor.extract(a, { padding: "max_length", maxLength: 1e12 }),
    MimiRangeError,
    "ERR_OUT_OF_RANGE",
    /1 recordings of 1000000000000 samples/,
  ],
  [
    "rate",
    () => new MimiFeatureExtractor({ samplingRate: any("a") }),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /samplingRate must be a number, got "a"/,
  ],
  [
    "padding value",
    () => new MimiFeatureExtractor({ paddingValue: NaN }),
    MimiRangeError,
    "ERR_OUT_OF_RANGE",
    /paddingValue must be from .* got NaN/,
  ],
  [
    "unknown field",
    () => new MimiFeatureExtractor(any({ sampling_rate: 1 })),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /"sampling_rate".*samplingRate/,
  ],
];
for (const [name, call, kind, code, message] of WRONG) {
  test(`wrong: ${name}`, () => {
    assert.throws(call, (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.equal((error as { code?: string } & Error).code, code);
      assert.match((error as Error).message, message);
      return true;
    });
  });
}
