/**
 * Tensors stored as integers: `value = integer * scale`, with scales beside them.
 *
 * The scales of a tensor are one of as many axes; an index along an axis has the scale at that index modulo the scales
 * there. [512, 1, 1] is a scale for each output of a convolution, [1, 256, 4] for each output and phase of a transposed one.
 *
 * Integers of 8 bits are a tensor of their own shape. Those of 12 bits are bytes, two integers in three: the lower 8 bits of
 * the first, its upper 4 and, above them, the lower 4 of the second, its upper 8.
 *
 * @module
 */
import { describe, FormatError } from "./errors.ts";
import { sizeOf } from "./network.ts";
import { type IntegerFormat, scaleOf, toInteger, TOP } from "./packing.ts";
import type { Safetensors, TensorInfo } from "./safetensors.ts";

/** The formats of weights that are stored. */
export type StoredFormat = Exclude<IntegerFormat, "int16">;

/** A tensor that is stored as integers. */
export interface QuantizedTensor {
  as: StoredFormat;
  /** Of its values. */
  shape: number[];
}

/** How integers lie in a file. */
export const STORED: Record<StoredFormat, { dtype: string; shape(shape: number[]): number[] }> = {
  int8: { dtype: "I8", shape: (shape) => shape },
  int12: { dtype: "U8", shape: (shape) => [Math.ceil(sizeOf(shape) * 3 / 2)] },
};

/** Name of the tensor that holds the scales of another. */
export const scalesOf = (name: string): string => `${name}_scale`;

/**
 * Rounds values to integers, as {@link packMatrix} does with rows: with the scales' rows as its rows it gives the same
 * integers and scales, and again with the values that come of them.
 *
 * @param scales shape of the scales: as many axes as `shape`.
 */
export function quantize(
  values: Float32Array,
  { as, shape }: QuantizedTensor,
  scales: number[],
): { integers: Uint8Array; scales: Float32Array } {
  const found = new Float32Array(sizeOf(scales)), whole = new Int16Array(values.length);
  const run = shape[shape.length - 1], many = scales[scales.length - 1];
  for (const [from, first] of runs(shape, scales)) {
    for (let k = 0; k < run; k++) {
      const at = first + k % many, size = Math.abs(values[from + k]);
      if (size > found[at]) found[at] = size;
    }
  }
  const steps = found.map((largest) => scaleOf(largest, as)), inverse = Float64Array.from(steps, (step) => 1 / step);
  for (const [from, first] of runs(shape, scales)) {
    for (let k = 0; k < run; k++) {
      const at = first + k % many;
      if (steps[at] > 0) whole[from + k] = toInteger(values[from + k] * inverse[at], TOP[as]);
    }
  }
  return { integers: as === "int8" ? new Uint8Array(Int8Array.from(whole).buffer) : toTwelve(whole), scales: steps };
}

/** The values of integers and their scales, the shape of which is given too. */
export function dequantize(
  integers: Uint8Array,
  scales: Float32Array,
  { as, shape }: QuantizedTensor,
  scaleShape: number[],
): Float32Array {
  const values = new Float32Array(sizeOf(shape)), integerAt = as === "int8" ? eightAt : twelveAt;
  const run = shape[shape.length - 1], many = scaleShape[scaleShape.length - 1];
  for (const [from, first] of runs(shape, scaleShape)) {
    for (let k = 0; k < run; k++) values[from + k] = integerAt(integers, from + k) * scales[first + k % many];
  }
  return values;
}

/** Where each run along the last axis begins, and the scale of its first value. */
function* runs(shape: number[], scales: number[]): Generator<[from: number, scale: number]> {
  const last = shape.length - 1, index = shape.map(() => 0);
  for (let from = 0; from < sizeOf(shape); from += shape[last]) {
    yield [from, index.reduce((at, i, axis) => at * scales[axis] + i % scales[axis], 0)];
    for (let axis = last - 1; axis >= 0 && ++index[axis] === shape[axis]; axis--) index[axis] = 0;
  }
}

const eightAt = (bytes: Uint8Array, i: number) => bytes[i] << 24 >> 24;

function twelveAt(bytes: Uint8Array, i: number): number {
  const at = (i >>> 1) * 3;
  return i & 1 ? bytes[at + 2] << 24 >> 20 | bytes[at + 1] >>> 4 : bytes[at + 1] << 28 >> 20 | bytes[at];
}

function toTwelve(integers: Int16Array): Uint8Array {
  const bytes = new Uint8Array(STORED.int12.shape([integers.length])[0]);
  integers.forEach((integer, i) => {
    const at = (i >>> 1) * 3;
    if (i & 1) {
      bytes[at + 1] |= (integer & 15) << 4;
      bytes[at + 2] = integer >> 4;
    } else {
      bytes[at] = integer;
      bytes[at + 1] = integer >> 8 & 15;
    }
  });
  return bytes;
}

/** What a checkpoint reads: tensors by name, as f32. */
export type TensorFile = Pick<Safetensors, "name" | "tensors" | "read" | "prepare" | "close">;

/**
 * A file in which some tensors are quantized, as one of f32.
 *
 * @throws {FormatError} `ERR_SAFETENSORS` where integers or scales are missing or do not fit.
 */
export function dequantized(file: Safetensors, quantized: Readonly<Record<string, QuantizedTensor>>): TensorFile {
  const tensors = new Map<string, TensorInfo>(file.tensors);
  const fail = (name: string, what: string) => {
    throw new FormatError("ERR_SAFETENSORS", `${file.name}: tensor "${name}" ${what}.`);
  };
  for (const [name, { as, shape }] of Object.entries(quantized)) {
    const info = file.tensors.get(name), scales = file.tensors.get(scalesOf(name)), stored = STORED[as];
    if (!info || !scales) fail(info ? scalesOf(name) : name, `is missing, ${name} is stored as ${as}`);
    const { dtype } = stored, expected = stored.shape(shape);
    if (info!.dtype !== dtype || info!.shape.join() !== expected.join()) {
      fail(name, `must be ${dtype} ${JSON.stringify(expected)}, got ${info!.dtype} ${JSON.stringify(info!.shape)}`);
    }
    if (scales!.dtype !== "F32" || scales!.shape.length !== shape.length || !sizeOf(scales!.shape)) {
      fail(
        scalesOf(name),
        `must be F32 of ${shape.length} axes, got ${scales!.dtype} ${JSON.stringify(scales!.shape)}`,
      );
    }
    if (scales!.shape.some((many, axis) => many > shape[axis])) {
      fail(scalesOf(name), `must not have more than ${JSON.stringify(shape)}, got ${describe(scales!.shape)}`);
    }
    tensors.set(name, { ...info!, shape, dtype: "F32" });
    tensors.delete(scalesOf(name));
  }
  return {
    name: file.name,
    tensors,
    async read(name, from = 0, count) {
      const tensor = Object.hasOwn(quantized, name) ? quantized[name] : undefined;
      if (!tensor) return await file.read(name, from, count);
      const scales = scalesOf(name), row = sizeOf(tensor.shape.slice(1));
      const integers = await file.bytes(name), steps = await file.read(scales);
      const values = dequantize(integers, steps, tensor, file.tensors.get(scales)!.shape);
      return values.subarray(from * row, count && (from + count) * row);
    },
    prepare: (names) =>
      file.prepare(names.flatMap((name) => Object.hasOwn(quantized, name) ? [name, scalesOf(name)] : [name])),
    close: () => file.close(),
  };
}
