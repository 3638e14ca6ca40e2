/**
 * What a Mimi model is made of, as the official `config.json` says it. Field meanings and defaults follow Hugging Face
 * transformers, `models/mimi/configuration_mimi.py` (5.23).
 *
 * @module
 */
import { describe, FormatError } from "./errors.ts";

/** The fields of a configuration. Names are those of `config.json` in camelCase. */
export interface MimiConfigFields {
  /** Hz of the audio in and out. */
  samplingRate: number;
  /** Codes per second and codebook. Given explicitly it wins, otherwise it follows from the strides. */
  frameRate: number;
  /** Channels of the audio. Only 1 is supported. */
  audioChannels: 1;
  /** Channels of the latent and of the transformers. */
  hiddenSize: number;
  /** Channels after the first convolution. */
  numFilters: number;
  /** Residual blocks per stage. */
  numResidualLayers: number;
  /** Strides in the decoder's order; the encoder uses them reversed. */
  upsamplingRatios: readonly number[];
  /** Kernel of the first convolution of encoder and decoder. */
  kernelSize: number;
  /** Kernel of the last convolution of encoder and decoder. */
  lastKernelSize: number;
  /** Kernel of the first convolution of a residual block. */
  residualKernelSize: number;
  /** Residual block j of a stage has dilation `dilationGrowthRate ** j`. */
  dilationGrowthRate: number;
  /** Only `true` is supported: anything else cannot stream. */
  useCausalConv: true;
  /** How convolutions fill what lies before the first and after the last sample. */
  padMode: "constant" | "replicate";
  /** A residual block works on `channels / compress`. */
  compress: number;
  /** Only 1 is supported: a transposed convolution is trimmed on the right. */
  trimRightRatio: 1;
  /** Entries of a codebook; a power of two up to 65536. */
  codebookSize: number;
  /** Values of a codebook entry. */
  codebookDim: number;
  /** Codebooks, semantic ones included. */
  numQuantizers: number;
  /** A 1x1 convolution instead of the identity on a residual block's skip. */
  useConvShortcut: boolean;
  /** Width that the latent is projected to before quantizing; no projection where it equals `hiddenSize`. */
  vectorQuantizationHiddenDimension: number;
  /** The first codebooks, which form a residual quantizer of their own. */
  numSemanticQuantizers: number;
  /** Groups of the transposed convolution between frame rate and SEANet rate. */
  upsampleGroups: number;
  /** Layers of each transformer. */
  numHiddenLayers: number;
  /** Width of the feed-forward layers. */
  intermediateSize: number;
  /** Heads of the queries of a transformer. */
  numAttentionHeads: number;
  /** Heads of keys and values; divides `numAttentionHeads`. */
  numKeyValueHeads: number;
  /** Channels of a head; even. By default `hiddenSize / numAttentionHeads`. */
  headDim: number;
  /** Only `"gelu"` (the exact, erf form) is supported. */
  hiddenAct: "gelu";
  /** From 1e-12 to 1. */
  normEps: number;
  /** Base of the rotary position embedding, from 1 to 1e12. */
  ropeTheta: number;
  /** Positions that a query sees, itself included. */
  slidingWindow: number;
  /** Whether the projections of attention have a bias. */
  attentionBias: boolean;
}

type Field = keyof MimiConfigFields;
type Raw = Record<string, unknown>;

/** One row a field: default and rule. A rule returns what it expected when the value breaks it. */
interface Row {
  fallback: unknown;
  rule: (value: unknown) => string | undefined;
}

// Far above any published model, far below what would exhaust a machine before the weights are even looked at.
const MAX_SIZE = 65536;

const integer = (low: number, high = MAX_SIZE) => (v: unknown): string | undefined =>
  Number.isInteger(v) && (v as number) >= low && (v as number) <= high
    ? undefined
    : `an integer from ${low} to ${high}`;
const positive = (v: unknown): string | undefined =>
  typeof v === "number" && Number.isFinite(v) && v > 0 ? undefined : "a number above 0";
const between = (low: number, high: number) => (v: unknown): string | undefined =>
  typeof v === "number" && v >= low && v <= high ? undefined : `a number from ${low} to ${high}`;
const boolean = (v: unknown): string | undefined => typeof v === "boolean" ? undefined : "true or false";
const oneOf = (...values: unknown[]) => (v: unknown): string | undefined =>
  values.includes(v) ? undefined : values.map((x) => JSON.stringify(x)).join(" or ") + " (nothing else is supported)";
const powerOfTwo = (v: unknown): string | undefined =>
  integer(2)(v) || ((v as number) & ((v as number) - 1) ? "a power of two" : undefined);
const ratios = (v: unknown): string | undefined =>
  Array.isArray(v) && v.length >= 1 && v.length <= 12 && v.every((r) => !integer(1, 1024)(r))
    ? undefined
    : "1 to 12 integers from 1 to 1024";

