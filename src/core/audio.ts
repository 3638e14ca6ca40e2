/**
 * Audio and padding masks as callers have them, checked and brought into one form.
 *
 * @module
 */
import { describe, MimiRangeError, MimiTypeError } from "./errors.ts";
import { checkTensor, firstNotFinite, isTensor, type Tensor } from "./tensor.ts";

/** The part of a Web Audio `AudioBuffer` that is read. */
export interface AudioBufferLike {
  /** Hz. */
  readonly sampleRate: number;
  /** Channels; a model takes one. */
  readonly numberOfChannels: number;
  /** Samples of a channel. */
  readonly length: number;
  /** Samples of a channel, -1 to 1. */
  getChannelData(channel: number): Float32Array;
}

/** Mono audio: samples of one row, a tensor [samples] or [batch, 1, samples], or an `AudioBuffer`. */
export type AudioInput = Float32Array | Tensor<Float32Array> | AudioBufferLike;

/** 1 where a sample is audio, 0 where it is padding on the right: [batch, samples] or [batch, 1, samples]. */
export type PaddingMask =
  | Tensor<Int32Array | Uint8Array | BigInt64Array | Float32Array | number[]>
  | readonly (readonly (number | boolean)[])[];

/** Rows of a batch, all equally long. */
export interface AudioRows {
  rows: Float32Array[];
  length: number;
}

/** @throws {MimiTypeError | MimiRangeError} naming the argument, what was expected and what came. */
export function toRows(where: string, input: unknown, rate: number, given: number | undefined): AudioRows {
  if (input instanceof Float32Array) {
    checkRate(where, rate, given);
    return finite(where, [input]);
  }
  if (isTensor(input)) {
    checkRate(where, rate, given);
    const { data, shape } = input;
    if (!(data instanceof Float32Array)) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: audio data must be a Float32Array, got ${describe(data)}.`,
      );
    }
    checkTensor(`${where}: audio`, { data, shape });
    if (shape.length === 1) return finite(where, [data]);
    if (shape.length !== 3 || shape[1] !== 1) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: audio must be [samples] or [batch, 1, samples], got shape ${JSON.stringify(shape)}.`,
      );
    }
    const [batch, , samples] = shape;
    return finite(where, Array.from({ length: batch }, (_, b) => data.subarray(b * samples, (b + 1) * samples)));
  }
  if (isAudioBuffer(input)) {
    checkRate(where, rate, given ?? input.sampleRate);
    if (input.sampleRate !== rate) checkRate(where, rate, input.sampleRate);
    if (input.numberOfChannels !== 1) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: the AudioBuffer has ${input.numberOfChannels} channels, expected 1; mix them with downmix().`,
      );
    }
    const samples: unknown = input.getChannelData(0);
    if (samples instanceof Float32Array) return finite(where, [samples]);
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: getChannelData of the AudioBuffer must give a Float32Array, got ${describe(samples)}.`,
    );
  }
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    `${where}: audio must be a Float32Array, a tensor or an AudioBuffer, got ${describe(input)}.`,
  );
}

/** @throws {MimiRangeError} `ERR_SAMPLING_RATE`. */
export function checkRate(where: string, rate: number, given: unknown): void {
  if (given === undefined || given === rate) return;
  throw new MimiRangeError(
    "ERR_SAMPLING_RATE",
    `${where}: this model works at ${rate} Hz, the audio is at ${describe(given)} Hz; convert it with resample().`,
  );
}

/** @throws {MimiRangeError} `ERR_NOT_FINITE` naming the first sample that is NaN or infinite. */
export function checkFinite(where: string, samples: Float32Array): void {
  const i = firstNotFinite(samples);
  if (i < 0) return;
  throw new MimiRangeError("ERR_NOT_FINITE", `${where}: sample ${i} is ${samples[i]}, expected a finite number.`);
}

/** Full scale is 1. What is louder than this is no audio, and would in the end leave a stream with a memory of NaN. */
export const LOUDEST = 1e6;

/** @throws {MimiRangeError} `ERR_NOT_FINITE`, or `ERR_OUT_OF_RANGE` for a sample beyond {@link LOUDEST}. */
export function checkSamples(where: string, samples: Float32Array): void {
  checkFinite(where, samples);
  const i = samples.findIndex((v) => v > LOUDEST || v < -LOUDEST);
  if (i < 0) return;
  throw new MimiRangeError(
    "ERR_OUT_OF_RANGE",
    `${where}: sample ${i} is ${samples[i]}, expected audio with a full scale of 1 (at most ${LOUDEST}).`,
  );
}

/** Length of each row in samples, from a mask that is 1 up to the row's end and 0 after it. */
export function rowLengths(where: string, mask: unknown, batch: number, samples: number): number[] {
  const { data, shape } = maskTensor(where, mask);
  const last = shape[shape.length - 1];
  if (shape[0] !== batch || last !== samples || !(shape.length === 2 || (shape.length === 3 && shape[1] === 1))) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: paddingMask must be [${batch}, ${samples}] like the audio, got shape ${JSON.stringify(shape)}.`,
    );
  }
  return Array.from({ length: batch }, (_, b) => {
    let length = 0;
    const at = (i: number) => typeof data[b * samples + i] === "string" ? NaN : Number(data[b * samples + i]);
    while (length < samples && at(length) === 1) length++;
    for (let i = length; i < samples; i++) {
      const value = at(i);
      if (value === 0) continue;
      throw value === 1
        ? new MimiRangeError(
          "ERR_PADDING",
          `${where}: paddingMask row ${b} is 0 at ${length} and 1 at ${i}; only padding on the right is possible.`,
        )
        : new MimiRangeError(
          "ERR_PADDING",
          `${where}: paddingMask row ${b} is ${describe(data[b * samples + i])} at ${i}, expected 0 or 1.`,
        );
    }
    if (length === 0) throw new MimiRangeError("ERR_EMPTY_INPUT", `${where}: paddingMask row ${b} leaves no audio.`);
    return length;
  });
}

/** Samples that a mask is long, which is where decoding cuts its output. */
export function maskLength(where: string, mask: unknown): number {
  const { shape } = maskTensor(where, mask);
  return shape[shape.length - 1];
}

function maskTensor(where: string, mask: unknown): Tensor<ArrayLike<unknown>> {
  if (isTensor(mask)) {
    checkTensor(`${where}: paddingMask`, mask);
    if (mask.shape.length > 0) return mask;
  }
  if (
    Array.isArray(mask) && mask.length > 0 && mask.every((row) => Array.isArray(row) && row.length === mask[0].length)
  ) {
    return { data: mask.flat(), shape: [mask.length, mask[0].length] };
  }
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    `${where}: paddingMask must be a tensor [batch, samples] or a list of equally long rows, got ${describe(mask)}.`,
  );
}

function finite(where: string, rows: Float32Array[]): AudioRows {
  const length = rows[0]?.length ?? 0;
  if (length === 0) {
    throw new MimiRangeError("ERR_EMPTY_INPUT", `${where}: the audio is empty, expected at least 1 sample.`);
  }
  for (const row of rows) checkSamples(where, row);
  return { rows, length };
}

function isAudioBuffer(value: unknown): value is AudioBufferLike {
  return typeof value === "object" && value !== null && typeof (value as AudioBufferLike).getChannelData === "function";
}
