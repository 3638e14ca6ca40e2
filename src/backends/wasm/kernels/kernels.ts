// Mimi's kernels for WebAssembly SIMD, in AssemblyScript. Built by `npm run build:wasm` into ../kernels.wasm.ts.
//
// All matrices are channels-last f32. Pointers and strides are in bytes, sizes in values. Every output value is a sum in
// one fixed order, whatever tile computes it, so results do not depend on how many positions a call covers. Plain SIMD
// rounds the same on every machine. Built with relaxed SIMD, a multiplication and an addition round once where the machine can.

const NEGATIVE_INFINITY: f32 = -Infinity;

// ------------------------------------------------------------------------------------------------ matrix products
//
// A causal or strided convolution over a buffer [past rows | new rows] is a product whose x rows overlap: row t starts
// at x + t * ldx and is K values long.

// @ts-ignore: decorator
@inline function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

// 16 outputs of two rows: 8 accumulators is what engines still keep in registers.
// @ts-ignore: decorator
@inline function tile16x2(w: usize, ldw: usize, K: usize, bias0: usize, bias1: usize, x: usize, ldx: usize, y: usize, ldy: usize, accumulate: bool): void {
  const y1 = y + ldy;
  let a0 = v128.load(bias0), a1 = v128.load(bias0, 16), a2 = v128.load(bias0, 32), a3 = v128.load(bias0, 48);
  let b0 = v128.load(bias1), b1 = v128.load(bias1, 16), b2 = v128.load(bias1, 32), b3 = v128.load(bias1, 48);
  if (accumulate) {
    a0 = f32x4.add(a0, v128.load(y)); a1 = f32x4.add(a1, v128.load(y, 16)); a2 = f32x4.add(a2, v128.load(y, 32)); a3 = f32x4.add(a3, v128.load(y, 48));
    b0 = f32x4.add(b0, v128.load(y1)); b1 = f32x4.add(b1, v128.load(y1, 16)); b2 = f32x4.add(b2, v128.load(y1, 32)); b3 = f32x4.add(b3, v128.load(y1, 48));
  }
  const end = x + (K << 2);
  let x1 = x + ldx;
  while (x < end) {
    const s = v128.load_splat<f32>(x), r = v128.load_splat<f32>(x1);
    const w0 = v128.load(w); a0 = madd(w0, s, a0); b0 = madd(w0, r, b0);
    const w1 = v128.load(w, 16); a1 = madd(w1, s, a1); b1 = madd(w1, r, b1);
    const w2 = v128.load(w, 32); a2 = madd(w2, s, a2); b2 = madd(w2, r, b2);
    const w3 = v128.load(w, 48); a3 = madd(w3, s, a3); b3 = madd(w3, r, b3);
    w += ldw; x += 4; x1 += 4;
  }
  v128.store(y, a0); v128.store(y, a1, 16); v128.store(y, a2, 32); v128.store(y, a3, 48);
  v128.store(y1, b0); v128.store(y1, b1, 16); v128.store(y1, b2, 32); v128.store(y1, b3, 48);
}

// @ts-ignore: decorator
@inline function tile16x1(w: usize, ldw: usize, K: usize, bias: usize, x: usize, y: usize, accumulate: bool): void {
  let a0 = v128.load(bias), a1 = v128.load(bias, 16), a2 = v128.load(bias, 32), a3 = v128.load(bias, 48);
  if (accumulate) {
    a0 = f32x4.add(a0, v128.load(y)); a1 = f32x4.add(a1, v128.load(y, 16)); a2 = f32x4.add(a2, v128.load(y, 32)); a3 = f32x4.add(a3, v128.load(y, 48));
  }
  const end = x + (K << 2);
  while (x < end) {
    const s = v128.load_splat<f32>(x);
    a0 = madd(v128.load(w), s, a0); a1 = madd(v128.load(w, 16), s, a1); a2 = madd(v128.load(w, 32), s, a2); a3 = madd(v128.load(w, 48), s, a3);
    w += ldw; x += 4;
  }
  v128.store(y, a0); v128.store(y, a1, 16); v128.store(y, a2, 32); v128.store(y, a3, 48);
}

/**
 * y[t][m] = bias[m] + sum_k W[m][k] x[t][k] (+ y[t][m] with `accumulate`), M a multiple of 16. Sixteen outputs lie side
 * by side in W: element (k, m) at w + (m / 16) * panel + k * ldw + (m % 16) * 4.
 *
 * There are B blocks of T rows, those of x ldb bytes apart, those of y one after the other: the streams of a step, which
 * share each panel of weights while it is in the caches.
 */
