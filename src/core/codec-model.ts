/// <reference lib="esnext.disposable" preserve="true" />
/**
 * A codec with its weights: what models have in common, whatever their frames are.
 *
 * @module
 */
import { type AudioInput, maskLength, type PaddingMask, rowLengths, toRows } from "./audio.ts";
import type { Ports, Precision, Program, ProgramMemory } from "./backend.ts";
import type { Codec, CodecConfig } from "./codec.ts";
import { describe, InvalidStateError, MimiRangeError, NotSupportedError } from "./errors.ts";
import { checkFrames, checkTail, type Session, type Tail } from "./handles.ts";
import type { Network } from "./network.ts";
import type { Tensor } from "./tensor.ts";

/** What a model is made of; see `fromPretrained` for the usual way to get one. */
export interface ModelParts<C extends CodecConfig> {
  config: C;
  fingerprint: string;
  /** The name is read whenever it is asked for. */
  backend: { readonly name: string; readonly sync: boolean };
  precision: Precision;
  encoder?: Program;
  decoder?: Program;
}

/** How recordings are encoded. */
export interface EncodeRowsOptions {
  /** Which samples are audio. With it each row is coded as if it were alone; only right padding is possible. */
  paddingMask?: PaddingMask;
  /** Hz of the audio, to have it checked. */
  samplingRate?: number;
  /** What becomes of a last frame that is not full; default as the codec's own code does. */
  tail?: Tail;
}

/** How codes are decoded. */
export interface DecodeOptions {
  /** Cuts the audio to the mask's length, for all rows alike. */
  paddingMask?: PaddingMask;
}

/** What decoding gives. */
export interface DecodeOutput {
  /** [batch, 1, samples], not clipped. */
  audioValues: Tensor<Float32Array>;
}

/** Bytes that a model holds. */
export interface ModelMemory {
  /** Of the encoder; undefined where it is not loaded. */
  encoder?: ProgramMemory;
  /** Of the decoder; undefined where it is not loaded. */
  decoder?: ProgramMemory;
  /** Of both. */
  total: number;
}

/** One half of a loaded model. */
interface Half {
  network: Network;
  program: Program;
}

/** Recordings of a batch, checked. */
export interface Recordings {
  rows: { audio: Float32Array; frames: number }[];
  /** Of the longest row. */
  frames: number;
  /** [batch, frames]: 1 where a frame holds audio. */
  mask: Tensor<Uint8Array>;
}

/** A codec with its weights. */
export abstract class CodecModel<C extends CodecConfig> {
  /** What the model is made of. */
  readonly config: C;
  /** 16 hexadecimal digits that name what the model's frames mean. */
  readonly fingerprint: string;
  /** How its weights are kept. */
  readonly precision: Precision;
  readonly #backend: { readonly name: string };
  readonly #codec: Codec<C>;
  readonly #sync: boolean;
  readonly #frameSize: number;
  readonly #halves: Partial<Record<Session["part"], Half>> = {};
  #closed = false;

  /** @param codebooks that were loaded, where the codec has any. */
  constructor(codec: Codec<C>, parts: ModelParts<C>, codebooks?: number) {
    const { config, fingerprint, backend, precision, encoder, decoder } = parts;
    this.config = config;
    this.fingerprint = fingerprint;
    this.precision = precision;
    this.#backend = backend;
    this.#codec = codec;
    this.#sync = backend.sync;
    const network = codec.decoder(config, codebooks);
    this.#frameSize = network.frameSize;
    if (encoder) this.#halves.encoder = { network: codec.encoder!(config, codebooks), program: encoder };
    if (decoder) this.#halves.decoder = { network, program: decoder };
  }

  /** Name of the backend that runs it; another one after a failover. */
  get backend(): string {
    return this.#backend.name;
  }

  /** Whether {@link close} was called. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Bytes held now, by half; `state` is what one stream takes. */
  get memory(): ModelMemory {
    const encoder = this.#halves.encoder?.program.memory, decoder = this.#halves.decoder?.program.memory;
    return { encoder, decoder, total: (encoder?.total ?? 0) + (decoder?.total ?? 0) };
  }

  /** Frames that `samples` samples become. @throws {MimiRangeError} unless it is an integer from 0. */
  getEncodedLength(samples: number): number {
    if (!Number.isSafeInteger(samples) || samples < 0) {
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `getEncodedLength: samples must be an integer from 0, got ${describe(samples)}.`,
      );
    }
    return Math.ceil(samples / this.#frameSize);
  }

