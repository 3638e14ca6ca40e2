/** Configurations: every variant of config.json that is read, every value that is not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, MimiConfig, type MimiConfigFields } from "../mod.ts";
import { testJSON } from "./support/files.ts";

test("the default is kyutai/mimi", () => {
  const c = new MimiConfig();
  assert.deepEqual(
    [
      c.samplingRate,
      c.frameRate,
      c.frameSize,
      c.seanetFrameRate,
      c.latentStride,
      c.numQuantizers,
      c.codebookSize,
      c.slidingWindow,
      c.headDim,
    ],
    [24000, 12.5, 1920, 25, 2, 32, 2048, 250, 64],
  );
  assert.ok(Object.isFrozen(c) && Object.isFrozen(c.upsamplingRatios));
});

test("what transformers writes is read, and read back from what is written", async () => {
  for (const name of ["tiny-hf", "variants/ratios", "variants/residual", "variants/attention", "variants/latent"]) {
    const json = await testJSON(`models/${name}/config.json`) as Record<string, unknown>, c = MimiConfig.fromJSON(json);
    assert.equal(c.hiddenSize, json.hidden_size);
    assert.deepEqual(MimiConfig.fromJSON(JSON.parse(JSON.stringify(c))), c);
  }
});

const VARIANTS: [name: string, json: Record<string, unknown>, field: keyof MimiConfigFields, value: unknown][] = [
  ["nothing", {}, "ropeTheta", 10000],
  ["theta at the top", { rope_theta: 500 }, "ropeTheta", 500],
  ["theta inside", { rope_parameters: { rope_theta: 600, rope_type: "default" } }, "ropeTheta", 600],
  ["theta at both places", { rope_theta: 500, rope_parameters: { rope_theta: 600 } }, "ropeTheta", 600],
  ["rope_parameters null", { rope_parameters: null, rope_theta: 700 }, "ropeTheta", 700],
  ["frame_rate", { frame_rate: 25 }, "frameRate", 25],
  ["_frame_rate", { _frame_rate: 25 }, "frameRate", 25],
  ["_frame_rate null", { _frame_rate: null }, "frameRate", 12.5],
  ["no frame rate", { upsampling_ratios: [5, 4] }, "frameRate", 600],
  ["head_dim null", { head_dim: null, num_attention_heads: 16 }, "headDim", 32],
  ["head_dim absent", { num_attention_heads: 4, num_key_value_heads: 4 }, "headDim", 128],
  ["head_dim", { head_dim: 40 }, "headDim", 40],
  [
    "codebook_dim null",
    { codebook_dim: null, vector_quantization_hidden_dimension: 512, hidden_size: 512 },
    "codebookDim",
    512,
  ],
  ["no ratios", { upsampling_ratios: [] }, "upsamplingRatios", [8, 6, 5, 4]],
  ["fields of other things", { dtype: "float16", use_cache: true, id2label: {} }, "hiddenSize", 512],
];
for (const [name, json, field, value] of VARIANTS) {
  test(`config.json: ${name}`, () =>
    assert.deepEqual(MimiConfig.fromJSON({ model_type: "mimi", ...json })[field], value));
}

test("Pocket TTS's Mimi: 200 Hz inside, 16 positions a frame", () => {
  const c = new MimiConfig({ upsamplingRatios: [6, 5, 4], frameRate: 12.5 });
  assert.deepEqual([c.seanetFrameRate, c.latentStride, c.frameSize], [200, 16, 1920]);
});

const any = <T>(value: unknown): T => value as T;
const REFUSED: [fields: Record<string, unknown>, message: RegExp][] = [
  [{ hiddenSize: 0 }, /hidden_size must be an integer from 1 to 65536, got 0/],
  [{ hiddenSize: 1.5 }, /hidden_size .* got 1.5/],
  [{ hiddenSize: "512" }, /hidden_size .* got "512"/],
  [{ hiddenSize: 1e9 }, /hidden_size .* got 1000000000/],
  [{ samplingRate: -1 }, /sampling_rate .* got -1/],
  [{ audioChannels: 2 }, /audio_channels must be 1 .*got 2/],
  [{ numFilters: NaN }, /num_filters .* got NaN/],
  [{ numFilters: 4096, upsamplingRatios: [2, 2, 2, 2, 2] }, /num_filters .*65536 channels/],
  [{ upsamplingRatios: [8, 0] }, /upsampling_ratios must be .* got \[8,0\]/],
  [{ upsamplingRatios: 8 }, /upsampling_ratios .* got 8/],
  [{ upsamplingRatios: [1024, 1024] }, /upsampling_ratios must be a frame of at most|frame_rate/],
  [{ useCausalConv: false }, /use_causal_conv must be true/],
  [{ padMode: "reflect" }, /pad_mode must be "constant" or "replicate" .*got "reflect"/],
  [{ trimRightRatio: 0.5 }, /trim_right_ratio must be 1/],
  [{ compress: 1000 }, /compress must be at most num_?[fF]ilters/],
  [{ codebookSize: 1000 }, /codebook_size must be a power of two, got 1000/],
  [{ codebookSize: 131072 }, /codebook_size .* got 131072/],
  [{ codebookDim: 128 }, /codebook_dim must be .*256.*got 128/],
  [{ numQuantizers: 1 }, /num_quantizers .* got 1/],
  [{ numSemanticQuantizers: 32 }, /num_semantic_quantizers must be below .*32.*got 32/],
  [{ numSemanticQuantizers: 0 }, /num_semantic_quantizers .* got 0/],
  [{ upsampleGroups: 100 }, /upsample_groups must be a divisor of hiddenSize \(512\), got 100/],
  [{ numHiddenLayers: -1 }, /num_hidden_layers .* got -1/],
  [{ numAttentionHeads: 8, numKeyValueHeads: 3 }, /num_key_value_heads must be a divisor .*8.*got 3/],
  [{ headDim: 7 }, /head_dim must be an even number.*got 7/],
  [{ hiddenAct: "relu" }, /hidden_act must be "gelu" .*got "relu"/],
  [{ normEps: 0 }, /norm_eps must be a number from 1e-12 to 1, got 0/],
  [{ normEps: 1e-50 }, /norm_eps .* got 1e-50/],
  [{ ropeTheta: Infinity }, /rope_theta .* got Infinity/],
  [{ ropeTheta: 0.5 }, /rope_theta must be a number from 1 to 1000000000000, got 0.5/],
  [{ slidingWindow: 0 }, /sliding_window .* got 0/],
  [{ attentionBias: 1 }, /attention_bias must be true or false, got 1/],
  [{ frameRate: 7 }, /frame_rate must be .*25 Hz.*got 7/],
  [{ frameRate: 50 }, /frame_rate .* got 50/],
  [{ framerate: 12.5 }, /framerate must be a known field/],
  [{ toString: 1 }, /to_string must be a known field/],
  ...[null, "mimi", [1]].map((fields): [Record<string, unknown>, RegExp] => [any(fields), /must be an object.* got/]),
];
for (const [fields, message] of REFUSED) {
  test(`refused: ${JSON.stringify(fields)}`, () => {
    assert.throws(() => new MimiConfig(any(fields)), (error) => {
      assert.ok(error instanceof FormatError && error.code === "ERR_CONFIG", String(error));
      assert.match(error.message, message);
      return true;
    });
  });
}

const NO_JSON: [json: unknown, message: RegExp][] = [
  [null, /JSON object, got null/],
  [[], /JSON object, got Array\(0\)/],
  ["mimi", /JSON object, got "mimi"/],
  [{ model_type: "encodec" }, /model_type must be "mimi", got "encodec"/],
  [{ rope_parameters: { rope_type: "yarn" } }, /rope_type must be "default", got "yarn"/],
  [{ codebook_size: 3 }, /codebook_size must be a power of two, got 3/],
];
for (const [json, message] of NO_JSON) {
  test(`config.json refused: ${JSON.stringify(json)}`, () =>
    assert.throws(() => MimiConfig.fromJSON(json), { code: "ERR_CONFIG", message }));
}
