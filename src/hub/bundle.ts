/**
 * Bundles: weights that were slimmed for delivery, as `mimi pack` makes them.
 *
 * A bundle is a folder of any static host. Its `config.json` names a manifest (`"mimi_bundle": "bundle.json"`); the manifest
 * names shards, each with its size and SHA-256, which one after the other are a safetensors file. So the reader, its checks
 * and other tools stay the same: `cat weights-*.bin > model.safetensors`.
 *
 * @module
 */
import { describe, FormatError, NotSupportedError } from "../core/errors.ts";
import { type QuantizedTensor, STORED } from "../core/quantized.ts";
import type { ByteSource } from "../core/safetensors.ts";
import { MOST_BYTES } from "./files.ts";
import type { Meter } from "./progress.ts";
import { isSha256 } from "./sha256.ts";

/** What a bundle is packed as. With integers, small and sensitive tensors are stored in 16 bits or in f32. */
export const STORAGES = ["f32", "f16", "bf16", "int12", "int8"] as const;
export type Storage = (typeof STORAGES)[number];

/** A file of a bundle. */
export interface BundleFile {
  /** Its name in the bundle's folder. */
  file: string;
  /** Bytes. */
  size: number;
  /** In lower-case hexadecimal. */
  sha256: string;
}

/** What a bundle is. */
export interface BundleManifest {
  format: "mimi-bundle";
  version: 1;
  /** What it was made of. */
  source: { model: string; fingerprint: string };
  /** What was changed. */
  modified: string;
  /** Licence of the source, by its SPDX name or its author's words, and whom to name; `null` where the source says none. */
  licence: { name: string; attribution: string; files: string[] } | null;
  part: "both" | "encoder" | "decoder";
  numQuantizers: number;
  /** What it was packed as. */
  precision: Storage;
  /** Tensors that are integers with scales beside them, as `core/quantized.ts` has it. */
  quantized: Record<string, QuantizedTensor>;
  shards: BundleFile[];
}

/** The key of `config.json` that names the manifest. */
export const BUNDLE_KEY = "mimi_bundle";
/** Bytes that a shard is shorter than: some hosts take files of 25 MiB at most. */
export const SHARD_LIMIT: number = 24 * 2 ** 20;
/** Shards at most. */
const MOST_SHARDS = 4096;
/** Axes of a quantized tensor at most. */
const MOST_AXES = 8;

const fail = (what: string): never => {
  throw new FormatError("ERR_BUNDLE", `bundle manifest: ${what}.`);
};

/** The manifest that a `config.json` names. @throws {FormatError} `ERR_BUNDLE` for what is no name of a file beside it. */
export function bundleOf(config: unknown): string | undefined {
  const name = (config as Record<string, unknown> | null)?.[BUNDLE_KEY];
  return name === undefined ? undefined : checkName(name, `config.json, ${BUNDLE_KEY}`);
}

/** A name that is one of a file in the same folder: no path, no address, nothing hidden. */
function checkName(name: unknown, where: string): string {
  if (typeof name !== "string" || !/^[A-Za-z0-9_][\w.-]{0,99}$/.test(name) || name.includes("..")) {
    return fail(`${where} must be the name of a file beside it, got ${describe(name)}`);
  }
  return name;
}

/**
 * Checks a manifest.
 *
 * @throws {FormatError} `ERR_BUNDLE` that says what is wrong with it.
 * @throws {NotSupportedError} for a newer version.
 */
