/**
 * What the network does to packets: which are lost, how many in a row, how unevenly they come. As RFC 3550 counts, with runs.
 *
 * @module
 */
import { unwrap } from "./counter.ts";

/** Packets that one may be behind the newest before it counts as lost. */
const REORDERED = 16;

/** Sums since the stream began; those of a report are differences of two. */
export interface ReceptionCounts {
  /** Packets that were sent, as far as is known, and those that the network lost. */
  expected: number;
  lost: number;
  /** Runs of lost packets. */
  bursts: number;
  duplicates: number;
}

export class Reception {
  readonly counts: ReceptionCounts = { expected: 0, lost: 0, bursts: 0, duplicates: 0 };
  /** Interarrival jitter, seconds. */
  jitter = 0;
  /** Whether each of the last packets came, by its number modulo the length. */
  readonly #came = new Uint8Array(2 * REORDERED);
  #first = 0;
  #newest: number | undefined;
  #newestFrame = 0;
  #lostBefore = false;
  #transit: number | undefined;

  /**
   * Takes note of a packet; returns false for one that came before, or too late to tell.
   *
   * @param frame its frame, unwrapped.
   * @param transit seconds from its time at the sender to its arrival, of clocks that need not agree.
   */
  add(sequence: number, frame: number, transit: number): boolean {
    if (this.#newest === undefined) this.#begin(sequence, frame);
    const near = this.#newest! + frame - this.#newestFrame, number = unwrap(sequence, 8, near);
    const came = this.#came, length = came.length;
    if (number <= this.#newest! - REORDERED || (number <= this.#newest! && came[place(number, length)])) {
      this.counts.duplicates++;
      return false;
    }
    while (this.#newest! < number) {
      this.#settle(++this.#newest! - REORDERED);
      came[place(this.#newest!, length)] = 0;
    }
    came[place(number, length)] = 1;
    if (number === this.#newest) this.#newestFrame = frame;
    if (this.#transit !== undefined) this.jitter += (Math.abs(transit - this.#transit) - this.jitter) / 16;
    this.#transit = transit;
    return true;
  }

  /** Begins anew, with the sums going on. */
  reset(): void {
    this.#newest = this.#transit = undefined;
    this.#lostBefore = false;
  }

  #begin(sequence: number, frame: number): void {
    this.#first = sequence;
    this.#newest = sequence - 1;
    this.#newestFrame = frame - 1;
    this.#came.fill(0);
  }

  /** Counts a packet for which it is too late now. */
  #settle(number: number): void {
    if (number < this.#first) return; // nobody knows whether it was sent
    const lost = !this.#came[place(number, this.#came.length)];
    this.counts.expected++;
    if (lost) {
      this.counts.lost++;
      if (!this.#lostBefore) this.counts.bursts++;
    }
    this.#lostBefore = lost;
  }
}

function place(number: number, length: number): number {
  return ((number % length) + length) % length;
}
