/**
 * What is heard in place of a frame that was lost: the frame before it again, at full level for one frame, then fading to
 * silence.
 *
 * @module
 */

/** Decides, frame by frame, what a decoder is given. */
export interface Concealer {
  /**
   * @param codes of the frame, or none where it was lost.
   * @returns codes to decode in its place, none for silence; and the level that their audio ends with, 1 for a frame that
   *   came.
   */
  next(codes: Uint16Array | undefined): { codes: Uint16Array | undefined; level: number };
  /** A new stream begins. */
  reset(): void;
}

/** Level at the end of the first frame that is lost, of the second, and so on; then silence. */
const LEVELS = [1, 0.5, 0.25, 0];

/** Repeats the last frame that came. */
export class RepeatConcealer implements Concealer {
  #last: Uint16Array | undefined;
  #lost = 0;

  next(codes: Uint16Array | undefined): { codes: Uint16Array | undefined; level: number } {
    if (codes) {
      this.#last = codes;
      this.#lost = 0;
      return { codes, level: 1 };
    }
    const level = LEVELS[this.#lost++] ?? 0;
    if (this.#lost > LEVELS.length) this.#last = undefined; // silent for good, so nothing needs to be decoded
    return { codes: this.#last, level: this.#last ? level : 0 };
  }

  reset(): void {
    this.#last = undefined;
    this.#lost = 0;
  }
}
