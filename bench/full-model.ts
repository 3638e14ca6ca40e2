/** Mimi at full size, with deterministic weights in place of the published ones: the same work, nothing to download. */
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Backend, MimiConfig, MimiModel, type Precision, wasm } from "../mod.ts";
import type { TensorSpec } from "../src/core/network.ts";
import { decoderNetwork, encoderNetwork } from "../src/core/mimi.ts";
import { testJSON } from "../tests/support/files.ts";
import { deterministicWeights } from "../tests/support/weights.ts";

/** @param part both halves, or one. */
export async function fullModel(
  backend: Backend = wasm(),
  { numQuantizers = new MimiConfig().numQuantizers, part, precision = "f32" }: {
    numQuantizers?: number;
    part?: "encoder" | "decoder";
    precision?: Precision;
  } = {},
): Promise<MimiModel> {
  const config = new MimiConfig(), weights = await deterministicWeights("full-spec");
  const networks = { encoder: encoderNetwork(config, numQuantizers), decoder: decoderNetwork(config, numQuantizers) };
  return new MimiModel({
    config,
    backend,
    encoder: part === "decoder" ? undefined : await backend.compile(networks.encoder, weights, { precision }),
    decoder: part === "encoder" ? undefined : await backend.compile(networks.decoder, weights, { precision }),
    numQuantizers,
    fingerprint: "0".repeat(16),
    precision,
  });
}

/**
 * The same model as files of a folder, `config.json` and `model.safetensors`, for a browser to load; gone after `use`.
 */
export async function withFullModelFiles(use: (folder: URL) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "mimi-full-"));
  try {
    await writeFullModel(folder);
    await use(pathToFileURL(`${folder}/`));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes it into a folder. */
export async function writeFullModel(folder: string): Promise<void> {
  await writeFile(join(folder, "config.json"), JSON.stringify({ model_type: "mimi" }));
  await writeSafetensors(join(folder, "model.safetensors"));
}

/** 64-bit length of the header, the header as JSON, the tensors one after the other. */
async function writeSafetensors(path: string): Promise<void> {
  const { tensors } = await testJSON("models/full-spec.json") as { tensors: { name: string; shape: number[] }[] };
  const weights = await deterministicWeights("full-spec"), header: Record<string, unknown> = {};
  let end = 0;
  for (const { name, shape } of tensors) {
    const start = end;
    end += 4 * shape.reduce((x, y) => x * y, 1);
    header[name] = { dtype: "F32", shape, data_offsets: [start, end] };
  }
  const text = new TextEncoder().encode(JSON.stringify(header)), length = new DataView(new ArrayBuffer(8));
  length.setBigUint64(0, BigInt(text.length), true);
  const file = await open(path, "w");
  try {
    await file.writeFile(new Uint8Array(length.buffer));
    await file.writeFile(text);
    for (const { name, shape } of tensors) {
      const values = await weights.read({ name, shape } as TensorSpec);
      await file.writeFile(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    }
  } finally {
    await file.close();
  }
}
