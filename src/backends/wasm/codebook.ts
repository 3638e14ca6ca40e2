/**
 * The search for the nearest entry of a codebook: a shortlist by 8-bit integers, then f32 for what is on it.
 *
 * The nearest entry maximises `x . c - |c|^2 / 2`. Integers give that score with an error that is bounded, so entries that
 * are further below the best than twice the bound cannot be the nearest, and mostly one or two are left. Their scores are
 * computed in f32 as a plain search would, so its codes are the same, ties included.
 *
 * @module
 */
import { packMatrix, PANEL, rowsOf, unpackMatrix } from "../../core/packing.ts";
import { type Scratch, spreadOf } from "./matmul.ts";
import type { Memory } from "./memory.ts";

export class Codebook {
  readonly #memory: Memory;
  readonly #dim: number;
  /** Entries, those that fill the last panel included. */
  readonly #size: number;
  readonly #entries: number;
  readonly #half: number;
  readonly #integers: number;
  readonly #scales: number;
  readonly #spread: number;
  readonly #bound: Bound;
  readonly #row: Scratch;
  readonly #rowScales: Scratch;
  readonly #scores: Scratch;

  /**
   * @param entries [size, dim]
   * @param most residuals of a search at most.
   * @param scratch gives a buffer of some bytes that all who name it share.
   */
  constructor(
    memory: Memory,
    entries: Float32Array,
    size: number,
    dim: number,
    most: number,
    scratch: (name: string, bytes: number) => Scratch,
  ) {
    const packed = packMatrix(rowsOf(entries, dim), size, dim, "int8");
    this.#memory = memory;
    this.#dim = dim;
    this.#size = Math.ceil(size / PANEL) * PANEL;
    this.#entries = memory.store(entries);
    const half = new Float32Array(this.#size).fill(-Infinity); // what fills the panel is never the nearest
    for (let e = 0; e < size; e++) half[e] = -squares(entries, e * dim, dim) / 2;
    this.#half = memory.store(half);
    this.#integers = memory.storeBytes(packed.data);
    this.#scales = memory.store(packed.scales);
    this.#spread = spreadOf(packed, 1);
    this.#bound = boundOf(entries, unpackMatrix(packed), size, dim);
    this.#row = scratch("integers", most * dim * 2);
    this.#rowScales = scratch("integer scales", most * 4);
    this.#scores = scratch("scores of entries", most * this.#size * 4);
  }

  /** Finds the nearest entries of `n` residuals at x, writes their numbers to `codes` (u32) and subtracts them. */
  search(x: number, n: number, codes: number): void {
    const { kernels } = this.#memory, dim = this.#dim, size = this.#size, { byNorm, byScale, fixed } = this.#bound;
    const row = this.#row.at, scales = this.#rowScales.at, scores = this.#scores.at, pairs = Math.ceil(dim / 2);
    kernels.to_int16(x, dim, 1, dim * 4, n, this.#spread, row, scales);
    kernels.gemm_int8(
      this.#integers,
      this.#scales,
      this.#half,
      row,
      dim * 2,
      1,
      dim * 2,
      scales,
      scores,
      size * 4,
      size,
      pairs,
      n,
      false,
      0,
    );
    kernels.nearest(x, n, dim, scales, scores, size, this.#entries, this.#half, byNorm, byScale, fixed, codes);
  }
}

/** The two scores of an entry differ by at most `byNorm * |x| + byScale * scale of x + fixed`. */
interface Bound {
  byNorm: number;
  byScale: number;
  fixed: number;
}

/**
 * With c' the entry that the integers stand for and x' the vector: |x . c - x' . c'| <= |x| |c - c'| + |c'| |x - x'|, and
 * |x - x'| <= sqrt(dim) * scale / 2, a hundredth more for what f32 does to x / scale. Rounding: a sum of dim + 1 terms in
 * f32 is off by at most dim + 1 units of 2^-24 of the sum of their magnitudes, at most |x| |c| + |c|^2 / 2, the score from
 * integers and the bound itself by a few more. A thousandth more stands for the rounding of |x|.
 */
function boundOf(entries: Float32Array, unpacked: Float32Array, size: number, dim: number): Bound {
  const difference = entries.map((v, i) => v - unpacked[i]);
  let delta = 0, longest = 0;
  for (let e = 0; e < size; e++) {
    delta = Math.max(delta, Math.sqrt(squares(difference, e * dim, dim)));
    for (const values of [entries, unpacked]) longest = Math.max(longest, Math.sqrt(squares(values, e * dim, dim)));
  }
  const rounding = (dim + 16) * 2 ** -24 * 1.1;
  return {
    byNorm: 1.001 * (delta + rounding * longest),
    byScale: 1.001 * 0.51 * Math.sqrt(dim) * longest,
    fixed: rounding * longest ** 2,
  };
}

function squares(values: Float32Array, from: number, count: number): number {
  let sum = 0;
  for (let i = from; i < from + count; i++) sum += values[i] * values[i];
  return sum;
}