export function gemm(w: usize, ldw: usize, panel: usize, bias: usize, x: usize, ldx: usize, y: usize, ldy: usize, M: usize, K: usize, T: usize, accumulate: bool, B: usize, ldb: usize): void {
  const rows = T * B;
  if (rows <= 2 && K >= KEPT && ldw == 64) {
    fewRows(w, bias, x, B == 2 ? ldb : ldx, y, ldy, M, K, rows, accumulate);
    return;
  }
  const pairs = T & ~1, next = T * ldy;
  for (let m: usize = 0; m < M; m += 16) {
    const bm = bias + (m << 2);
    let xb = x, yb = y + (m << 2);
    for (let b: usize = 0; b < B; b++) {
      for (let t: usize = 0; t < pairs; t += 2) tile16x2(w, ldw, K, bm, bm, xb + t * ldx, ldx, yb + t * ldy, ldy, accumulate);
      if (T & 1) tile16x1(w, ldw, K, bm, xb + pairs * ldx, yb + pairs * ldy, accumulate);
      xb += ldb; yb += next;
    }
    w += panel;
  }
}

// Columns of a panel between two looks ahead: 16 KiB of weights.
const KEPT: usize = 256;

/** What was loaded ahead, so that no optimizer leaves the loads out. */
let ahead: i32 = 0;

// Loads from the first lines of the next four pages at once: processors fetch ahead along a page of 4 KiB, but not into the next.
// @ts-ignore: decorator
@inline function lookAhead(w: usize): void {
  ahead ^= load<i32>(w, 16384) ^ load<i32>(w, 20480) ^ load<i32>(w, 24576) ^ load<i32>(w, 28672);
}

// With one or two rows the time goes into the way of the weights from memory. Sums rest in y between two looks ahead, which
// changes no bit of them.
function fewRows(w: usize, bias: usize, x: usize, ldx: usize, y: usize, ldy: usize, M: usize, K: usize, rows: usize, accumulate: bool): void {
  for (let m: usize = 0; m < M; m += 16) {
    const ym = y + (m << 2);
    let from0 = bias + (m << 2), from1 = from0, xk = x, add = accumulate;
    for (let k: usize = 0; k < K; k += KEPT) {
      const some = min(KEPT, K - k);
      lookAhead(w);
      if (rows == 2) tile16x2(w, 64, some, from0, from1, xk, ldx, ym, ldy, add);
      else tile16x1(w, 64, some, from0, xk, ym, add);
      w += some << 6; xk += some << 2;
      from0 = ym; from1 = ym + ldy; add = false;
    }
  }
}

// @ts-ignore: decorator
@inline function hsum(v: v128): f32 {
  return (f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1)) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

// @ts-ignore: decorator
@inline function finish(sum: v128, w: usize, x: usize, K4: usize, K: usize, bias: usize, y: usize, accumulate: bool): void {
  let s = hsum(sum);
  for (let k = K4; k < K; k += 4) s += load<f32>(w + k) * load<f32>(x + k);
  s += load<f32>(bias);
  if (accumulate) s += load<f32>(y);
  store<f32>(y, s);
}

