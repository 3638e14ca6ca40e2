/**
 * The worker's side: loads one model and answers what is asked of it. Streams of the model share their steps, so a long
 * piece of one does not keep the others waiting.
 *
 * @module
 */
import type { Ports, State } from "../core/backend.ts";
import { MimiConfig } from "../core/config.ts";
import { InvalidStateError } from "../core/errors.ts";
import { decoderNetwork, encoderNetwork } from "../core/mimi.ts";
import { MimiModel, type MimiModelParts } from "../core/model.ts";
import { SharedProgram } from "../core/pool.ts";
import { loadParts } from "../parts.ts";
import {
  errorToData,
  type FromWorker,
  type LoadedModel,
  type Method,
  type Methods,
  type Part,
  type ToWorker,
} from "./protocol.ts";

/** Sends to the owner of the worker. */
export type Post = (message: FromWorker, transfer?: Transferable[]) => void;

type Answers = {
  [M in Method]: (...args: Parameters<Methods[M]>) => ReturnType<Methods[M]> | Promise<ReturnType<Methods[M]>>;
};

/** What works for audio nodes. */
export type OpenNode = (models: NodeModels, ...args: Parameters<Methods["openNode"]>) => void;

/** The model, in two ways to use it. */
export interface NodeModels {
  /** Its streams share their steps. */
  shared: MimiModel;
  /** Its handles are synchronous, where the backend is. */
  direct: MimiModel;
}

/** Answers requests for one model. */
export class Host {
  readonly #post: Post;
  readonly #openNode: OpenNode;
  #models: NodeModels | undefined;
  readonly #programs: Partial<Record<Part, SharedProgram>> = {};
  readonly #states = new Map<number, State>();
  readonly #loads = new Map<number, AbortController>();

  constructor(post: Post, openNode: OpenNode) {
    this.#post = post;
    this.#openNode = openNode;
  }

  /** Takes a message of the owner. */
  async receive(message: ToWorker): Promise<void> {
    if ("abort" in message) return this.#loads.get(message.abort)?.abort();
    const { id, method, args } = message;
    try {
      const answer = this.#answers(id)[method] as (...args: unknown[]) => unknown;
      const result = await answer(...args);
      this.#post({ id, result }, buffersOf(result));
    } catch (error) {
      this.#post({ id, error: errorToData(error) });
    }
  }

  #answers(id: number): Answers {
    return {
      load: async (source, { config, ...options }) => {
        const controller = new AbortController();
        this.#loads.set(id, controller);
        try {
          return this.#take(
            await loadParts("fromPretrained", source, {
              ...options,
              config: config && MimiConfig.fromJSON(config),
              signal: controller.signal,
              onProgress: (progress) => this.#post({ id, progress }),
            }),
          );
        } finally {
          this.#loads.delete(id);
        }
      },
      createState: (part, state) => {
        const program = this.#program(part);
        this.#states.set(state, program.createState());
        return program.memory;
      },
      freeState: (part, state) => {
        const known = this.#states.get(state);
        this.#states.delete(state);
        if (known) this.#program(part).freeState(known);
      },
      reset: (part, state) => this.#program(part).reset(this.#state(state)),
      save: (part, state) => this.#program(part).save(this.#state(state)),
      restore: (part, state, data) => this.#program(part).load(this.#state(state), data),
      openNode: (...args) => {
        if (!this.#models) throw new InvalidStateError("ERR_INVALID_STATE", "worker: no model is loaded.");
        this.#openNode(this.#models, ...args);
      },
      encode: async (states, audio, codebooks, frames) => {
        const codes = audio.map(() => new Uint16Array(codebooks * frames));
        await this.#step("encoder", states, { audio, codes, codebooks }, frames);
        return codes;
      },
      decode: async (states, codes, codebooks, frames) => {
        const { frameSize } = this.#program("decoder").network;
        const audio = codes.map(() => new Float32Array(frames * frameSize));
        await this.#step("decoder", states, { audio, codes, codebooks }, frames);
        return audio;
      },
    };
  }

  #take(parts: MimiModelParts): LoadedModel {
    const { config, numQuantizers, fingerprint, backend, precision, encoder, decoder } = parts;
    if (encoder) this.#programs.encoder = new SharedProgram(encoder, encoderNetwork(config, numQuantizers));
    if (decoder) this.#programs.decoder = new SharedProgram(decoder, decoderNetwork(config, numQuantizers));
    this.#models = {
      shared: new MimiModel({ ...parts, ...this.#programs, backend: { name: backend.name, sync: false } }),
      direct: new MimiModel(parts),
    };
    return {
      config: config.toJSON(),
      fingerprint,
      numQuantizers,
      backend: backend.name,
      precision,
      encoder: encoder?.memory,
      decoder: decoder?.memory,
    };
  }

  #step(part: Part, states: number[], ports: Ports, frames: number): Promise<void> {
    return this.#program(part).step(states.map((state) => this.#state(state)), ports, frames);
  }

  #program(part: Part): SharedProgram {
    const program = this.#programs[part];
    if (!program) throw new InvalidStateError("ERR_INVALID_STATE", `worker: the ${part} is not loaded.`);
    return program;
  }

  #state(id: number): State {
    const state = this.#states.get(id);
    if (!state) throw new InvalidStateError("ERR_INVALID_STATE", "worker: the stream is closed.");
    return state;
  }
}

/** Buffers of a result, which go over without being copied. */
function buffersOf(result: unknown): Transferable[] {
  return Array.isArray(result) ? result.map((values: Float32Array | Uint16Array) => values.buffer as ArrayBuffer) : [];
}
