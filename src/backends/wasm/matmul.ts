/**
 * Matrix products with constant weights, packed once for the kernels.
 *
 * @module
 */
import {
  longestRow,
  type PackedMatrix,
  packMatrix,
  PANEL,
  panelBytes,
  type Rows,
  type WeightFormat,
} from "../../core/packing.ts";
import { scaled } from "../../core/weights.ts";
import type { Memory } from "./memory.ts";

/** `y[t] = W x[t] + bias`. */
export interface Matmul {
  /**
   * Multiplies `blocks` blocks of `rows` rows: those of x lie `strideBlock` bytes apart, those of y one after the other.
   * Pointers and strides in bytes.
   */
  run(
    x: number,
    strideX: number,
    y: number,
    strideY: number,
    rows: number,
    accumulate: boolean,
    blocks?: number,
    strideBlock?: number,
  ): void;
}

/** W and its bias. */
export interface Weights {
  rows: Rows;
  outputs: number;
  inputs: number;
  /** Where the bias lies. */
  bias: number;
  /** Multiplies the rows of W; the bias has it already. */
  factors?: Float32Array;
}

/** A buffer that others use too; its place is known once everything is lowered. */
export interface Scratch {
  at: number;
}

/** How rows of y come from rows of x; integers are scaled by it. */
export interface Reach {
  /** Most frames of a pass, those of all its streams together. */
  frames: number;
  /** Rows of y for a frame. */
  perFrame: number;
  /** Rows of x, `stride` apart from one row of y to the next, that lie side by side in an input of W. */
  taps: number;
  stride: number;
}

/**
 * Packs weights. Integers are for outputs that come in sixteens; others stay f32.
 *
 * @param scratch gives a buffer of some bytes that all who name it share.
 */
export function matmul(
  memory: Memory,
  weights: Weights,
  format: WeightFormat,
  reach: Reach,
  scratch: (name: string, bytes: number) => Scratch,
): Matmul {
  return format === "f32" || weights.outputs % PANEL !== 0
    ? new FloatMatmul(memory, weights)
    : new IntegerMatmul(memory, weights, format, reach, scratch);
}

class FloatMatmul implements Matmul {
  readonly #memory: Memory;
  readonly #outputs: number;
  readonly #inputs: number;
  readonly #weights: number;
  readonly #bias: number;
  readonly #panels: boolean;

  constructor(memory: Memory, { rows, outputs, inputs, bias, factors }: Weights) {
    this.#memory = memory;
    this.#outputs = outputs;
    this.#inputs = inputs;
    this.#bias = bias;
    // Sixteen rows side by side feed the fast kernel; what does not come in sixteens stays as rows.
    this.#panels = outputs % PANEL === 0;
    this.#weights = memory.allocate(outputs * inputs);
    const packed = memory.view(this.#weights, outputs * inputs), row = new Float32Array(inputs);
    for (let m = 0; m < outputs; m++) {
      rows(m, row);
      if (factors) { for (let k = 0; k < inputs; k++) row[k] *= factors[m]; }
      if (this.#panels) {
        // [M / 16, K, 16]
        for (let k = 0, at = (m - m % PANEL) * inputs + m % PANEL; k < inputs; k++, at += PANEL) packed[at] = row[k];
      } else packed.set(row, m * inputs);
    }
  }

  run(
    x: number,
    strideX: number,
    y: number,
    strideY: number,
    rows: number,
    accumulate: boolean,
    blocks: number = 1,
    strideBlock: number = 0,
  ): void {
    const { kernels } = this.#memory, outputs = this.#outputs, inputs = this.#inputs, bias = this.#bias;
    if (this.#panels) {
      kernels.gemm(
        this.#weights,
        PANEL * 4,
        inputs * PANEL * 4,
        bias,
        x,
        strideX,
        y,
        strideY,
        outputs,
        inputs,
        rows,
        accumulate,
        blocks,
        strideBlock,
      );
    } else {
      // Small weights, which stay in the caches from one block to the next.
      for (let b = 0; b < blocks; b++) {
        kernels.dot(
          this.#weights,
          inputs * 4,
          bias,
          x + b * strideBlock,
          strideX,
          y + b * rows * strideY,
          strideY,
          outputs,
          inputs,
          rows,
          accumulate,
        );
      }
    }
  }
}

/**
 * Weights of 8, 12 or 16 bits, activations of 16. The activations of a frame have a scale of their own, so that a result
 * does not depend on what else is in a pass.
 */
class IntegerMatmul implements Matmul {
  readonly #memory: Memory;
  readonly #format: PackedMatrix["format"];
  readonly #outputs: number;
  readonly #pairs: number;
  readonly #weights: number;
  readonly #scales: number;
  readonly #bias: number;
  readonly #reach: Reach;
  /** Channels of a row of x. */
  readonly #channels: number;
  /** Rows of x for a frame, with those before the first that its products reach back to. */
  readonly #group: number;
  readonly #spread: number;
  readonly #integers: Scratch;
  readonly #groupScales: Scratch;
  readonly #panel: Scratch;

