/**
 * Mimi with its weights: whole recordings to codes and back, and the handles of live streams.
 *
 * @module
 */
import { type AudioInput, toRows } from "./audio.ts";
import {
  alone,
  CodecModel,
  type DecodeOptions,
  type DecodeOutput,
  type EncodeRowsOptions,
  type ModelParts,
  mostSamples,
} from "./codec-model.ts";
import { type AudioCodes, type AudioCodesInput, checkCodebooks, checkNumQuantizers, toAudioCodes } from "./codes.ts";
import type { MimiConfig } from "./config.ts";
import { checkOptions, describe, MimiRangeError } from "./errors.ts";
import {
  checkTail,
  CodesDecoderSession,
  CodesEncoderSession,
  type CodesSession,
  MimiDecoder,
  MimiDecoderSync,
  MimiEncoder,
  type MimiEncoderOptions,
  MimiEncoderSync,
} from "./handles.ts";
import { mimi } from "./mimi.ts";
import { MimiPool, type PoolOptions } from "./pool.ts";
import type { Tensor } from "./tensor.ts";

/** What a model is made of; see `fromPretrained` for the usual way to get one. */
export interface MimiModelParts extends ModelParts<MimiConfig> {
  /** Codebooks that were loaded. */
  numQuantizers: number;
}

/** How recordings become codes. */
export interface EncodeOptions extends EncodeRowsOptions {
  /** Codebooks to use, from `numSemanticQuantizers` to the loaded ones (default). 8 of Mimi are 1.1 kbps. */
  numQuantizers?: number;
}

/** What encoding to codes gives. */
export interface EncodeOutput {
  /** [batch, codebooks, frames]; 0 past the end of a masked row. */
  audioCodes: AudioCodes;
  /** 1 where a frame holds audio, 0 past the end of a masked row: [batch, frames]. */
  audioCodesMask: Tensor<Uint8Array>;
}

/** How `forward` encodes and decodes. */
export interface ForwardOptions extends EncodeOptions {
  /** Codes to decode in place of encoding the input. */
  audioCodes?: AudioCodesInput;
}

/** What `forward` gives. */
export interface ForwardOutput extends DecodeOutput {
  /** Those that were decoded, [batch, codebooks, frames]. */
  audioCodes: AudioCodes;
}

/** Mimi with its weights. */
export class MimiModel extends CodecModel<MimiConfig> {
  /** First 8 bytes, in hexadecimal, of the SHA-256 over codebook 0's `embed_sum` and `cluster_usage`: names the codes' meaning. */
  declare readonly fingerprint: string;
  /** Codebooks that were loaded: what `encode` uses and `decode` accepts at most. */
  readonly numQuantizers: number;

  constructor(parts: MimiModelParts) {
    super(mimi, parts, parts.numQuantizers);
    this.numQuantizers = parts.numQuantizers;
  }

  /**
   * Audio to codes.
   *
   * @param input mono audio at `config.samplingRate`: [samples], [batch, 1, samples] or an AudioBuffer.
   * @throws {MimiTypeError | MimiRangeError} for audio, a mask or an option that is not usable.
   * @throws {InvalidStateError} on a closed model, or one without its encoder.
   * @throws {EngineError} `ERR_BACKEND` where the backend fails, `ERR_WORKER` where the model's worker does.
   * @throws {DeviceLostError} where the backend's device is lost and the model was loaded without `failover`.
   */
  async encode(input: AudioInput, options: EncodeOptions = {}): Promise<EncodeOutput> {
    return await this.#encode("encode", input, options);
  }

