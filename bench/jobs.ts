/** Throughput of the command line over many files: one at a time, and two in workers, each on a core of its own. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { runCLI } from "./child.ts";
import { median } from "./stats.ts";
import { printNote, printTable } from "./table.ts";
import { writeWav } from "./wav.ts";

const FILES = 24, SECONDS = 30, ROUNDS = 5, JOBS = [1, 2];

export async function jobs(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "mimi-bench-")), audio = join(folder, "audio");
  try {
    await mkdir(audio);
    for (let i = 0; i < FILES; i++) await writeWav(join(audio, `${i}.wav`), SECONDS);
    const times = { encode: JOBS.map((): number[] => []), decode: JOBS.map((): number[] => []) };
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, count] of JOBS.entries()) {
        const codes = join(folder, `codes-${count}`),
          wavs = join(folder, `wavs-${count}`),
          more = ["--jobs", String(count)];
        times.encode[i].push((await runCLI(folder, ["encode", audio, "-o", codes, ...more])).seconds);
        times.decode[i].push((await runCLI(folder, ["decode", codes, "-o", wavs, ...more])).seconds);
      }
    }
    const rows = (["encode", "decode"] as const).map((step) => {
      const [one, two] = times[step].map(median), rate = (seconds: number) => (FILES * SECONDS / seconds).toFixed(1);
      return [step, `${one.toFixed(2)} s`, `${two.toFixed(2)} s`, rate(one), rate(two), (one / two).toFixed(2)];
    });
    printTable(
      `${FILES} files of ${SECONDS} s, embedded model, 8 codebooks, start of the program included`,
      ["", "--jobs 1", "--jobs 2", "x real time", "x real time", "ratio"],
      rows,
    );
    printNote(`Medians of ${ROUNDS} runs in turn; ${availableParallelism()} cores.`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