/** As gemm, for any M: W is plain rows, ldw bytes apart. Four partial sums, then the rest of K one by one. */
export function dot(w: usize, ldw: usize, bias: usize, x: usize, ldx: usize, y: usize, ldy: usize, M: usize, K: usize, T: usize, accumulate: bool): void {
  const bytes = K << 2, K4 = bytes & ~15, quads = M & ~3, pairs = T & ~1;
  let m: usize = 0;
  for (; m < quads; m += 4) {
    const w0 = w + m * ldw, w1 = w0 + ldw, w2 = w1 + ldw, w3 = w2 + ldw, bm = bias + (m << 2), ym = y + (m << 2);
    for (let t: usize = 0; t < pairs; t += 2) {
      const x0 = x + t * ldx, x1 = x0 + ldx, y0 = ym + t * ldy, y1 = y0 + ldy;
      let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
      for (let k: usize = 0; k < K4; k += 16) {
        const s = v128.load(x0 + k), r = v128.load(x1 + k);
        const v0 = v128.load(w0 + k); a0 = madd(v0, s, a0); b0 = madd(v0, r, b0);
        const v1 = v128.load(w1 + k); a1 = madd(v1, s, a1); b1 = madd(v1, r, b1);
        const v2 = v128.load(w2 + k); a2 = madd(v2, s, a2); b2 = madd(v2, r, b2);
        const v3 = v128.load(w3 + k); a3 = madd(v3, s, a3); b3 = madd(v3, r, b3);
      }
      finish(a0, w0, x0, K4, bytes, bm, y0, accumulate); finish(a1, w1, x0, K4, bytes, bm + 4, y0 + 4, accumulate);
      finish(a2, w2, x0, K4, bytes, bm + 8, y0 + 8, accumulate); finish(a3, w3, x0, K4, bytes, bm + 12, y0 + 12, accumulate);
      finish(b0, w0, x1, K4, bytes, bm, y1, accumulate); finish(b1, w1, x1, K4, bytes, bm + 4, y1 + 4, accumulate);
      finish(b2, w2, x1, K4, bytes, bm + 8, y1 + 8, accumulate); finish(b3, w3, x1, K4, bytes, bm + 12, y1 + 12, accumulate);
    }
    if (T & 1) {
      const x0 = x + pairs * ldx, y0 = ym + pairs * ldy;
      let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
      for (let k: usize = 0; k < K4; k += 16) {
        const s = v128.load(x0 + k);
        a0 = madd(v128.load(w0 + k), s, a0); a1 = madd(v128.load(w1 + k), s, a1); a2 = madd(v128.load(w2 + k), s, a2); a3 = madd(v128.load(w3 + k), s, a3);
      }
      finish(a0, w0, x0, K4, bytes, bm, y0, accumulate); finish(a1, w1, x0, K4, bytes, bm + 4, y0 + 4, accumulate);
      finish(a2, w2, x0, K4, bytes, bm + 8, y0 + 8, accumulate); finish(a3, w3, x0, K4, bytes, bm + 12, y0 + 12, accumulate);
    }
  }
  const fours = T & ~3;
  for (; m < M; m++) {
    const w0 = w + m * ldw, bm = bias + (m << 2), ym = y + (m << 2);
    for (let t: usize = 0; t < fours; t += 4) { // the last convolution: one output, many positions
      const x0 = x + t * ldx, x1 = x0 + ldx, x2 = x1 + ldx, x3 = x2 + ldx, y0 = ym + t * ldy;
      let a0 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
      for (let k: usize = 0; k < K4; k += 16) {
        const v = v128.load(w0 + k);
        a0 = madd(v, v128.load(x0 + k), a0); a1 = madd(v, v128.load(x1 + k), a1); a2 = madd(v, v128.load(x2 + k), a2); a3 = madd(v, v128.load(x3 + k), a3);
      }
      finish(a0, w0, x0, K4, bytes, bm, y0, accumulate); finish(a1, w0, x1, K4, bytes, bm, y0 + ldy, accumulate);
      finish(a2, w0, x2, K4, bytes, bm, y0 + 2 * ldy, accumulate); finish(a3, w0, x3, K4, bytes, bm, y0 + 3 * ldy, accumulate);
    }
    for (let t = fours; t < T; t++) {
      const x0 = x + t * ldx;
      let a0 = f32x4.splat(0);
      for (let k: usize = 0; k < K4; k += 16) a0 = madd(v128.load(w0 + k), v128.load(x0 + k), a0);
      finish(a0, w0, x0, K4, bytes, bm, ym + t * ldy, accumulate);
    }
  }
}

// ------------------------------------------------------------------------------------------------ integer products
//
// Weights of 8, 12 or 16 bits as core/packing.ts lays them out, activations of 16 bits with a scale for each group of rows
// (those that a frame's outputs are made of), sums of 32 bits, which the scales keep from overflowing.

// 1.5 * 2^23: a float that is added to it is rounded to an integer, ties to even, which stands in the lowest bits.
const MAGIC: f32 = 12582912.0;

/**
 * Converts groups of `rows` rows of C values, `step` bytes from one group to the next, to integers at `out`, one group after
 * the other, each with its scale at `scales`: the largest value becomes 32767 at most, and the scale is at least `spread`
 * times the norm of the longest row.
 */
export function to_int16(x: usize, C: usize, rows: usize, step: usize, groups: usize, spread: f32, out: usize, scales: usize): void {
  const row = C << 2, vectors = row & ~15, bytes = rows * row, wide = bytes & ~31, magic = f32x4.splat(MAGIC);
  for (let g: usize = 0; g < groups; g++) {
    let m = f32x4.splat(0), most: f32 = 0, norm: f32 = 0;
    for (let r = x, end = x + bytes; r < end; r += row) {
      let q = f32x4.splat(0);
      for (let i: usize = 0; i < vectors; i += 16) { const v = v128.load(r + i); m = f32x4.pmax(m, f32x4.abs(v)); q = madd(v, v, q); }
      let squares = hsum(q);
      for (let i = vectors; i < row; i += 4) { const v = load<f32>(r + i); most = max(most, abs(v)); squares += v * v; }
      norm = max(norm, squares);
    }
    const scale = max(max(sqrt<f32>(norm) * spread, max(most, hmax(m)) / 32767.0), <f32>1e-20), inverse: f32 = 1.0 / scale, i4 = f32x4.splat(inverse);
    store<f32>(scales, scale);
    for (let i: usize = 0; i < wide; i += 32, out += 16) {
      const from = x + i, a = f32x4.add(f32x4.mul(v128.load(from), i4), magic), b = f32x4.add(f32x4.mul(v128.load(from, 16), i4), magic);
      v128.store(out, i8x16.shuffle(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29));
    }
    for (let i = wide; i < bytes; i += 4, out += 2) store<u16>(out, <u16>reinterpret<u32>(load<f32>(x + i) * inverse + MAGIC));
    x += step; scales += 4;
  }
}

