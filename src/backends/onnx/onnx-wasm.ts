/**
 * `mimi-audio/onnx-wasm`: ONNX Runtime in WebAssembly, in browsers, Node, Deno and Bun.
 *
 * ```ts
 * import { MimiModel } from "mimi-audio";
 * import { onnxWasm } from "mimi-audio/onnx-wasm";
 *
 * const model = await MimiModel.fromPretrained("mini", { backend: onnxWasm() });
 * ```
 *
 * Needs the package `onnxruntime-web`. This library's own `wasm()` is faster and smaller; this one is for comparison.
 *
 * @module mimi-audio/onnx-wasm
 */
import type { Backend } from "../../core/backend.ts";
import { compileWith } from "./compile.ts";
import { checkOnnxOptions, type OnnxOptions, Runtime } from "./options.ts";

/** How onnxruntime-web computes in WebAssembly. */
export interface OnnxWasmOptions extends OnnxOptions {
  /**
   * Threads of a step, default 1. ONNX Runtime reads this once, for the first session in a thread; more than one need a
   * cross-origin isolated page.
   */
  threads?: number;
  /** Folder, or address, of ONNX Runtime's own `.wasm` and `.mjs` files where they are not beside its module. */
  wasmPaths?: string;
}

/**
 * ONNX Runtime in WebAssembly.
 *
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for options that are not usable.
 */
export function onnxWasm(options: OnnxWasmOptions = {}): Backend {
  const name = "onnx-wasm";
  checkOnnxOptions("onnxWasm", options, ["threads", "wasmPaths"]);
  const { threads = 1, wasmPaths } = options;
  const runtime = new Runtime("onnxruntime-web", options, () => import("onnxruntime-web/wasm"));
  return {
    name,
    sync: false,
    available: () => runtime.available(),
    async device() {
      const { env } = await runtime.get();
      return `${name}, onnxruntime-web ${env.versions.web}`;
    },
    async compile(network, tensors, how) {
      const ort = await runtime.get();
      ort.env.wasm.numThreads = threads;
      if (wasmPaths !== undefined) ort.env.wasm.wasmPaths = wasmPaths;
      const session = { executionProviders: ["wasm"], intraOpNumThreads: threads, logSeverityLevel: 3 };
      return await compileWith({ name, ort, past: "host", session }, network, tensors, how);
    },
  };
}
