/**
 * From a source to the parts of a model: files found, checked and compiled by a backend.
 *
 * @module
 */
import { wasm } from "./backends/wasm/mod.ts";
import type { Backend, Precision, Program } from "./core/backend.ts";
import { checkNetwork } from "./core/check-network.ts";
import { openCheckpoint } from "./core/checkpoint.ts";
import type { Codec, CodecConfig } from "./core/codec.ts";
import type { ModelParts } from "./core/codec-model.ts";
import { checkNumQuantizers } from "./core/codes.ts";
import { MimiConfig, type MimiConfigFields } from "./core/config.ts";
import { describe, FormatError, LoadError, MimiTypeError, NotSupportedError } from "./core/errors.ts";
import { fingerprint } from "./core/fingerprint.ts";
import { mimi } from "./core/mimi.ts";
import type { MimiModelParts } from "./core/model.ts";
import { type Network, networkTensors } from "./core/network.ts";
import { type ByteSource, Safetensors } from "./core/safetensors.ts";
import { MOST_JSON_BYTES, open, type Progress, readJSON } from "./hub/files.ts";
import { openRepositoryFile } from "./hub/repository.ts";
import type { ResolvedSource } from "./resolve.ts";

/** What is loaded of a model, and from where. */
export interface PartsOptions {
  /** What runs it; default `wasm()`. */
  backend?: Backend | "wasm" | "auto";
  /** Which half to load; default both. Half a model takes half the memory. */
  part?: "both" | "encoder" | "decoder";
  /** Codebooks to load, from `numSemanticQuantizers` to all (default). 8 of Mimi are 1.1 kbps. */
  numQuantizers?: number;
  /** How weights are kept; only `"f32"`. */
  precision?: Precision;
  /** A configuration in place of the source's `config.json`. */
  config?: MimiConfig | Partial<MimiConfigFields>;
  /** Name of the weights in a folder or repository, default `model.safetensors`; not for sources that name their weights. */
  file?: string;
  /** Branch, tag or commit of a repository; default `"main"`. */
  revision?: string;
  /** Hugging Face access token. */
  token?: string;
  /** Hub to ask; default the environment's `HF_ENDPOINT`, or `https://huggingface.co`. */
  endpoint?: string;
  /** Folder for downloads, or `false` for none. */
  cache?: string | false;
  signal?: AbortSignal;
  /** Called while files of a repository or an address come in. */
  onProgress?: (progress: Progress) => void;
}

const isText = (v: unknown) => typeof v === "string" && v !== "";
const isFunction = (v: unknown) => typeof v === "function";

/** What an option may be, and how that is said. */
const RULES: [option: keyof PartsOptions, rule: (value: unknown) => boolean, expected: string][] = [
  ["part", (v) => ["both", "encoder", "decoder"].includes(v as string), '"both", "encoder" or "decoder"'],
  ["backend", isBackend, 'a backend such as wasm(), "wasm" or "auto"'],
  ["config", (v) => typeof v === "object" && v !== null && !Array.isArray(v), "a MimiConfig or its fields"],
  ["file", isText, 'a file name such as "model.safetensors"'],
  ["revision", isText, "a branch, tag or commit"],
  ["token", isText, "an access token"],
  ["endpoint", isText, 'an address such as "https://huggingface.co"'],
  ["cache", (v) => v === false || isText(v), "a folder, or false"],
  ["signal", (v) => isFunction((v as AbortSignal | null)?.throwIfAborted), "an AbortSignal"],
  ["onProgress", isFunction, "a function"],
];

function isBackend(value: unknown): boolean {
  if (value === "auto" || value === "wasm") return true;
  const { name, sync, available, compile } = (value ?? {}) as Partial<Backend>;
  return isText(name) && typeof sync === "boolean" && isFunction(available) && isFunction(compile);
}

