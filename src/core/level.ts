/**
 * How loud audio is.
 *
 * @module
 */

/** Loudness in dB of full scale, -127 to 0, of a mean square. */
export function levelOf(meanSquare: number): number {
  // deno-lint-ignore determinism/no-inexact-math -- no codes hang on it
  return Math.max(-127, Math.min(0, 10 * Math.log10(meanSquare + 1e-13)));
}
