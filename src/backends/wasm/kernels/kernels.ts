// Mimi's kernels for WebAssembly SIMD, in AssemblyScript. Built by `npm run build:wasm` into ../kernels.wasm.ts.
//
// All matrices are channels-last f32. Pointers and strides are in bytes, sizes in values. Every output value is a sum in
// one fixed order, whatever tile computes it, so results do not depend on how many positions a call covers. Plain SIMD
// rounds the same on every machine: no relaxed instructions here.

const NEGATIVE_INFINITY: f32 = -Infinity;

// ------------------------------------------------------------------------------------------------ matrix products
//
// A causal or strided convolution over a buffer [past rows | new rows] is a product whose x rows overlap: row t starts
// at x + t * ldx and is K values long.

// @ts-ignore: decorator
@inline function madd(a: v128, b: v128, c: v128): v128 {
  return f32x4.add(f32x4.mul(a, b), c);
}

// 16 outputs of two rows: 8 accumulators is what engines still keep in registers.
// @ts-ignore: decorator
@inline function tile16x2(w: usize, ldw: usize, K: usize, bias: usize, x: usize, ldx: usize, y: usize, ldy: usize, accumulate: bool): void {
  const y1 = y + ldy;
  let a0 = v128.load(bias), a1 = v128.load(bias, 16), a2 = v128.load(bias, 32), a3 = v128.load(bias, 48);
  let b0 = a0, b1 = a1, b2 = a2, b3 = a3;
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
  const pairs = T & ~1, next = T * ldy;
  for (let m: usize = 0; m < M; m += 16) {
    const bm = bias + (m << 2);
    let xb = x, yb = y + (m << 2);
    for (let b: usize = 0; b < B; b++) {
      for (let t: usize = 0; t < pairs; t += 2) tile16x2(w, ldw, K, bm, xb + t * ldx, ldx, yb + t * ldy, ldy, accumulate);
      if (T & 1) tile16x1(w, ldw, K, bm, xb + pairs * ldx, yb + pairs * ldy, accumulate);
      xb += ldb; yb += next;
    }
    w += panel;
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

// ------------------------------------------------------------------------------------------------ elementwise
//
// These run over whole vectors: up to three values past the end are read and written. Buffers leave room for it.

/** e^x to about 1e-7 relative, x clamped to [-87, 88] (the polynomial of Cephes' expf). */
// @ts-ignore: decorator
@inline function exp4(x: v128): v128 {
  x = f32x4.pmax(f32x4.splat(-87.0), f32x4.pmin(f32x4.splat(88.0), x));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504088896341)));
  let r = f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375)));
  r = f32x4.sub(r, f32x4.mul(n, f32x4.splat(-2.12194440e-4)));
  let p = madd(f32x4.splat(1.9875691500e-4), r, f32x4.splat(1.3981999507e-3));
  p = madd(p, r, f32x4.splat(8.3334519073e-3));
  p = madd(p, r, f32x4.splat(4.1665795894e-2));
  p = madd(p, r, f32x4.splat(1.6666665459e-1));
  p = madd(p, r, f32x4.splat(5.0000001201e-1));
  p = f32x4.add(madd(p, f32x4.mul(r, r), r), f32x4.splat(1.0));
  return f32x4.mul(p, i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23));
}

/** out = x > 0 ? x : e^x - 1 */
export function elu(x: usize, out: usize, n: usize): void {
  const end = x + (n << 2), one = f32x4.splat(1.0), zero = f32x4.splat(0);
  for (; x < end; x += 16, out += 16) {
    const v = v128.load(x);
    v128.store(out, v128.bitselect(v, f32x4.sub(exp4(v), one), f32x4.gt(v, zero)));
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

/** y -= x, where the n values of x lie `stride` bytes apart. */
export function subtract_strided(y: usize, x: usize, stride: usize, n: usize): void {
  for (let end = y + (n << 2); y < end; y += 4, x += stride) store<f32>(y, load<f32>(y) - load<f32>(x));
}

/** Index of the largest of n values, the lowest where several are equal. */
export function argmax(x: usize, n: usize): usize {
  const vectors = n & ~3;
  let best = NEGATIVE_INFINITY;
  if (vectors) {
    let m = v128.load(x);
    for (let i: usize = 4; i < vectors; i += 4) m = f32x4.pmax(m, v128.load(x + (i << 2)));
    best = max(max(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)), max(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)));
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
  for (let j: usize = 0; j < half; j += 4) {
    const a = load<f32>(p + j), b = load<f32>(p + half + j), c = load<f32>(table + j), s = load<f32>(table + half + j);
    store<f32>(p + j, a * c - b * s);
    store<f32>(p + half + j, b * c + a * s);
  }
}

/**
 * Sliding-window attention of T new positions, the first at absolute position `start`.
 *
 * Rows of qkv are [heads | keyValueHeads | keyValueHeads] x P values, P = headDim padded to 16; queries come scaled.
 * keys and values are rings [keyValueHeads][R][P]; a position lives in slot position % R. Queries go in blocks of at
 * most R - window + 1, so that no key of theirs is overwritten before it is read. R decides the order in which a sum
 * runs and is the same for every way of cutting a stream into calls. scores: [block][R], mask: [R].
 */
export function attention(
  qkv: usize, T: usize, start: usize, tables: usize, keys: usize, values: usize, R: usize, window: usize,
  heads: usize, keyValueHeads: usize, headDim: usize, P: usize, scores: usize, mask: usize, zeros: usize, out: usize,
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
      for (let t: usize = 0; t < B; t++) softmax(scores + t * line, used, start + done + t, R, window, mask);
      gemm(values + ringOf, head, 64, zeros, scores, line, out + done * rowOut + h * head, rowOut, P, used, B, false, 1, 0);
    }
  }
}

// Softmax over the slots that hold the last `window` positions up to `query`; exactly zero elsewhere.
// @ts-ignore: decorator
@inline function softmax(s: usize, used: usize, query: usize, R: usize, window: usize, mask: usize): void {
  const bytes = used << 2;
  for (let i: usize = 0; i < bytes; i += 4) store<f32>(mask + i, NEGATIVE_INFINITY);
  const oldest = query + 1 > window ? query + 1 - window : 0;
  let slot = oldest % R;
  for (let p = oldest; p <= query; p++) {
    store<f32>(mask + (slot << 2), 0);
    slot++;
    if (slot == R) slot = 0;
  }
  let m = f32x4.splat(NEGATIVE_INFINITY);
  for (let i: usize = 0; i < bytes; i += 16) {
    const v = f32x4.add(v128.load(s + i), v128.load(mask + i));
    v128.store(s + i, v);
    m = f32x4.pmax(m, v);
  }
  const top = max(max(f32x4.extract_lane(m, 0), f32x4.extract_lane(m, 1)), max(f32x4.extract_lane(m, 2), f32x4.extract_lane(m, 3)));
  const t4 = f32x4.splat(top), none = f32x4.splat(NEGATIVE_INFINITY);
  let sum = f32x4.splat(0);
  for (let i: usize = 0; i < bytes; i += 16) {
    const v = v128.load(s + i), e = v128.and(exp4(f32x4.sub(v, t4)), f32x4.gt(v, none));
    v128.store(s + i, e);
    sum = f32x4.add(sum, e);
  }
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
