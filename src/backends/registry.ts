/**
 * Backends by name: for the command line, and for `"auto"`.
 *
 * @module
 */
import type { Backend } from "../core/backend.ts";
import { describe, MimiTypeError } from "../core/errors.ts";
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

/**
 * The backends that a name stands for, in the order in which they are to be tried: one, or for `"auto"` all that there are.
 *
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for an unknown name.
 */
export async function namedBackends(where: string, name: string, runtime: "page" | "server"): Promise<Backend[]> {
  const names = name === "auto" ? AUTO[runtime].filter((known) => backends.has(known)) : [name];
  return await Promise.all(names.map((each) => {
    const make = backends.get(each);
    if (make) return make();
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: no backend ${describe(each)} is registered; known names: ${
        ["auto", ...backends.keys()].join(", ")
      }. ` +
        `Others are values, such as native() of mimi-audio/native.`,
    );
  }));
}
