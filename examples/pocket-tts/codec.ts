/**
 * The Mimi of Kyutai's Pocket TTS: a text-to-speech model that writes latents of 32 numbers, 12.5 a second, in place of
 * codes. Written after its Python package, pocket-tts 4.0.1: `models/mimi.py`, `utils/config.py`, `modules/`.
 *
 * It is Mimi with other numbers (strides 6, 5, 4, so transformers at 200 Hz, 16 positions a frame; two layers in each) and
 * without quantizers: the downsampling convolution of the encoder gives the latent, and the decoder begins with a
 * projection of it. Newer models have a decoder smaller than the encoder, so there are two configurations.
 *
 * @module
 */
import {
  type Codec,
  type CodecConfig,
  FormatError,
  type Layer,
  type Layout,
  mimi,
  MimiConfig,
  type MimiConfigFields,
} from "mimi-audio";

export interface PocketTtsConfig extends CodecConfig {
  readonly encoder: MimiConfig;
  readonly decoder: MimiConfig;
  /** Width of the latents that leave the encoder: 32, or 512 in the first model (2026-01). */
  readonly encoderLatent: number;
  /** Width of the latents that enter the decoder: 32. */
  readonly decoderLatent: number;
}

export const pocketTts: Codec<PocketTtsConfig> = {
  modelType: "pocket-tts",
  tail: "zeros",
  parseConfig,
  encoder({ encoder, encoderLatent }) {
    const { layers, ...network } = mimi.encoder!(encoder);
    return {
      ...network,
      layers: layers.filter(({ kind }) => kind !== "quantize").map((layer): Layer =>
        layer.kind === "conv" && layer.name === "downsample.conv" ? { ...layer, outChannels: encoderLatent } : layer
      ),
    };
  },
  decoder({ decoder, decoderLatent }) {
    const { layers, ...network } = mimi.decoder(decoder);
    const projection: Layer = {
      kind: "conv",
      name: "quantizer.output_proj",
      inChannels: decoderLatent,
      outChannels: decoder.hiddenSize,
      kernel: 1,
      stride: 1,
      dilation: 1,
      bias: false,
      padMode: "constant",
    };
    return { ...network, layers: [projection, ...layers.filter(({ kind }) => kind !== "dequantize")] };
  },
  layouts: [bundle()],
};

/** `model.safetensors` of a language: codec and language model in one file, named as the package's modules are. */
function bundle(): Layout<PocketTtsConfig> {
  const kyutai = mimi.layouts.find(({ name }) => name === "kyutai")!;
  return {
    name: "pocket-tts",
    sign: /^mimi\.(encoder|decoder)\./,
    ignores: (name) => !name.startsWith("mimi."),
    place(name, { encoder, decoder }) {
      const { names: [usual], ...rest } = kyutai.place(name, /^(encoder|downsample)/.test(name) ? encoder : decoder);
      // Modules are nested one level less than in Kyutai's other packages.
      const ours = usual.replace(/\.(conv|convtr)\.\1\./, ".$1.").replace(/\.in_proj_weight$/, ".in_proj.weight");
      return { names: [`mimi.${ours}`], ...rest };
    },
  };
}

type Section = Record<string, unknown>;

/** `pocket_tts/config/english.yaml`; most of the published models have the same codec. */
const ENGLISH: Section = {
  sample_rate: 24000,
  channels: 1,
  frame_rate: 12.5,
  inner_dim: 32,
  outer_dim: 512,
  seanet: {
    dimension: 512,
    channels: 1,
    n_filters: 64,
    n_residual_layers: 1,
    ratios: [6, 5, 4],
    kernel_size: 7,
    residual_kernel_size: 3,
    last_kernel_size: 3,
    dilation_base: 2,
    pad_mode: "constant",
    compress: 2,
  },
  transformer: {
    d_model: 512,
    input_dimension: 512,
    output_dimensions: [512],
    num_heads: 8,
    num_layers: 2,
    context: 250,
    dim_feedforward: 2048,
  },
  quantizer: { dimension: 32, output_dimension: 512 },
};

