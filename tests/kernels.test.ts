/** The wasm kernels, each against its formula: integers exactly, f32 in the order that the kernel promises. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Codebook } from "../src/backends/wasm/codebook.ts";
import { matmul, type Reach, type Scratch, spreadOf } from "../src/backends/wasm/matmul.ts";
import { Memory } from "../src/backends/wasm/memory.ts";
import { type PackedMatrix, packMatrix, rowsOf, unpackMatrix } from "../src/core/packing.ts";
import { type Random, random } from "./support/random.ts";

const FORMATS = ["int8", "int12", "int16"] as const;
const f = Math.fround;

/** Buffers of their own for all who ask. */
const scratchOf = (memory: Memory) => (_: string, bytes: number): Scratch => ({ at: memory.allocate(bytes / 4) });

/** The integers of a packed matrix, row by row. */
function integersOf(packed: PackedMatrix): number[][] {
  const ones = unpackMatrix({ ...packed, scales: packed.scales.map((v) => (v ? 1 : 0)) }), { inputs } = packed;
  return Array.from({ length: packed.outputs }, (_, m) => [...ones.subarray(m * inputs, (m + 1) * inputs)]);
}

interface Case {
  format: PackedMatrix["format"];
  outputs: number;
  channels: number;
  reach: Reach;
  /** Rows of y that each stream has, and streams. */
  count: number;
  streams: number;
}

function someCase(rng: Random): Case {
  const taps = rng.integer(1, 4), stride = rng.integer(1, taps), perFrame = rng.integer(1, 5);
  const streams = rng.integer(1, 3), frames = rng.integer(1, 4);
  const rest = streams === 1 ? rng.integer(0, perFrame - 1) : 0; // only a stream alone ends in the middle of a frame
  return {
    format: rng.pick(FORMATS),
    outputs: 16 * rng.integer(1, 3),
    channels: rng.integer(1, 40),
    reach: { frames: 16, perFrame, taps, stride },
    count: Math.max(1, (frames - 1) * perFrame + (rest || perFrame)),
    streams,
  };
}

/** The product as its formula has it: scales of each frame, int16, exact sums, then f32 as `put` in the kernels has it. */
function reference(x: Float32Array, weights: Float32Array, bias: Float32Array, y: Float32Array, c: Case): Float32Array {
  const { channels, reach: { perFrame, taps, stride }, count, streams, outputs } = c, inputs = taps * channels;
  const packed = packMatrix(rowsOf(weights, inputs), outputs, inputs, c.format), integers = integersOf(packed);
  const spread = f(spreadOf(packed, taps)), block = x.length / streams, out = y.slice();
  for (let s = 0; s < streams; s++) {
    for (let from = 0; from < count; from += perFrame) {
      const to = Math.min(count, from + perFrame), rowsX = (to - from - 1) * stride + taps;
      const some = x.subarray(s * block + from * stride * channels).subarray(0, rowsX * channels);
      const scale = scaleOf(some, channels, spread);
      const q = some.map((v) => roundEven(f(v * f(1 / scale))));
      for (let t = from; t < to; t++) {
        for (let m = 0; m < outputs; m++) {
          let sum = 0;
          for (let k = 0; k < inputs; k++) sum += integers[m][k] * q[(t - from) * stride * channels + k];
          assert.ok(Math.abs(sum) < 2 ** 31, `a sum of ${sum} does not fit into 32 bits`);
          const at = (s * count + t) * outputs + m;
          out[at] = f(f(f(f(sum) * f(packed.scales[m] * scale)) + bias[m]) + out[at]);
        }
      }
    }
  }
  return out;
}

/** As to_int16 sums squares: four lanes, then their sum, then the rest. */
function scaleOf(x: Float32Array, channels: number, spread: number): number {
  let largest = 0, top = 0;
  for (let row = 0; row < x.length; row += channels) {
    const lanes = [0, 0, 0, 0], whole = channels & ~3;
    for (let i = 0; i < whole; i++) lanes[i % 4] = f(lanes[i % 4] + f(x[row + i] * x[row + i]));
    let sum = f(f(lanes[0] + lanes[1]) + f(lanes[2] + lanes[3]));
    for (let i = whole; i < channels; i++) sum = f(sum + f(x[row + i] * x[row + i]));
    largest = Math.max(largest, sum);
  }
  for (const v of x) top = Math.max(top, Math.abs(v));
  return Math.max(f(top / 32767), f(f(Math.sqrt(largest)) * spread), f(1e-20));
}

function roundEven(v: number): number {
  return f(f(v + 12582912) - 12582912);
}

function run(memory: Memory, x: Float32Array, weights: Float32Array, bias: Float32Array, y: Float32Array, c: Case) {
  const { channels, reach, count, streams, outputs } = c, block = x.length / streams;
  const product = matmul(
    memory,
    { rows: rowsOf(weights, reach.taps * channels), outputs, inputs: reach.taps * channels, bias: memory.store(bias) },
    c.format,
    reach,
    scratchOf(memory),
  );
  const xAt = memory.store(x), yAt = memory.store(y);
  product.run(xAt, reach.stride * channels * 4, yAt, outputs * 4, count, true, streams, block * 4);
  return memory.view(yAt, y.length).slice();
}

