/**
 * A short name for what frames mean: models with the same first codebook share it, whatever their layout or precision.
 *
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import type { TensorSource } from "./backend.ts";
import { codebookTensors, type Network, tensorsOf, type TensorSpec, walk } from "./network.ts";

/**
 * First 8 bytes, in hexadecimal, of the SHA-256 over what a decoder reads frames with, as little-endian f32: codebook 0's
 * `embed_sum` and `cluster_usage`, or for latents the tensors of the first layer that has any.
 */
export async function fingerprint(tensors: TensorSource, decoder: Network): Promise<string> {
  const hash = sha256.create();
  for (const spec of readers(decoder)) {
    const values = await tensors.read(spec);
    hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return bytesToHex(hash.digest()).slice(0, 16);
}

function readers({ layers }: Network): TensorSpec[] {
  for (const { layer } of walk(layers, 0)) {
    if (layer.kind === "dequantize") return Object.values(codebookTensors(layer.quantizers[0], 0));
    const specs = tensorsOf(layer);
    if (specs.length > 0) return specs;
  }
  return [];
}
