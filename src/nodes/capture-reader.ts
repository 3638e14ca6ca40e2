/**
 * The other end of a capture: its messages as samples and the settings of the frames in them, with promises or without.
 *
 * @module
 */
import type { RingBuffer } from "ringbuf.js";
import { andThen, type Maybe } from "../core/maybe.ts";
import type { FrameSettings } from "./frames.ts";
import type { FromCapture } from "./messages.ts";

/** Where it all goes. */
export interface CaptureHandlers {
  /** A new stretch begins with sample `at` of the context. */
  start(at: number): Maybe<void>;
  /** More of the stretch, with the settings of the frames that begin in it. */
  audio(samples: Float32Array, settings: FrameSettings[]): Maybe<void>;
  /** So many samples were handled in all. */
  read(samples: number): void;
}

export class CaptureReader {
  readonly stats: { nonFiniteSamples: number; lostSamples: number } = { nonFiniteSamples: 0, lostSamples: 0 };
  readonly #ring: RingBuffer | undefined;
  readonly #handlers: CaptureHandlers;
  /** Samples that were read, of this stretch and in all. */
  #read = 0;
  #total = 0;

  /** @param ring where it is shared; otherwise samples come with the messages. */
  constructor(ring: RingBuffer | undefined, handlers: CaptureHandlers) {
    this.#ring = ring;
    this.#handlers = handlers;
  }

  /** To be called for one message after the other. */
  take(message: FromCapture): Maybe<void> {
    if (message.type === "lost") return void (this.stats.lostSamples += message.samples);
    if (message.type === "start") {
      this.#ring?.pop(new Float32Array(message.skip), message.skip);
      this.#total += message.skip;
      this.#read = 0;
      return this.#handlers.start(message.at);
    }
    const { written, quantizers, losses, nonFinite } = message;
    let { samples } = message;
    if (!samples) {
      samples = new Float32Array(written - this.#read);
      this.#ring!.pop(samples, samples.length);
    }
    this.#read += samples.length;
    this.#total += samples.length;
    this.stats.nonFiniteSamples += nonFinite;
    const settings = quantizers.map((quantizers, i) => ({ quantizers, loss: losses?.[i] ?? 0 }));
    return andThen(this.#handlers.audio(samples, settings), () => this.#handlers.read(this.#total));
  }
}
