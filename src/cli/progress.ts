/**
 * Progress on the terminal: how far all files are, how many times real time, how long it will take. Nothing where stderr
 * is no terminal.
 *
 * @module
 */
import { stat } from "node:fs/promises";
import process from "node:process";
import { formatSeconds } from "./format.ts";
import type { Progress, Task } from "./job.ts";

const WIDTH = 30;
/** Milliseconds between two drawings. */
const PAUSE = 100;

/** One line on the terminal that is drawn over and over. */
export class StatusLine {
  readonly #terminal: boolean = process.stderr.isTTY === true;
  #shown = false;
  #drawn = -Infinity;

  /** Draws, unless it was drawn just now. */
  show(text: () => string): void {
    const now = performance.now();
    if (!this.#terminal || now - this.#drawn < PAUSE) return;
    this.#drawn = now;
    this.#shown = true;
    process.stderr.write(`\r\x1b[K${text()}`);
  }

  /** Takes the line away, before anything else is said. */
  clear(): void {
    if (this.#shown) process.stderr.write("\r\x1b[K");
    this.#shown = false;
    this.#drawn = -Infinity;
  }
}

/** `[######                        ] 21 %` */
export function bar(fraction: number): string {
  const full = Math.round(fraction * WIDTH);
  return `[${"#".repeat(full)}${" ".repeat(WIDTH - full)}] ${Math.floor(fraction * 100)} %`;
}

/** Sizes of inputs in bytes, which weigh a file in the progress of all; 0 for what has none, such as a pipe. */
export async function weigh(tasks: readonly Task[]): Promise<number[]> {
  return await Promise.all(tasks.map(({ input }) => stat(input).then(({ size }) => size, () => 0)));
}

/** What all files together have come to. */
export class Tally {
  readonly #label: string;
  readonly #sizes: readonly number[];
  readonly #total: number;
  readonly #began: number;
  readonly #running: Map<number, Progress> = new Map();
  #files = 0;
  #bytes = 0;
  #seconds = 0;

  /**
   * @param sizes of the inputs, bytes.
   * @param now milliseconds of any clock.
   */
  constructor(label: string, sizes: readonly number[], now: number) {
    this.#label = label;
    this.#sizes = sizes;
    this.#total = sizes.reduce((a, b) => a + b, 0);
    this.#began = now;
  }

  update(index: number, progress: Progress): void {
    this.#running.set(index, progress);
  }

  /** @param seconds of audio that were converted; none for a file that failed or was there. */
  end(index: number, seconds: number): void {
    this.#running.delete(index);
    this.#files++;
    this.#bytes += this.#sizes[index];
    this.#seconds += seconds;
  }

  /** `encode [###   ] 10 %, 20 of 200 files, 14.2 x real time, 1:05 min left` */
  line(now: number): string {
    const running = [...this.#running.entries()], elapsed = (now - this.#began) / 1000;
    const bytes = running.reduce((n, [i, { bytes }]) => n + Math.min(bytes, this.#sizes[i]), this.#bytes);
    const seconds = running.reduce((n, [, progress]) => n + progress.seconds, this.#seconds);
    const fraction = this.#total > 0 ? bytes / this.#total : 0;
    return [
      this.#total > 0 ? `${this.#label} ${bar(fraction)}` : `${this.#label} ${formatSeconds(seconds)}`,
      ...(this.#sizes.length > 1 ? [`${this.#files} of ${this.#sizes.length} files`] : []),
      ...(elapsed > 0 ? [`${(seconds / elapsed).toFixed(1)} x real time`] : []),
      ...(fraction > 0 ? [`${formatSeconds(Math.ceil(elapsed * (1 - fraction) / fraction))} left`] : []),
    ].join(", ");
  }
}
