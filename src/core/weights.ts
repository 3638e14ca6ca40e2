/**
 * What every backend makes of the weights.
 *
 * @module
 */
import type { TensorSource } from "./backend.ts";
import { codebookTensors, type ResidualQuantizer } from "./network.ts";

/** Entries of a codebook, `embed_sum / max(cluster_usage, 1e-5)` in f32 (transformers, MimiEuclideanCodebook.embed). */
export async function codebookEntries(
  tensors: TensorSource,
  quantizer: ResidualQuantizer,
  index: number,
): Promise<Float32Array> {
  const { sum, usage } = codebookTensors(quantizer, index), floor = Math.fround(1e-5);
  const sums = await tensors.read(sum), used = await tensors.read(usage);
  return sums.map((v, i) => v / Math.max(used[Math.floor(i / quantizer.dim)], floor));
}

/** Multiplies rows (or values) by one factor each. */
export function scaled(values: Float32Array, factors: Float32Array | undefined): Float32Array {
  if (!factors) return values;
  const columns = Math.ceil(values.length / factors.length);
  return values.map((v, i) => v * factors[Math.floor(i / columns)]);
}