  constructor(
    memory: Memory,
    { rows, outputs, inputs, bias, factors }: Weights,
    format: PackedMatrix["format"],
    reach: Reach,
    scratch: (name: string, bytes: number) => Scratch,
  ) {
    const packed = packMatrix(rows, outputs, inputs, format), { frames, perFrame, taps, stride } = reach;
    this.#memory = memory;
    this.#format = format;
    this.#outputs = outputs;
    this.#pairs = Math.ceil(inputs / 2);
    this.#weights = memory.storeBytes(packed.data);
    this.#scales = memory.store(scaled(packed.scales, factors));
    this.#bias = bias;
    this.#reach = reach;
    this.#channels = inputs / taps;
    this.#group = (perFrame - 1) * stride + taps;
    this.#spread = spreadOf(packed, taps);
    this.#integers = scratch("integers", frames * this.#group * this.#channels * 2);
    this.#groupScales = scratch("integer scales", frames * 4);
    this.#panel = scratch("panel", format === "int12" ? panelBytes("int16", inputs) : 0);
  }

  run(
    x: number,
    strideX: number,
    y: number,
    strideY: number,
    rows: number,
    accumulate: boolean,
    blocks: number = 1,
    strideBlock: number = 0,
  ): void {
    const { kernels } = this.#memory, { perFrame, taps, stride } = this.#reach;
    const integers = this.#integers.at, scales = this.#groupScales.at, group = this.#group * this.#channels * 2;
    const frames = Math.floor(rows / perFrame), rest = rows % perFrame;
    let to = 0;
    const convert = (from: number, inputs: number, groups: number) => {
      const at = integers + to * group, step = perFrame * strideX;
      kernels.to_int16(from, this.#channels, inputs, step, groups, this.#spread, at, scales + to * 4);
      to += groups;
    };
    for (let b = 0; b < blocks; b++) {
      const from = x + b * strideBlock;
      convert(from, this.#group, frames);
      // Only a recording's last frame is not whole, and it has its pass to itself.
      if (rest > 0) convert(from + frames * perFrame * strideX, (rest - 1) * stride + taps, 1);
    }
    kernels[`gemm_${this.#format}`](
      this.#weights,
      this.#scales,
      this.#bias,
      integers,
      strideX / 2,
      perFrame,
      group,
      scales,
      y,
      strideY,
      this.#outputs,
      this.#pairs,
      rows * blocks,
      accumulate,
      this.#panel.at,
    );
  }
}

/**
 * What a group's scale must at least be, for each unit of the norm of its largest row of x.
 *
 * The sums of W q must stay below 2^31. With w the longest row of W, K = its inputs, and q = x / scale rounded,
 * |W q| <= |w| |q| <= |w| (|x| / scale + sqrt(K) / 2) (Cauchy-Schwarz), and |x| <= sqrt(taps) * the norm of the largest
 * row. The same holds for a part of the sum. A thousandth more stands for the rounding of norms and scale in f32.
 */
export function spreadOf(packed: PackedMatrix, taps: number): number {
  const longest = longestRow(packed), rounding = longest * Math.sqrt(packed.inputs) / 2;
  return Math.sqrt(taps) * longest / (2 ** 31 - 1 - rounding) * 1.001;
}