export function parseManifest(json: unknown): BundleManifest {
  const manifest = (json ?? {}) as Record<keyof BundleManifest, unknown>;
  if (manifest.format !== "mimi-bundle") fail(`format must be "mimi-bundle", got ${describe(manifest.format)}`);
  if (manifest.version !== 1) {
    throw new NotSupportedError(`bundle manifest: version must be 1, got ${describe(manifest.version)}.`);
  }
  const { part, numQuantizers, precision, quantized = {}, shards, source, modified, licence } = manifest;
  if (part !== "both" && part !== "encoder" && part !== "decoder") {
    fail(`part must be "both", "encoder" or "decoder", got ${describe(part)}`);
  }
  if (!isCount(numQuantizers, 1024)) fail(`numQuantizers must be an integer from 1, got ${describe(numQuantizers)}`);
  if (!STORAGES.includes(precision as Storage)) {
    fail(`precision must be one of ${STORAGES.join(", ")}, got ${describe(precision)}`);
  }
  if (typeof quantized !== "object" || quantized === null) {
    fail(`quantized must be an object, got ${describe(quantized)}`);
  }
  for (const [name, tensor] of Object.entries(quantized as object)) checkQuantized(name, tensor);
  const { model, fingerprint } = (source ?? {}) as Partial<BundleManifest["source"]>;
  for (const [name, text] of Object.entries({ "source.model": model, "source.fingerprint": fingerprint, modified })) {
    if (typeof text !== "string") fail(`${name} must be a text, got ${describe(text)}`);
  }
  if (!/^[0-9a-f]{16}$/.test(fingerprint!)) {
    fail(`source.fingerprint must be 16 hexadecimal digits, got ${describe(fingerprint)}`);
  }
  const said = licence as Partial<NonNullable<BundleManifest["licence"]>> | null | undefined;
  if (said !== null && (typeof said?.name !== "string" || typeof said.attribution !== "string")) {
    fail(`licence must be null or have a name and an attribution, got ${describe(licence)}`);
  }
  if (!Array.isArray(shards) || shards.length === 0 || shards.length > MOST_SHARDS) {
    fail(`shards must be a list of 1 to ${MOST_SHARDS} files, got ${describe(shards)}`);
  }
  const files = (shards as unknown[]).map(checkShard), total = files.reduce((n, { size }) => n + size, 0);
  if (total > MOST_BYTES) fail(`its shards have ${total} bytes, at most ${MOST_BYTES} are taken`);
  if (new Set(files.map(({ file }) => file)).size < files.length) fail("a file is named twice among its shards");
  return { ...json as BundleManifest, quantized: quantized as BundleManifest["quantized"], shards: files };
}

function checkQuantized(name: string, tensor: unknown): void {
  const { as, shape } = (tensor ?? {}) as Partial<QuantizedTensor>, where = `quantized[${JSON.stringify(name)}]`;
  if (!Object.hasOwn(STORED, String(as))) {
    fail(`${where}.as must be one of ${Object.keys(STORED).join(", ")}, got ${describe(as)}`);
  }
  const isShape = Array.isArray(shape) && shape.length > 0 && shape.length <= MOST_AXES;
  if (
    !isShape || !shape.every((size) => isCount(size, MOST_BYTES)) || shape.reduce((n, size) => n * size, 1) > MOST_BYTES
  ) {
    fail(`${where}.shape must be up to ${MOST_AXES} sizes, got ${describe(shape)}`);
  }
}

function checkShard(shard: unknown, index: number): BundleFile {
  const { file, size, sha256 } = (shard ?? {}) as Partial<BundleFile>, where = `shards[${index}]`;
  const name = checkName(file, `${where}.file`);
  if (!isCount(size, SHARD_LIMIT - 1)) {
    fail(`${where}.size must be an integer from 1 to ${SHARD_LIMIT - 1}, got ${describe(size)}`);
  }
  if (!isSha256(sha256)) fail(`${where}.sha256 must be 64 hexadecimal digits, got ${describe(sha256)}`);
  return { file: name, size: size!, sha256: sha256! };
}

const isCount = (value: unknown, most: number) =>
  Number.isSafeInteger(value) && value as number >= 1 && value as number <= most;

/**
 * The shards of a bundle as one source. A shard is opened, and so checked, when bytes of it are needed.
 *
 * @param openShard opens a file of the bundle that has the size and the hash which are given.
 */
export function bundleSource(
  name: string,
  { shards }: BundleManifest,
  openShard: (shard: BundleFile) => Promise<ByteSource>,
  meter: Meter,
): ByteSource {
  const opened = new Map<BundleFile, Promise<ByteSource>>();
  let size = 0;
  const places = shards.map((shard) => ({ shard, from: size, to: size += shard.size }));
  const touched = (offset: number, length: number) =>
    places.filter(({ from, to }) => from < offset + length && to > offset);
  const open = (shard: BundleFile) => {
    if (!opened.has(shard)) opened.set(shard, openShard(shard));
    return opened.get(shard)!;
  };
  for (const { file, size } of shards) meter.set(file, 0, size);
  const all = () => Promise.all([...opened.values()].map((shard) => shard.catch(() => undefined)));
  return {
    name,
    size,
    async prepare(ranges) {
      const needed = new Set(ranges.flatMap(({ offset, length }) => touched(offset, length).map(({ shard }) => shard)));
      for (const shard of shards) if (!needed.has(shard) && !opened.has(shard)) meter.remove(shard.file);
      for (const shard of needed) await open(shard);
    },
    async read(offset, length) {
      const parts = touched(offset, length), out = new Uint8Array(Math.max(0, Math.min(length, size - offset)));
      for (const { shard, from, to } of parts) {
        const begin = Math.max(offset, from), end = Math.min(offset + length, to);
        out.set(await (await open(shard)).read(begin - from, end - begin), begin - offset);
      }
      return out;
    },
    async discard() {
      for (const source of await all()) await source?.discard?.();
    },
    async close() {
      for (const source of await all()) await source?.close?.();
    },
  };
}