// @ts-ignore: decorator
@inline function hmax(v: v128): f32 {
  return max(max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)), max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)));
}

// Bytes of a pair of columns of a panel: 32 integers.
// @ts-ignore: decorator
@inline function pairBytes(bits: usize): usize {
  return bits << 2;
}

// The lower 4 bits of a pair of 12 bits; nothing otherwise.
// @ts-ignore: decorator
@inline function lowerOf(bits: usize, w: usize): v128 {
  return bits == 12 ? v128.load(w, 32) : i32x4.splat(0);
}

// Integers 8 i to 8 i + 7 of a pair, as 16 bits.
// @ts-ignore: decorator
@inline function eight(bits: usize, w: usize, lower: v128, i: i32): v128 {
  if (bits == 8) return v128.load_ext<i8>(w + 8 * i);
  if (bits == 16) return v128.load(w + 16 * i);
  return v128.or(i16x8.shl(v128.load_ext<i8>(w + 8 * i), 4), v128.and(i16x8.shr_u(lower, 4 * i), i16x8.splat(15)));
}

// Four sums of integers to values.
// @ts-ignore: decorator
@inline function put(y: usize, sum: v128, scales: usize, scale: v128, bias: usize, accumulate: bool): void {
  const v = f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(sum), f32x4.mul(v128.load(scales), scale)), v128.load(bias));
  v128.store(y, accumulate ? f32x4.add(v, v128.load(y)) : v);
}

// 16 outputs of two rows, or of one where y1 is y0.
// @ts-ignore: decorator
@inline function tileOf(bits: usize, w: usize, panel: usize, scales: usize, bias: usize, x0: usize, x1: usize, s0: v128, s1: v128, y0: usize, y1: usize, accumulate: bool): void {
  const end = w + panel;
  let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  while (w < end) {
    const s = v128.load_splat<u32>(x0), r = v128.load_splat<u32>(x1), lower = lowerOf(bits, w);
    const w0 = eight(bits, w, lower, 0); a0 = i32x4.add(a0, i32x4.dot_i16x8_s(w0, s)); b0 = i32x4.add(b0, i32x4.dot_i16x8_s(w0, r));
    const w1 = eight(bits, w, lower, 1); a1 = i32x4.add(a1, i32x4.dot_i16x8_s(w1, s)); b1 = i32x4.add(b1, i32x4.dot_i16x8_s(w1, r));
    const w2 = eight(bits, w, lower, 2); a2 = i32x4.add(a2, i32x4.dot_i16x8_s(w2, s)); b2 = i32x4.add(b2, i32x4.dot_i16x8_s(w2, r));
    const w3 = eight(bits, w, lower, 3); a3 = i32x4.add(a3, i32x4.dot_i16x8_s(w3, s)); b3 = i32x4.add(b3, i32x4.dot_i16x8_s(w3, r));
    w += pairBytes(bits); x0 += 4; x1 += 4;
  }
  put(y0, a0, scales, s0, bias, accumulate); put(y0 + 16, a1, scales + 16, s0, bias + 16, accumulate);
  put(y0 + 32, a2, scales + 32, s0, bias + 32, accumulate); put(y0 + 48, a3, scales + 48, s0, bias + 48, accumulate);
  if (y1 != y0) {
    put(y1, b0, scales, s1, bias, accumulate); put(y1 + 16, b1, scales + 16, s1, bias + 16, accumulate);
    put(y1 + 32, b2, scales + 32, s1, bias + 32, accumulate); put(y1 + 48, b3, scales + 48, s1, bias + 48, accumulate);
  }
}

// @ts-ignore: decorator
@inline function gemmOf(bits: usize, w: usize, scales: usize, bias: usize, x: usize, ldx: usize, per: usize, group: usize, xs: usize, y: usize, ldy: usize, M: usize, pairs: usize, T: usize, accumulate: bool): void {
  const panel = pairs * pairBytes(bits);
  for (let m: usize = 0; m < M; m += 16) {
    let first = x, row = x, left = per, scale = xs, yt = y;
    for (let t: usize = 0; t < T; t += 2) {
      const x0 = row, s0 = v128.load_splat<f32>(scale);
      row += ldx;
      if (--left == 0) { left = per; scale += 4; first += group; row = first; }
      if (t + 1 == T) {
        tileOf(bits, w, panel, scales, bias, x0, x0, s0, s0, yt, yt, accumulate);
        break;
      }
      tileOf(bits, w, panel, scales, bias, x0, row, s0, v128.load_splat<f32>(scale), yt, yt + ldy, accumulate);
      yt += ldy << 1;
      row += ldx;
      if (--left == 0) { left = per; scale += 4; first += group; row = first; }
    }
    w += panel; scales += 64; bias += 64; y += 64;
  }
}

/**
 * As gemm, with integers: `pairs` pairs of columns, the rows of x ldx bytes apart within a group, `per` outputs to a group,
 * groups `group` bytes apart, their scales at xs.
 */
