/**
 * What the backends on ONNX Runtime share: their options, and the package they need.
 *
 * @module
 */
import { checkOptions, describe, MimiTypeError } from "../../core/errors.ts";
import type { Ort } from "./runtime.ts";

/** Options of every backend on ONNX Runtime. */
export interface OnnxOptions {
  /**
   * The module of ONNX Runtime to use, for builds of one's own and for pages without a bundler; by default the package is
   * imported when the backend is first used.
   */
  ort?: unknown;
}

/** Checks the options that a backend knows. @throws {MimiTypeError} `ERR_INVALID_ARGUMENT`. */
export function checkOnnxOptions(
  where: string,
  options: OnnxOptions & { threads?: unknown; wasmPaths?: unknown },
  known: string[],
): void {
  checkOptions(where, options, ["ort", ...known]);
  const { ort, threads, wasmPaths } = options, { InferenceSession, Tensor, env } = (ort ?? {}) as Partial<Ort>;
  const isRuntime = typeof InferenceSession?.create === "function" && typeof Tensor === "function" && env?.versions;
  if (ort !== undefined && !isRuntime) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: ort must be a module of ONNX Runtime, such as await import("onnxruntime-web"), got ${describe(ort)}.`,
    );
  }
  if (threads !== undefined && !(Number.isSafeInteger(threads) && (threads as number) >= 1)) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: threads must be an integer from 1, got ${describe(threads)}.`,
    );
  }
  if (wasmPaths !== undefined && typeof wasmPaths !== "string") {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: wasmPaths must be a folder or an address, got ${describe(wasmPaths)}.`,
    );
  }
}

/** The runtime, once it is there, or why it is not. */
export class Runtime {
  readonly #package: string;
  readonly #load: () => Promise<unknown>;
  #loaded: Promise<Ort> | undefined;

  /** @param load imports the package, in a way that bundlers see. */
  constructor(name: string, { ort }: OnnxOptions, load: () => Promise<unknown>) {
    this.#package = name;
    this.#load = ort === undefined ? load : () => Promise.resolve(ort);
  }

  get(): Promise<Ort> {
    return this.#loaded ??= this.#load() as Promise<Ort>;
  }

  async available(): Promise<true | string> {
    try {
      await this.get();
      return true;
    } catch (error) {
      this.#loaded = undefined;
      const [first] = (error as Error).message.split("\n");
      return `the package ${this.#package} cannot be imported (npm install ${this.#package}): ${first}`;
    }
  }
}