const ROWS: Record<Field, Row> = {
  samplingRate: { fallback: 24000, rule: integer(1, 768000) },
  frameRate: { fallback: undefined, rule: positive },
  audioChannels: { fallback: 1, rule: oneOf(1) },
  hiddenSize: { fallback: 512, rule: integer(1) },
  numFilters: { fallback: 64, rule: integer(1, 4096) },
  numResidualLayers: { fallback: 1, rule: integer(0, 16) },
  upsamplingRatios: { fallback: [8, 6, 5, 4], rule: ratios },
  kernelSize: { fallback: 7, rule: integer(1, 1024) },
  lastKernelSize: { fallback: 3, rule: integer(1, 1024) },
  residualKernelSize: { fallback: 3, rule: integer(1, 1024) },
  dilationGrowthRate: { fallback: 2, rule: integer(1, 16) },
  useCausalConv: { fallback: true, rule: oneOf(true) },
  padMode: { fallback: "constant", rule: oneOf("constant", "replicate") },
  compress: { fallback: 2, rule: integer(1) },
  trimRightRatio: { fallback: 1, rule: oneOf(1) },
  codebookSize: { fallback: 2048, rule: powerOfTwo },
  codebookDim: { fallback: 256, rule: integer(1) },
  numQuantizers: { fallback: 32, rule: integer(2, 1024) },
  useConvShortcut: { fallback: false, rule: boolean },
  vectorQuantizationHiddenDimension: { fallback: 256, rule: integer(1) },
  numSemanticQuantizers: { fallback: 1, rule: integer(1, 1023) },
  upsampleGroups: { fallback: 512, rule: integer(1) },
  numHiddenLayers: { fallback: 8, rule: integer(0, 256) },
  intermediateSize: { fallback: 2048, rule: integer(1) },
  numAttentionHeads: { fallback: 8, rule: integer(1, 1024) },
  numKeyValueHeads: { fallback: 8, rule: integer(1, 1024) },
  headDim: { fallback: undefined, rule: integer(2, 4096) },
  hiddenAct: { fallback: "gelu", rule: oneOf("gelu") },
  normEps: { fallback: 1e-5, rule: between(1e-12, 1) },
  ropeTheta: { fallback: 10000, rule: between(1, 1e12) },
  slidingWindow: { fallback: 250, rule: integer(1) },
  attentionBias: { fallback: false, rule: boolean },
};

const FIELDS = Object.keys(ROWS) as Field[];
const snake = (field: string) => field.replace(/[A-Z]/g, (c) => "_" + c.toLowerCase());

/** A checked, frozen configuration. Without arguments it is that of `kyutai/mimi`. */
export class MimiConfig implements MimiConfigFields {
  /** As in `config.json`. */
  readonly modelType = "mimi";
  declare readonly samplingRate: number;
  declare readonly frameRate: number;
  declare readonly audioChannels: 1;
  declare readonly hiddenSize: number;
  declare readonly numFilters: number;
  declare readonly numResidualLayers: number;
  declare readonly upsamplingRatios: readonly number[];
  declare readonly kernelSize: number;
  declare readonly lastKernelSize: number;
  declare readonly residualKernelSize: number;
  declare readonly dilationGrowthRate: number;
  declare readonly useCausalConv: true;
  declare readonly padMode: "constant" | "replicate";
  declare readonly compress: number;
  declare readonly trimRightRatio: 1;
  declare readonly codebookSize: number;
  declare readonly codebookDim: number;
  declare readonly numQuantizers: number;
  declare readonly useConvShortcut: boolean;
  declare readonly vectorQuantizationHiddenDimension: number;
  declare readonly numSemanticQuantizers: number;
  declare readonly upsampleGroups: number;
  declare readonly numHiddenLayers: number;
  declare readonly intermediateSize: number;
  declare readonly numAttentionHeads: number;
  declare readonly numKeyValueHeads: number;
  declare readonly headDim: number;
  declare readonly hiddenAct: "gelu";
  declare readonly normEps: number;
  declare readonly ropeTheta: number;
  declare readonly slidingWindow: number;
  declare readonly attentionBias: boolean;

  /**
   * @param fields what differs from `kyutai/mimi`; `null` and `undefined` mean the default.
   * @throws {FormatError} `ERR_CONFIG` naming the field, what was expected and what came.
   */
  constructor(fields: Partial<MimiConfigFields> = {}) {
    const raw = fields as Raw;
    if (typeof raw !== "object" || raw === null || Array.isArray(raw)) {
      throw new FormatError("ERR_CONFIG", `config: must be an object with fields, got ${describe(fields)}.`);
    }
    for (const key of Object.keys(raw)) {
      if (!Object.hasOwn(ROWS, key)) throw wrong(key, "a known field", raw[key]);
    }
    const values: Raw = {};
    for (const field of FIELDS) {
      const { fallback, rule } = ROWS[field];
      const value = raw[field] ?? fallback;
      if (value !== undefined) {
        const expected = rule(value);
        if (expected) throw wrong(field, expected, value);
      }
      values[field] = value;
    }
    values.headDim ??= Math.floor((values.hiddenSize as number) / (values.numAttentionHeads as number));
    values.upsamplingRatios = Object.freeze([...values.upsamplingRatios as number[]]);
    // Without an explicit rate transformers assumes that a stride of 2 follows the SEANet.
    values.frameRate ??= (values.samplingRate as number) / (2 * product(values.upsamplingRatios as number[]));
    Object.assign(this, values);
    this.#checkTogether();
    Object.freeze(this);
  }