test("integer products: exactly the formula, for any widths, frames and streams", async () => {
  const rng = random("integer products");
  for (let round = 0; round < 120; round++) {
    const c = someCase(rng), { channels, reach: { taps, stride }, count, streams, outputs } = c;
    const x = rng.floats(streams * ((count - 1) * stride + taps) * channels, 10 ** rng.integer(-6, 6));
    const weights = rng.floats(outputs * taps * channels), bias = rng.floats(outputs);
    const y = rng.floats(streams * count * outputs);
    assert.deepEqual(run(await Memory.create(), x, weights, bias, y, c), reference(x, weights, bias, y, c));
  }
});

test("integer products: sums fit into 32 bits whatever the data", async () => {
  const rng = random("overflow");
  for (const format of FORMATS) {
    for (const [channels, taps] of [[2048, 1], [512, 16], [1024, 7], [8192, 1], [31, 3]]) {
      const inputs = channels * taps, outputs = 16;
      const c: Case = {
        format,
        outputs,
        channels,
        reach: { frames: 1, perFrame: 2, taps, stride: 1 },
        count: 2,
        streams: 1,
      };
      const signs = Array.from({ length: inputs }, () => (rng.next() < 0.5 ? -1 : 1));
      const kinds: ((i: number) => number)[] = [
        (i) => signs[i % inputs], // all weights and all values at their largest, signs alike
        (i) => (i % channels === 0 ? signs[i % inputs] : 0.999 * signs[i % inputs]),
        (i) => (i % 97 === 0 ? 1 : 1e-3) * signs[i % inputs],
      ];
      for (const weight of kinds) {
        for (const value of kinds) {
          const weights = Float32Array.from({ length: outputs * inputs }, (_, i) => weight(i % inputs));
          const x = Float32Array.from({ length: (1 + taps) * channels }, (_, i) => value(i) * 1e6);
          const bias = new Float32Array(outputs), y = new Float32Array(2 * outputs);
          assert.deepEqual(run(await Memory.create(), x, weights, bias, y, c), reference(x, weights, bias, y, c));
        }
      }
    }
  }
});

test("integer products: silence, and what is next to it", async () => {
  for (const format of FORMATS) {
    for (const level of [0, 1e-45, 1e-30, 1e-19, 1e-18]) {
      const c: Case = {
        format,
        outputs: 16,
        channels: 64,
        reach: { frames: 1, perFrame: 1, taps: 1, stride: 1 },
        count: 1,
        streams: 1,
      };
      const x = new Float32Array(64).fill(level), weights = new Float32Array(16 * 64).fill(1);
      const y = run(await Memory.create(), x, weights, new Float32Array(16), new Float32Array(16), c);
      const most = Math.max(1e-18, 64 * level);
      assert.ok(y.every((v) => Math.abs(v - 64 * level) <= 0.01 * most), `${y[0]} for ${64 * level}`);
    }
  }
});

test("f32 products: one sum in the order of k, whatever tile or read-ahead computes it", async () => {
  const rng = random("f32 products");
  for (const [outputs, inputs] of [[16, 64], [32, 256], [16, 512], [48, 700], [16, 1033]]) {
    for (const rows of [1, 2, 3]) {
      for (const streams of [1, 2]) {
        const memory = await Memory.create(), x = rng.floats(streams * rows * inputs);
        const weights = rng.floats(outputs * inputs), bias = rng.floats(outputs);
        const y = rng.floats(streams * rows * outputs), expected = y.slice();
        for (let t = 0; t < streams * rows; t++) {
          for (let m = 0; m < outputs; m++) {
            let sum = f(bias[m] + expected[t * outputs + m]);
            for (let k = 0; k < inputs; k++) sum = f(sum + f(weights[m * inputs + k] * x[t * inputs + k]));
            expected[t * outputs + m] = sum;
          }
        }
        const c: Case = {
          format: "f32" as "int8",
          outputs,
          channels: inputs,
          reach: { frames: 4, perFrame: 1, taps: 1, stride: 1 },
          count: rows,
          streams,
        };
        assert.deepEqual(run(memory, x, weights, bias, y, c), expected);
      }
    }
  }
});

