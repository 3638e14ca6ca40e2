/**
 * f32 values in fewer bits, rounded to the nearest, ties to even.
 *
 * @module
 */

/** How plain values are stored, by their name in safetensors. */
export const NARROW: Record<
  "f32" | "f16" | "bf16",
  { dtype: string; size: number; of(values: Float32Array): Uint8Array }
> = {
  f32: {
    dtype: "F32",
    size: 4,
    of: ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
  },
  f16: { dtype: "F16", size: 2, of: (values) => words(values, toHalf) },
  bf16: { dtype: "BF16", size: 2, of: (values) => words(values, toBrain) },
};

function words(values: Float32Array, convert: (bits: number) => number): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return new Uint8Array(Uint16Array.from(bits, convert).buffer);
}

/** The upper half of the bits, after adding what rounds. */
function toBrain(bits: number): number {
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** IEEE 754 binary16. What is too large becomes infinite. */
function toHalf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000, exponent = (bits >>> 23) & 255, fraction = bits & 0x7fffff;
  if (exponent === 255) return sign | 0x7c00 | (fraction ? 0x200 : 0);
  // Normal halves have exponents from -14 on; below that the leading one is part of the fraction.
  const shift = Math.max(0, 113 - exponent), significand = exponent === 0 ? fraction : fraction | 0x800000;
  if (shift > 12) return sign;
  const dropped = 13 + shift, half = 2 ** (dropped - 1), rest = significand % 2 ** dropped;
  let kept = Math.floor(significand / 2 ** dropped);
  if (rest > half || rest === half && kept % 2 === 1) kept++;
  // A carry out of the fraction goes into the exponent, as it should.
  const value = shift > 0 ? kept : ((exponent - 112) << 10) + (kept - 0x400);
  return sign | Math.min(value, 0x7c00);
}
