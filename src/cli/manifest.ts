/**
 * Lists of files as JSON lines: a manifest of what is to be done, a report of what was done.
 *
 * @module
 */
import { type FileHandle, open } from "node:fs/promises";
import { LoadError, reasonOf } from "../core/errors.ts";
import { nameOf, readChunks } from "./files.ts";
import type { Failure, Outcome } from "./job.ts";
import { UsageError } from "./usage.ts";

/**
 * Reads a manifest: a line `{"input": "a.wav", "output": "codes/a.mimi"}` a file. `output` may be absent; other fields are
 * left alone. Paths are taken as those on a command line are.
 *
 * @throws {UsageError} naming the line that is something else.
 */
export async function readManifest(path: string): Promise<{ input: string; output?: string }[]> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of readChunks(path)) text += decoder.decode(piece, { stream: true });
  const lines = text.split("\n").map((line, i) => ({ line: line.trim(), number: i + 1 })).filter(({ line }) => line);
  if (lines.length === 0) throw new UsageError(`${nameOf(path)}: the manifest names no files`);
  return lines.map(({ line, number }) => {
    const fail = (what: string): never => {
      throw new UsageError(`${nameOf(path)}: line ${number}: ${what}`);
    };
    let fields: { input?: unknown; output?: unknown } | null = null;
    try {
      fields = JSON.parse(line);
    } catch (error) {
      fail(`not JSON (${(error as Error).message})`);
    }
    const { input, output } = typeof fields === "object" && fields !== null ? fields : {};
    if (typeof input !== "string" || input === "") fail('expected {"input": ..., "output": ...}, input being a path');
    if (output !== undefined && (typeof output !== "string" || output === "")) fail("output is no path");
    return { input: input as string, output: output as string | undefined };
  });
}

/** Says what became of each file, a JSON line when it is done: to a file, to stdout, to both or to nobody. */
export class Report {
  readonly #file: FileHandle | undefined;
  readonly #path: string;
  readonly #print: ((text: string) => Promise<void>) | undefined;
  #last: Promise<void> = Promise.resolve();

  private constructor(path: string, file: FileHandle | undefined, print?: (text: string) => Promise<void>) {
    this.#path = path;
    this.#file = file;
    this.#print = print;
  }

  /** @throws {LoadError} `ERR_WRITE`. */
  static async open(path?: string, print?: (text: string) => Promise<void>): Promise<Report> {
    try {
      return new Report(path ?? "", path === undefined ? undefined : await open(path, "w"), print);
    } catch (cause) {
      throw new LoadError("ERR_WRITE", `${path}: cannot be written (${reasonOf(cause)}).`, { cause });
    }
  }

  /** Lines are written in the order of the calls. */
  add(line: Outcome | Failure): void {
    const text = JSON.stringify(line) + "\n";
    this.#last = this.#last.then(async () => {
      await this.#file?.write(text);
      await this.#print?.(text);
    });
    this.#last.catch(() => {}); // close() tells
  }

  /** @throws {LoadError} `ERR_WRITE` where a line could not be written. */
  async close(): Promise<void> {
    try {
      await this.#last;
    } catch (cause) {
      if (cause instanceof LoadError) throw cause;
      throw new LoadError("ERR_WRITE", `${this.#path}: cannot be written (${reasonOf(cause)}).`, { cause });
    } finally {
      await this.#file?.close();
    }
  }
}
