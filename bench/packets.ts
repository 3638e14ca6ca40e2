/** Ten million packets, most of them broken, into the parser and the jitter buffer: nothing is thrown, nothing grows. */
import { VoiceReceiver } from "../src/rtc/mod.ts";
import { random } from "../tests/support/random.ts";
import { numbered, SilentDecoder, storm, THIN } from "../tests/support/voice.ts";
import { MiB, printTable } from "./table.ts";

const PACKETS = Number(process.env.PACKETS) || 10_000_000, ROUNDS = 10;

export function packets(): Promise<void> {
  const rng = random("packets"),
    receiver = new VoiceReceiver(THIN, { decoder: new SilentDecoder() }),
    rows: string[][] = [];
  Error.stackTraceLimit = 0; // there are millions of errors, all of them caught
  for (let round = 1; round <= ROUNDS; round++) {
    const start = performance.now();
    const { heard, loudest } = storm(rng, { packets: PACKETS / ROUNDS, model: THIN, receiver, codes: numbered });
    const seconds = (performance.now() - start) / 1000;
    (globalThis as { gc?: () => void }).gc?.();
    const { heapUsed, rss } = process.memoryUsage(),
      { taken, malformed, duplicate, stray, foreign, unannounced } = receiver.stats.packets;
    rows.push([
      (round * PACKETS / ROUNDS).toLocaleString("en"),
      String(taken),
      String(malformed),
      String(duplicate + stray),
      String(foreign + unannounced),
      heard.toLocaleString("en"),
      loudest.toFixed(3),
      `${MiB(heapUsed)} MiB`,
      `${MiB(rss)} MiB`,
      `${(PACKETS / ROUNDS / seconds / 1000).toFixed(0)} k/s`,
    ]);
  }
  printTable(
    `Broken packets, seed ${rng.seed} (SEED=${rng.seed} repeats it), sums since the beginning but for samples and speed`,
    [
      "packets",
      "taken",
      "malformed",
      "twice or stray",
      "others'",
      "samples",
      "loudest",
      "heap",
      "RSS",
      "speed, tests' own work included",
    ],
    rows,
  );
  return Promise.resolve();
}
