/** The command line, as a process of its own in the runtime that runs the test, or without one. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { program } from "../../src/cli/program.ts";

export const ROOT: string = fileURLToPath(new URL("../../", import.meta.url));
/** 75240 samples, mono, 16 bit, 24 kHz. */
export const SAMPLE: string = fileURLToPath(new URL("../../models/mini/it-cannot-complete.wav", import.meta.url));
/** Arguments of the runtime itself before a script. */
export const RUNTIME: string[] = "Deno" in globalThis ? ["run", "-A"] : "Bun" in globalThis ? [] : ["--import", "tsx"];

export interface Ended {
  /** 128 and the number of the signal for a process that a signal ended. */
  code: number;
  stdout: Uint8Array;
  stderr: string;
}

/**
 * Starts the command line; `ended` comes when it has ended and all that it wrote is there.
 *
 * @param stdin what it reads there: bytes, nothing, or what the test writes later.
 */
export function start(args: string[], stdin?: Uint8Array | "open"): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [...RUNTIME, "src/cli/main.ts", ...args], { cwd: ROOT, stdio: "pipe" });
  const stdout: Uint8Array[] = [];
  let stderr = "";
  child.stdout.on("data", (bytes: Uint8Array) => stdout.push(bytes));
  child.stderr.on("data", (text) => stderr += text);
  child.stdin.on("error", () => {}); // it may end without reading all
  if (stdin !== "open") child.stdin.end(stdin);
  // Deno tells an exit code above 128 as the signal that it stands for.
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const all = new Uint8Array(stdout.reduce((n, part) => n + part.length, 0));
      let at = 0;
      for (const part of stdout) {
        all.set(part, at);
        at += part.length;
      }
      resolve({ code: code ?? 128 + constants.signals[signal!], stdout: all, stderr });
    });
  });
  return { child, ended };
}

export const textOf = ({ stdout }: Ended): string => new TextDecoder().decode(stdout);

/** The same program in this process, which is quicker: files in, files out, what it prints and says caught. */
export async function mimi(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const ended = { code: 0, stdout: "", stderr: "" };
  ended.code = await program(args, {
    print: async (text) => void (ended.stdout += text),
    say: (line) => ended.stderr += `mimi: ${line}\n`,
    signal: new AbortController().signal,
  });
  return ended;
}

/** Ends with 0 and nothing on stderr; returns what is on stdout. */
export async function succeeds(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await mimi(...args);
  assert.deepEqual([code, stderr], [0, ""]);
  return stdout;
}

/** Ends with this exit code, one line on stderr that matches, and nothing on stdout. */
export async function fails(code: number, message: RegExp, ...args: string[]): Promise<void> {
  const ended = await mimi(...args);
  assert.match(ended.stderr, message);
  assert.match(ended.stderr, /^mimi: [^\n]+\n$/);
  assert.deepEqual([ended.code, ended.stdout], [code, ""]);
}

/** Lines of JSON. */
export function jsonLines(text: string): Record<string, unknown>[] {
  return text.split("\n").filter((line) => line).map((line) => JSON.parse(line));
}
