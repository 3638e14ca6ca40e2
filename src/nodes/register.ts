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

/** What is needed of a context, whoever implements it. */
export interface WorkletContext {
  readonly sampleRate: number;
  readonly state?: string;
  readonly audioWorklet?: { addModule(url: string): Promise<void> };
}

export interface RegisterOptions {
  /** The model of the context's nodes, loaded with `worker: true`. */
  model: MimiModel;
  /** Where `worklet.js` is, if it is not where the package has it. */
  workletUrl?: string | URL;
  /**
   * Adds the module from a Blob with the file's bytes: where the file comes from another origin without CORS headers or
   * with a wrong type. The page's content security policy must allow `script-src blob:`.
   */
  blob?: boolean;
}

/** What nodes of a context are made with. */
export interface Registration {
  model: MimiModel;
  engine: Engine;
}

const modules = new WeakMap<WorkletContext, Promise<void>>();
const registrations = new WeakMap<WorkletContext, Registration>();

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
 * @throws {MimiTypeError} for an option that is not usable.
 * @throws {InvalidStateError} for a model that is closed or does not run in a worker.
 * @throws {NotSupportedError} where the context has no audio worklet: browsers have it in secure contexts only.
 * @throws {EngineError} `ERR_WORKLET` where the module cannot be loaded.
 */
export async function registerMimi(context: WorkletContext, options: RegisterOptions): Promise<void> {
  const where = "registerMimi";
  checkOptions(where, options, ["model", "workletUrl", "blob"]);
  const { model, workletUrl = new URL("./worklet.js", import.meta.url), blob = false } = options ?? {};
  const url = checkAddress(`${where}: workletUrl`, workletUrl);
  checkBlob(`${where}: blob`, blob);
  if (!(model instanceof MimiModel)) {
    throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: model must be a MimiModel, got ${describe(model)}.`);
  }
  const engine = engineOf(model);
  if (!engine) {
    throw new InvalidStateError(
      "ERR_INVALID_STATE",
      `${where}: the model must run in a worker; load it with fromPretrained(source, { worker: true }).`,
    );
  }
  checkModelOpen(where, engine);
  if (!context?.audioWorklet) {
    throw new NotSupportedError(
      `${where}: the context has no audioWorklet; browsers have it in secure contexts only: https or localhost.`,
    );
  }
  let loading = modules.get(context);
  if (!loading) {
    modules.set(context, loading = addModule(context.audioWorklet, url, blob));
    loading.catch(() => modules.delete(context)); // to be tried again
  }
  await loading;
  registrations.set(context, { model, engine });
}

async function addModule(worklet: NonNullable<WorkletContext["audioWorklet"]>, url: URL, blob: boolean): Promise<void> {
  let address = url.href;
  try {
    if (blob) {
      const response = await fetch(url);
      if (!response.ok) throw new Error(`the server answered ${response.status} ${response.statusText}`);
      address = URL.createObjectURL(new Blob([await response.blob()], { type: "text/javascript" }));
    }
    await worklet.addModule(address);
  } catch (cause) {
    const hint = blob ? "" : "; say where worklet.js is with workletUrl";
    throw new EngineError("ERR_WORKLET", `registerMimi: ${url.href} cannot be loaded (${reasonOf(cause)})${hint}.`, {
      cause,
    });
  } finally {
    if (blob) URL.revokeObjectURL(address);
  }
}

/** The module did not do what it should; the next registration loads it again. */
export function forgetModule(context: WorkletContext): void {
  modules.delete(context);
}

/**
 * @throws {InvalidStateError} for a context that was not registered or is closed, or whose model is closed or was loaded
 *   without that part.
 */
export function registrationOf(where: string, context: WorkletContext, part: "encoder" | "decoder"): Registration {
  if (context?.state === "closed") {
    throw new InvalidStateError("ERR_INVALID_STATE", `${where}: the context is closed.`);
  }
  const registration = registrations.get(context);
  if (registration) {
    checkModelOpen(where, registration.engine);
    if (!registration.model.memory[part]) {
      throw new InvalidStateError(
        "ERR_INVALID_STATE",
        `${where}: the ${part} is not loaded; load the model with part: "both" or "${part}".`,
      );
    }
    return registration;
  }
  throw new InvalidStateError(
    "ERR_INVALID_STATE",
    `${where}: the context is not ready; await registerMimi(context, { model }) before.`,
  );
}

function checkModelOpen(where: string, { closed }: Engine): void {
  if (closed) throw new InvalidStateError("ERR_INVALID_STATE", `${where}: the model is closed.`);
}
