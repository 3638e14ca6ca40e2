/**
 * SHA-256 of bytes, by the runtime's own code where it has some.
 *
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import type { ByteSource } from "../core/safetensors.ts";
import * as runtime from "./runtime.ts";

const PIECE = 1 << 20;

/** In hexadecimal. */
export async function sha256Of(bytes: Uint8Array): Promise<string> {
  // Not by way of crypto.subtle, which copies the bytes.
  if (runtime.hasFiles()) return (await runtime.crypto()).createHash("sha256").update(bytes).digest("hex");
  const { subtle } = globalThis.crypto ?? {}; // secure contexts only
  return bytesToHex(
    subtle ? new Uint8Array(await subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)) : sha256(bytes),
  );
}

/** Of a whole source, read piece by piece; in hexadecimal. */
export async function sha256OfSource(source: ByteSource, signal?: AbortSignal): Promise<string> {
  const hash = runtime.hasFiles() ? (await runtime.crypto()).createHash("sha256") : sha256.create();
  for (let at = 0; at < source.size; at += PIECE) {
    signal?.throwIfAborted();
    hash.update(await source.read(at, Math.min(PIECE, source.size - at)));
  }
  return bytesToHex(hash.digest());
}

/** Whether a text is a SHA-256 in lower-case hexadecimal. */
export function isSha256(text: unknown): text is string {
  return typeof text === "string" && /^[0-9a-f]{64}$/.test(text);
}
