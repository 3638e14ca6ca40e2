/**
 * Integers of 8 to 64 bits as they lie in files, little-endian like every machine that JavaScript runs on.
 *
 * @module
 */

/** A data type, by its name in safetensors. */
export type IntegerType = "U8" | "I8" | "U16" | "I16" | "U32" | "I32" | "U64" | "I64";

/** An array of integers of one data type. */
export type Integers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | BigUint64Array
  | BigInt64Array;

interface IntegerArray {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer, byteOffset?: number, length?: number): Integers;
}

const ARRAYS: Record<IntegerType, IntegerArray> = {
  U8: Uint8Array,
  I8: Int8Array,
  U16: Uint16Array,
  I16: Int16Array,
  U32: Uint32Array,
  I32: Int32Array,
  U64: BigUint64Array,
  I64: BigInt64Array,
};

export function isIntegerType(dtype: string): dtype is IntegerType {
  return Object.hasOwn(ARRAYS, dtype);
}

/** Bytes as integers; copied only where they do not lie on an integer's boundary. */
export function toIntegers(bytes: Uint8Array, dtype: IntegerType): Integers {
  const kind = ARRAYS[dtype], size = kind.BYTES_PER_ELEMENT, { buffer, byteOffset, byteLength } = bytes;
  return byteOffset % size === 0
    ? new kind(buffer as ArrayBuffer, byteOffset, byteLength / size)
    : new kind(new Uint8Array(bytes).buffer);
}
