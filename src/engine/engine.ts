/**
 * The owner's side of a worker: a model whose programs run elsewhere.
 *
 * @module
 */
import type { Ports, Program, ProgramMemory, State, StateData } from "../core/backend.ts";
import { MimiConfig } from "../core/config.ts";
import { InvalidStateError } from "../core/errors.ts";
import type { MimiModelParts } from "../core/model.ts";
import type { PartsOptions } from "../parts.ts";
import type { ResolvedSource } from "../resolve.ts";
import {
  errorFromData,
  type FromWorker,
  type LoadedModel,
  type Method,
  type Methods,
  type Part,
  type RemoteOptions,
} from "./protocol.ts";
import { type EngineWorker, spawn, type WorkerOptions } from "./spawn.ts";

interface Waiting {
  resolve(result: unknown): void;
  reject(error: unknown): void;
  onProgress?: PartsOptions["onProgress"];
}

/** A worker and what is asked of it. */
export class Engine {
  /** Called when the worker ends: with the reason, or without one where the model was closed. */
  readonly ends: Set<(error?: Error) => void> = new Set();
  readonly #workerOptions: WorkerOptions;
  #worker: EngineWorker | undefined;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;
  /** Why nothing can be asked any more. */
  #over: Error | undefined;
  #closed = false;
  /** Loads the same model again. */
  #reload: () => Promise<unknown> = () => Promise.resolve();
  #restarting: Promise<void> | undefined;
  /** Ends a worker that is still starting when the model is closed. */
  readonly #closing = new AbortController();

  private constructor(workerOptions: WorkerOptions) {
    this.#workerOptions = workerOptions;
  }

