/**
 * Weights as integers: a matrix in 8, 12 or 16 bits with one scale for each of its rows, in the order in which kernels read
 * it.
 *
 * Sixteen rows make a panel, and two neighbouring columns of them 32 integers, [16][2]; a panel is its pairs of columns one
 * after the other. 8 and 16 bits are stored as they are. Of 12 bits the upper 8 come first, 32 bytes, then 16 bytes with the
 * lower 4: the 16-bit word j holds those of the integers j, j + 8, j + 16 and j + 24, from its lowest bits up. Rows and
 * columns that are missing to a whole panel or pair are zeros.
 *
 * @module
 */

/** How a weight matrix is kept. */
export type WeightFormat = "f32" | "int16" | "int12" | "int8";

export type IntegerFormat = Exclude<WeightFormat, "f32">;

/** A matrix [outputs, inputs]: row m is its integers times `scales[m]`. */
export interface PackedMatrix {
  format: IntegerFormat;
  outputs: number;
  inputs: number;
  data: Uint8Array;
  /** One for each row; those of zeros that fill the last panel included. */
  scales: Float32Array;
}

/** Rows of a panel. */
export const PANEL = 16;

const BITS = { int16: 16, int12: 12, int8: 8 } as const;

/** Largest integer of a format that is stored. */
export const TOP = { int12: 2047, int8: 127 } as const;

/**
 * Largest integer of a format. The 16-bit one is as fine as the activations can be beside it: they get what the sum of
 * `inputs` products leaves of 32 bits, and sqrt(1.9e10 / inputs) was measured to share it best.
 */
function topOf(format: IntegerFormat, inputs: number): number {
  return format === "int16" ? Math.min(16383, Math.floor(Math.sqrt(1.9e10 / inputs))) : TOP[format];
}

/**
 * The scale with which the largest value becomes the largest integer. It has 13 significant bits, so that integer times
 * scale is exact in f32.
 */
export function scaleOf(largest: number, format: keyof typeof TOP): number {
  const bits = new DataView(new ArrayBuffer(4));
  bits.setFloat32(0, largest / TOP[format]);
  bits.setUint32(0, bits.getUint32(0) + 0x400 & ~0x7ff);
  return bits.getFloat32(0);
}

/** The nearest integer that a format has. */
export function toInteger(value: number, top: number): number {
  return Math.max(-top, Math.min(top, Math.floor(value + 0.5)));
}

/** Bytes of a panel. */
export function panelBytes(format: IntegerFormat, inputs: number): number {
  return Math.ceil(inputs / 2) * 4 * BITS[format];
}

/** Writes row m of a matrix, so that no whole copy of it has to be in the right order. */
export type Rows = (m: number, row: Float32Array) => void;

/** Rows that lie one after the other. */
export function rowsOf(values: Float32Array, inputs: number): Rows {
  return (m, row) => row.set(values.subarray(m * inputs, (m + 1) * inputs));
}

/**
 * Packs a matrix, row by row: the integer nearest to weight / scale, where the largest weight of the row becomes the format's
 * largest integer.
 *
 * Scales of 8 and 12 bits have 13 significant bits, so that integer times scale is exact in f32: what
 * {@link unpackMatrix} reads packs to the same bytes again.
 *
 * @param weights its rows, finite.
 */
export function packMatrix(
  weights: Rows,
  outputs: number,
  inputs: number,
  format: IntegerFormat,
): PackedMatrix {
  const rows = Math.ceil(outputs / PANEL) * PANEL, top = topOf(format, inputs);
  const values = new Float32Array(inputs), row = new Int16Array(inputs);
  const data = new Uint8Array(rows / PANEL * panelBytes(format, inputs)), scales = new Float32Array(rows);
  for (let m = 0; m < outputs; m++) {
    weights(m, values);
    let largest = 0;
    for (let k = 0; k < inputs; k++) {
      const size = Math.abs(values[k]);
      if (size > largest) largest = size;
    }
    const scale = scales[m] = format === "int16" ? Math.fround(largest / top) : scaleOf(largest, format);
    if (scale === 0) continue;
    const inverse = 1 / scale;
    for (let k = 0; k < inputs; k++) {
      row[k] = toInteger(values[k] * inverse, top);
    }
    writeRow(data, format, m, row);
  }
  return { format, outputs, inputs, data, scales };
}

/** The weights that a packed matrix stands for, [outputs, inputs]. */
export function unpackMatrix({ format, outputs, inputs, data, scales }: PackedMatrix): Float32Array {
  const weights = new Float32Array(outputs * inputs), row = new Int16Array(inputs);
  for (let m = 0; m < outputs; m++) {
    readRow(data, format, m, row);
    for (let k = 0; k < inputs; k++) weights[m * inputs + k] = row[k] * scales[m];
  }
  return weights;
}

/** Euclidean norm of the longest row of integers. */
export function longestRow({ format, outputs, inputs, data }: PackedMatrix): number {
  const row = new Int16Array(inputs);
  let longest = 0;
  for (let m = 0; m < outputs; m++) {
    readRow(data, format, m, row);
    let squares = 0;
    for (let k = 0; k < inputs; k++) squares += row[k] * row[k];
    longest = Math.max(longest, squares);
  }
  return Math.sqrt(longest);
}

/** Where row m begins: its panel, and its integers' place in a pair. */
function placeOf(format: IntegerFormat, inputs: number, m: number): [at: number, lane: number] {
  const lane = m % PANEL;
  return [(m - lane) / PANEL * panelBytes(format, inputs), 2 * lane];
}

function writeRow(data: Uint8Array, format: IntegerFormat, m: number, row: Int16Array): void {
  let [at, lane] = placeOf(format, row.length, m);
  for (let k = 0; k < row.length; k++) {
    const i = lane + (k & 1), integer = row[k];
    if (format === "int8") data[at + i] = integer;
    else if (format === "int16") {
      data[at + 2 * i] = integer;
      data[at + 2 * i + 1] = integer >> 8;
    } else {
      data[at + i] = integer >> 4;
      data[at + lowerBits(i)] |= (integer & 15) << ((i >>> 3 & 1) * 4);
    }
    if (k & 1) at += BITS[format] * 4;
  }
}

function readRow(data: Uint8Array, format: IntegerFormat, m: number, row: Int16Array): void {
  let [at, lane] = placeOf(format, row.length, m);
  for (let k = 0; k < row.length; k++) {
    const i = lane + (k & 1);
    if (format === "int8") row[k] = data[at + i] << 24 >> 24;
    else if (format === "int16") row[k] = data[at + 2 * i] | data[at + 2 * i + 1] << 8;
    else row[k] = data[at + i] << 24 >> 20 | data[at + lowerBits(i)] >>> ((i >>> 3 & 1) * 4) & 15;
    if (k & 1) at += BITS[format] * 4;
  }
}

/** The byte of a pair with the lower 4 bits of integer i, which stand in its upper half for odd `i >>> 3`. */
function lowerBits(i: number): number {
  return 32 + (i & 7) * 2 + (i >>> 4);
}
