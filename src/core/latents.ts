/**
 * Latents: frames of codecs that do not quantize, each a vector of numbers.
 *
 * @module
 */
import { describe, MimiRangeError, MimiTypeError } from "./errors.ts";
import { checkTensor, firstNotFinite, isTensor, type Tensor } from "./tensor.ts";

/** Latents of a batch, [batch, frames, channels]. */
export type Latents = Tensor<Float32Array>;

/** Far above what any encoder gives, far below what would leave a stream with a memory of NaN. */
const LARGEST = 1e6;

/**
 * Checked latents from what a caller has: [batch, frames, channels], or [frames, channels] of one row.
 *
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for a wrong type or shape.
 * @throws {MimiRangeError} `ERR_NOT_FINITE`, `ERR_OUT_OF_RANGE` naming the first value that is none.
 */
export function toLatents(where: string, input: unknown, channels: number): Latents {
  if (!isTensor(input) || !(input.data instanceof Float32Array)) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: latents must be a tensor { data: Float32Array, shape }, got ${
        describe(isTensor(input) ? input.data : input)
      }.`,
    );
  }
  const { data, shape } = input;
  checkTensor(`${where}: latents`, { data, shape });
  if ((shape.length !== 2 && shape.length !== 3) || shape.at(-1) !== channels) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: latents must be [batch, frames, ${channels}], got shape ${JSON.stringify(shape)}.`,
    );
  }
  let bad = firstNotFinite(data);
  if (bad >= 0) {
    throw new MimiRangeError("ERR_NOT_FINITE", `${where}: latent ${bad} is ${data[bad]}, expected a finite number.`);
  }
  bad = data.findIndex((v) => v > LARGEST || v < -LARGEST);
  if (bad >= 0) {
    throw new MimiRangeError(
      "ERR_OUT_OF_RANGE",
      `${where}: latent ${bad} is ${data[bad]}, expected at most ${LARGEST} in size.`,
    );
  }
  return { data, shape: shape.length === 3 ? shape : [1, ...shape] };
}
