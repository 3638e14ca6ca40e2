/**
 * What stands around a backend when a model is loaded: its self-test, and another program for when its device is lost.
 *
 * @module
 */
import type { Backend, CompileOptions, Determinism, Precision, Program, TensorSource } from "../core/backend.ts";
import { latentChannels, type Network } from "../core/network.ts";
import { GuardedProgram } from "./failover.ts";
import { checkKnown, checkProgram } from "./self-test.ts";
import { wasm } from "./wasm/mod.ts";

/** What has passed its self-test: devices, and halves of models on them. */
const passed = new Set<string>();

export interface CompilerOptions {
  precision?: Precision;
  determinism?: Determinism;
  failover?: boolean;
  selfTest?: boolean;
  onWarning?: (message: string) => void;
}

/** Compiles with a backend, and with wasm beside it where that is to check it or to stand in for it. */
export class Compiler {
  /** What the model says that it runs on. */
  readonly used: { name: string; sync: boolean };
  readonly fingerprint: string;
  readonly #where: string;
  readonly #backend: Backend;
  readonly #options: CompileOptions;
  readonly #failover: boolean;
  readonly #selfTest: boolean;
  readonly #onWarning: (message: string) => void;

  constructor(
    where: string,
    backend: Backend,
    fingerprint: string,
    { precision = "f32", determinism, failover = false, selfTest = true, onWarning = console.warn }: CompilerOptions,
  ) {
    this.used = { name: backend.name, sync: backend.sync };
    this.fingerprint = fingerprint;
    this.#where = where;
    this.#backend = backend;
    this.#options = { precision, determinism };
    this.#onWarning = onWarning;
    this.#failover = failover && backend.losesDevice === true;
    this.#selfTest = selfTest && backend.name !== "wasm"; // whose bits are tested to be the same everywhere
  }

  /**
   * Compiles one half of a model. What has latents in place of codes is neither tested nor guarded: that is its author's.
   *
   * @throws {NotSupportedError} where the backend computes wrongly on this device; and whatever the backend throws.
   */
  async compile(network: Network, weights: TensorSource): Promise<Program> {
    if (latentChannels(network) !== undefined) return await this.#backend.compile(network, weights, this.#options);
    const device = this.#selfTest ? await this.#backend.device?.() ?? this.#backend.name : "";
    if (this.#selfTest && !passed.has(device)) {
      await checkKnown(this.#where, this.#backend);
      passed.add(device);
    }
    const test = [device, this.fingerprint, this.#options.precision, JSON.stringify(network)].join(),
      tests = this.#selfTest && !passed.has(test);
    const shared = tests || this.#failover ? readOnce(weights) : weights;
    const program = await this.#backend.compile(network, shared, this.#options);
    let reference: Program | undefined, fallback: Program | undefined;
    try {
      if (tests || this.#failover) reference = await wasm().compile(network, shared, this.#options);
      if (tests) await checkProgram(this.#where, this.#backend, network, program, reference!);
      passed.add(test);
      if (this.#failover) fallback = reference;
    } catch (error) {
      program.close();
      throw error;
    } finally {
      if (!fallback) reference?.close();
    }
    if (!this.#backend.losesDevice) return program;
    return new GuardedProgram(network, program, fallback, ({ message }) => {
      this.used.name = "wasm";
      this.#onWarning(`mimi-audio: ${message} Streams go on in wasm.`);
    });
  }
}

/** Reads each tensor once, for two compilers. */
function readOnce(weights: TensorSource): TensorSource {
  const known = new Map<string, Promise<Float32Array>>();
  return {
    read(spec) {
      if (!known.has(spec.name)) known.set(spec.name, weights.read(spec));
      return known.get(spec.name)!;
    },
  };
}
