/** Mimi at full size, with deterministic weights in place of the published ones: the same work, nothing to download. */
import { MimiConfig, MimiModel, wasm } from "../mod.ts";
import { decoderNetwork, encoderNetwork } from "../src/core/mimi.ts";
import { deterministicWeights } from "../tests/support/weights.ts";

export async function fullModel(): Promise<MimiModel> {
  const config = new MimiConfig(), weights = await deterministicWeights("full-spec"), backend = wasm();
  const encoder = await backend.compile(encoderNetwork(config), weights, { precision: "f32" });
  const decoder = await backend.compile(decoderNetwork(config), weights, { precision: "f32" });
  return new MimiModel({
    config,
    backend,
    encoder,
    decoder,
    numQuantizers: config.numQuantizers,
    fingerprint: "0".repeat(16),
  });
}
