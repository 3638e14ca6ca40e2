/** The fingerprint: of the first codebook alone, whatever else differs between two loads of a model. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { type LoadOptions, MimiConfig, MimiModel } from "../mod.ts";
import { bytesInMemory, Safetensors } from "../src/core/safetensors.ts";
import { testJSON, testPath } from "./support/files.ts";

const TRANSFORMERS = testPath("models/tiny-hf"), KYUTAI = testPath("models/tiny-kyutai/tokenizer-tiny.safetensors");
const config = MimiConfig.fromJSON(await testJSON("models/tiny-hf/config.json"));

/** First 8 bytes of the SHA-256 over the bytes of tensors as they lie in a file. */
async function hashOf(path: string, ...names: string[]): Promise<string> {
  const bytes = await readFile(path),
    { tensors } = await Safetensors.open(bytesInMemory(bytes)),
    hash = createHash("sha256");
  for (const name of names) {
    const { dtype, offset, length } = tensors.get(name)!;
    assert.equal(dtype, "F32");
    hash.update(bytes.subarray(offset, offset + length));
  }
  return hash.digest("hex").slice(0, 16);
}

async function fingerprintOf(source: string, options: LoadOptions = {}): Promise<string> {
  using model = await MimiModel.fromPretrained(source, options);
  return model.fingerprint;
}

test("the hash of embed_sum and cluster_usage of codebook 0, as they lie in either layout", async () => {
  const first = "quantizer.semantic_residual_vector_quantizer.layers.0.codebook",
    kyutai = "quantizer.rvq_first.vq.layers.0._codebook";
  const expected = await hashOf(`${TRANSFORMERS}/model.safetensors`, `${first}.embed_sum`, `${first}.cluster_usage`);
  assert.equal(await hashOf(KYUTAI, `${kyutai}.embedding_sum`, `${kyutai}.cluster_usage`), expected);
  assert.equal(await fingerprintOf(TRANSFORMERS), expected);
  assert.equal(await fingerprintOf(KYUTAI, { config }), expected);
});

test("the same for each half and any number of codebooks; another for another model", async () => {
  const expected = await fingerprintOf(TRANSFORMERS);
  for (const part of ["encoder", "decoder", "both"] as const) {
    for (const numQuantizers of [1, 2, 4]) {
      assert.equal(await fingerprintOf(TRANSFORMERS, { part, numQuantizers }), expected);
      assert.equal(await fingerprintOf(KYUTAI, { part, numQuantizers, config }), expected);
    }
  }
  assert.notEqual(await fingerprintOf("mini"), expected);
});

test("without crypto.subtle, which browsers have only on secure pages", async () => {
  const expected = await fingerprintOf(TRANSFORMERS), before = Object.getOwnPropertyDescriptor(globalThis, "crypto")!;
  Object.defineProperty(globalThis, "crypto", { value: { getRandomValues() {} }, configurable: true });
  try {
    assert.equal(globalThis.crypto.subtle, undefined);
    assert.equal(await fingerprintOf(TRANSFORMERS), expected);
  } finally {
    Object.defineProperty(globalThis, "crypto", before);
  }
});
