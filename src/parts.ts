/**
 * From a source to the parts of a model: files found, checked and compiled by a backend.
 *
 * @module
 */
import { wasm } from "./backends/wasm/mod.ts";
import type { Backend, Precision, Program } from "./core/backend.ts";
import { openCheckpoint } from "./core/checkpoint.ts";
import { checkNumQuantizers } from "./core/codes.ts";
import { MimiConfig, type MimiConfigFields } from "./core/config.ts";
import { describe, LoadError, MimiTypeError, NotSupportedError } from "./core/errors.ts";
import { fingerprint } from "./core/fingerprint.ts";
import { decoderNetwork, encoderNetwork } from "./core/mimi.ts";
import type { MimiModelParts } from "./core/model.ts";
import { type ByteSource, Safetensors } from "./core/safetensors.ts";
import { open, type Progress, readJSON } from "./hub/files.ts";
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

/** Checks the options that say what to load. @throws {MimiTypeError | NotSupportedError} */
export function checkParts(where: string, { part = "both", precision = "f32" }: PartsOptions): void {
  if (!["both", "encoder", "decoder"].includes(part)) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: part must be "both", "encoder" or "decoder", got ${describe(part)}.`,
    );
  }
  if (precision !== "f32") {
    throw new NotSupportedError(`${where}: precision ${describe(precision)} is not available, only "f32".`);
  }
}

/**
 * Loads what {@link PartsOptions} ask for.
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
  const { part = "both", precision = "f32", signal } = options;
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
    return {
      config,
      numQuantizers,
      backend,
      ...programs,
      fingerprint: await fingerprint(weights, quantize.quantizers[0]),
    };
  } catch (error) {
    programs.encoder?.close();
    programs.decoder?.close();
    throw error;
  } finally {
    await opened.weights.close?.();
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
  source: ResolvedSource,
  options: PartsOptions,
): Promise<{ config: MimiConfig; weights: ByteSource }> {
  const { config: given, file = "model.safetensors" } = options;
  const folder = openFolder(source, options);
  const config = given !== undefined
    ? given instanceof MimiConfig ? given : new MimiConfig(given)
    : MimiConfig.fromJSON(await readJSON(await folder("config.json")));
  return { config, weights: await folder(file) };
}

/** A function that opens the files of a source by their name. */
export function openFolder(source: ResolvedSource, options: PartsOptions): (file: string) => Promise<ByteSource> {
  switch (source.kind) {
    case "repository":
      return (file) => openRepositoryFile(source.repository, file, options);
    case "files":
      return async (file) => {
        if (file.endsWith(".safetensors")) return await open(new URL(source.weights), options);
        const address = file === "config.json" ? source.config : source.preprocessor;
        if (address) return await open(new URL(address), options);
        if (file === "config.json") return official();
        throw new LoadError("ERR_NOT_FOUND", `fromPretrained: the source has no ${file}.`);
      };
    case "location": {
      const at = new URL(source.href), isWeights = at.href.endsWith(".safetensors");
      // A weights file stands for the folder that it is in; without a config.json beside it, it is kyutai/mimi's.
      const folder = isWeights ? new URL(".", at) : new URL(at.href.replace(/\/?$/, "/"));
      return async (file) => {
        if (isWeights && file.endsWith(".safetensors")) return await open(at, options);
        try {
          return await open(new URL(file, folder), options);
        } catch (error) {
          if (isWeights && file === "config.json" && (error as LoadError).code === "ERR_NOT_FOUND") return official();
          throw error;
        }
      };
    }
  }
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