export function gemm_int8(w: usize, scales: usize, bias: usize, x: usize, ldx: usize, per: usize, group: usize, xs: usize, y: usize, ldy: usize, M: usize, pairs: usize, T: usize, accumulate: bool): void {
  if (T > 1 || pairs & 1) {
    gemmOf(8, w, scales, bias, x, ldx, per, group, xs, y, ldy, M, pairs, T, accumulate);
    return;
  }
  // One row: two pairs at a time, so that all accumulators have something to do.
  const panel = pairs * pairBytes(8), scale = v128.load_splat<f32>(xs);
  for (let m: usize = 0; m < M; m += 16) {
    let p = w, xk = x;
    let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    for (const end = w + panel; p < end; p += 64, xk += 8) {
      const s = v128.load_splat<u32>(xk), r = v128.load_splat<u32>(xk, 4);
      a0 = i32x4.add(a0, i32x4.dot_i16x8_s(v128.load_ext<i8>(p), s)); a1 = i32x4.add(a1, i32x4.dot_i16x8_s(v128.load_ext<i8>(p, 8), s));
      a2 = i32x4.add(a2, i32x4.dot_i16x8_s(v128.load_ext<i8>(p, 16), s)); a3 = i32x4.add(a3, i32x4.dot_i16x8_s(v128.load_ext<i8>(p, 24), s));
      b0 = i32x4.add(b0, i32x4.dot_i16x8_s(v128.load_ext<i8>(p, 32), r)); b1 = i32x4.add(b1, i32x4.dot_i16x8_s(v128.load_ext<i8>(p, 40), r));
      b2 = i32x4.add(b2, i32x4.dot_i16x8_s(v128.load_ext<i8>(p, 48), r)); b3 = i32x4.add(b3, i32x4.dot_i16x8_s(v128.load_ext<i8>(p, 56), r));
    }
    put(y, i32x4.add(a0, b0), scales, scale, bias, accumulate); put(y + 16, i32x4.add(a1, b1), scales + 16, scale, bias + 16, accumulate);
    put(y + 32, i32x4.add(a2, b2), scales + 32, scale, bias + 32, accumulate); put(y + 48, i32x4.add(a3, b3), scales + 48, scale, bias + 48, accumulate);
    w += panel; scales += 64; bias += 64; y += 64;
  }
}

export function gemm_int16(w: usize, scales: usize, bias: usize, x: usize, ldx: usize, per: usize, group: usize, xs: usize, y: usize, ldy: usize, M: usize, pairs: usize, T: usize, accumulate: bool): void {
  gemmOf(16, w, scales, bias, x, ldx, per, group, xs, y, ldy, M, pairs, T, accumulate);
}

/** With many rows a panel is unpacked to 16 bits at `unpacked` first. */
export function gemm_int12(w: usize, scales: usize, bias: usize, x: usize, ldx: usize, per: usize, group: usize, xs: usize, y: usize, ldy: usize, M: usize, pairs: usize, T: usize, accumulate: bool, unpacked: usize): void {
  if (T <= 2) {
    gemmOf(12, w, scales, bias, x, ldx, per, group, xs, y, ldy, M, pairs, T, accumulate);
    return;
  }
  for (let m: usize = 0; m < M; m += 16) {
    for (let to = unpacked, end = w + pairs * pairBytes(12); w < end; w += pairBytes(12), to += 64) {
      const lower = lowerOf(12, w);
      v128.store(to, eight(12, w, lower, 0)); v128.store(to, eight(12, w, lower, 1), 16);
      v128.store(to, eight(12, w, lower, 2), 32); v128.store(to, eight(12, w, lower, 3), 48);
    }
    gemm_int16(unpacked, scales, bias, x, ldx, per, group, xs, y, ldy, 16, pairs, T, accumulate);
    scales += 64; bias += 64; y += 64;
  }
}

// ------------------------------------------------------------------------------------------------ nearest entries

/**
 * Finds the entry of a codebook that is nearest to each of T vectors, writes its number to `codes` and subtracts it.
 *
 * The scores from integers are off by at most byNorm * |x| + byScale * scale of x + fixed (codebook.ts), so what is more than
 * twice that below the best is out of question. The others are scored in f32, one value after the other. half: -|entry|^2 / 2.
 */