/** Checks the options that say what to load. @throws {MimiTypeError | NotSupportedError} */
export function checkParts(where: string, options: PartsOptions): void {
  for (const [option, rule, expected] of RULES) {
    const value = options[option];
    if (value === undefined || rule(value)) continue;
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: ${option} must be ${expected}, got ${describe(value)}.`,
    );
  }
  const { precision = "f32" } = options;
  if (precision !== "f32") {
    throw new NotSupportedError(`${where}: precision ${describe(precision)} is not available, only "f32".`);
  }
}

/** {@link PartsOptions} of any codec. */
export interface CodecPartsOptions<C extends CodecConfig> extends Omit<PartsOptions, "numQuantizers" | "config"> {
  /** A configuration in place of the source's `config.json`. */
  config?: C;
}

/**
 * Loads what {@link PartsOptions} ask for of Mimi.
 *
 * @throws {LoadError | FormatError} for files that are not there or not right.
 * @throws {MimiRangeError} `ERR_NUM_QUANTIZERS`.
 * @throws {NotSupportedError} where the backend cannot run here.
 */
export async function loadParts(
  where: string,
  source: ResolvedSource,
  options: PartsOptions,
): Promise<MimiModelParts> {
  checkParts(where, options);
  const codebooks = (c: MimiConfig) => checkNumQuantizers(where, options.numQuantizers, c, c.numQuantizers);
  const parts = await loadCodec(where, mimi, source, mimiOptions(options), codebooks);
  return { ...parts, numQuantizers: codebooks(parts.config) };
}

function mimiOptions({ config, numQuantizers: _numQuantizers, ...rest }: PartsOptions): CodecPartsOptions<MimiConfig> {
  return { ...rest, config: config === undefined || config instanceof MimiConfig ? config : new MimiConfig(config) };
}

/**
 * Loads a codec.
 *
 * @param codebooks to load, where the codec has any.
 * @throws {MimiTypeError} where the codec's networks are none.
 * @throws as {@link loadParts} does.
 */
export async function loadCodec<C extends CodecConfig>(
  where: string,
  codec: Codec<C>,
  source: ResolvedSource,
  options: CodecPartsOptions<C>,
  codebooks: (config: C) => number | undefined = () => undefined,
): Promise<ModelParts<C>> {
  const { part = "both", precision = "f32", signal } = options;
  const backend = typeof options.backend === "object" ? options.backend : wasm(), available = await backend.available();
  if (available !== true) {
    throw new NotSupportedError(`${where}: the ${backend.name} backend cannot run here: ${available}.`);
  }

  const opened = await openSource(codec, source, options), programs: { encoder?: Program; decoder?: Program } = {};
  try {
    const { config } = opened, networks = networksOf(codec, part, config, codebooks(config));
    const both = Object.values(networks);
    for (const network of both) checkNetwork(`${where}: codec ${codec.modelType}, to ${network.direction}`, network);
    const weights = openCheckpoint(await fresh(opened.weights, Safetensors.open), codec, config, both);
    for (const half of ["encoder", "decoder"] as const) {
      signal?.throwIfAborted();
      if (networks[half]) programs[half] = await backend.compile(networks[half], weights, { precision });
    }
    signal?.throwIfAborted();
    return { config, backend, ...programs, fingerprint: await fingerprint(weights, codec.decoder(config)) };
  } catch (error) {
    programs.encoder?.close();
    programs.decoder?.close();
    throw error;
  } finally {
    await opened.weights.close?.();
  }
}

/** A model's weights as plain data, for a thread that can read nothing itself. */
export interface ModelWeights {
  /** As `config.json` has it. */
  config: Record<string, unknown>;
  fingerprint: string;
  numQuantizers: number;
  precision: Precision;
  part: "both" | "encoder" | "decoder";
  /** By their names in the reference layout. */
  tensors: Map<string, Float32Array>;
}

/**
 * Reads the weights that a model with these options has, and compiles nothing.
 *
 * @throws as {@link loadParts} does for the source.
 */
export async function readWeights(where: string, source: ResolvedSource, options: PartsOptions): Promise<ModelWeights> {
  const { part = "both", precision = "f32" } = options, opened = await openSource(mimi, source, mimiOptions(options));
  try {
    const { config } = opened,
      numQuantizers = checkNumQuantizers(where, options.numQuantizers, config, config.numQuantizers);
    const networks = Object.values(networksOf(mimi, part, config, numQuantizers));
    const weights = openCheckpoint(await fresh(opened.weights, Safetensors.open), mimi, config, networks);
    const tensors = new Map<string, Float32Array>();
    for (const spec of networks.flatMap(networkTensors)) {
      if (!tensors.has(spec.name)) tensors.set(spec.name, await weights.read(spec));
    }
    const named = await fingerprint(weights, mimi.decoder(config));
    return { config: config.toJSON(), fingerprint: named, numQuantizers, precision, part, tensors };
  } finally {
    await opened.weights.close?.();
  }
}

/** The networks of what is loaded. */
function networksOf<C extends CodecConfig>(
  codec: Codec<C>,
  part: "both" | "encoder" | "decoder",
  config: C,
  codebooks: number | undefined,
): { encoder?: Network; decoder?: Network } {
  const encoder = part === "decoder" ? undefined : codec.encoder?.(config, codebooks);
  const decoder = part === "encoder" ? undefined : codec.decoder(config, codebooks);
  return { ...(encoder && { encoder }), ...(decoder && { decoder }) };
}

async function openSource<C extends CodecConfig>(
  codec: Codec<C>,
  source: ResolvedSource,
  options: CodecPartsOptions<C>,
): Promise<{ config: C; weights: ByteSource }> {
  const { file = "model.safetensors" } = options, folder = openFolder(source, options);
  const config = options.config ?? await readFields(folder, "config.json", (json) => codec.parseConfig(json));
  return { config, weights: await folder(file) };
}

/** Opens a file of a source by its name. */
export type Folder = (file: string) => Promise<ByteSource>;

/** Reads a JSON file of a source. @throws {FormatError} `ERR_CONFIG`, and what `parse` throws. */
export async function readFields<T>(folder: Folder, file: string, parse: (json: unknown) => T): Promise<T> {
  return await fresh(await folder(file), async (source) => parse(await readJSON(source)));
}

/** Reads a file. Where it is not right, a kept copy of the download goes, so that the next load gets a new one. */
async function fresh<T>(source: ByteSource, read: (source: ByteSource) => Promise<T>): Promise<T> {
  try {
    return await read(source);
  } catch (error) {
    if (!(error instanceof FormatError) || !source.discard) throw error;
    await source.discard();
    throw new FormatError(
      error.code,
      `${error.message} Its copy in the cache has been removed; loading again downloads it anew.`,
      { cause: error },
    );
  }
}

/** A function that opens the files of a source by their name. */
export function openFolder(source: ResolvedSource, options: Omit<PartsOptions, "config">): Folder {
  // Weights that a source names itself leave nothing to choose.
  const named = source.kind === "files" || source.kind === "location" && isWeights(new URL(source.href));
  if (named && options.file !== undefined) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `fromPretrained: file chooses among the weights of a folder or repository; this source names its weights, got ${
        describe(options.file)
      }.`,
    );
  }
  const limits = (file: string): typeof options & { most?: number } =>
    file.endsWith(".json") ? { ...options, most: MOST_JSON_BYTES } : options;
  switch (source.kind) {
    case "repository":
      return (file) => openRepositoryFile(source.repository, file, limits(file));
    case "files":
      return async (file) => {
        if (file.endsWith(".safetensors")) return await open(new URL(source.weights), options);
        const address = file === "config.json" ? source.config : source.preprocessor;
        if (address) return await open(new URL(address), limits(file));
        if (file === "config.json") return official();
        throw new LoadError("ERR_NOT_FOUND", `fromPretrained: the source has no ${file}.`);
      };
    case "location": {
      // A weights file stands for the folder that it is in; without a config.json beside it, it is the published model's.
      const at = new URL(source.href), folder = new URL(at);
      if (!named) folder.pathname = at.pathname.replace(/\/?$/, "/");
      return async (file) => {
        if (named && file.endsWith(".safetensors")) return await open(at, options);
        const address = new URL(file, folder);
        address.search = at.search; // a signature or token is for the whole folder
        try {
          return await open(address, limits(file));
        } catch (error) {
          if (named && file === "config.json" && (error as LoadError).code === "ERR_NOT_FOUND") return official();
          throw error;
        }
      };
    }
  }
}

function isWeights(address: URL): boolean {
  return address.pathname.endsWith(".safetensors");
}

/** The configuration of the published model, as if it lay beside the weights: defaults alone. */
function official(): ByteSource {
  const bytes = new TextEncoder().encode("{}");
  return {
    name: "config.json",
    size: bytes.length,
    read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
  };
}
