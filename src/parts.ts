/**
 * From a source to the parts of a model: files found, checked and compiled by a backend.
 *
 * @module
 */
import { Compiler } from "./backends/compiler.ts";
import { answered, backendNames, isBackend, makeBackend } from "./backends/registry.ts";
import { type Backend, type Determinism, type Precision, PRECISIONS, type Program } from "./core/backend.ts";
import { checkFrameSizes, checkParsed } from "./core/check-codec.ts";
import { checkNetwork } from "./core/check-network.ts";
import { type Checkpoint, openCheckpoint } from "./core/checkpoint.ts";
import type { Codec, CodecConfig } from "./core/codec.ts";
import type { ModelParts } from "./core/codec-model.ts";
import { checkNumQuantizers } from "./core/codes.ts";
import { MimiConfig, type MimiConfigFields } from "./core/config.ts";
import {
  describe,
  EngineError,
  FormatError,
  isMimiError,
  LoadError,
  MimiTypeError,
  NotSupportedError,
} from "./core/errors.ts";
import { fingerprint } from "./core/fingerprint.ts";
import { mimi } from "./core/mimi.ts";
import type { MimiModelParts } from "./core/model.ts";
import { type Network, networkTensors } from "./core/network.ts";
import { dequantized, type TensorFile } from "./core/quantized.ts";
import { bytesInMemory, type ByteSource, Safetensors } from "./core/safetensors.ts";
import { type BundleFile, type BundleManifest, bundleOf, bundleSource, parseManifest } from "./hub/bundle.ts";
import { MOST_BYTES, MOST_JSON_BYTES, open, readJSON } from "./hub/files.ts";
import { withoutQuery } from "./hub/http.ts";
import { Meter, type Progress } from "./hub/progress.ts";
import { Repository } from "./hub/repository.ts";
import { hasFiles } from "./hub/runtime.ts";
import type { ResolvedSource } from "./resolve.ts";

/** What is loaded of a model, and from where. */
export interface PartsOptions {
  /**
   * What runs it: a value such as `wasm()` (default), or a name: `"wasm"`, one of `registerBackend`, or `"auto"` for the first
   * one that this runtime can run.
   */
  backend?: Backend | string;
  /**
   * Whether streams of a backend that loses its device go on in wasm, without a frame missing. The wasm model is loaded
   * beside, and takes its memory. Default `false`: they fail with a `DeviceLostError`.
   */
  failover?: boolean;
  /**
   * Whether a backend other than wasm shows first that it computes rightly on this device: once a device with a small network,
   * and once a device and model against wasm, which is loaded for that. Default `true`.
   */
  selfTest?: boolean;
  /** Which half to load; default what the source has, which is both but for bundles. Only what it needs is downloaded. */
  part?: "both" | "encoder" | "decoder";
  /** Codebooks to load, from `numSemanticQuantizers` to all that the source has (default). 8 of Mimi are 1.1 kbps. */
  numQuantizers?: number;
  /**
   * How weights are kept: `"f32"`, the codes and audio of transformers; `"int12"` and `"int8"` take less memory and time,
   * for audio that is hard to tell apart and some codes that differ. Default `"f32"`, for a bundle packed as integers those.
   */
  precision?: Precision;
  /**
   * `"exact"` (default): the wasm backend gives the same bits on every device. `"device"`: it uses relaxed SIMD where the
   * engine has it, which is faster in f32 and rounds as the device does; nodes in offline contexts stay exact.
   */
  determinism?: Determinism;
  /** A configuration in place of the source's `config.json`. */
  config?: MimiConfig | Partial<MimiConfigFields>;
  /** Name of the weights in a folder or repository, default `model.safetensors`; not for sources that name their weights. */
  file?: string;
  /** Branch, tag or commit of a repository; default `"main"`. */
  revision?: string;
  /** Hugging Face access token; default the environment's `HF_TOKEN`. */
  token?: string;
  /** Hub to ask; default the environment's `HF_ENDPOINT`, or `https://huggingface.co`. */
  endpoint?: string;
  /**
   * Folder for downloads, in browsers the name of a cache, or `false` to keep nothing. Default: the environment's
   * `MIMI_CACHE`, or `mimi-audio` in the user's cache folder.
   */
  cache?: string | false;
  /** Gives up loading: what was awaited rejects with its reason, and nothing half-done stays. */
  signal?: AbortSignal;
  /** Told what went otherwise than asked: what `"auto"` does without, and failovers. Default `console.warn`. */
  onWarning?: (message: string) => void;
  /** Called while files of a repository or an address come in, with the bytes of all together. */
  onProgress?: (progress: Progress) => void;
}