export function nearest(x: usize, T: usize, dim: usize, xs: usize, scores: usize, size: usize, entries: usize, half: usize, byNorm: f32, byScale: f32, fixed: f32, codes: usize): void {
  const bytes = dim << 2, vectors = bytes & ~15;
  for (; T > 0; T--, x += bytes, xs += 4, scores += size << 2, codes += 4) {
    let q = f32x4.splat(0);
    for (let i: usize = 0; i < vectors; i += 16) { const v = v128.load(x + i); q = madd(v, v, q); }
    let squares = hsum(q);
    for (let i = vectors; i < bytes; i += 4) { const v = load<f32>(x + i); squares += v * v; }
    const bound = byNorm * sqrt<f32>(squares) + byScale * load<f32>(xs) + fixed;
    const least = f32x4.splat(load<f32>(scores + (argmax(scores, size) << 2)) - (bound + bound));
    let best: usize = 0, top = NEGATIVE_INFINITY;
    for (let e: usize = 0; e < size; e += 4) {
      for (let hits = i32x4.bitmask(f32x4.ge(v128.load(scores + (e << 2)), least)); hits; hits &= hits - 1) {
        const entry = e + <usize>ctz(hits), at = entries + entry * bytes;
        let score = load<f32>(half + (entry << 2));
        for (let i: usize = 0; i < bytes; i += 4) score += load<f32>(at + i) * load<f32>(x + i);
        if (score > top) { top = score; best = entry; } // the lowest number wins a tie
      }
    }
    store<u32>(codes, <u32>best);
    const at = entries + best * bytes;
    for (let i: usize = 0; i < vectors; i += 16) v128.store(x + i, f32x4.sub(v128.load(x + i), v128.load(at + i)));
    for (let i = vectors; i < bytes; i += 4) store<f32>(x + i, load<f32>(x + i) - load<f32>(at + i));
  }
}

// ------------------------------------------------------------------------------------------------ elementwise
//
// These run over whole vectors, up to two of them: what is past the end is read and written. Buffers leave room for it.

/** e^x to about 1e-7 relative for x up to 88, clamped below at -87 (the polynomial of Cephes' expf). */
// @ts-ignore: decorator
@inline function exp4(x: v128): v128 {
  x = f32x4.pmax(f32x4.splat(-87.0), x);
  const t = f32x4.add(f32x4.mul(x, f32x4.splat(1.44269504088896341)), f32x4.splat(MAGIC)), n = f32x4.sub(t, f32x4.splat(MAGIC));
  let r = f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375)));
  r = f32x4.sub(r, f32x4.mul(n, f32x4.splat(-2.12194440e-4)));
  let p = madd(f32x4.splat(1.9875691500e-4), r, f32x4.splat(1.3981999507e-3));
  p = madd(p, r, f32x4.splat(8.3334519073e-3));
  p = madd(p, r, f32x4.splat(4.1665795894e-2));
  p = madd(p, r, f32x4.splat(1.6666665459e-1));
  p = madd(p, r, f32x4.splat(5.0000001201e-1));
  p = f32x4.add(madd(p, f32x4.mul(r, r), r), f32x4.splat(1.0));
  return f32x4.mul(p, i32x4.shl(i32x4.add(t, i32x4.splat(127)), 23));
}

// x > 0 ? x : e^x - 1, without a branch: max(x, 0) + (2^(min(x, 0) log2 e) - 1). The number that rounds has the exponent's
// bias of 127 in it; the polynomial is the minimax one of 2^r for |r| <= 1/2 with 1 at 0 (absolute error below 1.3e-7).
// @ts-ignore: decorator
@inline function elu4(v: v128): v128 {
  const zero = f32x4.splat(0), rounder = f32x4.splat(MAGIC + 127.0);
  const x = f32x4.pmax(f32x4.splat(-126.0), f32x4.mul(f32x4.pmin(zero, v), f32x4.splat(1.44269504088896341)));
  const t = f32x4.add(x, rounder), r = f32x4.sub(x, f32x4.sub(t, rounder));
  let p = madd(f32x4.splat(0.001326472614891827), r, f32x4.splat(0.009671512991189957));
  p = madd(p, r, f32x4.splat(0.05550733581185341));
  p = madd(p, r, f32x4.splat(0.24022242426872253));
  p = madd(p, r, f32x4.splat(0.6931470036506653));
  p = madd(p, r, f32x4.splat(1.0));
  return f32x4.add(f32x4.pmax(zero, v), f32x4.sub(f32x4.mul(p, i32x4.shl(t, 23)), f32x4.splat(1.0)));
}

/** out = x > 0 ? x : e^x - 1 */
export function elu(x: usize, out: usize, n: usize): void {
  for (const end = x + (n << 2); x < end; x += 32, out += 32) {
    const a = v128.load(x), b = v128.load(x, 16);
    v128.store(out, elu4(a)); v128.store(out, elu4(b), 16);
  }
}

