/**
 * A matrix product with constant weights, packed once for the kernels.
 *
 * @module
 */
import type { Memory } from "./memory.ts";

const LANES = 16;

/** `y[t] = W x[t] + bias`, W is [M, K] row by row. Strides are in bytes. */
export class Matmul {
  readonly outputs: number;
  readonly inputs: number;
  readonly #memory: Memory;
  readonly #weights: number;
  readonly #bias: number;
  readonly #panels: boolean;

  constructor(memory: Memory, weights: Float32Array, outputs: number, inputs: number, bias: number) {
    this.outputs = outputs;
    this.inputs = inputs;
    this.#memory = memory;
    this.#bias = bias;
    // Sixteen rows side by side feed the fast kernel; what does not come in sixteens stays as rows.
    this.#panels = outputs % LANES === 0;
    this.#weights = memory.allocate(weights.length);
    const packed = memory.view(this.#weights, weights.length);
    if (this.#panels) pack(packed, weights, outputs, inputs);
    else packed.set(weights);
  }

  /** Where row `output` of W lies: its first value, and the bytes from one value to the next. */
  row(output: number): { at: number; stride: number } {
    const lane = output % LANES, panel = output - lane;
    return this.#panels
      ? { at: this.#weights + (panel * this.inputs + lane) * 4, stride: LANES * 4 }
      : { at: this.#weights + output * this.inputs * 4, stride: 4 };
  }

  /**
   * Multiplies `blocks` blocks of `rows` rows: those of x lie `strideBlock` bytes apart, those of y one after the other.
   */
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
    const { outputs, inputs } = this, { kernels } = this.#memory;
    if (this.#panels) {
      kernels.gemm(
        this.#weights,
        LANES * 4,
        inputs * LANES * 4,
        this.#bias,
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
          this.#bias,
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

/** [M, K] -> [M / 16, K, 16] */
function pack(packed: Float32Array, weights: Float32Array, outputs: number, inputs: number): void {
  let at = 0;
  for (let panel = 0; panel < outputs; panel += LANES) {
    for (let k = 0; k < inputs; k++) {
      for (let lane = 0; lane < LANES; lane++) packed[at++] = weights[(panel + lane) * inputs + k];
    }
  }
}
