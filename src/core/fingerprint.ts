/**
 * A short name for what codes mean: models with the same first codebook share it, whatever their layout or precision.
 *
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import type { TensorSource } from "./backend.ts";
import { codebookTensors, type ResidualQuantizer } from "./network.ts";

/** First 8 bytes, in hexadecimal, of the SHA-256 over codebook 0's `embed_sum` and `cluster_usage` as little-endian f32. */
export async function fingerprint(tensors: TensorSource, first: ResidualQuantizer): Promise<string> {
  const hash = sha256.create(), { sum, usage } = codebookTensors(first, 0);
  for (const spec of [sum, usage]) {
    const values = await tensors.read(spec);
    hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return bytesToHex(hash.digest()).slice(0, 16);
}
