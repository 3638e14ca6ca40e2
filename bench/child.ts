/** The command line tool as a process of its own, with its peak memory. */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const CLI: string = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
const HOOK = new URL("./peak-hook.mjs", import.meta.url).href;

/** Runs the tool and returns its peak resident set size in bytes and the seconds it took. */
export async function runCLI(folder: string, args: readonly string[]): Promise<{ peak: number; seconds: number }> {
  const file = join(folder, "peak"), start = performance.now();
  const child = spawn(process.execPath, ["--import", "tsx", "--import", HOOK, CLI, ...args], {
    env: { ...process.env, BENCH_PEAK_FILE: file },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let complaint = "";
  child.stderr.on("data", (text) => complaint = (complaint + text).slice(-2000));
  const code = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  if (code !== 0) throw new Error(`mimi ${args.join(" ")} ended with ${code}: ${complaint.trim()}`);
  return { peak: Number(await readFile(file, "utf8")), seconds: (performance.now() - start) / 1000 };
}
