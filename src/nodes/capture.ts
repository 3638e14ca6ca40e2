/**
 * What an encoder node takes from the audio that passes through it: mono samples on their way to the worker, cut into
 * stretches without gaps.
 *
 * @module
 */
import { LOUDEST } from "../core/audio.ts";
import { downmixShares, mixSample } from "../core/downmix.ts";
import type { FromCapture } from "./messages.ts";

/** Where samples go. Met by ringbuf.js. */
export interface SampleSink {
  push(samples: Float32Array, length: number): number;
  pop(into: Float32Array, length: number): number;
}

export interface CaptureOptions {
  ring: SampleSink;
  /** Whether the task reads the ring itself; otherwise its samples are sent. */
  shared: boolean;
  /** Samples that may be under way before the task has read them. */
  capacity: number;
  /** Samples of the context that a frame is long, whole or not. */
  frame: number;
  /** Samples after a frame that the task needs to finish it: the delay of its resampler. */
  lookahead: number;
  post(message: FromCapture, transfer?: Transferable[]): void;
}

export class Capture {
  readonly #options: CaptureOptions;
  #listening = false;
  /** Whether a stretch is under way. */
  #running = false;
  /** Samples of the stretch that were written, and that the task has read of all stretches. */
  #written = 0;
  #total = 0;
  #read = 0;
  #sent = 0;
  #lost = 0;
  #nonFinite = 0;
  /** Frames of the stretch that have begun, and that the task was told of as whole. */
  #begun = 0;
  #whole = 0;
  #quantizers: number[] = [];
  #losses: number[] | undefined;
  #mix: Float32Array = new Float32Array(128);

  constructor(options: CaptureOptions) {
    this.#options = options;
  }

  /** Whether anyone wants frames. */
  listen(on: boolean): void {
    this.#listening = on;
    if (!on) this.#running = false;
  }

  /** The task has read so many samples since it is there. */
  read(samples: number): void {
    this.#read = samples;
  }

  /**
   * Takes `length` samples of the channels of an input; no channels are silence.
   *
   * @param at their first sample, as the context counts.
   * @param quantizers codebooks for the frames that begin with them.
   * @param loss probability that these frames are lost, of a node that loses some.
   */
  take(channels: readonly Float32Array[], length: number, at: number, quantizers: number, loss?: number): void {
    if (!this.#listening) return;
    const { ring, shared, capacity, frame, lookahead, post } = this.#options;
    const room = capacity - (this.#total - this.#read);
    if (!this.#running) {
      // After a loss the task gets time to catch up.
      if (this.#lost > 0 && room < capacity / 2) return void (this.#lost += length);
      if (this.#lost > 0) post({ type: "lost", samples: this.#lost });
      // What the task was not told of is of the stretch before.
      const skip = this.#written - this.#sent;
      if (!shared) {
        ring.pop(new Float32Array(skip), skip);
        this.#total -= skip;
      }
      post({ type: "start", at, skip: shared ? skip : 0 });
      this.#running = true;
      this.#written = this.#sent = this.#lost = 0;
      this.#begun = this.#whole = 0;
      this.#quantizers = [];
      this.#losses = loss === undefined ? undefined : [];
    }
    if (room < length) {
      this.#running = false;
      this.#lost = length;
      return;
    }
    ring.push(this.#mixed(channels, length), length);
    this.#written += length;
    this.#total += length;
    while (this.#begun * frame < this.#written) {
      this.#quantizers.push(quantizers);
      this.#losses?.push(loss!);
      this.#begun++;
    }
    if (this.#written < (this.#whole + 1) * frame + lookahead) return;
    while (this.#written >= (this.#whole + 1) * frame + lookahead) this.#whole++;
    const told = {
      type: "audio" as const,
      written: this.#written,
      quantizers: this.#quantizers,
      nonFinite: this.#nonFinite,
      ...(this.#losses && { losses: this.#losses }),
    };
    this.#quantizers = [];
    if (this.#losses) this.#losses = [];
    this.#nonFinite = 0;
    if (shared) post(told);
    else {
      const samples = new Float32Array(this.#written - this.#sent);
      ring.pop(samples, samples.length);
      post({ ...told, samples }, [samples.buffer]);
    }
    this.#sent = this.#written;
  }

  #mixed(channels: readonly Float32Array[], length: number): Float32Array {
    if (this.#mix.length < length) this.#mix = new Float32Array(length);
    const mix = this.#mix, shares = downmixShares(channels.length);
    for (let i = 0; i < length; i++) {
      let sum = channels.length > 0 ? mixSample(channels, shares, i) : 0;
      if (!(Math.abs(sum) <= LOUDEST)) { // NaN is not, either
        sum = 0;
        this.#nonFinite++;
      }
      mix[i] = sum;
    }
    return mix;
  }
}
