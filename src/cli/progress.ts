/**
 * A progress bar on the terminal; nothing where stderr is no terminal.
 *
 * @module
 */
import process from "node:process";

const WIDTH = 30;

/** Draws a bar. The function that it returns takes how much is done, from 0 to 1; `done` clears the line. */
export function progressBar(label: string): { show(fraction: number): void; done(): void } {
  if (!process.stderr.isTTY) return { show() {}, done() {} };
  let shown = -1;
  return {
    show(fraction) {
      const percent = Math.floor(fraction * 100), full = Math.round(fraction * WIDTH);
      if (percent === shown) return;
      shown = percent;
      process.stderr.write(`\r${label} [${"#".repeat(full)}${" ".repeat(WIDTH - full)}] ${percent} %`);
    },
    done() {
      if (shown >= 0) process.stderr.write("\r\x1b[K");
    },
  };
}