/** out = x / 2 * (1 + erf(x / sqrt 2)), erf by Abramowitz and Stegun 7.1.26 (absolute error below 1.5e-7). */
export function gelu(x: usize, out: usize, n: usize): void {
  const end = x + (n << 2), one = f32x4.splat(1.0);
  for (; x < end; x += 16, out += 16) {
    const v = v128.load(x), z = f32x4.mul(v, f32x4.splat(0.7071067811865476)), a = f32x4.abs(z);
    const t = f32x4.div(one, madd(a, f32x4.splat(0.3275911), one));
    let p = madd(f32x4.splat(1.061405429), t, f32x4.splat(-1.453152027));
    p = madd(p, t, f32x4.splat(1.421413741));
    p = madd(p, t, f32x4.splat(-0.284496736));
    p = f32x4.mul(madd(p, t, f32x4.splat(0.254829592)), t);
    const e = f32x4.sub(one, f32x4.mul(p, exp4(f32x4.neg(f32x4.mul(a, a)))));
    const erf = v128.or(e, v128.and(z, i32x4.splat(0x80000000))); // the sign of z; e is not negative
    v128.store(out, f32x4.mul(f32x4.mul(v, f32x4.splat(0.5)), f32x4.add(one, erf)));
  }
}

/** T rows of n values: (x - mean) / sqrt(variance + eps) * gain + bias. Exactly n values are touched a row. */
export function layer_norm(x: usize, gain: usize, bias: usize, out: usize, n: usize, T: usize, eps: f32): void {
  const bytes = n << 2, vectors = bytes & ~15;
  for (; T > 0; T--, x += bytes, out += bytes) {
    let s = f32x4.splat(0), q = s;
    for (let i: usize = 0; i < vectors; i += 16) s = f32x4.add(s, v128.load(x + i));
    let sum = hsum(s);
    for (let i = vectors; i < bytes; i += 4) sum += load<f32>(x + i);
    const mean = sum / <f32>n, m4 = f32x4.splat(mean);
    for (let i: usize = 0; i < vectors; i += 16) { const d = f32x4.sub(v128.load(x + i), m4); q = madd(d, d, q); }
    let squares = hsum(q);
    for (let i = vectors; i < bytes; i += 4) { const d = load<f32>(x + i) - mean; squares += d * d; }
    const inverse: f32 = 1.0 / sqrt<f32>(squares / <f32>n + eps), i4 = f32x4.splat(inverse);
    for (let i: usize = 0; i < vectors; i += 16) {
      v128.store(out + i, madd(f32x4.mul(f32x4.sub(v128.load(x + i), m4), i4), v128.load(gain + i), v128.load(bias + i)));
    }
    for (let i = vectors; i < bytes; i += 4) {
      store<f32>(out + i, (load<f32>(x + i) - mean) * inverse * load<f32>(gain + i) + load<f32>(bias + i));
    }
  }
}

/** y += x, n values. */
export function add(y: usize, x: usize, n: usize): void {
  const bytes = n << 2, vectors = bytes & ~15;
  for (let i: usize = 0; i < vectors; i += 16) v128.store(y + i, f32x4.add(v128.load(y + i), v128.load(x + i)));
  for (let i = vectors; i < bytes; i += 4) store<f32>(y + i, load<f32>(y + i) + load<f32>(x + i));
}

/** Index of the largest of n values, the lowest where several are equal. */
export function argmax(x: usize, n: usize): usize {
  const vectors = n & ~3;
  let best = NEGATIVE_INFINITY;
  if (vectors) {
    let m = v128.load(x);
    for (let i: usize = 4; i < vectors; i += 4) m = f32x4.pmax(m, v128.load(x + (i << 2)));
    best = hmax(m);
  }
  for (let i = vectors; i < n; i++) best = max(best, load<f32>(x + (i << 2)));
  const b4 = f32x4.splat(best);
  for (let i: usize = 0; i < vectors; i += 4) {
    const hits = i32x4.bitmask(f32x4.eq(v128.load(x + (i << 2)), b4));
    if (hits) return i + <usize>ctz(hits);
  }
  for (let i = vectors; i < n; i++) if (load<f32>(x + (i << 2)) == best) return i;
  return 0;
}

export function move(to: usize, from: usize, bytes: usize): void {
  memory.copy(to, from, bytes);
}

export function zero(at: usize, bytes: usize): void {
  memory.fill(at, 0, bytes);
}

// ------------------------------------------------------------------------------------------------ attention

