/**
 * Numbers of a few bits in a row of bytes, each filled from its least significant bit: read as one little-endian integer,
 * number i is bits i * width to (i + 1) * width - 1 of it. Codes lie so in files and packets.
 *
 * @module
 */
import { describe, MimiRangeError } from "./errors.ts";

/** Bytes that `count` numbers of `width` bits take. */
export function packedBytes(count: number, width: number): number {
  return Math.ceil(count * width / 8);
}

/** Packs numbers below 2^width, `width` from 1 to 16; the last byte is filled with 0 bits. */
export function packBits(numbers: Uint16Array, width: number): Uint8Array {
  const bytes = new Uint8Array(packedBytes(numbers.length, width));
  let at = 0, rest = 0, held = 0; // `held` bits wait in `rest`, fewer than 8 between numbers
  for (const number of numbers) {
    rest |= number << held;
    for (held += width; held >= 8; held -= 8, rest >>>= 8) bytes[at++] = rest & 255;
  }
  if (held > 0) bytes[at] = rest;
  return bytes;
}

/** The first `count` numbers of `width` bits. */
export function unpackBits(bytes: Uint8Array, count: number, width: number): Uint16Array {
  const numbers = new Uint16Array(count), mask = (1 << width) - 1;
  let at = 0, rest = 0, held = 0;
  for (let i = 0; i < count; i++) {
    for (; held < width; held += 8) rest |= bytes[at++] << held;
    numbers[i] = rest & mask;
    rest >>>= width;
    held -= width;
  }
  return numbers;
}

/**
 * Bits that a code of a codebook with `size` entries takes.
 *
 * @param size 1 to 65536.
 * @throws {MimiRangeError} `ERR_OUT_OF_RANGE`.
 */
export function bitsOf(size: number): number {
  if (!Number.isInteger(size) || size < 1 || size > 65536) {
    throw new MimiRangeError(
      "ERR_OUT_OF_RANGE",
      `bitsOf: size must be an integer from 1 to 65536, got ${describe(size)}.`,
    );
  }
  return Math.max(1, 32 - Math.clz32(size - 1));
}
