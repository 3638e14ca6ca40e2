/**
 * The feature extractor: lists of recordings into one padded batch. Follows transformers'
 * `EncodecFeatureExtractor`, which Mimi uses.
 *
 * @module
 */
import { checkRate, checkSamples, LOUDEST } from "./audio.ts";
import { checkOptions, describe, FormatError, MimiRangeError, MimiTypeError, NotSupportedError } from "./errors.ts";
import type { Tensor } from "./tensor.ts";

/** How recordings become one batch. */
export interface FeatureOptions {
  /** Hz of the recordings; another rate than the model's is refused. */
  samplingRate?: number;
  /**
   * `true` or `"longest"`: to the longest recording (default); `"max_length"`: to `maxLength`; `false`: not at all, which
   * takes recordings of one length.
   */
  padding?: boolean | "longest" | "max_length";
  /** Cut recordings to `maxLength`. Cannot be combined with padding that is asked for. */
  truncation?: boolean;
  /** Samples. */
  maxLength?: number;
}

/** What a model takes: audio [batch, 1, samples], and with padding a mask [batch, samples]. */
export interface Features {
  /** [batch, 1, samples] */
  inputValues: Tensor<Float32Array>;
  /** 1 where a sample is audio: [batch, samples]. Undefined without padding. */
  paddingMask?: Tensor<Int32Array>;
}

/** The fields of `preprocessor_config.json` that matter. */
export interface FeatureExtractorFields {
  /** Hz; default 24000. */
  samplingRate: number;
  /** What padding is filled with; default 0. */
  paddingValue: number;
}

/** Samples of a batch at most: 6 hours at 24 kHz, 2 GiB. */
const MOST_SAMPLES = 2 ** 29;

/** Pads recordings on the right into a batch, with a mask. It neither resamples nor changes the level. */
export class MimiFeatureExtractor {
  /** Hz. */
  readonly samplingRate: number;
  /** What padding is filled with. */
  readonly paddingValue: number;

  /** @throws {MimiTypeError | MimiRangeError} for a field that is unknown, no number or out of range. */
  constructor(fields: Partial<FeatureExtractorFields> = {}) {
    const where = "MimiFeatureExtractor";
    checkOptions(where, fields, ["samplingRate", "paddingValue"]);
    const field = (name: keyof FeatureExtractorFields, fallback: number, low: number) => {
      const value: unknown = fields[name] ?? fallback;
      if (typeof value !== "number") {
        throw new MimiTypeError(
          "ERR_INVALID_ARGUMENT",
          `${where}: ${name} must be a number, got ${describe(value)}.`,
        );
      }
      if (value >= low && value <= LOUDEST) return value;
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `${where}: ${name} must be from ${low} to ${LOUDEST}, got ${value}.`,
      );
    };
    this.samplingRate = field("samplingRate", 24000, 1);
    this.paddingValue = field("paddingValue", 0, -LOUDEST);
  }

  /**
   * Reads a `preprocessor_config.json`.
   *
   * @throws {FormatError} `ERR_CONFIG`.
   * @throws {NotSupportedError} for left padding or chunking, which Mimi does not use.
   */
  static fromJSON(json: unknown): MimiFeatureExtractor {
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      throw new FormatError("ERR_CONFIG", `preprocessor_config.json must hold a JSON object, got ${describe(json)}.`);
    }
    const raw = json as Record<string, unknown>;
    const number = (key: string, fallback: number, low: number) => {
      const value = raw[key] ?? fallback;
      if (typeof value === "number" && value >= low && value <= LOUDEST) return value;
      throw new FormatError(
        "ERR_CONFIG",
        `preprocessor_config.json: ${key} must be a number from ${low} to ${LOUDEST}, got ${describe(value)}.`,
      );
    };
    const only = (key: string, expected: unknown) => {
      if ((raw[key] ?? expected) !== expected) {
        throw new NotSupportedError(
          `preprocessor_config.json: ${key} ${describe(raw[key])} is not supported, only ${describe(expected)}.`,
        );
      }
    };
    only("feature_size", 1);
    only("padding_side", "right");
    only("chunk_length_s", null);
    only("overlap", null);
    return new MimiFeatureExtractor({
      samplingRate: number("sampling_rate", 24000, 1),
      paddingValue: number("padding_value", 0, -LOUDEST),
    });
  }

  /**
   * @param audio one mono recording or a list of them.
   * @throws {MimiTypeError | MimiRangeError} naming the argument, what was expected and what came.
   */
  extract(audio: Float32Array | readonly Float32Array[] | readonly number[], options: FeatureOptions = {}): Features {
    const where = "MimiFeatureExtractor.extract";
    checkOptions(where, options, ["samplingRate", "padding", "truncation", "maxLength"]);
    const { truncation = false, maxLength } = options;
    if (![undefined, true, false, "longest", "max_length"].includes(options.padding)) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: padding must be true, false, "longest" or "max_length", got ${describe(options.padding)}.`,
      );
    }
    if (options.padding && truncation) {
      throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: padding and truncation cannot both be asked for.`);
    }
    const padding = options.padding ?? !truncation;
    checkRate(where, this.samplingRate, options.samplingRate);
    if ((truncation || padding === "max_length") && !(Number.isInteger(maxLength) && maxLength! > 0)) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: maxLength must be a number of samples, got ${describe(maxLength)}.`,
      );
    }
    const rows = recordings(where, audio).map((row) => truncation ? row.subarray(0, maxLength) : row);
    const longest = rows.reduce((n, row) => Math.max(n, row.length), 0);
    const length = padding === "max_length" ? Math.max(longest, maxLength!) : longest;
    if (rows.length * length > MOST_SAMPLES) {
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `${where}: ${rows.length} recordings of ${length} samples are more than the ${MOST_SAMPLES} that fit in a batch.`,
      );
    }
    if (!padding && rows.some((row) => row.length !== length)) {
      throw new MimiRangeError(
        "ERR_PADDING",
        `${where}: without padding all recordings must be equally long, got ${
          rows.map((r) => r.length).slice(0, 8).join(", ")
        } samples.`,
      );
    }
    const data = new Float32Array(rows.length * length).fill(this.paddingValue), mask = new Int32Array(data.length);
    rows.forEach((row, b) => {
      data.set(row, b * length);
      mask.fill(1, b * length, b * length + row.length);
    });
    const features: Features = { inputValues: { data, shape: [rows.length, 1, length] } };
    if (padding) features.paddingMask = { data: mask, shape: [rows.length, length] };
    return features;
  }
}

function recordings(where: string, audio: unknown): Float32Array[] {
  const list = audio instanceof Float32Array || (Array.isArray(audio) && typeof audio[0] === "number")
    ? [audio]
    : audio;
  if (!Array.isArray(list) || list.length === 0) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: expected a mono recording (Float32Array) or a list of them, got ${describe(audio)}.`,
    );
  }
  return list.map((item, i) => {
    const isNumbers = Array.isArray(item) && item.every((v) => typeof v === "number");
    if (!(item instanceof Float32Array) && !isNumbers) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: expected mono audio, recording ${i} is ${describe(item)}.`,
      );
    }
    if (item.length === 0) throw new MimiRangeError("ERR_EMPTY_INPUT", `${where}: recording ${i} is empty.`);
    const samples = item instanceof Float32Array ? item : Float32Array.from(item);
    checkSamples(`${where}: recording ${i}`, samples);
    return samples;
  });
}