test("ELU and GELU: their formulas, from the smallest to the largest values", async () => {
  const memory = await Memory.create(), { kernels } = memory, rng = random("activations"), n = 100_003;
  const erf = (z: number) => {
    let sum = z, term = z;
    for (let i = 1; i < 200 && Math.abs(term) > 1e-18; i++) sum += (term *= -z * z / i) / (2 * i + 1);
    return Math.abs(z) > 5 ? Math.sign(z) : sum * 2 / Math.sqrt(Math.PI);
  };
  const formulas = {
    elu: (v: number) => (v > 0 ? v : Math.expm1(v)),
    gelu: (v: number) => v / 2 * (1 + erf(v * Math.SQRT1_2)),
  };
  const x = Float32Array.from(
    { length: n },
    (_, i) => (rng.next() < 0.5 ? 1 : -1) * 2 ** (rng.next() * 40 - 30) * (i % 3),
  );
  x.set([0, -0, -1e-45, 3e38, -3e38, -87, -88, -126, -127, -1e9]);
  const from = memory.store(x), to = memory.allocate(n);
  for (const name of ["elu", "gelu"] as const) {
    kernels[name](from, to, n);
    memory.view(to, n).forEach((v, i) => {
      const expected = formulas[name](x[i]),
        allowed = 1.4e-7 * Math.max(1, Math.abs(expected), name === "gelu" ? Math.abs(x[i]) * 1.5 : 0);
      assert.ok(Math.abs(v - expected) <= allowed, `${name}(${x[i]}) is ${v}, should be ${expected}`);
    });
  }
});

/** The search without a shortlist: all scores in f32, the lowest of the best. */
function plainSearch(
  memory: Memory,
  entries: Float32Array,
  size: number,
  dim: number,
): (x: number, n: number) => number[] {
  const half = Float32Array.from({ length: size }, (_, e) => {
    let sum = 0;
    for (let i = e * dim; i < (e + 1) * dim; i++) sum += entries[i] * entries[i];
    return -sum / 2;
  });
  const reach: Reach = { frames: 1, perFrame: 1, taps: 1, stride: 1 }, bias = memory.store(half);
  const product = matmul(
    memory,
    { rows: rowsOf(entries, dim), outputs: size, inputs: dim, bias },
    "f32",
    reach,
    scratchOf(memory),
  );
  const scores = memory.allocate(512 * size);
  return (x, n) => {
    product.run(x, dim * 4, scores, size * 4, n, false);
    return Array.from({ length: n }, (_, t) => memory.kernels.argmax(scores + t * size * 4, size));
  };
}

/** Entries with everything that is hard for a shortlist: doubles, near doubles, opposite ones, large and tiny ones. */
function hardEntries(rng: Random, size: number, dim: number): Float32Array {
  const entries = rng.floats(size * dim);
  for (let e = 1; e < size; e++) {
    const from = rng.integer(0, e - 1) * dim, kind = rng.integer(0, 6), at = e * dim;
    for (let i = 0; i < dim; i++) {
      const other = entries[from + i];
      if (kind === 0) entries[at + i] = other;
      if (kind === 1) entries[at + i] = other * (1 + (rng.next() - 0.5) * 2 ** -20);
      if (kind === 2) entries[at + i] = -other;
      if (kind === 3) entries[at + i] = i === e % dim ? Math.fround(other + 2 ** -22) : other;
      if (kind === 4) entries[at + i] *= 2 ** -12;
    }
  }
  return entries;
}

test("codebook search: the codes of a plain search for 100,000 vectors, near ties among them", async () => {
  const rng = random("codebook search"), each = 500;
  let vectors = 0, ties = 0;
  for (let round = 0; round < 50; round++) {
    const size = 16 * rng.integer(1, 16), dim = rng.pick([4, 7, 8, 30, 32, 64]), memory = await Memory.create();
    const entries = hardEntries(rng, size, dim), scale = 4 ** rng.integer(-4, 2);
    entries.forEach((v, i) => entries[i] = v * scale);
    const book = new Codebook(memory, entries, size, dim, each, scratchOf(memory));
    const plain = plainSearch(memory, entries, size, dim), codes = memory.allocate(each);
    const x = memory.allocate(each * dim);
    for (let part = 0; part < 4; part++) {
      const residuals = new Float32Array(each * dim);
      for (let t = 0; t < each; t++) {
        // Entries themselves, points half-way between two, and anything.
        const [a, b] = [rng.integer(0, size - 1) * dim, rng.integer(0, size - 1) * dim], kind = rng.integer(0, 3);
        const noise = kind === 3 ? 2 ** rng.integer(-10, 3) : 2 ** -24;
        for (let i = 0; i < dim; i++) {
          const middle = kind === 0 ? entries[a + i] : kind === 1 ? (entries[a + i] + entries[b + i]) / 2 : 0;
          residuals[t * dim + i] = middle + (rng.next() - 0.5) * noise * scale;
        }
      }
      memory.view(x, residuals.length).set(residuals);
      const expected = plain(x, each);
      // Some calls have one vector, as live streams do.
      if (part === 0) { for (let t = 0; t < each; t++) book.search(x + t * dim * 4, 1, codes + t * 4); }
      else book.search(x, each, codes);
      assert.deepEqual([...memory.integers(codes, each)], expected);
      const left = memory.view(x, residuals.length);
      expected.forEach((code, t) => {
        for (let i = 0; i < dim; i++) {
          assert.equal(left[t * dim + i], f(residuals[t * dim + i] - entries[code * dim + i]));
        }
        ties += +(expected.indexOf(code) !== t);
      });
      vectors += each;
    }
  }
  assert.equal(vectors, 100_000);
  assert.ok(ties > 0);
});
