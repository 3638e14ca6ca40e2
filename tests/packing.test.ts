/** Weights as integers: what is packed, what is read back, and that both agree to the last bit. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { sizeOf } from "../src/core/network.ts";
import { longestRow, packMatrix, panelBytes, rowsOf, unpackMatrix } from "../src/core/packing.ts";
import { dequantize, quantize, STORED } from "../src/core/quantized.ts";
import { random } from "./support/random.ts";

const FORMATS = ["int8", "int12", "int16"] as const;
const TOP = { int8: 127, int12: 2047, int16: 16383 };

for (const format of FORMATS) {
  test(`${format}: each weight is off by at most half a step, and the largest of a row hardly at all`, () => {
    const rng = random(`packing ${format}`);
    for (let round = 0; round < 40; round++) {
      const outputs = rng.integer(1, 40), inputs = rng.integer(1, 70), scale = 10 ** rng.integer(-20, 20);
      const weights = rng.floats(outputs * inputs, scale),
        packed = packMatrix(rowsOf(weights, inputs), outputs, inputs, format);
      assert.equal(packed.data.length, Math.ceil(outputs / 16) * panelBytes(format, inputs));
      const read = unpackMatrix(packed);
      weights.forEach((weight, i) => {
        const step = packed.scales[Math.floor(i / inputs)];
        assert.ok(Math.abs(read[i] - weight) <= step * 0.502, `${read[i]} for ${weight}, step ${step}`);
      });
      for (let m = 0; m < outputs; m++) {
        const row = weights.subarray(m * inputs, (m + 1) * inputs), largest = Math.max(...row.map(Math.abs));
        assert.ok(Math.abs(packed.scales[m] / (largest / TOP[format]) - 1) < 2 ** -12);
      }
    }
  });
}

for (const format of ["int8", "int12"] as const) {
  test(`${format}: what was read packs to the same bytes`, () => {
    const rng = random(`packing twice ${format}`);
    for (let round = 0; round < 100; round++) {
      const outputs = rng.integer(1, 33), inputs = rng.integer(1, 40);
      const weights = rng.floats(outputs * inputs, 2 ** rng.integer(-30, 30)).map((v) => v ** rng.integer(1, 3));
      const packed = packMatrix(rowsOf(weights, inputs), outputs, inputs, format);
      assert.deepEqual(packMatrix(rowsOf(unpackMatrix(packed), inputs), outputs, inputs, format), packed);
    }
  });
}

test("every integer of a format is stored and read", () => {
  for (const format of FORMATS) {
    const top = TOP[format], inputs = 2 * top + 1;
    for (let row = 0; row < 3; row++) {
      const weights = new Float32Array((row + 1) * inputs);
      for (let i = 0; i < inputs; i++) weights[row * inputs + i] = i - top;
      const packed = packMatrix(rowsOf(weights, inputs), row + 1, inputs, format), step = packed.scales[row];
      const read = unpackMatrix(packed).subarray(row * inputs);
      // Long rows have coarser 16-bit integers.
      assert.deepEqual(read, weights.subarray(row * inputs).map((v) => (Math.round(v / step) + 0) * step));
      if (format !== "int16") assert.equal(step, 1);
    }
  }
});

test("rows of zeros, missing rows and columns", () => {
  for (const format of FORMATS) {
    const packed = packMatrix(rowsOf(Float32Array.of(0, 0, 0, 3, -4, 0), 3), 2, 3, format);
    assert.deepEqual([...unpackMatrix(packed)].map(Math.round), [0, 0, 0, 3, -4, 0]);
    assert.equal(packed.scales.length, 16);
    assert.deepEqual(packed.scales.filter((v) => v !== 0), packed.scales.slice(1, 2));
    assert.ok(Math.abs(longestRow(packed) * packed.scales[1] - 5) < 0.05);
  }
});

for (const as of ["int8", "int12"] as const) {
  test(`${as} in a file: a convolution's rows, transposed or not, are those that kernels get`, () => {
    const rng = random(`stored ${as}`), stride = rng.integer(1, 4);
    const outputs = rng.integer(1, 20), channels = rng.integer(1, 9), taps = rng.integer(1, 3), kernel = taps * stride;
    const weights = (n: number) => rng.floats(n, 10 ** rng.integer(-3, 2));
    // [outputs, channels, kernel], rows as they are.
    const plain = weights(outputs * channels * kernel), shape = [outputs, channels, kernel];
    check(as, plain, shape, [outputs, 1, 1], plain, outputs);
    // [channels, outputs, kernel]: output i of a group of `stride` is a row over channels and taps.
    const transposed = weights(outputs * channels * kernel), rows: number[] = [];
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < stride; i++) {
        for (let c = 0; c < channels; c++) {
          for (let j = 0; j < taps; j++) rows.push(transposed[(c * outputs + o) * kernel + j * stride + i]);
        }
      }
    }
    check(as, transposed, [channels, outputs, kernel], [1, outputs, stride], Float32Array.from(rows), outputs * stride);
  });
}

/** Quantizes a tensor, whose rows as a matrix are `rows`, and holds it against the matrix packed. */
function check(
  as: "int8" | "int12",
  values: Float32Array,
  shape: number[],
  scaleShape: number[],
  rows: Float32Array,
  count: number,
): void {
  const tensor = { as, shape }, { integers, scales } = quantize(values, tensor, scaleShape);
  assert.equal(integers.length, sizeOf(STORED[as].shape(shape)));
  const packed = packMatrix(rowsOf(rows, rows.length / count), count, rows.length / count, as);
  assert.deepEqual(scales, packed.scales.subarray(0, count));
  const again = dequantize(integers, scales, tensor, scaleShape);
  assert.deepEqual([...again].sort(), [...unpackMatrix(packed)].sort());
  assert.deepEqual(quantize(again, tensor, scaleShape), { integers, scales }, "once more, the same");
  const most = Math.max(...scales);
  values.forEach((value, i) => assert.ok(Math.abs(value - again[i]) <= 0.51 * most, `${value} became ${again[i]}`));
}
