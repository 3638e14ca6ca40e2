/**
 * Audio of a context to frames of codes, and frames of codes to audio of a context: synchronous exactly when the model's
 * handles are, so that offline contexts and the worker run the same code.
 *
 * @module
 */
import type { AudioCodes, AudioCodesInput } from "../core/codes.ts";
import type { MimiConfig } from "../core/config.ts";
import type { DecodeOutput } from "../core/codec-model.ts";
import { levelOf } from "../core/level.ts";
import { andThen, type Maybe } from "../core/maybe.ts";
import { Resampler } from "../core/resample.ts";
import { type Concealer, RepeatConcealer } from "./conceal.ts";

/** What is needed of an encoder and a decoder, with promises or without. */
export interface EncoderHandle {
  encode(pcm: Float32Array, options: { numQuantizers: number }): Maybe<AudioCodes>;
  reset(): Maybe<void>;
  close(): void;
}

export interface DecoderHandle {
  decode(codes: AudioCodesInput): Maybe<DecodeOutput>;
  reset(): Maybe<void>;
  close(): void;
}

/** What is needed of a model. */
export interface FrameModel {
  readonly config: MimiConfig;
  readonly numQuantizers: number;
}

/** How a frame is to be coded. */
export interface FrameSettings {
  /** Codebooks as a parameter has them: rounded here, and held within what the model has. */
  quantizers: number;
  /** Probability that it is lost. */
  loss: number;
}

/** Takes a frame's codes, the settings that it was coded with, and its loudness in dB of full scale. */
export type FrameSink = (codes: Uint16Array, settings: FrameSettings, level: number) => Maybe<void>;

/** Audio in pieces of any length to frames. */
export class FrameEncoder {
  readonly #model: FrameModel;
  readonly #encoder: EncoderHandle;
  readonly #resampler: Resampler;
  readonly #emit: FrameSink;
  /** Samples of the next frame that are encoded, the sum of their squares, and the settings of it and those after it. */
  #filled = 0;
  #energy = 0;
  #settings: FrameSettings[] = [];

  constructor(
    model: FrameModel,
    encoder: EncoderHandle,
    sampleRate: number,
    emit: FrameSink,
  ) {
    this.#model = model;
    this.#encoder = encoder;
    this.#resampler = new Resampler({ from: sampleRate, to: model.config.samplingRate });
    this.#emit = emit;
  }

  /** A new stream begins. */
  reset(): Maybe<void> {
    this.#filled = this.#energy = 0;
    this.#settings = [];
    this.#resampler.reset();
    return this.#encoder.reset();
  }

  /** @param settings of the frames that begin in these samples, or a little later. */
  process(samples: Float32Array, settings: readonly FrameSettings[]): Maybe<void> {
    this.#settings.push(...settings);
    return this.#encode(this.#resampler.process(samples));
  }

  /** No more than a frame at a time, as each has its own number of codebooks. */
  #encode(audio: Float32Array): Maybe<void> {
    if (audio.length === 0) return;
    const { config: { frameSize, numSemanticQuantizers }, numQuantizers: most } = this.#model;
    const piece = audio.subarray(0, frameSize - this.#filled), rest = audio.subarray(piece.length);
    const asked = Math.round(this.#settings[0].quantizers);
    const numQuantizers = Math.min(most, Math.max(numSemanticQuantizers, asked));
    return andThen(this.#encoder.encode(piece, { numQuantizers }), ({ data }) => {
      this.#filled = (this.#filled + piece.length) % frameSize;
      for (const v of piece) this.#energy += v * v;
      return andThen(data.length > 0 ? this.#whole(data) : undefined, () => this.#encode(rest));
    });
  }

  #whole(codes: Uint16Array): Maybe<void> {
    const level = levelOf(this.#energy / this.#model.config.frameSize);
    this.#energy = 0;
    return this.#emit(codes, this.#settings.shift()!, level);
  }
}

/** Seconds over which sound comes back after a loss. */
const RETURN = 0.005;

/** Frames, some of them lost, to audio without gaps. */
export class FrameDecoder {
  readonly #decoder: DecoderHandle;
  readonly #resampler: Resampler;
  readonly #concealer: Concealer;
  readonly #frameSize: number;
  readonly #rise: number;
  #level = 1;

  constructor(
    { config }: FrameModel,
    decoder: DecoderHandle,
    sampleRate: number,
    concealer: Concealer = new RepeatConcealer(),
  ) {
    this.#decoder = decoder;
    this.#resampler = new Resampler({ from: config.samplingRate, to: sampleRate });
    this.#concealer = concealer;
    this.#frameSize = config.frameSize;
    this.#rise = Math.round(RETURN * config.samplingRate);
  }

  reset(): Maybe<void> {
    this.#resampler.reset();
    this.#concealer.reset();
    this.#level = 1;
    return this.#decoder.reset();
  }

  /** Samples of the context that a frame becomes, as far as the resampler is; none of `codes` where it was lost. */
  process(codes: Uint16Array | undefined): Maybe<Float32Array> {
    const { codes: given, level } = this.#concealer.next(codes);
    const audio = given
      ? andThen(
        this.#decoder.decode({ data: given, shape: [1, given.length, 1] }),
        ({ audioValues }) => audioValues.data,
      )
      : new Float32Array(this.#frameSize);
    return andThen(audio, (audio) => {
      this.#shape(audio, codes ? this.#rise : audio.length, level);
      return this.#resampler.process(audio);
    });
  }

  /** Goes from the level of the frame before to this one's, over `length` samples. */
  #shape(audio: Float32Array, length: number, level: number): void {
    const from = this.#level;
    this.#level = level;
    if (from === 1 && level === 1) return;
    for (let i = 0; i < audio.length; i++) audio[i] *= from + (level - from) * Math.min(1, (i + 1) / length);
  }
}

/** Audio through codes and back. */
export class FrameCodec {
  readonly #encoder: FrameEncoder;
  readonly #decoder: FrameDecoder;
  /** Frames that went through, and those of them that were lost. */
  frames = 0;
  lost = 0;

  /**
   * @param seed of the frames that are lost.
   * @param emit takes the samples of the context that a frame becomes.
   */
  constructor(
    model: FrameModel,
    encoder: EncoderHandle,
    decoder: DecoderHandle,
    sampleRate: number,
    seed: number,
    emit: (samples: Float32Array) => void,
  ) {
    this.#decoder = new FrameDecoder(model, decoder, sampleRate);
    this.#encoder = new FrameEncoder(model, encoder, sampleRate, (codes, { loss }) => {
      const lost = chance(seed, this.frames++) < loss;
      if (lost) this.lost++;
      return andThen(this.#decoder.process(lost ? undefined : codes), emit);
    });
  }

  reset(): Maybe<void> {
    return andThen(this.#encoder.reset(), () => this.#decoder.reset());
  }

  process(samples: Float32Array, settings: readonly FrameSettings[]): Maybe<void> {
    return this.#encoder.process(samples, settings);
  }
}

/** A number in [0, 1) for each frame of a seed: two rounds of the finaliser of MurmurHash3. */
export function chance(seed: number, frame: number): number {
  return mix(mix(seed) + frame) / 2 ** 32;
}

function mix(h: number): number {
  h = Math.imul(h ^ h >>> 16, 0x85ebca6b);
  h = Math.imul(h ^ h >>> 13, 0xc2b2ae35);
  return (h ^ h >>> 16) >>> 0;
}
