/**
 * Streams of codecs whose frames are latents; see handles.ts.
 *
 * @module
 */
import type { DecodeOutput } from "./codec-model.ts";
import { checkOptions } from "./errors.ts";
import {
  checkOneRow,
  DecoderSession,
  EncoderSession,
  type FramesOut,
  Handle,
  type Session,
  type Tail,
} from "./handles.ts";
import { type Latents, toLatents } from "./latents.ts";
import type { Maybe } from "./maybe.ts";
import { latentChannels } from "./network.ts";

/** How a stream is encoded. */
export interface LatentEncoderOptions {
  /** What becomes of a last frame that is not full; default as the codec's own code does. */
  tail?: Tail;
}

/** {@link EncoderSession} to latents. */
export class LatentEncoderSession extends EncoderSession<Session, Latents, void> {
  constructor(where: string, session: Session, options: LatentEncoderOptions) {
    checkOptions(where, options, ["tail"]);
    super(where, session, options.tail);
  }

  protected room(frames: number): FramesOut<Latents> {
    const channels = latentChannels(this.session.network)!, data = new Float32Array(frames * channels);
    return {
      ports: { codes: [], codebooks: 0, latents: [data] },
      value: { data, shape: [1, frames, channels] },
    };
  }
}

/** {@link DecoderSession} of latents. */
export class LatentDecoderSession extends DecoderSession<Session> {
  /** An own copy of one row's latents; separate from the step so that a caller's array is read when the call is made. */
  check(input: unknown): Latents {
    const where = this.checkOpen("decode");
    const { data, shape } = toLatents(where, input, latentChannels(this.session.network)!);
    checkOneRow(where, shape[0]);
    return { data: data.slice(), shape };
  }

  decode({ data, shape: [, frames] }: Latents): Maybe<DecodeOutput> {
    return this.decodeFrames({ codes: [], codebooks: 0, latents: [data] }, frames);
  }
}

/** Audio to latents, piece by piece. Made by {@link LatentModel.createEncoder}. */
export class LatentEncoder extends Handle<LatentEncoderSession> {
  /**
   * Latents [1, n, channels] of the frames that became whole with these samples; n may be 0.
   *
   * @param pcm mono samples at the model's rate, any number of them. The array stays the caller's.
   * @throws {MimiTypeError | MimiRangeError} for what are no finite samples; the stream stays as it was.
   * @throws {InvalidStateError} on a closed handle or model, and at the end of what a stream can last: 2^24 positions of
   *   attention. The stream stays as it was; `reset()` begins a new one.
   */
  async encode(pcm: Float32Array): Promise<Latents> {
    const own = pcm instanceof Float32Array ? pcm.slice() : pcm;
    return await this.run(() => this.session.encode(own));
  }

  /** Latents [1, 0 or 1, channels] of the last frame if it was not full; then a new stream begins. */
  async finish(): Promise<Latents> {
    return await this.run(() => this.session.finish());
  }
}

/** Latents to audio, frame by frame. Made by {@link LatentModel.createDecoder}. */
export class LatentDecoder extends Handle<LatentDecoderSession> {
  /**
   * Audio [1, 1, frames * frameSize] of latents [1, frames, channels] or [frames, channels].
   *
   * @throws {MimiTypeError | MimiRangeError} for what are no finite latents of this codec; the stream stays as it was.
   * @throws {InvalidStateError} as {@link LatentEncoder.encode} does.
   */
  async decode(latents: Latents): Promise<DecodeOutput> {
    const own = this.session.check(latents);
    return await this.run(() => this.session.decode(own));
  }

  /** Nothing is held back, so the audio is empty; a new stream begins. */
  finish(): Promise<DecodeOutput> {
    return this.run(() => this.session.finish());
  }
}
