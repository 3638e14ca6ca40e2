/**
 * Audio codes: what Mimi turns speech into.
 *
 * @module
 */
import type { MimiConfig } from "./config.ts";
import { describe, MimiRangeError, MimiTypeError } from "./errors.ts";
import { checkTensor, isTensor, type Tensor } from "./tensor.ts";

/** Codes of a batch, [batch, codebooks, frames]; codebook 0 first. Each is an index into its codebook. */
export type AudioCodes = Tensor<Uint16Array>;

/** Codes as callers have them: any integer array with a shape, or nested lists [codebooks][frames] or [batch][codebooks][frames]. */
export type AudioCodesInput =
  | Tensor<Uint16Array | Uint8Array | Uint32Array | Int16Array | Int32Array | BigInt64Array | BigUint64Array | number[]>
  | readonly (readonly number[])[]
  | readonly (readonly (readonly number[])[])[];

/** Ways to make {@link AudioCodes}. */
export const AudioCodes: {
  /**
   * Codes of one row from a list of frames, each the codes of all codebooks: the order in which speech models produce
   * them. `[[12, 7], [3, 99]]` is 2 frames of 2 codebooks.
   *
   * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` where frames differ in length or hold no codes.
   * @throws {MimiRangeError} `ERR_CODE_OUT_OF_RANGE` where a code is not an integer from 0 to 65535.
   */
  fromFrames(frames: readonly ArrayLike<number>[]): AudioCodes;
} = {
  fromFrames(frames) {
    const codebooks = Array.isArray(frames) ? frames[0]?.length : undefined;
    if (!codebooks) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `AudioCodes.fromFrames: expected a list of frames, each a list of codes, got ${describe(frames)}.`,
      );
    }
    const data = new Uint16Array(codebooks * frames.length);
    for (let t = 0; t < frames.length; t++) {
      const frame = frames[t]; // a hole is no frame either
      if (frame?.length !== codebooks) {
        throw new MimiTypeError(
          "ERR_INVALID_ARGUMENT",
          `AudioCodes.fromFrames: frame ${t} has ${frame?.length} codes, frame 0 has ${codebooks}.`,
        );
      }
      for (let k = 0; k < codebooks; k++) {
        data[k * frames.length + t] = checkCode("AudioCodes.fromFrames", frame[k], 65536, [0, k, t]);
      }
    }
    return { data, shape: [1, codebooks, frames.length] };
  },
};

/**
 * Checked codes from whatever a caller has.
 *
 * @param size entries of a codebook.
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for a wrong type or shape.
 * @throws {MimiRangeError} `ERR_CODE_OUT_OF_RANGE` naming the first code that no codebook has.
 */
export function toAudioCodes(where: string, input: unknown, size: number): AudioCodes {
  const { data, shape } = isTensor(input) ? input : fromLists(where, input);
  checkTensor(`${where}: audioCodes`, { data, shape });
  if (shape.length !== 2 && shape.length !== 3) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: audioCodes must be [batch, codebooks, frames], got shape ${JSON.stringify(shape)}.`,
    );
  }
  const [batch, codebooks, frames] = shape.length === 3 ? shape : [1, ...shape];
  const out = new Uint16Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const value = data[i], code = typeof value === "bigint" ? Number(value) : value;
    // The common case first: no position to work out.
    out[i] = typeof code === "number" && code >= 0 && code < size && Number.isInteger(code)
      ? code
      : checkCode(where, value, size, [
        Math.floor(i / (codebooks * frames)),
        Math.floor(i / frames) % codebooks,
        i % frames,
      ]);
  }
  return { data: out, shape: [batch, codebooks, frames] };
}

function checkCode(where: string, value: unknown, size: number, [row, codebook, frame]: number[]): number {
  const code = Number(value);
  if ((typeof value === "number" || typeof value === "bigint") && Number.isInteger(code) && code >= 0 && code < size) {
    return code;
  }
  const special = Number.isInteger(code) && code >= size
    ? " Values from the codebook size upwards are special tokens of a language model (start, padding): take them out first."
    : "";
  throw new MimiRangeError(
    "ERR_CODE_OUT_OF_RANGE",
    `${where}: code ${
      describe(value)
    } at row ${row}, codebook ${codebook}, frame ${frame} is not an integer from 0 to ${size - 1}.${special}`,
  );
}

function fromLists(where: string, input: unknown): Tensor<unknown[]> & Tensor<ArrayLike<number | bigint>> {
  const shape: number[] = [];
  const isList = (v: unknown): v is ArrayLike<unknown> => Array.isArray(v) || (ArrayBuffer.isView(v) && "length" in v);
  if (!Array.isArray(input)) {
    const hint = isList(input) ? "; say its shape: { data, shape: [batch, codebooks, frames] }" : "";
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: audioCodes must be a tensor [batch, codebooks, frames] or nested lists, got ${
        describe(input)
      }${hint}.`,
    );
  }
  for (let level: unknown = input; isList(level); level = level[0]) shape.push(level.length);
  const flat: (number | bigint)[] = [];
  const visit = (list: ArrayLike<unknown>, depth: number) => {
    for (let i = 0; i < list.length; i++) {
      const item = list[i];
      if (depth === shape.length - 1) flat.push(item as number);
      else if (isList(item) && item.length === shape[depth + 1]) visit(item, depth + 1);
      else {throw new MimiTypeError(
          "ERR_INVALID_ARGUMENT",
          `${where}: audioCodes: lists at depth ${depth + 1} must all have ${shape[depth + 1]} items, got ${
            describe(item)
          }.`,
        );}
    }
  };
  visit(input, 0);
  return { data: flat, shape };
}

/** @throws {MimiTypeError | MimiRangeError} `ERR_NUM_QUANTIZERS`. */
export function checkNumQuantizers(
  where: string,
  asked: number | undefined,
  config: MimiConfig,
  loaded: number,
): number {
  if (asked === undefined) return loaded;
  if (!Number.isInteger(asked)) {
    throw new MimiTypeError(
      "ERR_NUM_QUANTIZERS",
      `${where}: numQuantizers must be an integer, got ${describe(asked)}.`,
    );
  }
  const low = config.numSemanticQuantizers;
  if (asked < low || asked > config.numQuantizers) {
    throw new MimiRangeError(
      "ERR_NUM_QUANTIZERS",
      `${where}: numQuantizers must be from ${low} to ${config.numQuantizers}, got ${asked}.`,
    );
  }
  checkCodebooks(where, asked, loaded, config);
  return asked;
}

/** @throws {MimiRangeError} `ERR_NUM_QUANTIZERS` for codebooks that are not there or not loaded. */
export function checkCodebooks(where: string, codebooks: number, loaded: number, config: MimiConfig): void {
  if (codebooks >= 1 && codebooks <= loaded) return;
  const hint = codebooks > loaded && codebooks <= config.numQuantizers
    ? ` The model has ${config.numQuantizers}; load more with the option numQuantizers of fromPretrained.`
    : "";
  throw new MimiRangeError(
    "ERR_NUM_QUANTIZERS",
    `${where}: ${codebooks} codebooks asked for, ${loaded} are loaded.${hint}`,
  );
}