const isText = (v: unknown) => typeof v === "string" && v !== "";
const isFunction = (v: unknown) => typeof v === "function";
const isBoolean = (v: unknown) => typeof v === "boolean";

/** What an option may be, and how that is said. */
const RULES: [option: keyof PartsOptions, rule: (value: unknown) => boolean, expected: string][] = [
  ["part", (v) => ["both", "encoder", "decoder"].includes(v as string), '"both", "encoder" or "decoder"'],
  ["backend", (v) => isText(v) || isBackend(v), 'a backend such as wasm(), "wasm" or "auto"'],
  ["determinism", (v) => ["exact", "device"].includes(v as string), '"exact" or "device"'],
  ["failover", isBoolean, "true or false"],
  ["selfTest", isBoolean, "true or false"],
  ["config", (v) => typeof v === "object" && v !== null && !Array.isArray(v), "a MimiConfig or its fields"],
  ["file", isText, 'a file name such as "model.safetensors"'],
  ["revision", isText, "a branch, tag or commit"],
  ["token", isText, "an access token"],
  ["endpoint", isText, 'an address such as "https://huggingface.co"'],
  ["cache", (v) => v === false || isText(v), "a folder, or false"],
  ["signal", (v) => isFunction((v as AbortSignal | null)?.throwIfAborted), "an AbortSignal"],
  ["onProgress", isFunction, "a function"],
  ["onWarning", isFunction, "a function"],
];

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
  const { precision } = options;
  if (precision !== undefined && !PRECISIONS.includes(precision)) {
    const names = PRECISIONS.map((name) => `"${name}"`).join(", ");
    throw new NotSupportedError(`${where}: precision ${describe(precision)} is not available, only ${names}.`);
  }
}

/** {@link PartsOptions} of any codec. */
export interface CodecPartsOptions<C extends CodecConfig> extends Omit<PartsOptions, "numQuantizers" | "config"> {
  /** A configuration in place of the source's `config.json`. */
  config?: C;
}

/** How many codebooks to load of a codec that has any; a bundle may have fewer than the configuration says. */
type Codebooks<C, K> = (config: C, inBundle?: number) => K;

/** What is loaded of Mimi, as of any codec. */
function ofMimi(where: string, options: PartsOptions): [CodecPartsOptions<MimiConfig>, Codebooks<MimiConfig, number>] {
  const { config, numQuantizers, ...rest } = options;
  return [
    { ...rest, config: config === undefined || config instanceof MimiConfig ? config : new MimiConfig(config) },
    (config, inBundle = config.numQuantizers) => checkNumQuantizers(where, numQuantizers, config, inBundle),
  ];
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
  const { codebooks, ...parts } = await loadCodec(where, mimi, source, ...ofMimi(where, options));
  return { ...parts, numQuantizers: codebooks };
}

/** Where a codec comes from, what of it, and how many codebooks. */
type Loading<C extends CodecConfig, K> = [
  where: string,
  codec: Codec<C>,
  source: ResolvedSource,
  options: CodecPartsOptions<C>,
  codebooks: Codebooks<C, K>,
];

/**
 * Loads a codec.
 *
 * @throws {MimiTypeError} where the codec's networks are none.
 * @throws as {@link loadParts} does.
 */
export async function loadCodec<C extends CodecConfig, K extends number | undefined>(
  ...loading: Loading<C, K>
): Promise<ModelParts<C> & { codebooks: K }> {
  const [where, , , { backend = "wasm", onWarning = console.warn }] = loading;
  if (typeof backend !== "string") return await loadWith(backend, loading);
  const names = backendNames(where, backend, hasFiles() ? "server" : "page"), last = names.pop()!;
  for (const name of names) {
    try {
      return await loadWith(await makeBackend(where, name), loading);
    } catch (error) {
      if (!(error instanceof NotSupportedError || error instanceof EngineError)) throw error;
      onWarning(`mimi-audio: backend "auto" goes on without ${name}. ${error.message}`);
    }
  }
  return await loadWith(await makeBackend(where, last), loading);
}

