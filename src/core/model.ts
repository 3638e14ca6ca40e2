/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The model: whole recordings to codes and back, and the handles of live streams.
 *
 * @module
 */
import { type AudioInput, maskLength, type PaddingMask, rowLengths, toRows } from "./audio.ts";
import type { Ports, Program, ProgramMemory } from "./backend.ts";
import { type AudioCodes, type AudioCodesInput, checkCodebooks, checkNumQuantizers, toAudioCodes } from "./codes.ts";
import type { MimiConfig } from "./config.ts";
import { checkOptions, describe, InvalidStateError, MimiRangeError, NotSupportedError } from "./errors.ts";
import { decoderNetwork, encoderNetwork } from "./mimi.ts";
import type { Network } from "./network.ts";
import {
  checkFrames,
  checkTail,
  DecoderSession,
  EncoderSession,
  MimiDecoder,
  MimiDecoderSync,
  MimiEncoder,
  type MimiEncoderOptions,
  MimiEncoderSync,
  type Session,
  type Tail,
} from "./handles.ts";
import { MimiPool, type PoolOptions } from "./pool.ts";
import type { Tensor } from "./tensor.ts";

/** One half of a loaded model. */
export interface Half {
  network: Network;
  program: Program;
}

/** What a model is made of; see `fromPretrained` for the usual way to get one. */
export interface MimiModelParts {
  config: MimiConfig;
  fingerprint: string;
  /** Codebooks that were loaded. */
  numQuantizers: number;
  backend: { name: string; sync: boolean };
  encoder?: Program;
  decoder?: Program;
}

export interface EncodeOptions {
  /** Which samples are audio. With it each row is coded as if it were alone; only right padding is possible. */
  paddingMask?: PaddingMask;
  /** Codebooks to use, from `numSemanticQuantizers` to the loaded ones (default). 8 of Mimi are 1.1 kbps. */
  numQuantizers?: number;
  /** Hz of the audio, to have it checked. */
  samplingRate?: number;
  tail?: Tail;
}

export interface EncodeOutput {
  /** [batch, codebooks, frames]; 0 past the end of a masked row. */
  audioCodes: AudioCodes;
  /** [batch, frames]: 1 where a frame holds audio, 0 past the end of a masked row. */
  audioCodesMask: Tensor<Uint8Array>;
}

export interface DecodeOptions {
  /** Cuts the audio to the mask's length, for all rows alike. */
  paddingMask?: PaddingMask;
}

export interface DecodeOutput {
  /** [batch, 1, samples], not clipped. */
  audioValues: Tensor<Float32Array>;
}

export interface ForwardOptions extends EncodeOptions {
  /** Codes to decode in place of encoding the input. */
  audioCodes?: AudioCodesInput;
}

/** Bytes that a model holds. */
export interface ModelMemory {
  encoder?: ProgramMemory;
  decoder?: ProgramMemory;
  total: number;
}

/** Mimi with its weights. */
export class MimiModel {
  readonly config: MimiConfig;
  /** First 8 bytes, in hexadecimal, of the SHA-256 over codebook 0's `embed_sum` and `cluster_usage`: names the codes' meaning. */
  readonly fingerprint: string;
  /** Codebooks that were loaded: what `encode` uses and `decode` accepts at most. */
  readonly numQuantizers: number;
  /** Name of the backend that runs it. */
  readonly backend: string;
  readonly #sync: boolean;
  readonly #encoder?: Half;
  readonly #decoder?: Half;
  #closed = false;

  constructor(parts: MimiModelParts) {
    this.config = parts.config;
    this.fingerprint = parts.fingerprint;
    this.numQuantizers = parts.numQuantizers;
    this.backend = parts.backend.name;
    this.#sync = parts.backend.sync;
    const { config, numQuantizers, encoder, decoder } = parts;
    if (encoder) this.#encoder = { network: encoderNetwork(config, numQuantizers), program: encoder };
    if (decoder) this.#decoder = { network: decoderNetwork(config, numQuantizers), program: decoder };
  }

  /** Bytes held now, by half; `state` is what one stream takes. */
  get memory(): ModelMemory {
    const encoder = this.#encoder?.program.memory, decoder = this.#decoder?.program.memory;
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
    return Math.ceil(samples / this.config.frameSize);
  }

