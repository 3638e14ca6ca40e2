/**
 * `mimi-audio/native`: ONNX Runtime as a native library, in Node, Deno and Bun.
 *
 * ```ts
 * import { MimiModel } from "mimi-audio";
 * import { native } from "mimi-audio/native";
 *
 * const model = await MimiModel.fromPretrained("mini", { backend: native({ threads: 2 }) });
 * ```
 *
 * Needs the package `onnxruntime-node`.
 *
 * @module mimi-audio/native
 */
import type { Backend } from "../../core/backend.ts";
import { describe, MimiTypeError } from "../../core/errors.ts";
import { compileWith } from "./compile.ts";
import { checkOnnxOptions, type OnnxOptions, Runtime } from "./options.ts";
import type { Ort } from "./runtime.ts";

/** What computes, by ONNX Runtime's names. Which ones there are depends on the machine and on how the package was installed. */
export type NativeProvider = "cpu" | "cuda" | "coreml" | "dml" | "webgpu";

const PROVIDERS: readonly NativeProvider[] = ["cpu", "cuda", "coreml", "dml", "webgpu"];

/** How onnxruntime-node computes. */
export interface NativeOptions extends OnnxOptions {
  /** Threads of a step on the CPU; default 1, which leaves the other cores to other streams. */
  threads?: number;
  /** What computes, default `"cpu"`. Layers that a provider cannot run, the CPU does. */
  provider?: NativeProvider;
}

/**
 * ONNX Runtime's native library. A step keeps the thread busy while it runs.
 *
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for options that are not usable.
 */
export function native(options: NativeOptions = {}): Backend {
  const where = "native";
  checkOnnxOptions(where, options, ["threads", "provider"]);
  const { threads = 1, provider = "cpu" } = options;
  if (!PROVIDERS.includes(provider)) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: provider must be one of ${PROVIDERS.join(", ")}, got ${describe(provider)}.`,
    );
  }
  const runtime = new Runtime("onnxruntime-node", options, () => import("onnxruntime-node"));
  return {
    name: "native",
    sync: false,
    async available() {
      const there = await runtime.available();
      if (there !== true || provider === "cpu") return there;
      const known = providersOf(await runtime.get());
      return known.includes(provider) || `onnxruntime-node has no provider ${provider} here, only ${known.join(", ")}`;
    },
    async device() {
      const { env } = await runtime.get();
      return `native ${provider}, onnxruntime-node ${env.versions.node}`;
    },
    async compile(network, tensors, how) {
      const session = { executionProviders: [provider], intraOpNumThreads: threads, logSeverityLevel: 3 };
      return await compileWith({ name: where, ort: await runtime.get(), past: "host", session }, network, tensors, how);
    },
  };
}

/** Providers that the library was built with. */
function providersOf(ort: Ort): string[] {
  const { listSupportedBackends } = ort as { listSupportedBackends?: () => { name: string }[] };
  return listSupportedBackends?.().map(({ name }) => name) ?? ["cpu"];
}
