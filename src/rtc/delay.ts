/**
 * How long to wait for frames: just long enough that all but a few of those which come at all have come.
 *
 * The offset of a frame is the time at which it became available, from a packet of its own or from the redundancy of a later
 * one, less its time at the sender. The two clocks need not agree: offsets are only compared with each other. Frames that
 * are played `target` after their time at the sender would have been there in time, but for a share of `late`, for all of the
 * last {@link WINDOW} frames. So the target follows jitter, redundancy and the drift of the clocks alike, up at once and down
 * when what was slow leaves the window.
 *
 * @module
 */

/** Frames that are looked back at. */
export const WINDOW = 768;

export class OffsetWindow {
  readonly #ring = new Float64Array(WINDOW);
  /** The same values in order. */
  readonly #sorted = new Float64Array(WINDOW);
  #count = 0;
  #next = 0;

  /** Offsets in the window. */
  get count(): number {
    return this.#count;
  }

  /** The smallest; Infinity where there is none. */
  get least(): number {
    return this.#count > 0 ? this.#sorted[0] : Infinity;
  }

  /** The offset that at most a share of `late` exceeds. */
  target(late: number): number {
    return this.#sorted[this.#count - 1 - Math.floor(late * this.#count)];
  }

  add(offset: number): void {
    if (this.#count === WINDOW) {
      const at = this.#place(this.#ring[this.#next]);
      this.#sorted.copyWithin(at, at + 1);
      this.#count--;
    }
    const at = this.#place(offset);
    this.#sorted.copyWithin(at + 1, at, this.#count);
    this.#sorted[at] = offset;
    this.#count++;
    this.#ring[this.#next] = offset;
    this.#next = (this.#next + 1) % WINDOW;
  }

  reset(): void {
    this.#count = this.#next = 0;
  }

  /** The first place whose value is not below `offset`. */
  #place(offset: number): number {
    let low = 0, high = this.#count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sorted[middle] < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