  #checkTogether(): void {
    const c = this;
    if (c.numSemanticQuantizers >= c.numQuantizers) {
      throw wrong("numSemanticQuantizers", `below numQuantizers (${c.numQuantizers})`, c.numSemanticQuantizers);
    }
    if (c.vectorQuantizationHiddenDimension !== c.codebookDim) {
      throw wrong(
        "codebookDim",
        `vectorQuantizationHiddenDimension (${c.vectorQuantizationHiddenDimension})`,
        c.codebookDim,
      );
    }
    if (c.headDim < 2 || c.headDim % 2) throw wrong("headDim", "an even number, for rotary embeddings", c.headDim);
    if (c.numAttentionHeads % c.numKeyValueHeads) {
      throw wrong("numKeyValueHeads", `a divisor of numAttentionHeads (${c.numAttentionHeads})`, c.numKeyValueHeads);
    }
    if (!Number.isInteger(c.latentStride) || c.latentStride < 1) {
      throw wrong("frameRate", `${c.seanetFrameRate} Hz (samplingRate / ratios) divided by an integer`, c.frameRate);
    }
    if (c.hiddenSize % c.upsampleGroups && c.latentStride > 1) {
      throw wrong("upsampleGroups", `a divisor of hiddenSize (${c.hiddenSize})`, c.upsampleGroups);
    }
    if (c.compress > c.numFilters) throw wrong("compress", `at most numFilters (${c.numFilters})`, c.compress);
    if (c.numFilters * 2 ** c.upsamplingRatios.length > MAX_SIZE) {
      throw wrong("numFilters", `at most ${MAX_SIZE} channels after the last stage`, c.numFilters);
    }
    if (c.frameSize > 1 << 20) {
      throw wrong("upsamplingRatios", "a frame of at most 1048576 samples", c.upsamplingRatios);
    }
  }

  /** Latents per second between SEANet and the resampling convolution: 25 Hz. */
  get seanetFrameRate(): number {
    return Math.ceil(this.samplingRate / product(this.upsamplingRatios));
  }

  /** Stride between the SEANet's rate and the frame rate: 2. At 1 there is no resampling convolution. */
  get latentStride(): number {
    return this.seanetFrameRate / this.frameRate;
  }

  /** Samples per frame: 1920. */
  get frameSize(): number {
    return product(this.upsamplingRatios) * this.latentStride;
  }

  /**
   * Reads a `config.json` in any variant that transformers has written: `rope_theta` at the top or in
   * `rope_parameters`; `frame_rate`, `_frame_rate` or neither; `head_dim` null or absent. Fields that do not change
   * the network are ignored.
   *
   * @throws {FormatError} `ERR_CONFIG`.
   */
  static fromJSON(json: unknown): MimiConfig {
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      throw new FormatError("ERR_CONFIG", `config.json must hold a JSON object, got ${describe(json)}.`);
    }
    const raw = json as Raw;
    if (raw.model_type !== undefined && raw.model_type !== "mimi") throw wrong("model_type", '"mimi"', raw.model_type);
    const rope = (raw.rope_parameters ?? {}) as Raw;
    if (rope.rope_type !== undefined && rope.rope_type !== "default") {
      throw wrong("rope_parameters.rope_type", '"default"', rope.rope_type);
    }
    const fields: Raw = {};
    for (const field of FIELDS) fields[field] = raw[snake(field)];
    fields.frameRate ??= raw._frame_rate;
    fields.ropeTheta = rope.rope_theta ?? raw.rope_theta;
    // transformers falls back on the default for an empty list, and to hidden_size for a null codebook_dim.
    if (Array.isArray(raw.upsampling_ratios) && raw.upsampling_ratios.length === 0) fields.upsamplingRatios = undefined;
    if (raw.codebook_dim === null) fields.codebookDim = raw.hidden_size;
    return new MimiConfig(fields as Partial<MimiConfigFields>);
  }

  /** The `config.json` of this configuration, readable by transformers. */
  toJSON(): Record<string, unknown> {
    const out: Raw = { architectures: ["MimiModel"], model_type: "mimi" };
    for (const field of FIELDS) if (field !== "ropeTheta") out[snake(field)] = this[field];
    out.rope_parameters = { rope_theta: this.ropeTheta, rope_type: "default" };
    return out;
  }
}

function product(values: readonly number[]): number {
  return values.reduce((a, b) => a * b, 1);
}

function wrong(field: string, expected: string, got: unknown): FormatError {
  const shown = Array.isArray(got) ? JSON.stringify(got) : describe(got);
  return new FormatError("ERR_CONFIG", `config: ${snake(field)} must be ${expected}, got ${shown}.`);
}
