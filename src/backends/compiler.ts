/**
 * What stands around a backend when a model is loaded: its self-test, and another program for when its device is lost.
 *
 * @module
 */
import type { Backend, CompileOptions, Determinism, Precision, Program, TensorSource } from "../core/backend.ts";
import { NotSupportedError } from "../core/errors.ts";
import { latentChannels, type Network } from "../core/network.ts";
import { GuardedProgram } from "./failover.ts";
import { answered } from "./registry.ts";
import { checkKnown, checkProgram } from "./self-test.ts";
import { isWasm, wasm } from "./wasm/mod.ts";

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
    this.used = { name: backend.name, sync: backend.sync && !backend.losesDevice };
    this.fingerprint = fingerprint;
    this.#where = where;
    this.#backend = backend;
    this.#options = { precision, determinism };
    this.#onWarning = onWarning;
    this.#failover = failover && backend.losesDevice === true;
    this.#selfTest = selfTest && !isWasm(backend); // whose bits are tested to be the same everywhere
  }

  /**
   * Compiles one half of a model. What has latents in place of codes is not compared with wasm, and has no failover.
   *
   * @throws {NotSupportedError} where the backend computes wrongly on this device, or a failover of latents is asked for;
   *   and whatever the backend throws.
   */
  async compile(network: Network, weights: TensorSource): Promise<Program> {
    const device = this.#selfTest ? await this.#device() : "";
    if (this.#selfTest && !passed.has(device)) {
      await checkKnown(this.#where, this.#backend);
      passed.add(device);
    }
    if (latentChannels(network) !== undefined) {
      if (this.#failover) throw new NotSupportedError(`${this.#where}: failover is for models whose frames are codes.`);
      return await this.#backend.compile(network, weights, this.#options);
    }
    const test = [device, this.fingerprint, this.#options.precision, JSON.stringify(network)].join(),
      tests = this.#selfTest && !passed.has(test);
    const program = await this.#backend.compile(network, weights, this.#options);
    let reference: Program | undefined, fallback: Program | undefined;
    try {
      if (tests || this.#failover) reference = await wasm().compile(network, weights, this.#options);
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
      if (this.used.name === "wasm") return; // the other half has said it
      this.used.name = "wasm";
      this.#onWarning(`mimi-audio: ${message} Streams go on in wasm.`);
    });
  }

  /** The device that the backend computes on, as far as it tells them apart. */
  async #device(): Promise<string> {
    const { name } = this.#backend, problem = `${this.#where}: the ${name} backend does not tell its device`;
    return await answered(problem, () => this.#backend.device?.()) ?? name;
  }
}
