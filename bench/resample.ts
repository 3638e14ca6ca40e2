/** How fast sampling rates are converted, with libsamplerate (WebAssembly) beside it in the same rounds. */
import { resample } from "../mod.ts";
import { libsamplerateConverter } from "../tests/support/libsamplerate.ts";
import { type Contestant, measureRounds } from "./rounds.ts";
import { signal } from "./signal.ts";
import { median } from "./stats.ts";
import { printNote, printTable } from "./table.ts";

const PAIRS: readonly [from: number, to: number][] = [[48000, 24000], [44100, 24000], [24000, 48000], [44101, 24000]];
const SECONDS = 10, ROUNDS = 5;

export async function resampling(): Promise<void> {
  const contestants: Contestant[] = [];
  for (const [from, to] of PAIRS) {
    const pcm = signal(0, SECONDS * from);
    const best = await libsamplerateConverter(from, to, "best"),
      medium = await libsamplerateConverter(from, to, "medium");
    for (const convert of [(x: Float32Array) => resample(x, from, to), best, medium]) {
      contestants.push({ runs: 2, warmUp: 1, run: () => void convert(pcm) });
    }
  }
  const speeds = (await measureRounds(contestants, ROUNDS)).map((times) => SECONDS * 1000 / median(times));
  printTable(
    `${SECONDS} s of mono audio from one rate to another, times real time, medians of the same rounds`,
    ["", "ours", "libsamplerate best", "medium", "ours / best", "ours / medium"],
    PAIRS.map(([from, to], i) => {
      const [ours, best, medium] = speeds.slice(3 * i, 3 * i + 3);
      const ratios = [best, medium].map((theirs) => `${(ours / theirs).toFixed(1)}×`);
      return [`${from} -> ${to}`, ...[ours, best, medium].map((speed) => speed.toFixed(0)), ...ratios];
    }),
  );
  printNote("Ours includes making the filter. What each does to frequencies is printed by `npm test -- resample`.");
}
