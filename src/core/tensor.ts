/**
 * Values with a shape, row-major.
 *
 * @module
 */
import { describe, MimiTypeError } from "./errors.ts";
import { sizeOf } from "./network.ts";

/** `data` holds `shape[0] * shape[1] * ...` values, the last dimension fastest. */
export interface Tensor<D> {
  /** The values. */
  data: D;
  /** The dimensions. */
  shape: number[];
}

/** Whether a value looks like a tensor at all. */
export function isTensor(value: unknown): value is Tensor<ArrayLike<number | bigint>> {
  const t = value as Partial<Tensor<unknown>> | null;
  return typeof t === "object" && t !== null && "data" in t && "shape" in t;
}

/** Index of the first value that is NaN or infinite; -1 where there is none. */
export function firstNotFinite(values: Float32Array): number {
  for (let i = 0; i < values.length; i++) {
    // The difference of a number with itself is 0 unless it is NaN or infinite.
    if (values[i] - values[i] !== 0) return i;
  }
  return -1;
}

/** Checks that shape and data agree. */
export function checkTensor(where: string, tensor: Tensor<ArrayLike<unknown>>): void {
  const { data, shape } = tensor;
  if (!Array.isArray(shape) || !shape.every((n) => Number.isInteger(n) && n >= 0)) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: shape must be an array of integers, got ${JSON.stringify(shape)}.`,
    );
  }
  if (!ArrayBuffer.isView(data) && !Array.isArray(data)) {
    throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: data must be a typed array, got ${describe(data)}.`);
  }
  if (data.length !== sizeOf(shape)) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: shape ${JSON.stringify(shape)} needs ${sizeOf(shape)} values, data has ${data.length}.`,
    );
  }
}

/** All values in one array. */
export function concatFloats(arrays: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(arrays.reduce((n, a) => n + a.length, 0));
  let at = 0;
  for (const array of arrays) {
    out.set(array, at);
    at += array.length;
  }
  return out;
}