  async #start(signal?: AbortSignal): Promise<void> {
    const worker = await spawn(this.#workerOptions, {
      onMessage: (message) => this.#receive(message),
      onFailure: (error) => {
        this.#end(error);
        for (const report of [...this.ends]) report(error);
      },
    }, signal);
    if (this.#closed) return worker.terminate();
    this.#worker = worker;
  }

  /**
   * Starts a worker and loads a model in it.
   *
   * @throws {EngineError} `ERR_WORKER`; and whatever loading throws, here as there.
   */
  static async load(
    source: ResolvedSource,
    options: PartsOptions,
    workerOptions: WorkerOptions,
  ): Promise<{ engine: Engine; parts: MimiModelParts }> {
    const {
      signal,
      onProgress,
      config,
      backend,
      part,
      numQuantizers,
      precision,
      determinism,
      file,
      revision,
      token,
      endpoint,
      cache,
    } = options;
    signal?.throwIfAborted();
    const engine = new Engine(workerOptions);
    try {
      await engine.#start(signal);
      const remote = {
        backend: backend as RemoteOptions["backend"],
        config: config && (config instanceof MimiConfig ? config : new MimiConfig(config)).toJSON(),
        ...{ part, numQuantizers, precision, determinism, file, revision, token, endpoint, cache },
      };
      const loaded = await engine.#abortable(signal, () => engine.#call("load", [source, remote], [], onProgress));
      engine.#reload = async () => {
        const { fingerprint } = await engine.#ask("load", [source, remote]);
        if (fingerprint === loaded.fingerprint) return;
        throw new InvalidStateError(
          "ERR_WRONG_MODEL",
          `restart: the source has model ${fingerprint} now, it was ${loaded.fingerprint}; load that one with fromPretrained.`,
        );
      };
      return { engine, parts: engine.#parts(loaded) };
    } catch (error) {
      engine.close();
      throw error;
    }
  }

  /**
   * Starts a worker again and loads the model in it, if the old one has ended. Streams that were in it are gone.
   *
   * @throws {InvalidStateError} where the model is closed, `ERR_WRONG_MODEL` where the source has another model now; and
   *   whatever starting and loading throw.
   */
  restart(): Promise<void> {
    const start = async () => {
      if (!this.#over) return;
      if (!this.#closed) await this.#start(this.#closing.signal);
      if (this.#closed) throw this.#over;
      try {
        await this.#reload();
        this.#over = undefined; // not before: there is nothing that could be asked
      } catch (error) {
        this.#worker!.terminate();
        throw error;
      }
    };
    return this.#restarting ??= start().finally(() => this.#restarting = undefined);
  }

  /** Opens a task for an audio node. */
  async openNode<Link extends { port: MessagePort }>(setup: object, control: MessagePort, link: Link): Promise<void> {
    await this.#call("openNode", [setup, control, link], [control, link.port]);
  }

  /** Whether the model was closed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Ends the worker. What is still asked of it fails. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#worker?.terminate();
    const error = new InvalidStateError("ERR_INVALID_STATE", "the model is closed.");
    this.#closing.abort(error);
    this.#end(error);
    for (const report of [...this.ends]) report();
  }

  #end(error: Error): void {
    this.#over = error;
    for (const { reject } of this.#waiting.values()) reject(this.#over);
    this.#waiting.clear();
  }

  async #abortable<T>(signal: AbortSignal | undefined, ask: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    const id = this.#nextId, abort = () => this.#worker!.post({ abort: id });
    signal?.addEventListener("abort", abort);
    try {
      return await ask();
    } catch (error) {
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  #parts({ config, fingerprint, numQuantizers, backend, precision, encoder, decoder }: LoadedModel): MimiModelParts {
    const program = (part: Part, memory: ProgramMemory | undefined) =>
      memory && new RemoteProgram(
        part,
        memory,
        (method, args, transfer) => this.#call(method, args, transfer),
        () => this.close(),
      );
    return {
      config: MimiConfig.fromJSON(config),
      fingerprint,
      numQuantizers,
      backend: { name: backend, sync: false },
      precision,
      encoder: program("encoder", encoder),
      decoder: program("decoder", decoder),
    };
  }

  #call<M extends Method>(
    method: M,
    args: Parameters<Methods[M]>,
    transfer?: Transferable[],
    onProgress?: PartsOptions["onProgress"],
  ): Promise<ReturnType<Methods[M]>> {
    return this.#over ? Promise.reject(this.#over) : this.#ask(method, args, transfer, onProgress);
  }

  #ask<M extends Method>(
    method: M,
    args: Parameters<Methods[M]>,
    transfer: Transferable[] = [],
    onProgress?: PartsOptions["onProgress"],
  ): Promise<ReturnType<Methods[M]>> {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve: resolve as (result: unknown) => void, reject, onProgress });
      this.#worker!.busy(true);
      this.#worker!.post({ id, method, args } as Parameters<EngineWorker["post"]>[0], transfer);
    });
  }

  #receive(message: FromWorker): void {
    if (!("id" in message)) return;
    const waiting = this.#waiting.get(message.id);
    if (!waiting) return;
    let failure: { error: unknown } | undefined;
    if ("progress" in message) {
      try {
        return waiting.onProgress?.(message.progress);
      } catch (error) {
        failure = { error }; // as without a worker
      }
    } else if ("error" in message) failure = { error: errorFromData(message.error) };
    this.#waiting.delete(message.id);
    if (this.#waiting.size === 0) this.#worker!.busy(false);
    if (failure) waiting.reject(failure.error);
    else waiting.resolve((message as { result: unknown }).result);
  }
}

type Call = <M extends Method>(
  method: M,
  args: Parameters<Methods[M]>,
  transfer?: Transferable[],
) => Promise<ReturnType<Methods[M]>>;

interface RemoteState extends State {
  readonly id: number;
  frames: number;
  /** Settles when the worker has it. */
  ready: Promise<void>;
}

let nextState = 0;

/** A program in a worker. */
class RemoteProgram implements Program {
  readonly cancels = true;
  memory: ProgramMemory;
  readonly #part: Part;
  readonly #call: Call;
  readonly #close: () => void;

  constructor(part: Part, memory: ProgramMemory, call: Call, close: () => void) {
    this.memory = memory;
    this.#part = part;
    this.#call = call;
    this.#close = close;
  }

  createState(): State {
    const id = nextState++;
    const ready = this.#call("createState", [this.#part, id]).then((memory) => void (this.memory = memory));
    ready.catch(() => {}); // whoever uses the state hears of it
    const state: RemoteState = { id, frames: 0, ready };
    return state;
  }

  freeState(state: State): void {
    this.#call("freeState", [this.#part, (state as RemoteState).id]).catch(() => {}); // gone with its worker
  }

  async reset(state: State): Promise<void> {
    const { id, ready } = state as RemoteState;
    await ready;
    await this.#call("reset", [this.#part, id]);
    (state as RemoteState).frames = 0;
  }

  async step(rows: State[], { audio, codes, codebooks }: Ports, frames: number): Promise<void> {
    const states = rows as RemoteState[], ids = states.map(({ id }) => id);
    await Promise.all(states.map(({ ready }) => ready));
    if (this.#part === "encoder") {
      const own = audio.map((samples) => samples.slice()), buffers = own.map(({ buffer }) => buffer);
      const results = await this.#call("encode", [ids, own, codebooks, frames], buffers);
      results.forEach((result, row) => codes[row].set(result));
    } else {
      const own = codes.map((values) => values.slice()), buffers = own.map(({ buffer }) => buffer);
      const results = await this.#call("decode", [ids, own, codebooks, frames], buffers);
      results.forEach((result, row) => audio[row].set(result));
    }
    for (const state of states) state.frames += frames;
  }

  async save(state: State): Promise<StateData> {
    const { id, ready } = state as RemoteState;
    await ready;
    return await this.#call("save", [this.#part, id]);
  }

  async load(state: State, data: StateData): Promise<void> {
    const { id, ready } = state as RemoteState;
    await ready;
    await this.#call("restore", [this.#part, id, data]);
    (state as RemoteState).frames = data.frames;
  }

  close(): void {
    this.#close();
  }
}
