/**
 * Files of the command line: inputs in pieces, outputs that appear whole or not at all.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { LoadError, reasonOf } from "../core/errors.ts";

/** Bytes that are read at a time. */
const PIECE = 1 << 16;

/**
 * The bytes of a file in pieces of at most 64 KiB; each is valid until the next is asked for.
 *
 * @param onRead told how far the file is read, from 0 to 1; 0 for what has no size, such as a pipe.
 * @throws {LoadError} `ERR_NOT_FOUND` where it cannot be opened or read.
 */
export async function* readChunks(
  path: string,
  onRead: (fraction: number) => void = () => {},
): AsyncGenerator<Uint8Array, void, undefined> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const { size } = await file.stat(), piece = new Uint8Array(PIECE);
    for (let at = 0;;) {
      const { bytesRead } = await file.read(piece, 0, PIECE, null);
      if (bytesRead === 0) return;
      at += bytesRead;
      onRead(size > 0 ? Math.min(1, at / size) : 0);
      yield piece.subarray(0, bytesRead);
    }
  } catch (cause) {
    throw new LoadError("ERR_NOT_FOUND", `${path}: cannot be read (${reasonOf(cause)}).`, { cause });
  } finally {
    await file?.close();
  }
}

/** What a writer of a file can do. */
export interface Output {
  /** Appends bytes. */
  write(bytes: Uint8Array): Promise<void>;
  /** Writes bytes over the ones from `offset`, which were written before. */
  patch(bytes: Uint8Array, offset: number): Promise<void>;
}

/**
 * Lets `fill` write a file under a temporary name beside `path`, and renames it when whole; removes it when `fill` fails.
 *
 * @throws {LoadError} `ERR_WRITE` where it cannot be written; and whatever `fill` throws.
 */
export async function writeWhole<T>(path: string, fill: (output: Output) => Promise<T>): Promise<T> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID().slice(0, 8)}.tmp`);
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
  const file = await attempt(() => open(temporary, "wx"));
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
