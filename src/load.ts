/**
 * From a name to a model: the core, a backend and the hub put together, here or in a worker.
 *
 * @module
 */
import { checkCodec } from "./core/check-codec.ts";
import type { Codec, CodecConfig } from "./core/codec.ts";
import { checkOptions, describe, InvalidStateError, MimiTypeError, NotSupportedError } from "./core/errors.ts";
import { MimiFeatureExtractor as CoreFeatureExtractor } from "./core/features.ts";
import { LatentModel as CoreLatentModel } from "./core/latent-model.ts";
import { MimiModel as CoreModel } from "./core/model.ts";
import { Engine } from "./engine/engine.ts";
import { checkWorkerOption, type WorkerOptions } from "./engine/spawn.ts";
import type { ModelSource } from "./hub/source.ts";
import {
  checkParts,
  loadCodec,
  loadParts,
  type ModelWeights,
  openFolder,
  type PartsOptions,
  readFields,
  readWeights,
} from "./parts.ts";
import { type ResolvedSource, resolveSource } from "./resolve.ts";

/** Where and how a model is loaded. */
export interface LoadOptions extends PartsOptions {
  /**
   * Runs the model in a worker of its own: a Web Worker, or a thread of Node, Deno or Bun. The API is the same, without
   * the synchronous handles. Default `false`.
   */
  worker?: boolean | WorkerOptions;
}

/** Engines of the models that run in workers. */
const engines = new WeakMap<CoreModel, Engine>();

/** The worker that runs a model; undefined where it runs in this thread. For this library's own use. */
export function engineOf(model: CoreModel): Engine | undefined {
  return engines.get(model);
}

export type { ModelWeights };

/** Where models were loaded from. */
const origins = new WeakMap<CoreModel, { source: ResolvedSource; options: PartsOptions }>();

/**
 * Reads a model's weights again from where it was loaded, as plain data. For this library's own use.
 *
 * @throws {NotSupportedError} for a model whose weights are not the wasm backend's, or that no `fromPretrained` loaded.
 * @throws {InvalidStateError} `ERR_WRONG_MODEL` where other weights lie there by now; and whatever reading throws.
 */
export async function weightsOf(where: string, model: CoreModel): Promise<ModelWeights> {
  const origin = origins.get(model);
  if (!origin || model.backend !== "wasm") {
    throw new NotSupportedError(
      `${where}: an offline context runs the wasm backend with weights that it reads again; load the model with ` +
        `fromPretrained(source, { backend: "wasm" }), this one's backend is ${model.backend}.`,
    );
  }
  const weights = await readWeights(where, origin.source, origin.options);
  if (weights.fingerprint === model.fingerprint) return weights;
  throw new InvalidStateError(
    "ERR_WRONG_MODEL",
    `${where}: the weights where the model was loaded from are of model ${weights.fingerprint} by now, the model is ${model.fingerprint}.`,
  );
}

const OPTIONS: (keyof LoadOptions)[] = [
  "backend",
  "failover",
  "selfTest",
  "part",
  "numQuantizers",
  "precision",
  "determinism",
  "config",
  "file",
  "revision",
  "token",
  "endpoint",
  "cache",
  "signal",
  "onProgress",
  "onWarning",
  "worker",
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
   *   path or URL is a folder with `config.json` and `model.safetensors` or a bundle of `mimi pack`, or a `.safetensors` file.
   * @throws {MimiTypeError | MimiRangeError} for an option that is not usable.
   * @throws {LoadError} `ERR_NOT_FOUND`, `ERR_NETWORK`, `ERR_CHANGED`, `ERR_INTEGRITY`, `ERR_READ`, `ERR_WRITE`.
   * @throws {FormatError} `ERR_CONFIG`, `ERR_SAFETENSORS`, `ERR_CHECKPOINT`, `ERR_BUNDLE`.
   * @throws {NotSupportedError} where the backend cannot run here, or computes wrongly.
   * @throws {EngineError} `ERR_BACKEND` where the backend's runtime refuses the model, `ERR_WORKER` where the worker does not
   *   start.
   * @throws {DeviceLostError} where a device is lost meanwhile.
   */
  static async fromPretrained(source: ModelSource, options: LoadOptions = {}): Promise<MimiModel> {
    const where = "fromPretrained";
    checkOptions(where, options, OPTIONS);
    checkParts(where, options);
    const worker = checkWorkerOption(where, options.worker), resolved = await resolveSource(source);
    const { signal: _signal, onProgress: _onProgress, ...again } = options;
    const from = (model: MimiModel) => {
      origins.set(model, { source: resolved, options: again });
      return model;
    };
    if (!worker) return from(new MimiModel(await loadParts(where, resolved, options)));
    const { backend = "wasm" } = options;
    if (backend !== "wasm" && backend !== "auto") {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: with the option worker, backend must be "wasm" or "auto", got ${
          describe(backend)
        }: others cannot go to another thread. Load the model in a worker of your own, with the backend there.`,
      );
    }
    const { engine, parts } = await Engine.load(resolved, options, worker), model = new MimiModel(parts);
    engines.set(model, engine);
    return from(model);
  }
}

/** Where and how a codec of one's own is loaded. It runs in this thread: its functions cannot go to another. */
export interface CodecLoadOptions<C extends CodecConfig> extends Omit<PartsOptions, "numQuantizers" | "config"> {
  /** Reads the configuration and describes the networks. */
  codec: Codec<C>;
  /** What `codec.parseConfig` reads in place of the source's `config.json`. */
  config?: unknown;
}

const CODEC_OPTIONS: string[] = [
  ...OPTIONS.filter((option) => !["numQuantizers", "worker"].includes(option)),
  "codec",
];

/** A codec whose frames are latents, with the way to load it. */
export class LatentModel<C extends CodecConfig> extends CoreLatentModel<C> {
  /**
   * Loads a model of a codec that is not this library's own.
   *
   * ```ts
   * const model = await LatentModel.fromPretrained("./model.safetensors", { codec: pocketTts });
   * const { latents } = await model.encode(samples);
   * ```
   *
   * @param source as {@link MimiModel.fromPretrained} takes it.
   * @throws as {@link MimiModel.fromPretrained} does; {@link MimiTypeError} for a codec whose networks are none.
   */
  static async fromPretrained<C extends CodecConfig>(
    source: ModelSource,
    options: CodecLoadOptions<C>,
  ): Promise<LatentModel<C>> {
    const where = "fromPretrained";
    checkOptions(where, options, CODEC_OPTIONS);
    const { codec, config, ...rest } = options ?? {};
    checkCodec(where, codec);
    checkParts(where, rest);
    const parsed = config === undefined ? undefined : codec.parseConfig(config), resolved = await resolveSource(source);
    return new LatentModel(
      codec,
      await loadCodec(where, codec, resolved, { ...rest, config: parsed }, () => undefined),
    );
  }
}

/** The feature extractor with a way to get one. */
export class MimiFeatureExtractor extends CoreFeatureExtractor {
  /** Reads `preprocessor_config.json` of a source; see {@link MimiModel.fromPretrained}. */
  static async fromPretrained(source: ModelSource, options: LoadOptions = {}): Promise<MimiFeatureExtractor> {
    const where = "fromPretrained";
    checkOptions(where, options, OPTIONS);
    checkParts(where, options);
    const file = openFolder(await resolveSource(source), options);
    const { samplingRate, paddingValue } = await readFields(
      file,
      "preprocessor_config.json",
      CoreFeatureExtractor.fromJSON,
    );
    return new MimiFeatureExtractor({ samplingRate, paddingValue });
  }
}
