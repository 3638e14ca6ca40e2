/**
 * Files of the command line: inputs in pieces, outputs that appear whole or not at all, `-` for stdin and stdout.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { LoadError, reasonOf } from "../core/errors.ts";

/** Stands for stdin among inputs and for stdout among outputs. */
export const STANDARD = "-";
/** Bytes that are read at a time. */
const PIECE = 1 << 16;
/** Name of a file that is being written, beside the one that it will be. */
const temporaryName = (name: string) => `.${name}.${randomUUID().slice(0, 8)}.tmp`;
const TEMPORARY = /^\.(.+)\.[0-9a-f]{8}\.tmp$/;

/** What an input is called in messages. */
export function nameOf(input: string): string {
  return input === STANDARD ? "stdin" : input;
}

/** What a reader of a file tells and hears. */
export interface ReadHooks {
  /** Told how many bytes are read. */
  onRead?: (bytes: number) => void;
  /** Ends the waiting for stdin; files never keep one waiting. */
  signal?: AbortSignal;
}

/**
 * The bytes of a file in pieces of at most 64 KiB; each is valid until the next is asked for.
 *
 * @throws {LoadError} `ERR_NOT_FOUND` where it cannot be opened or read.
 */
export async function* readChunks(
  path: string,
  { onRead, signal }: ReadHooks = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  let read = 0;
  const pieces = path === STANDARD ? stdinPieces(signal) : filePieces(path);
  try {
    for (let next; !(next = await attemptToRead(path, () => pieces.next())).done;) {
      read += next.value.length;
      onRead?.(read);
      yield next.value;
    }
  } finally {
    await pieces.return();
  }
}

async function attemptToRead<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw new LoadError("ERR_NOT_FOUND", `${nameOf(path)}: cannot be read (${reasonOf(cause)}).`, { cause });
  }
}

async function* stdinPieces(signal?: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
  const stopped = new Promise<never>((_, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
  stopped.catch(() => {}); // nobody may be waiting
  const pieces = process.stdin[Symbol.asyncIterator]();
  for (let next; !(next = await Promise.race([pieces.next(), stopped])).done;) yield next.value;
}

async function* filePieces(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const piece = new Uint8Array(PIECE);
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, PIECE, null);
      if (bytesRead === 0) return;
      yield piece.subarray(0, bytesRead);
    }
  } finally {
    await file?.close();
  }
}

/** What a writer of a file can do. */
export interface Output {
  /** Appends bytes. */
  write(bytes: Uint8Array): Promise<void>;
  /** Writes bytes over the ones from `offset`, which were written before. Not there for a pipe. */
  patch?(bytes: Uint8Array, offset: number): Promise<void>;
}

/** Lets `fill` write to stdout, or to a file as {@link writeWhole} does. */
export async function writeOutput<T>(path: string, fill: (output: Output) => Promise<T>): Promise<T> {
  return path === STANDARD ? await fill({ write: writeStdout }) : await writeWhole(path, fill);
}

let listening = false;

/** Writes bytes or text to stdout and waits until it takes more. */
export async function writeStdout(bytes: Uint8Array | string): Promise<void> {
  // Without a listener, a reader that goes away would end the program with a stack trace.
  if (!listening) process.stdout.on("error", () => {});
  listening = true;
  if (bytes.length === 0) return;
  await new Promise<void>((resolve, reject) => {
    process.stdout.write(bytes, (cause) => {
      if (cause) {
        reject(new LoadError("ERR_WRITE", `stdout: cannot be written (${reasonOf(cause)}).`, { cause }));
      } else resolve();
    });
  });
}

/**
 * Lets `fill` write a file under a temporary name beside `path`, and renames it when whole; removes it when `fill` fails.
 * The folder is made if need be.
 *
 * @throws {LoadError} `ERR_WRITE` where it cannot be written; and whatever `fill` throws.
 */
export async function writeWhole<T>(path: string, fill: (output: Output) => Promise<T>): Promise<T> {
  const folder = dirname(path), temporary = join(folder, temporaryName(basename(path)));
  const attempt = async <R>(action: () => Promise<R>): Promise<R> => {
    try {
      return await action();
    } catch (cause) {
      throw new LoadError("ERR_WRITE", `${path}: cannot be written (${reasonOf(cause)}).`, { cause });
    }
  };
  // Renaming would put a file in the place of a device or a pipe.
  const before = await stat(path).catch(() => undefined);
  if (before && !before.isFile()) {
    throw new LoadError("ERR_WRITE", `${path}: cannot be written (it is there and no regular file).`);
  }
  const file = await attempt(async () => {
    await mkdir(folder, { recursive: true });
    return await open(temporary, "wx");
  });
  let end = 0;
  const put = (bytes: Uint8Array, offset: number) =>
    attempt(async () => {
      for (let at = 0; at < bytes.length;) {
        at += (await file.write(bytes, at, bytes.length - at, offset + at)).bytesWritten;
      }
    });
  try {
    let result: T;
    try {
      result = await fill({
        patch: put,
        async write(bytes) {
          await put(bytes, end);
          end += bytes.length;
        },
      });
    } finally {
      await file.close();
    }
    await attempt(() => rename(temporary, path));
    return result;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Removes what runs that were killed left behind of these files. */
export async function removeTemporaries(paths: readonly string[]): Promise<void> {
  const folders = new Map<string, Set<string>>();
  for (const path of paths) {
    const folder = dirname(path);
    folders.set(folder, (folders.get(folder) ?? new Set()).add(basename(path)));
  }
  for (const [folder, wanted] of folders) {
    for (const name of await readdir(folder).catch(() => [])) {
      if (wanted.has(TEMPORARY.exec(name)?.[1] ?? "")) await rm(join(folder, name), { force: true });
    }
  }
}