  async #encode(where: string, input: AudioInput, options: EncodeOptions): Promise<EncodeOutput> {
    checkOptions(where, options, ["paddingMask", "numQuantizers", "samplingRate", "tail"]);
    const session = this.#codes(where, "encoder"), { rows, frames, mask } = this.recordings(where, input, options);
    const codebooks = checkNumQuantizers(where, options.numQuantizers, this.config, this.numQuantizers);
    const audioCodes: AudioCodes = {
      data: new Uint16Array(rows.length * codebooks * frames),
      shape: [rows.length, codebooks, frames],
    };
    for (let b = 0; b < rows.length; b++) {
      const { audio, frames: count } = rows[b], codes = new Uint16Array(codebooks * count);
      const running = alone(where, session, { audio: [audio], codes: [codes], codebooks }, count);
      if (running) await running;
      for (let k = 0; k < codebooks; k++) {
        audioCodes.data.set(codes.subarray(k * count, (k + 1) * count), (b * codebooks + k) * frames);
      }
    }
    return { audioCodes, audioCodesMask: mask };
  }

  /**
   * Codes to audio, `frameSize` samples a frame.
   *
   * @throws {MimiTypeError | MimiRangeError} for codes that no codebook has, or more codebooks than were loaded.
   * @throws {InvalidStateError} on a closed model, or one without its decoder.
   * @throws {EngineError} `ERR_BACKEND` where the backend fails, `ERR_WORKER` where the model's worker does.
   * @throws {DeviceLostError} where the backend's device is lost and the model was loaded without `failover`.
   */
  async decode(audioCodes: AudioCodesInput, options: DecodeOptions = {}): Promise<DecodeOutput> {
    const where = "decode";
    checkOptions(where, options, ["paddingMask"]);
    const codes = toAudioCodes(where, audioCodes, this.config.codebookSize);
    return await this.#decode(where, codes, mostSamples(where, options.paddingMask));
  }

  /** Audio of checked codes, at most `most` samples of each row. */
  async #decode(where: string, { data, shape }: AudioCodes, most: number): Promise<DecodeOutput> {
    const session = this.#codes(where, "decoder"), [batch, codebooks, frames] = shape;
    checkCodebooks(where, codebooks, this.numQuantizers, this.config);
    if (batch === 0 || frames === 0) {
      throw new MimiRangeError(
        "ERR_EMPTY_INPUT",
        `${where}: audioCodes hold no frames (shape ${JSON.stringify(shape)}).`,
      );
    }
    return await this.decodeRows(where, session, batch, frames, most, (b) => ({
      codes: [data.subarray(b * codebooks * frames, (b + 1) * codebooks * frames)],
      codebooks,
    }));
  }

  /**
   * Encodes and decodes: audio as long as the input. With `audioCodes` only decodes.
   *
   * @throws as {@link encode} and {@link decode} do; with `audioCodes` a `numQuantizers` must be their codebooks.
   */
  async forward(input: AudioInput, options: ForwardOptions = {}): Promise<ForwardOutput> {
    const where = "forward";
    checkOptions(where, options, ["paddingMask", "numQuantizers", "samplingRate", "tail", "audioCodes"]);
    const { audioCodes: given, ...encodeOptions } = options;
    const { length } = toRows(where, input, this.config.samplingRate, options.samplingRate);
    this.#codes(where, "decoder");
    const { paddingMask, numQuantizers } = options;
    const samples = paddingMask === undefined ? length : mostSamples(where, paddingMask);
    if (given === undefined) {
      const { audioCodes } = await this.#encode(where, input, encodeOptions);
      return { audioCodes, ...await this.#decode(where, audioCodes, samples) };
    }
    checkTail(where, options.tail, mimi.tail);
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
    return new MimiEncoder(new CodesEncoderSession(where, this.#codes(where, "encoder"), options));
  }

  /** A stream of codes to audio. There are no options yet. */
  createDecoder(options: Record<string, never> = {}): MimiDecoder {
    const where = "createDecoder";
    return new MimiDecoder(new CodesDecoderSession(where, this.#codes(where, "decoder"), options));
  }

  /** As {@link createEncoder}, without promises. @throws {NotSupportedError} unless the backend is synchronous. */
  createEncoderSync(options: MimiEncoderOptions = {}): MimiEncoderSync {
    const where = "createEncoderSync";
    this.needSync(where);
    return new MimiEncoderSync(new CodesEncoderSession(where, this.#codes(where, "encoder"), options));
  }

  /** As {@link createDecoder}, without promises. @throws {NotSupportedError} unless the backend is synchronous. */
  createDecoderSync(options: Record<string, never> = {}): MimiDecoderSync {
    const where = "createDecoderSync";
    this.needSync(where);
    return new MimiDecoderSync(new CodesDecoderSession(where, this.#codes(where, "decoder"), options));
  }

  /**
   * Encoders and decoders that share their steps: for servers with many live streams.
   *
   * @throws {MimiTypeError | MimiRangeError} unless `maxStreams` is an integer from 1.
   */
  createPool(options: PoolOptions): MimiPool {
    this.checkOpen("createPool");
    return new MimiPool(options, (where, part) => this.#codes(where, part));
  }

  #codes(where: string, part: CodesSession["part"]): CodesSession {
    return { ...this.session(where, part), config: this.config, numQuantizers: this.numQuantizers };
  }
}