async function loadWith<C extends CodecConfig, K extends number | undefined>(
  backend: Backend,
  loading: Loading<C, K>,
): Promise<ModelParts<C> & { codebooks: K }> {
  const [where, , , options] = loading, { signal } = options;
  const problem = `${where}: the ${backend.name} backend cannot run here`;
  const available = await answered(problem, () => backend.available());
  if (available !== true) throw new NotSupportedError(`${problem}: ${available}.`);

  const { config, codebooks, precision, networks, weights, fingerprint, close } = await openCodec(...loading);
  const programs: { encoder?: Program; decoder?: Program } = {};
  try {
    const compiler = new Compiler(where, backend, fingerprint, { ...options, precision });
    for (const half of ["encoder", "decoder"] as const) {
      signal?.throwIfAborted();
      if (networks[half]) programs[half] = await compiler.compile(networks[half], weights);
    }
    signal?.throwIfAborted();
    return { config, backend: compiler.used, precision, ...programs, fingerprint, codebooks };
  } catch (error) {
    programs.encoder?.close();
    programs.decoder?.close();
    throw error;
  } finally {
    await close();
  }
}

/** Weights that are here, and what they are for. */
export interface OpenedWeights<C extends CodecConfig = MimiConfig, K = number> {
  config: C;
  /** That are loaded. */
  codebooks: K;
  part: "both" | "encoder" | "decoder";
  /** That was asked for, or that the source was packed for. */
  precision: Precision;
  networks: { encoder?: Network; decoder?: Network };
  file: TensorFile;
  weights: Checkpoint;
  fingerprint: string;
  close(): Promise<void>;
}

/** Opens the weights of Mimi in a source, and has what is needed of them. @throws as {@link loadParts} does for the source. */
export function openWeights(where: string, source: ResolvedSource, options: PartsOptions): Promise<OpenedWeights> {
  return openCodec(where, mimi, source, ...ofMimi(where, options));
}

/** Opens the weights of a source. A file that changes meanwhile is opened once more. */
async function openCodec<C extends CodecConfig, K extends number | undefined>(
  ...loading: Loading<C, K>
): Promise<OpenedWeights<C, K>> {
  try {
    return await openCodecOnce(...loading);
  } catch (error) {
    if (isMimiError(error) && error.code === "ERR_CHANGED") return await openCodecOnce(...loading);
    throw error;
  }
}