// Rotates the halves of one head: (a, b) -> (a cos - b sin, b cos + a sin). table = cos of all pairs, then sin.
// @ts-ignore: decorator
@inline function rotate(p: usize, table: usize, half: usize): void {
  const vectors = half & ~15, q = p + half, sines = table + half;
  for (let j: usize = 0; j < vectors; j += 16) {
    const a = v128.load(p + j), b = v128.load(q + j), c = v128.load(table + j), s = v128.load(sines + j);
    v128.store(p + j, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(q + j, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
  }
  for (let j = vectors; j < half; j += 4) {
    const a = load<f32>(p + j), b = load<f32>(q + j), c = load<f32>(table + j), s = load<f32>(sines + j);
    store<f32>(p + j, a * c - b * s);
    store<f32>(q + j, b * c + a * s);
  }
}

/**
 * Sliding-window attention of T new positions, the first at absolute position `start`.
 *
 * Rows of qkv are [heads | keyValueHeads | keyValueHeads] x P values, P = headDim padded to 16; queries come scaled.
 * keys and values are rings [keyValueHeads][R][P]; a position lives in slot position % R. Queries go in blocks of at
 * most R - window + 1, so that no key of theirs is overwritten before it is read. R decides the order in which a sum
 * runs and is the same for every way of cutting a stream into calls. scores: [block][R].
 */
export function attention(
  qkv: usize, T: usize, start: usize, tables: usize, keys: usize, values: usize, R: usize, window: usize,
  heads: usize, keyValueHeads: usize, headDim: usize, P: usize, scores: usize, zeros: usize, out: usize,
): void {
  const head = P << 2, half = headDim << 1, ring = R * head, line = R << 2;
  const rowQ = (heads + 2 * keyValueHeads) * head, rowOut = heads * head, group = heads / keyValueHeads;
  const most = R - window + 1, block = most > 1 ? most & ~1 : 1;
  for (let done: usize = 0; done < T; done += block) {
    const B = min(block, T - done), first = qkv + done * rowQ;
    for (let t: usize = 0; t < B; t++) {
      const row = first + t * rowQ, table = tables + (done + t) * (headDim << 2), slot = (start + done + t) % R * head;
      for (let h: usize = 0; h < heads; h++) rotate(row + h * head, table, half);
      for (let h: usize = 0; h < keyValueHeads; h++) {
        const k = row + (heads + h) * head, v = k + keyValueHeads * head;
        rotate(k, table, half);
        memory.copy(keys + h * ring + slot, k, head);
        memory.copy(values + h * ring + slot, v, head);
      }
    }
    const used = (min(start + done + B, R) + 3) & ~3;
    for (let h: usize = 0; h < heads; h++) {
      const ringOf = h / group * ring;
      dot(keys + ringOf, head, zeros, first + h * head, rowQ, scores, line, used, P, B, false);
      for (let t: usize = 0; t < B; t++) softmax(scores + t * line, used, start + done + t, R, window);
      gemm(values + ringOf, head, 64, zeros, scores, line, out + done * rowOut + h * head, rowOut, P, used, B, false, 1, 0);
    }
  }
}

// Softmax over the slots that hold the last `window` positions up to `query`; exactly zero elsewhere.
// @ts-ignore: decorator
@inline function softmax(s: usize, used: usize, query: usize, R: usize, window: usize): void {
  const bytes = used << 2, oldest = (query + 1 > window ? query + 1 - window : 0) % R, behind = query % R + 1;
  // The window is [oldest, behind), or around the end of the ring. Outside are [from, oldest) and [rest, used).
  const from: usize = behind <= oldest ? behind : 0, rest = behind > oldest ? behind : used;
  for (let i = from; i < oldest; i++) store<f32>(s + (i << 2), NEGATIVE_INFINITY);
  for (let i = rest; i < used; i++) store<f32>(s + (i << 2), NEGATIVE_INFINITY);
  let m = f32x4.splat(NEGATIVE_INFINITY);
  for (let i: usize = 0; i < bytes; i += 16) m = f32x4.pmax(m, v128.load(s + i));
  const top = f32x4.splat(hmax(m));
  for (let i: usize = 0; i < bytes; i += 32) {
    const at = s + i, a = v128.load(at), b = v128.load(at, 16);
    v128.store(at, exp4(f32x4.sub(a, top))); v128.store(at, exp4(f32x4.sub(b, top)), 16);
  }
  for (let i = from; i < oldest; i++) store<f32>(s + (i << 2), 0);
  for (let i = rest; i < used; i++) store<f32>(s + (i << 2), 0);
  let sum = f32x4.splat(0);
  for (let i: usize = 0; i < bytes; i += 16) sum = f32x4.add(sum, v128.load(s + i));
  const inverse = f32x4.splat(1.0 / hsum(sum));
  for (let i: usize = 0; i < bytes; i += 16) v128.store(s + i, f32x4.mul(v128.load(s + i), inverse));
}

// ------------------------------------------------------------------------------------------------ upsampling

/**
 * Depthwise transposed convolution: out[t * stride + i][c] = bias[c] + sum_j w[j * stride + i][c] x[t - j][c], j < taps.
 * x points at row 0; the taps - 1 rows before it are the past. w has taps * stride rows.
 */
export function depthwise_transpose(x: usize, w: usize, bias: usize, out: usize, C: usize, stride: usize, taps: usize, T: usize): void {
  const row = C << 2;
  for (let t: usize = 0; t < T; t++) {
    for (let i: usize = 0; i < stride; i++, out += row) {
      for (let c: usize = 0; c < row; c += 4) {
        let s = load<f32>(bias + c);
        for (let j: usize = 0; j < taps; j++) s += load<f32>(w + (j * stride + i) * row + c) * load<f32>(x + (t - j) * row + c);
        store<f32>(out + c, s);
      }
    }
  }
}
