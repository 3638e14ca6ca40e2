/**
 * The decoder along the frames of a stream: it runs on predicted codes where there are none, and on the right ones as soon as
 * they come, even where it is too late to hear them.
 *
 * A decoder remembers what it was fed. Its state before the first predicted frame is kept; when codes come late, the decoder
 * goes back to it and through the few frames since, so that all that follows is, bit for bit, what it would have been without
 * the loss. Where the codes never come, it converges by itself.
 *
 * @module
 */
import type { AudioCodes } from "../core/codes.ts";

/**
 * What turns codes into audio, at once. Met by `model.createDecoderSync()`. Without `snapshot` and `restore` late codes are of
 * no use.
 */
export interface VoiceDecoder {
  /** Audio of frames [1, codebooks, frames]. */
  decode(codes: AudioCodes): {
    /** [1, 1, samples] */
    audioValues: {
      /** The samples. */
      data: Float32Array;
    };
  };
  /** Back to the beginning of a stream. */
  reset(): void;
  /** The stream's memory, as a value. */
  snapshot?(): unknown;
  /** Puts a memory that `snapshot` gave in the place of its own. */
  restore?(snapshot: unknown): void;
}

interface Step {
  /** Undefined for a prediction that takes the place of no frame. */
  frame: number | undefined;
  codes: Uint16Array;
  predicted: boolean;
}

/** Steps that may have to be taken again. */
interface Branch {
  snapshot: unknown;
  /** The last codes before. */
  last: Uint16Array;
  steps: Step[];
}

export class Timeline {
  readonly #decoder: VoiceDecoder;
  readonly #most: number;
  /** The last codes that were not predicted. */
  #last: Uint16Array | undefined;
  #branch: Branch | undefined;
  #exact = true;
  /** Frames decoded again because codes came late. */
  replayed = 0;
  /** Times that this made the state exact again. */
  repairs = 0;

  /** @param most frames that are decoded again at a time, at most; 0 for never. */
  constructor(decoder: VoiceDecoder, most: number) {
    this.#decoder = decoder;
    this.#most = decoder.snapshot && decoder.restore ? most : 0;
  }

  /** Whether the decoder is where it would be if it had been fed nothing but the frames that were sent. */
  get exact(): boolean {
    return this.#exact;
  }

  /** Audio of the next frame. */
  decode(frame: number, codes: Uint16Array): Float32Array {
    return this.#take({ frame, codes, predicted: false });
  }

  /**
   * Audio in place of a frame that is not there, or to pass the time: from the first codebooks of the last frame, half of
   * them, since what is certain to be wrong should at least be simple. Undefined before the first frame.
   */
  conceal(frame: number | undefined): Float32Array | undefined {
    const last = this.#last;
    if (last === undefined) return undefined;
    if (this.#most > 0) this.#branch ??= { snapshot: this.#decoder.snapshot!(), last, steps: [] };
    this.#exact = false;
    return this.#take({ frame, codes: last.subarray(0, Math.ceil(last.length / 2)), predicted: true });
  }

  /** Goes back and takes the steps again with what has become known; returns whether anything had. */
  repair(known: (frame: number) => Uint16Array | undefined): boolean {
    const branch = this.#branch;
    if (!branch?.steps.some(({ frame, predicted }) => predicted && (frame === undefined || known(frame)))) return false;
    this.#decoder.restore!(branch.snapshot);
    this.#last = branch.last;
    const before = branch.steps;
    branch.steps = [];
    for (const { frame, codes, predicted } of before) {
      if (frame === undefined) continue;
      const right = predicted ? known(frame) : undefined;
      const step = { frame, codes: right ?? codes, predicted: predicted && right === undefined };
      this.#step(step);
      branch.steps.push(step);
      this.replayed++;
    }
    if (!branch.steps.some(({ predicted }) => predicted)) {
      this.#branch = undefined;
      this.#exact = true;
      this.repairs++;
    }
    return true;
  }

  reset(): void {
    this.#decoder.reset();
    this.#last = undefined;
    this.#branch = undefined;
    this.#exact = true;
  }

  #take(step: Step): Float32Array {
    const audio = this.#step(step);
    if (this.#branch && this.#branch.steps.push(step) > this.#most) this.#branch = undefined;
    return audio;
  }

  #step({ codes, predicted }: Step): Float32Array {
    if (!predicted) this.#last = codes;
    return this.#decoder.decode({ data: codes, shape: [1, codes.length, 1] }).audioValues.data;
  }
}
