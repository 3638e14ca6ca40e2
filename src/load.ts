/**
 * From a name to a model: the core, a backend and the hub put together.
 *
 * @module
 */
import { wasm } from "./backends/wasm/mod.ts";
import type { Backend, Precision, Program } from "./core/backend.ts";
import { openCheckpoint } from "./core/checkpoint.ts";
import { checkNumQuantizers } from "./core/codes.ts";
import { MimiConfig, type MimiConfigFields } from "./core/config.ts";
import { checkOptions, describe, LoadError, MimiTypeError, NotSupportedError } from "./core/errors.ts";
import { MimiFeatureExtractor as CoreFeatureExtractor } from "./core/features.ts";
import { fingerprint } from "./core/fingerprint.ts";
import { decoderNetwork, encoderNetwork } from "./core/mimi.ts";
import { MimiModel as CoreModel } from "./core/model.ts";
import { type ByteSource, Safetensors } from "./core/safetensors.ts";
import { open, type Progress, readJSON } from "./hub/files.ts";
import { openRepositoryFile } from "./hub/repository.ts";
import * as runtime from "./hub/runtime.ts";
import { type ModelFiles, type ModelSource, parseSource } from "./hub/source.ts";

/** Where and how a model is loaded. */
export interface LoadOptions {
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
  /** Name of the weights in a folder or repository; default `model.safetensors`. */
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

const OPTIONS: (keyof LoadOptions)[] = [
  "backend",
  "part",
  "numQuantizers",
  "precision",
  "config",
  "file",
  "revision",
  "token",
  "endpoint",
  "cache",
  "signal",
  "onProgress",
];

/** The model with the ways to get one. */
export class MimiModel extends CoreModel {
  /**
   * Loads a model.
   *
   * ```ts
   * const model = await MimiModel.fromPretrained("mini");                       // embedded, offline
   * const mimi = await MimiModel.fromPretrained("kyutai/mimi", { numQuantizers: 8 });
   * ```
   *
   * @param source `"mini"`, a path that starts with `.`, `/` or a drive, a URL, or a repository such as `kyutai/mimi`. A
   *   path or URL is a folder with `config.json` and `model.safetensors`, or a `.safetensors` file.
   * @throws {MimiTypeError | MimiRangeError} for an option that is not usable.
   * @throws {LoadError} `ERR_NOT_FOUND`, `ERR_NETWORK`.
   * @throws {FormatError} `ERR_CONFIG`, `ERR_SAFETENSORS`, `ERR_CHECKPOINT`.
   * @throws {NotSupportedError} where the backend cannot run here.
   */
  static async fromPretrained(source: ModelSource, options: LoadOptions = {}): Promise<MimiModel> {
    const where = "fromPretrained";
    checkOptions(where, options, OPTIONS);
    const { part = "both", precision = "f32", signal } = options;
    if (!["both", "encoder", "decoder"].includes(part)) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: part must be "both", "encoder" or "decoder", got ${describe(part)}.`,
      );
    }
    if (precision !== "f32") {
      throw new NotSupportedError(`${where}: precision ${describe(precision)} is not available, only "f32".`);
    }
    const backend = chooseBackend(where, options.backend), available = await backend.available();
    if (available !== true) {
      throw new NotSupportedError(`${where}: the ${backend.name} backend cannot run here: ${available}.`);
    }

    const opened = await openSource(source, options), programs: { encoder?: Program; decoder?: Program } = {};
    try {
      const { config } = opened,
        numQuantizers = checkNumQuantizers(where, options.numQuantizers, config, config.numQuantizers);
      const networks = {
        ...(part !== "decoder" && { encoder: encoderNetwork(config, numQuantizers) }),
        ...(part !== "encoder" && { decoder: decoderNetwork(config, numQuantizers) }),
      };
      const weights = openCheckpoint(await Safetensors.open(opened.weights), config, Object.values(networks));
      for (const half of ["encoder", "decoder"] as const) {
        signal?.throwIfAborted();
        if (networks[half]) programs[half] = await backend.compile(networks[half], weights, { precision });
      }
      signal?.throwIfAborted();
      const quantize = encoderNetwork(config).layers.find((l) => l.kind === "quantize")!;
      return new MimiModel({
        config,
        numQuantizers,
        backend,
        ...programs,
        fingerprint: await fingerprint(weights, quantize.quantizers[0]),
      });
    } catch (error) {
      programs.encoder?.close();
      programs.decoder?.close();
      throw error;
    } finally {
      await opened.weights.close?.();
    }
  }
}

/** The feature extractor with a way to get one. */
export class MimiFeatureExtractor extends CoreFeatureExtractor {
  /** Reads `preprocessor_config.json` of a source; see {@link MimiModel.fromPretrained}. */
  static async fromPretrained(source: ModelSource, options: LoadOptions = {}): Promise<MimiFeatureExtractor> {
    checkOptions("fromPretrained", options, OPTIONS);
    const folder = await openFolder(source, options);
    const { samplingRate, paddingValue } = CoreFeatureExtractor.fromJSON(
      await readJSON(await folder("preprocessor_config.json")),
    );
    return new MimiFeatureExtractor({ samplingRate, paddingValue });
  }
}

function chooseBackend(where: string, backend: unknown = "auto"): Backend {
  if (backend === "auto" || backend === "wasm") return wasm();
  if (typeof (backend as Backend)?.compile === "function") return backend as Backend;
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    `${where}: backend must be a backend such as wasm(), "wasm" or "auto", got ${describe(backend)}.`,
  );
}

async function openSource(
  source: ModelSource,
  options: LoadOptions,
): Promise<{ config: MimiConfig; weights: ByteSource }> {
  const { config: given, file = "model.safetensors" } = options;
  const folder = await openFolder(source, options);
  const config = given !== undefined
    ? given instanceof MimiConfig ? given : new MimiConfig(given)
    : MimiConfig.fromJSON(await readJSON(await folder("config.json")));
  return { config, weights: await folder(file) };
}

/** A function that opens the files of a source by their name. */
async function openFolder(source: ModelSource, options: LoadOptions): Promise<(file: string) => Promise<ByteSource>> {
  const parsed = parseSource(source);
  switch (parsed.kind) {
    case "repository":
      return (file) => openRepositoryFile(parsed.repository, file, options);
    case "embedded":
      return openFiles((await import("../models/mini/mod.ts")).mini, options);
    case "files":
      return openFiles(parsed.files, options);
    case "location": {
      const { location } = parsed;
      const at = typeof location === "string" ? await pathToURL(location) : location;
      // A weights file stands for the folder that it is in; without a config.json beside it, it is kyutai/mimi's.
      const folder = at.href.endsWith(".safetensors") ? new URL(".", at) : new URL(at.href.replace(/\/?$/, "/"));
      return async (file) => {
        if (at.href.endsWith(".safetensors") && file.endsWith(".safetensors")) return await open(at, options);
        try {
          return await open(new URL(file, folder), options);
        } catch (error) {
          if (
            at.href.endsWith(".safetensors") && file === "config.json" && (error as LoadError).code === "ERR_NOT_FOUND"
          ) return official();
          throw error;
        }
      };
    }
  }
}

function openFiles(files: ModelFiles, options: LoadOptions): (file: string) => Promise<ByteSource> {
  return async (file) => {
    if (file.endsWith(".safetensors")) return await open(files.weights, options);
    const address = file === "config.json" ? files.config : files.preprocessor;
    if (address) return await open(address, options);
    if (file === "config.json") return official();
    throw new LoadError("ERR_NOT_FOUND", `fromPretrained: the source has no ${file}.`);
  };
}

/** The configuration of `kyutai/mimi`, as if it lay beside the weights. */
function official(): ByteSource {
  const bytes = new TextEncoder().encode(JSON.stringify(new MimiConfig()));
  return {
    name: "config.json",
    size: bytes.length,
    read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
  };
}

async function pathToURL(location: string): Promise<URL> {
  if (!runtime.hasFiles()) return new URL(location, globalThis.location?.href);
  const [path, url, os] = await Promise.all([runtime.path(), runtime.url(), runtime.os()]);
  return url.pathToFileURL(
    path.resolve(location.startsWith("~/") ? path.join(os.homedir(), location.slice(2)) : location),
  );
}
