/**
 * Sine, cosine, exponential, logarithm and a Bessel function in double precision from additions, multiplications and
 * divisions alone.
 *
 * Engines differ in the last bits of `Math.sin`, `Math.exp` and their like, which is enough to change a code. These
 * give the same bits everywhere, with errors of a few units in the last place: far below the f32 they are rounded to.
 *
 * @module
 */

// pi / 2 as a sum: two parts of 28 bits, so that n * part is exact for n < 2^25, and what is left.
const HALF_PI = [1.570796325802803, 9.920935739593517e-10, 5.721188726109832e-18];
const TWO_OVER_PI = 0.6366197723675814;

const LN2_HIGH = 6.93147180369123816490e-01, LN2_LOW = 1.90821492927058770002e-10;

/** `[cos(x), sin(x)]` for |x| <= 2^24, the last rotary angle of a stream (`mostFrames` in network.ts). */
export function cosSin(x: number): [number, number] {
  const n = Math.round(x * TWO_OVER_PI);
  const r = ((x - n * HALF_PI[0]) - n * HALF_PI[1]) - n * HALF_PI[2], r2 = r * r;
  // Taylor series; |r| <= pi / 4, so the first terms left out are below 1e-17.
  let sin = 0, cos = 0;
  for (let k = 17; k >= 3; k -= 2) sin = (1 + sin) * (-r2 / (k * (k - 1)));
  sin = r * (1 + sin);
  for (let k = 18; k >= 2; k -= 2) cos = (1 + cos) * (-r2 / (k * (k - 1)));
  cos = 1 + cos;
  switch (((n % 4) + 4) % 4) {
    case 0:
      return [cos, sin];
    case 1:
      return [-sin, cos];
    case 2:
      return [-cos, -sin];
    default:
      return [sin, -cos];
  }
}

/** e to the power of x, for |x| < 700. */
export function exp(x: number): number {
  const n = Math.round(x / (LN2_HIGH + LN2_LOW));
  const r = (x - n * LN2_HIGH) - n * LN2_LOW;
  let sum = 1;
  for (let k = 18; k >= 1; k--) sum = 1 + sum * (r / k);
  return sum * powerOfTwo(n);
}

/** Natural logarithm of a positive, normal number. */
export function log(x: number): number {
  let n = 0;
  while (x > 1.4142135623730951) {
    x /= 2;
    n++;
  }
  while (x < 0.7071067811865476) {
    x *= 2;
    n--;
  }
  const s = (x - 1) / (x + 1), s2 = s * s; // log(x) = 2 atanh(s), |s| < 0.172
  let sum = 0;
  for (let k = 23; k >= 1; k -= 2) sum = 1 / k + s2 * sum;
  return n * LN2_HIGH + (2 * s * sum + n * LN2_LOW);
}

/** The modified Bessel function of order 0 (NIST DLMF 10.25.2), for |x| < 12. */
export function besselI0(x: number): number {
  const quarter = x * x / 4;
  let sum = 1;
  for (let k = 32; k >= 1; k--) sum = 1 + sum * (quarter / (k * k));
  return sum;
}

function powerOfTwo(n: number): number {
  let value = 1;
  for (let i = Math.abs(n); i > 0; i--) value *= n > 0 ? 2 : 0.5;
  return value;
}

/**
 * Angular frequencies of a rotary embedding, `theta ** (-2j / headDim)`, rounded to f32 step by step as transformers
 * does (`MimiRotaryEmbedding.compute_default_rope_parameters`).
 */
export function ropeFrequencies(theta: number, headDim: number): Float32Array {
  const ln = log(theta);
  return Float32Array.from({ length: headDim / 2 }, (_, j) => 1 / Math.fround(exp(Math.fround(2 * j / headDim) * ln)));
}

/**
 * Rotary angle of a position: the product in f32, as transformers forms it. (Its rounding grows with the position, to
 * 0.004 rad after an hour; codes would differ from transformers' without it.)
 */
export function ropeAngle(position: number, frequency: number): number {
  return Math.fround(Math.fround(position) * frequency);
}
