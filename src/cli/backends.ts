/**
 * What the command line can run a model with.
 *
 * @module
 */
import { registerBackend } from "../backends/registry.ts";

/** Names for `--backend`. */
export const BACKENDS: readonly string[] = ["wasm", "native", "onnx-wasm", "auto"];

/** Makes the names known to `fromPretrained` in this thread; a package is imported when its backend is asked for. */
export function registerBackends(): void {
  registerBackend("native", async () => (await import("../backends/onnx/native.ts")).native());
  registerBackend("onnx-wasm", async () => (await import("../backends/onnx/onnx-wasm.ts")).onnxWasm());
}
