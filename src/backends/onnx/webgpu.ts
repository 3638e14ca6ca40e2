/**
 * `mimi-audio/webgpu`: the GPU of a browser, in pages and workers.
 *
 * ```ts
 * import { MimiModel } from "mimi-audio";
 * import { webgpu } from "mimi-audio/webgpu";
 *
 * const model = await MimiModel.fromPretrained("kyutai/mimi", { backend: webgpu(), failover: true });
 * ```
 *
 * Needs the package `onnxruntime-web`. What streams remember stays on the GPU, and no layer falls back to the CPU.
 *
 * @module mimi-audio/webgpu
 */
import type { Backend } from "../../core/backend.ts";
import { describe, MimiTypeError, NotSupportedError } from "../../core/errors.ts";
import { compileWith } from "./compile.ts";
import { checkOnnxOptions, type OnnxOptions, Runtime } from "./options.ts";

/** How onnxruntime-web computes on WebGPU. */
export interface WebGPUOptions extends OnnxOptions {
  /** A device of one's own, which this library does not destroy; by default one is requested, and destroyed with the model. */
  device?: GPUDevice;
  /** Which GPU to ask for, where there are several. */
  powerPreference?: GPUPowerPreference;
  /** Folder, or address, of ONNX Runtime's own `.wasm` and `.mjs` files where they are not beside its module. */
  wasmPaths?: string;
}

/** Limits that kernels of ONNX Runtime profit from; asked for as far as the adapter has them. */
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const;
const FEATURES = ["shader-f16", "subgroups"] as const;

/**
 * The GPU of a browser.
 *
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for options that are not usable.
 */
export function webgpu(options: WebGPUOptions = {}): Backend {
  const name = "webgpu";
  checkOnnxOptions(name, options, ["device", "powerPreference", "wasmPaths"]);
  if (options.device !== undefined && typeof options.device?.createBuffer !== "function") {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${name}: device must be a GPUDevice, got ${describe(options.device)}.`,
    );
  }
  if (![undefined, "low-power", "high-performance"].includes(options.powerPreference)) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${name}: powerPreference must be "low-power" or "high-performance", got ${describe(options.powerPreference)}.`,
    );
  }
  const runtime = new Runtime("onnxruntime-web", options, () => import("onnxruntime-web/webgpu")),
    gpu = new Gpu(options);
  return {
    name,
    sync: false,
    losesDevice: true,
    async available() {
      const there = await gpu.available();
      return there === true ? await runtime.available() : there;
    },
    async device() {
      const [ort, info] = await Promise.all([runtime.get(), gpu.info()]);
      const parts = [info.vendor, info.architecture, info.device, info.description].filter(Boolean);
      return `${name} ${parts.join(" ")}, onnxruntime-web ${ort.env.versions.web}`;
    },
    async compile(network, tensors, how) {
      const ort = await runtime.get(), device = await gpu.use();
      if (options.wasmPaths !== undefined) ort.env.wasm.wasmPaths = options.wasmPaths;
      const session = {
        executionProviders: [{ name, device }],
        extra: { session: { disable_cpu_ep_fallback: "1" } },
        logSeverityLevel: 3,
      };
      const lost = device.lost.then(({ reason, message }) => message || reason);
      const target = { name, ort, past: "device" as const, session, lost, onClose: () => gpu.leave() };
      try {
        return await compileWith(target, network, tensors, how);
      } catch (error) {
        gpu.leave();
        throw error;
      }
    },
  };
}

/** The device of a backend, which lives as long as someone uses it. */
class Gpu {
  readonly #options: WebGPUOptions;
  #device: Promise<GPUDevice> | undefined;
  #users = 0;

  constructor(options: WebGPUOptions) {
    this.#options = options;
  }

  async #adapter(): Promise<GPUAdapter | string> {
    if (typeof navigator === "undefined" || !navigator.gpu) {
      return "this runtime has no WebGPU (navigator.gpu); pages need a secure context for it";
    }
    const { powerPreference } = this.#options;
    return await navigator.gpu.requestAdapter({ powerPreference }) ?? "the browser finds no GPU that it would use";
  }

  async available(): Promise<true | string> {
    if (this.#options.device) return true;
    const adapter = await this.#adapter();
    return typeof adapter === "string" ? adapter : true;
  }

  async info(): Promise<GPUAdapterInfo> {
    if (this.#options.device) return this.#options.device.adapterInfo;
    const adapter = await this.#adapter();
    if (typeof adapter === "string") throw new NotSupportedError(`webgpu: ${adapter}.`);
    return adapter.info;
  }

  /** The device; {@link leave} says when it is not used any more. A lost one is replaced. */
  async use(): Promise<GPUDevice> {
    this.#users++;
    const requested = this.#device ??= this.#request();
    const forget = () => {
      if (this.#device === requested) this.#device = undefined;
    };
    try {
      const device = await requested;
      device.lost.then(forget);
      return device;
    } catch (error) {
      forget();
      this.leave();
      throw error;
    }
  }

  leave(): void {
    if (--this.#users > 0 || this.#options.device) return;
    this.#device?.then((device) => device.destroy(), () => {});
    this.#device = undefined;
  }

  async #request(): Promise<GPUDevice> {
    if (this.#options.device) return this.#options.device;
    const adapter = await this.#adapter();
    if (typeof adapter === "string") throw new NotSupportedError(`webgpu: ${adapter}.`);
    const device = await adapter.requestDevice({
      requiredFeatures: FEATURES.filter((feature) => adapter.features.has(feature)),
      requiredLimits: Object.fromEntries(LIMITS.map((limit) => [limit, adapter.limits[limit]])),
    });
    return device;
  }
}