  /** Gives the memory back. Streams of this model cannot be used any more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#halves.encoder?.program.close();
    this.#halves.decoder?.program.close();
  }

  /** Closes it: `using model = ...`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** @throws {InvalidStateError} on a closed model, or one without that half. */
  protected session(where: string, part: Session["part"]): Session {
    this.checkOpen(where);
    const half = this.#halves[part];
    if (!half) {
      const why = part === "encoder" && !this.#codec.encoder
        ? `${this.#codec.modelType} has none`
        : `load the model with part: "both" or "${part}"`;
      throw new InvalidStateError("ERR_INVALID_STATE", `${where}: the ${part} is not loaded; ${why}.`);
    }
    return {
      part,
      ...half,
      config: this.config,
      tail: this.#codec.tail,
      fingerprint: this.fingerprint,
      checkOpen: (method) => this.checkOpen(method),
    };
  }

  protected checkOpen(where: string): void {
    if (this.#closed) throw new InvalidStateError("ERR_INVALID_STATE", `${where}: the model is closed.`);
  }

  protected needSync(where: string): void {
    if (!this.#sync) {
      throw new NotSupportedError(
        `${where}: this model's backend is not synchronous, as wasm() is; use the handle with promises.`,
      );
    }
  }

  /** Rows of a batch, padded as the tail says. */
  protected recordings(where: string, input: AudioInput, options: EncodeRowsOptions): Recordings {
    const { rows, length } = toRows(where, input, this.config.samplingRate, options.samplingRate);
    const tail = checkTail(where, options.tail, this.#codec.tail);
    const lengths = options.paddingMask === undefined
      ? rows.map(() => length)
      : rowLengths(where, options.paddingMask, rows.length, length);
    const frames = Math.ceil(length / this.#frameSize), mask = new Uint8Array(rows.length * frames);
    return {
      frames,
      mask: { data: mask, shape: [rows.length, frames] },
      rows: rows.map((row, b) => {
        const own = row.subarray(0, lengths[b]), count = Math.ceil(lengths[b] / this.#frameSize);
        mask.fill(1, b * frames, b * frames + count);
        const audio = padded(own, tail === "zeros" ? count * this.#frameSize : lengths[b]);
        // A synchronous backend is through with all rows before the caller goes on; others read them later.
        return { audio: audio === own && !this.#sync ? own.slice() : audio, frames: count };
      }),
    };
  }

  /** Audio of rows of `frames` frames, at most `most` samples of each; `ports` gives a row's frames. */
  protected async decodeRows(
    where: string,
    session: Session,
    batch: number,
    frames: number,
    most: number,
    ports: (row: number) => Omit<Ports, "audio">,
  ): Promise<DecodeOutput> {
    const all = frames * this.#frameSize, samples = Math.min(all, most), values = new Float32Array(batch * samples);
    for (let b = 0; b < batch; b++) {
      const audio = samples === all ? values.subarray(b * all, (b + 1) * all) : new Float32Array(all);
      const running = alone(where, session, { audio: [audio], ...ports(b) }, frames);
      if (running) await running;
      if (samples !== all) values.set(audio.subarray(0, samples), b * samples);
    }
    return { audioValues: { data: values, shape: [batch, 1, samples] } };
  }
}

/** Samples that a mask leaves of decoded audio. */
export function mostSamples(where: string, paddingMask: PaddingMask | undefined): number {
  return paddingMask === undefined ? Infinity : maskLength(where, paddingMask);
}

/** Runs a step on a stream of its own; returns nothing where the backend is synchronous. */
export function alone(where: string, session: Session, ports: Ports, frames: number): void | Promise<void> {
  session.checkOpen(where);
  checkFrames(where, session, 0, frames);
  const { program } = session, state = program.createState();
  const end = () => {
    session.checkOpen(where); // whatever a model says that was closed meanwhile, it fails as closed
    program.freeState(state);
  };
  let running: void | Promise<void>;
  try {
    running = program.step([state], ports, frames);
  } catch (error) {
    end();
    throw error;
  }
  return running ? running.finally(end) : end();
}

/** The samples followed by zeros, `length` in all. */
function padded(samples: Float32Array, length: number): Float32Array {
  if (samples.length === length) return samples;
  const out = new Float32Array(length);
  out.set(samples);
  return out;
}
