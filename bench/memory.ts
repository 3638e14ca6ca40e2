/** Peak memory of the command line tool for a minute and for an hour of audio. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CLI, runCLI } from "./child.ts";
import { MiB, printNote, printTable } from "./table.ts";
import { writeWav } from "./wav.ts";

const MINUTE = 60, HOUR = 3600;

interface Peaks {
  encode: { peak: number; seconds: number };
  decode: { peak: number; seconds: number };
}

export async function memory(): Promise<void> {
  if (!existsSync("/proc/self/status")) {
    return printNote("memory: skipped, there is no /proc to read peak memory from.");
  }
  if (!existsSync(CLI)) return printNote(`memory: skipped, there is no ${CLI}.`);
  const folder = await mkdtemp(join(tmpdir(), "mimi-bench-"));
  try {
    print(await measure(folder, MINUTE), await measure(folder, HOUR));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(folder: string, seconds: number): Promise<Peaks> {
  const path = (name: string) => join(folder, `${seconds}-${name}`);
  await writeWav(path("in.wav"), seconds);
  const encode = await runCLI(folder, ["encode", path("in.wav"), path("codes.mimi")]);
  const decode = await runCLI(folder, ["decode", path("codes.mimi"), path("out.wav")]);
  return { encode, decode };
}

function print(minute: Peaks, hour: Peaks): void {
  const row = (step: "encode" | "decode") => {
    const [short, long] = [minute[step], hour[step]];
    const took = [short, long].map(({ seconds }) => `${seconds.toFixed(1)} s`).join(", ");
    return [step, MiB(short.peak), MiB(long.peak), MiB(long.peak - short.peak), took];
  };
  printTable(
    "Peak memory of the command line tool, embedded model (resident, Node and tsx included)",
    ["", "1 minute, MiB", "1 hour, MiB", "difference, MiB", "took"],
    [row("encode"), row("decode")],
  );
}