async function openCodecOnce<C extends CodecConfig, K extends number | undefined>(
  ...[where, codec, source, options, codebooks]: Loading<C, K>
): Promise<OpenedWeights<C, K>> {
  const { config, bundle, bytes } = await openSource(codec, source, options);
  try {
    const part = options.part ?? bundle?.part ?? "both";
    if (bundle && bundle.part !== "both" && part !== bundle.part) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: part is ${describe(part)}, the bundle ${bytes.name} has the ${bundle.part} only.`,
      );
    }
    const count = codebooks(config, bundle?.numQuantizers);
    checkParsed(where, codec, config);
    const [encoder, decoder] = [codec.encoder?.(config, count), codec.decoder(config, count)];
    for (const network of [encoder, decoder]) {
      if (network) checkNetwork(`${where}: codec ${codec.modelType}, to ${network.direction}`, network);
    }
    if (encoder) checkFrameSizes(where, codec, encoder, decoder);
    const networks = {
      ...(encoder && part !== "decoder" && { encoder }),
      ...(part !== "encoder" && { decoder }),
    };
    const both = Object.values(networks);
    const quantized = bundle?.quantized ?? {};
    const file = await fresh(bytes, async (bytes) => dequantized(await Safetensors.open(bytes), quantized)),
      weights = openCheckpoint(file, codec, config, both);
    await file.prepare(weights.names);
    return {
      ...{ config, codebooks: count, part, networks, file, weights },
      precision: options.precision ?? PRECISIONS.find((precision) => precision === bundle?.precision) ?? "f32",
      // What a bundle stores in fewer bits means the same codes.
      fingerprint: bundle?.source.fingerprint ?? await fingerprint(weights, codec.decoder(config)),
      close: () => file.close(),
    };
  } catch (error) {
    await bytes.close?.();
    throw error;
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
  const { config, codebooks, precision, part, networks, weights, fingerprint, close } = await openWeights(
    where,
    source,
    options,
  );
  try {
    const tensors = new Map<string, Float32Array>();
    for (const spec of Object.values(networks).flatMap(networkTensors)) {
      if (!tensors.has(spec.name)) tensors.set(spec.name, await weights.read(spec));
    }
    return { config: config.toJSON(), fingerprint, numQuantizers: codebooks, precision, part, tensors };
  } finally {
    await close();
  }
}

async function openSource<C extends CodecConfig>(
  codec: Codec<C>,
  source: ResolvedSource,
  options: CodecPartsOptions<C>,
): Promise<{ config: C; bundle?: BundleManifest; bytes: ByteSource }> {
  const { file = WEIGHTS } = options;
  const meter = new Meter(options.onProgress), folder = openFolder(source, options, meter);
  meter.set(file, 0, undefined); // to come
  const read = options.config
    ? { config: options.config, bundle: undefined }
    : await readFields(folder, "config.json", (json) => ({ config: codec.parseConfig(json), bundle: bundleOf(json) }));
  if (read.bundle === undefined || options.file !== undefined || namesWeights(source)) {
    return { config: read.config, bytes: await folder(file) };
  }
  const name = read.bundle, bundle = await readFields(folder, name, parseManifest);
  meter.remove(file);
  const bytes = bundleSource(name, bundle, (shard) => folder(shard.file, shard), meter);
  return { config: read.config, bundle, bytes };
}

const WEIGHTS = "model.safetensors";

/** Opens a file of a source by its name; `expected` is what it must be, where that is known. */
export type Folder = (file: string, expected?: BundleFile) => Promise<ByteSource>;

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
export function openFolder(
  source: ResolvedSource,
  options: Omit<PartsOptions, "config">,
  meter: Meter = new Meter(options.onProgress),
): Folder {
  const { file: chosen, cache, signal, token } = options, named = namesWeights(source), weights = chosen ?? WEIGHTS;
  if (named && chosen !== undefined) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `fromPretrained: file chooses among the weights of a folder or repository; this source names its weights, got ${
        describe(chosen)
      }.`,
    );
  }
  const remote = { signal, token, meter },
    limit = (file: string) => file.endsWith(".json") ? MOST_JSON_BYTES : MOST_BYTES;
  const at = (
    file: string,
    address: string | URL,
    model: string,
    expected: { size?: number; sha256?: string } = {},
  ) => {
    const { size, sha256 } = expected;
    return open(new URL(address), { ...remote, most: limit(file), name: file, model, cache, size, sha256 });
  };
  switch (source.kind) {
    case "repository": {
      const { endpoint, revision } = options;
      const repository = new Repository(source.repository, { ...remote, endpoint, revision, cache, most: MOST_BYTES });
      return (file, expected) => repository.open(file, weights, limit(file), expected);
    }
    case "files":
      return async (file) => {
        const model = withoutQuery(source.weights);
        if (file.endsWith(".safetensors")) return await at(weights, source.weights, model, source);
        const address = file === "config.json" ? source.config : source.preprocessor;
        if (address) return await at(file, address, model);
        if (file === "config.json") return official();
        throw new LoadError("ERR_NOT_FOUND", `fromPretrained: the source has no ${file}.`);
      };
    case "folder":
      return async (file, expected) => {
        const address = Object.hasOwn(source.files, file) ? source.files[file] : undefined;
        if (address) return await at(file, address, withoutQuery(address), expected);
        throw new LoadError("ERR_NOT_FOUND", `fromPretrained: the source's folder has no ${file}.`);
      };
    case "location": {
      // A weights file stands for the folder that it is in; without a config.json beside it, it is kyutai/mimi's.
      const here = new URL(source.href), folder = new URL(here), model = withoutQuery(source.href);
      if (!named) folder.pathname = here.pathname.replace(/\/?$/, "/");
      return async (file, expected) => {
        if (named && file.endsWith(".safetensors")) return await at(weights, here, model);
        const address = new URL(file, folder);
        address.search = here.search; // a signature or token is for the whole folder
        try {
          return await at(file, address, model, expected);
        } catch (error) {
          if (named && file === "config.json" && (error as LoadError).code === "ERR_NOT_FOUND") return official();
          throw error;
        }
      };
    }
  }
}

/** Whether a source says which weights it means, so that there is nothing to choose. */
function namesWeights(source: ResolvedSource): boolean {
  return source.kind === "files" ||
    source.kind === "location" && new URL(source.href).pathname.endsWith(".safetensors");
}

/** The configuration of the published model, as if it lay beside the weights: defaults alone. */
function official(): ByteSource {
  return bytesInMemory(new TextEncoder().encode("{}"), "config.json");
}
