/**
 * Makes a context ready for nodes.
 *
 * @module
 */
import {
  checkOptions,
  describe,
  EngineError,
  InvalidStateError,
  MimiTypeError,
  NotSupportedError,
  reasonOf,
} from "../core/errors.ts";
import { MimiModel } from "../core/model.ts";
import type { Engine } from "../engine/engine.ts";
import { checkAddress, checkBlob } from "../engine/spawn.ts";
import { engineOf } from "../load.ts";
import { threadsReadTypeScript } from "../worker-file.ts";
import { OfflineModel } from "./offline.ts";

/** What is needed of a context, whoever implements it. */
export interface WorkletContext {
  /** Hz. */
  readonly sampleRate: number;
  /** `"closed"` where nothing can be made any more. */
  readonly state?: string;
  /** What adds modules; minimal contexts have none. */
  readonly audioWorklet?: {
    /** Runs a script on the audio thread. */
    addModule(url: string): Promise<void>;
  };
  /** What makes it an offline context. */
  readonly startRendering?: () => Promise<unknown>;
}

/** The model of a context's nodes, and where their files are. */
export interface RegisterOptions {
  /**
   * The model of the context's nodes. For a live context it has to run in a worker (`worker: true`). For an offline one it may
   * run anywhere: the context gets a copy of its weights, which are read again from where the model was loaded.
   */
  model: MimiModel;
  /** Where `worklet.js`, for an offline context `worklet-offline.js` is, if it is not where the package has it. */
  workletUrl?: string | URL;
  /**
   * Adds the module from a Blob with the file's bytes: where the file comes from another origin without CORS headers or
   * with a wrong type. The page's content security policy must allow `script-src blob:`.
   */
  blob?: boolean;
  /**
   * Adds a module to a context, in place of `context.audioWorklet.addModule`: `addAudioWorkletModule` of
   * standardized-audio-context, whose minimal contexts have no `audioWorklet`.
   */
  // deno-lint-ignore no-explicit-any -- it takes contexts of its own kind only
  addModule?: (context: any, url: string) => Promise<void>;
}

/** What nodes of a live context are made with. */
export interface Registration {
  model: MimiModel;
  engine: Engine;
  offline?: undefined;
}

/** What nodes of an offline context are made with. */
export interface OfflineRegistration {
  model: MimiModel;
  offline: OfflineModel;
}

function isOfflineContext(context: WorkletContext): boolean {
  return typeof context?.startRendering === "function";
}

const modules = new WeakMap<WorkletContext, Promise<void>>();
const registrations = new WeakMap<WorkletContext, Registration | OfflineRegistration>();

/**
 * Loads the worklet into a context and says which model its nodes use. To be awaited before the first node is made; may
 * be repeated, with another model too, which is then that of nodes to come.
 *
 * ```ts
 * const context = new AudioContext();
 * const model = await MimiModel.fromPretrained("kyutai/mimi", { worker: true, numQuantizers: 8 });
 * await registerMimi(context, { model });
 * ```
 *
 * An offline context works in the same way; its worklet runs the codec itself.
 *
 * @throws {MimiTypeError} for an option that is not usable.
 * @throws {InvalidStateError} for a context or a model that is closed, and in a live context for a model that does not run in a
 *   worker.
 * @throws {NotSupportedError} where the context has no audio worklet: browsers have it in secure contexts only; and for an
 *   offline context, where the model's backend is not wasm.
 * @throws {EngineError} `ERR_WORKLET` where the module cannot be loaded.
 * @throws {LoadError | FormatError} where the weights for an offline context cannot be read again.
 */