/** What the package calls Mimi's fields. */
const SEANET: Record<string, keyof MimiConfigFields> = {
  dimension: "hiddenSize",
  channels: "audioChannels",
  n_filters: "numFilters",
  n_residual_layers: "numResidualLayers",
  ratios: "upsamplingRatios",
  kernel_size: "kernelSize",
  residual_kernel_size: "residualKernelSize",
  last_kernel_size: "lastKernelSize",
  dilation_base: "dilationGrowthRate",
  pad_mode: "padMode",
  compress: "compress",
};
const TRANSFORMER: Record<string, keyof MimiConfigFields> = {
  d_model: "hiddenSize",
  num_heads: "numAttentionHeads",
  num_layers: "numHiddenLayers",
  context: "slidingWindow",
  dim_feedforward: "intermediateSize",
  max_period: "ropeTheta",
};

/** Reads the section `mimi` of one of the package's `config/*.yaml`, as JSON; an empty object stands for `english.yaml`. */
function parseConfig(json: unknown): PocketTtsConfig {
  const config = section(
    "mimi",
    JSON.stringify(json) === "{}" ? ENGLISH : json,
    ["sample_rate", "channels", "frame_rate", "seanet", "transformer", "quantizer"],
    ["inner_dim", "outer_dim", "decoder_seanet", "decoder_transformer", "dtype", "weights_path"],
  );
  const { sample_rate: samplingRate, frame_rate: frameRate } = config as { sample_rate: number; frame_rate: number };
  const side = (seanetName: string, transformerName: string): MimiConfig => {
    const seanet = section(seanetName, config[seanetName], Object.keys(SEANET));
    const { max_period: _, ...required } = TRANSFORMER;
    const transformer = section(
      transformerName,
      config[transformerName],
      [...Object.keys(required), "input_dimension", "output_dimensions"],
      ["max_period", "layer_scale"],
    );
    const { d_model, input_dimension, output_dimensions } = transformer;
    same(`${transformerName}: input_dimension, d_model and output_dimensions`, seanet.dimension, [
      ...[input_dimension, d_model],
      ...[output_dimensions].flat(),
    ]);
    const fields = (names: Record<string, string>, from: Section) =>
      Object.fromEntries(Object.entries(names).map(([theirs, ours]) => [ours, from[theirs]]));
    return new MimiConfig({
      samplingRate,
      frameRate,
      ...fields(SEANET, seanet),
      ...fields(TRANSFORMER, transformer),
      numKeyValueHeads: transformer.num_heads as number,
      upsampleGroups: seanet.dimension as number,
    });
  };
  const encoder = side("seanet", "transformer");
  const decoder = side(
    config.decoder_seanet == null ? "seanet" : "decoder_seanet",
    config.decoder_transformer == null ? "transformer" : "decoder_transformer",
  );
  const quantizer = section("quantizer", config.quantizer, ["dimension", "output_dimension"]);
  same("quantizer.output_dimension and outer_dim", decoder.hiddenSize, [
    quantizer.output_dimension,
    config.outer_dim ?? decoder.hiddenSize,
  ]);
  return {
    samplingRate: encoder.samplingRate,
    encoder,
    decoder,
    encoderLatent: (config.inner_dim ?? encoder.hiddenSize) as number,
    decoderLatent: quantizer.dimension as number,
  };
}

/** An object with the fields that it must have, and others only of those that it may have. */
function section(name: string, value: unknown, required: string[], optional: string[] = []): Section {
  if (typeof value !== "object" || value === null || Array.isArray(value)) wrong(`${name} must be an object`);
  const fields = Object.keys(value as Section);
  const missing = required.find((field) => !fields.includes(field));
  if (missing !== undefined) wrong(`${name}: ${missing} is missing`);
  const unknown = fields.find((field) => ![...required, ...optional].includes(field));
  if (unknown !== undefined) wrong(`${name}: ${unknown} is no known field`);
  return value as Section;
}

function same(names: string, expected: unknown, got: unknown[]): void {
  const other = got.find((value) => value !== expected);
  if (other !== undefined) wrong(`${names} must be ${expected}, got ${other}`);
}

function wrong(what: string): never {
  throw new FormatError("ERR_CONFIG", `pocket-tts: ${what}.`);
}
