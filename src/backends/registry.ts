/**
 * Backends by name: for the command line, and for `"auto"`.
 *
 * @module
 */
import type { Backend } from "../core/backend.ts";
import { describe, isMimiError, MimiTypeError, NotSupportedError } from "../core/errors.ts";
import { wasm } from "./wasm/mod.ts";

const backends = new Map<string, () => Backend | Promise<Backend>>([["wasm", wasm]]);

/** What `"auto"` tries, in this order, of the backends that are registered. */
const AUTO: Record<"page" | "server", readonly string[]> = {
  page: ["wasm"], // WebGPU on request: a GPU is seldom faster for one stream, and never the same in its last bits
  server: ["native", "wasm"],
};

/**
 * Gives a backend a name, so that `fromPretrained(source, { backend: name })` finds it. With the name `"native"`, `"auto"`
 * does as well in Node, Deno and Bun.
 *
 * ```ts
 * import { native } from "mimi-audio/native";
 *
 * registerBackend("native", () => native({ threads: 2 }));
 * ```
 *
 * Names are those of one thread; a model in a worker knows `"wasm"` alone.
 *
 * @param make makes the backend when it is asked for.
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for a name that is none, or is the library's own.
 */
export function registerBackend(name: string, make: () => Backend | Promise<Backend>): void {
  const where = "registerBackend";
  if (typeof name !== "string" || name === "" || name === "auto" || name === "wasm") {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: name must be a text other than "auto" and "wasm", got ${describe(name)}.`,
    );
  }
  if (typeof make !== "function") {
    throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: make must be a function, got ${describe(make)}.`);
  }
  backends.set(name, make);
}

/** Whether a value looks like a backend. */
export function isBackend(value: unknown): value is Backend {
  const { name, sync, available, compile } = (value ?? {}) as Partial<Backend>;
  return typeof name === "string" && name !== "" && typeof sync === "boolean" && typeof available === "function" &&
    typeof compile === "function";
}

/**
 * The names that a name stands for, in the order in which they are to be tried: itself, or for `"auto"` all that there are.
 *
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for an unknown name.
 */
export function backendNames(where: string, name: string, runtime: "page" | "server"): string[] {
  if (name === "auto") return AUTO[runtime].filter((known) => backends.has(known));
  if (backends.has(name)) return [name];
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    `${where}: no backend ${describe(name)} is registered; known names: ${["auto", ...backends.keys()].join(", ")}. ` +
      `Others are values, such as native() of mimi-audio/native.`,
  );
}

/**
 * Makes the backend of a name that {@link backendNames} gave.
 *
 * @throws {NotSupportedError} where what was registered makes none; `cause` says why.
 */
export async function makeBackend(where: string, name: string): Promise<Backend> {
  const made: unknown = await answered(`${where}: the backend registered as ${describe(name)} cannot be made`, () => {
    return backends.get(name)!();
  });
  if (isBackend(made)) return made;
  throw new NotSupportedError(`${where}: what is registered as ${describe(name)} makes ${describe(made)}, no backend.`);
}

/** What a backend answers; where it fails instead, it cannot run here. @throws {NotSupportedError} with the reason. */
export async function answered<T>(problem: string, ask: () => T | Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (isMimiError(error)) throw error;
    const reason = error instanceof Error ? error.message : describe(error);
    throw new NotSupportedError(`${problem}: ${reason}`, { cause: error });
  }
}