export async function registerMimi(context: WorkletContext, options: RegisterOptions): Promise<void> {
  const where = "registerMimi";
  checkOptions(where, options, ["model", "workletUrl", "blob", "addModule"]);
  const { model, workletUrl, blob = false, addModule } = options ?? {};
  const isOffline = isOfflineContext(context);
  const file = workletUrl === undefined ? workletFile(isOffline) : checkAddress(`${where}: workletUrl`, workletUrl);
  checkBlob(`${where}: blob`, blob);
  if (!(model instanceof MimiModel)) {
    throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: model must be a MimiModel, got ${describe(model)}.`);
  }
  if (addModule !== undefined && typeof addModule !== "function") {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: addModule must be a function (context, url) => Promise, got ${describe(addModule)}.`,
    );
  }
  const engine = engineOf(model);
  if (!engine && !isOffline) {
    throw new InvalidStateError(
      "ERR_INVALID_STATE",
      `${where}: the model must run in a worker; load it with fromPretrained(source, { worker: true }).`,
    );
  }
  if (typeof context !== "object" || context === null) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: context must be an audio context, got ${describe(context)}.`,
    );
  }
  checkContextOpen(where, context);
  checkModelOpen(where, model);
  if (!addModule && !context.audioWorklet) {
    throw new NotSupportedError(
      `${where}: the context has no audioWorklet; browsers have it in secure contexts only: https or localhost. A minimal ` +
        "context of standardized-audio-context needs the option addModule: addAudioWorkletModule.",
    );
  }
  let loading = modules.get(context);
  if (!loading) {
    const add = addModule ?? ((context: WorkletContext, url: string) => context.audioWorklet!.addModule(url));
    modules.set(context, loading = load((url) => add(context, url), file, blob, workletName(isOffline)));
    loading.catch(() => modules.delete(context)); // to be tried again
  }
  await loading;
  checkContextOpen(where, context); // meanwhile
  checkModelOpen(where, model);
  if (isOffline) {
    const known = registrations.get(context);
    if (known?.model !== model) registrations.set(context, { model, offline: await OfflineModel.read(where, model) });
  } else registrations.set(context, { model, engine: engine! });
}

/** As the package has it. */
function workletName(isOffline: boolean): string {
  return isOffline ? "worklet-offline.js" : "worklet.js";
}

/** Where a worklet is: beside this file, or beside the bundle that this file became a part of. */
function workletFile(isOffline: boolean): URL {
  const here = import.meta.url;
  // Sources run unbuilt, in runtimes whose implementation of Web Audio imports modules as the runtime does.
  if (here.endsWith(".ts")) {
    return new URL(`./worklet${isOffline ? "-offline" : ""}${threadsReadTypeScript() ? ".ts" : "-tsx.mjs"}`, here);
  }
  // Written so that bundlers take the files along.
  return isOffline ? new URL("./worklet-offline.js", import.meta.url) : new URL("./worklet.js", import.meta.url);
}

/** An address that `addModule` understands: outside of browsers that is a path, where it is one of a file. */
function addressOf(file: string | URL): string {
  const base = globalThis.location?.href;
  if (base === undefined && !URL.canParse(file)) return `${file}`;
  const { protocol, pathname, href } = new URL(file, base);
  return protocol === "file:" && typeof document === "undefined"
    ? decodeURIComponent(pathname).replace(/^\/(?=[A-Za-z]:)/, "")
    : href;
}

async function load(
  add: (url: string) => Promise<void>,
  file: string | URL,
  blob: boolean,
  name: string,
): Promise<void> {
  const url = addressOf(file);
  let address = url;
  try {
    if (blob) {
      const response = await fetch(url);
      if (!response.ok) throw new Error(`the server answered ${response.status} ${response.statusText}`);
      address = URL.createObjectURL(new Blob([await response.blob()], { type: "text/javascript" }));
    }
    await add(address);
  } catch (cause) {
    const hint = blob ? "" : `; say where ${name} is with workletUrl`;
    throw new EngineError("ERR_WORKLET", `registerMimi: ${url} cannot be loaded (${reasonOf(cause)})${hint}.`, {
      cause,
    });
  } finally {
    if (blob) URL.revokeObjectURL(address);
  }
}

/** The module did not register its processors; the next registration loads it again. */
export function wrongModule(where: string, context: WorkletContext, cause: unknown): EngineError {
  modules.delete(context);
  const name = workletName(isOfflineContext(context));
  const reason = `${where}: the worklet module did not register its processors; it has to be ${name}.`;
  return new EngineError("ERR_WORKLET", reason, { cause });
}

/**
 * @throws {InvalidStateError} for a context that was not registered or is closed, or whose model is closed or was loaded
 *   without a part that is needed.
 */
export function registrationOf(
  where: string,
  context: WorkletContext,
  ...parts: ("encoder" | "decoder")[]
): Registration | OfflineRegistration {
  checkContextOpen(where, context);
  const registration = registrations.get(context);
  if (registration) {
    checkModelOpen(where, registration.model);
    const missing = parts.find((part) => !registration.model.memory[part]);
    if (missing) {
      throw new InvalidStateError(
        "ERR_INVALID_STATE",
        `${where}: the ${missing} is not loaded; load the model with part: "both" or "${missing}".`,
      );
    }
    return registration;
  }
  throw new InvalidStateError(
    "ERR_INVALID_STATE",
    `${where}: the context is not ready; await registerMimi(context, { model }) before.`,
  );
}

function checkContextOpen(where: string, context: WorkletContext): void {
  if (context?.state === "closed") {
    throw new InvalidStateError("ERR_INVALID_STATE", `${where}: the context is closed.`);
  }
}

function checkModelOpen(where: string, { closed }: MimiModel): void {
  if (closed) throw new InvalidStateError("ERR_INVALID_STATE", `${where}: the model is closed.`);
}