  /**
   * Audio to codes.
   *
   * @param input mono audio at `config.samplingRate`: [samples], [batch, 1, samples] or an AudioBuffer.
   * @throws {MimiTypeError | MimiRangeError} for audio, a mask or an option that is not usable.
   * @throws {InvalidStateError} on a closed model, or one without its encoder.
   */
  async encode(input: AudioInput, options: EncodeOptions = {}): Promise<EncodeOutput> {
    return await this.#encode("encode", input, options);
  }

  async #encode(where: string, input: AudioInput, options: EncodeOptions): Promise<EncodeOutput> {
    checkOptions(where, options, ["paddingMask", "numQuantizers", "samplingRate", "tail"]);
    const { config } = this, { frameSize } = config, session = this.#session(where, "encoder");
    const { rows, length } = toRows(where, input, config.samplingRate, options.samplingRate);
    const codebooks = checkNumQuantizers(where, options.numQuantizers, config, this.numQuantizers),
      tail = checkTail(where, options.tail);
    const lengths = options.paddingMask === undefined
      ? rows.map(() => length)
      : rowLengths(where, options.paddingMask, rows.length, length);
    const frames = Math.ceil(length / frameSize);
    const audioCodes: AudioCodes = {
      data: new Uint16Array(rows.length * codebooks * frames),
      shape: [rows.length, codebooks, frames],
    };
    const mask = new Uint8Array(rows.length * frames);
    // A synchronous backend is through with all rows before the caller goes on; others read them later.
    const own = this.#sync ? rows : rows.map((row, b) => row.slice(0, lengths[b]));
    for (let b = 0; b < rows.length; b++) {
      const count = Math.ceil(lengths[b] / frameSize), codes = new Uint16Array(codebooks * count);
      const audio = padded(own[b].subarray(0, lengths[b]), tail === "zeros" ? count * frameSize : lengths[b]);
      const running = alone(where, session, { audio: [audio], codes: [codes], codebooks }, count);
      if (running) await running;
      for (let k = 0; k < codebooks; k++) {
        audioCodes.data.set(codes.subarray(k * count, (k + 1) * count), (b * codebooks + k) * frames);
      }
      mask.fill(1, b * frames, b * frames + count);
    }
    return { audioCodes, audioCodesMask: { data: mask, shape: [rows.length, frames] } };
  }

  /**
   * Codes to audio, `frameSize` samples a frame.
   *
   * @throws {MimiTypeError | MimiRangeError} for codes that no codebook has, or more codebooks than were loaded.
   * @throws {InvalidStateError} on a closed model, or one without its decoder.
   */
  async decode(audioCodes: AudioCodesInput, options: DecodeOptions = {}): Promise<DecodeOutput> {
    const where = "decode";
    checkOptions(where, options, ["paddingMask"]);
    const codes = toAudioCodes(where, audioCodes, this.config.codebookSize);
    return await this.#decode(
      where,
      codes,
      options.paddingMask === undefined ? Infinity : maskLength(where, options.paddingMask),
    );
  }

  /** Audio of checked codes, at most `most` samples of each row. */
  async #decode(where: string, { data, shape }: AudioCodes, most: number): Promise<DecodeOutput> {
    const { config } = this, session = this.#session(where, "decoder"), [batch, codebooks, frames] = shape;
    checkCodebooks(where, codebooks, this.numQuantizers, config);
    if (batch === 0 || frames === 0) {
      throw new MimiRangeError(
        "ERR_EMPTY_INPUT",
        `${where}: audioCodes hold no frames (shape ${JSON.stringify(shape)}).`,
      );
    }
    const all = frames * config.frameSize, samples = Math.min(all, most);
    const values = new Float32Array(batch * samples);
    for (let b = 0; b < batch; b++) {
      const audio = samples === all ? values.subarray(b * all, (b + 1) * all) : new Float32Array(all);
      const codes = data.subarray(b * codebooks * frames, (b + 1) * codebooks * frames);
      const running = alone(where, session, { audio: [audio], codes: [codes], codebooks }, frames);
      if (running) await running;
      if (samples !== all) values.set(audio.subarray(0, samples), b * samples);
    }
    return { audioValues: { data: values, shape: [batch, 1, samples] } };
  }

  /**
   * Encodes and decodes: audio as long as the input. With `audioCodes` only decodes.
   *
   * @throws as {@link encode} and {@link decode} do; with `audioCodes` a `numQuantizers` must be their codebooks.
   */
  async forward(input: AudioInput, options: ForwardOptions = {}): Promise<{ audioCodes: AudioCodes } & DecodeOutput> {
    const where = "forward";
    checkOptions(where, options, ["paddingMask", "numQuantizers", "samplingRate", "tail", "audioCodes"]);
    const { audioCodes: given, ...encodeOptions } = options;
    const { length } = toRows(where, input, this.config.samplingRate, options.samplingRate);
    this.#half(where, "decoder");
    const { paddingMask, numQuantizers } = options;
    const samples = paddingMask === undefined ? length : maskLength(where, paddingMask);
    if (given === undefined) {
      const { audioCodes } = await this.#encode(where, input, encodeOptions);
      return { audioCodes, ...await this.#decode(where, audioCodes, samples) };
    }
    checkTail(where, options.tail);
    const audioCodes = toAudioCodes(where, given, this.config.codebookSize), codebooks = audioCodes.shape[1];
    if (numQuantizers !== undefined && numQuantizers !== codebooks) {
      throw new MimiRangeError(
        "ERR_NUM_QUANTIZERS",
        `${where}: numQuantizers is ${describe(numQuantizers)}, the given audioCodes have ${codebooks} codebooks.`,
      );
    }
    return { audioCodes, ...await this.#decode(where, audioCodes, samples) };
  }

  /** A stream of audio to codes. Calls run in the order in which they were made, also when not awaited. */
  createEncoder(options: MimiEncoderOptions = {}): MimiEncoder {
    const where = "createEncoder";
    return new MimiEncoder(new EncoderSession(where, this.#session(where, "encoder"), options));
  }

  /** A stream of codes to audio. There are no options yet. */
  createDecoder(options: Record<string, never> = {}): MimiDecoder {
    const where = "createDecoder";
    return new MimiDecoder(new DecoderSession(where, this.#session(where, "decoder"), options));
  }

  /** As {@link createEncoder}, without promises. @throws {NotSupportedError} unless the backend is synchronous. */
  createEncoderSync(options: MimiEncoderOptions = {}): MimiEncoderSync {
    const where = "createEncoderSync";
    this.#needSync(where);
    return new MimiEncoderSync(new EncoderSession(where, this.#session(where, "encoder"), options));
  }

  /** As {@link createDecoder}, without promises. @throws {NotSupportedError} unless the backend is synchronous. */
  createDecoderSync(options: Record<string, never> = {}): MimiDecoderSync {
    const where = "createDecoderSync";
    this.#needSync(where);
    return new MimiDecoderSync(new DecoderSession(where, this.#session(where, "decoder"), options));
  }

  /**
   * Encoders and decoders that share their steps: for servers with many live streams.
   *
   * @throws {MimiTypeError | MimiRangeError} unless `maxStreams` is an integer from 1.
   */
  createPool(options: PoolOptions): MimiPool {
    this.#checkOpen("createPool");
    return new MimiPool(options, (where, part) => this.#session(where, part));
  }

  /** Gives the memory back. Streams of this model cannot be used any more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#encoder?.program.close();
    this.#decoder?.program.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #session(where: string, part: "encoder" | "decoder"): Session {
    const { network, program } = this.#half(where, part);
    return {
      part,
      network,
      program,
      config: this.config,
      fingerprint: this.fingerprint,
      numQuantizers: this.numQuantizers,
      checkOpen: (method) => this.#checkOpen(method),
    };
  }

  #checkOpen(where: string): void {
    if (this.#closed) throw new InvalidStateError("ERR_INVALID_STATE", `${where}: the model is closed.`);
  }

  #half(where: string, part: "encoder" | "decoder"): Half {
    this.#checkOpen(where);
    const half = part === "encoder" ? this.#encoder : this.#decoder;
    if (!half) {
      throw new InvalidStateError(
        "ERR_INVALID_STATE",
        `${where}: the ${part} is not loaded; load the model with part: "both" or "${part}".`,
      );
    }
    return half;
  }

  #needSync(where: string): void {
    if (!this.#sync) {
      throw new NotSupportedError(
        `${where}: the ${this.backend} backend is not synchronous; use the handle with promises.`,
      );
    }
  }
}

/** Runs a step on a stream of its own; returns nothing where the backend is synchronous. */
function alone(where: string, session: Session, ports: Ports, frames: number): void | Promise<void> {
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
