/**
 * Bytes from paths and addresses. Files are read by ranges; what comes over the network is held once, in memory.
 *
 * @module
 */
import { FormatError, LoadError, reasonOf } from "../core/errors.ts";
import { bytesInMemory, type ByteSource } from "../core/safetensors.ts";
import * as runtime from "./runtime.ts";

/** How far the download of one file is. */
export interface Progress {
  /** Name or address of the file. */
  file: string;
  /** Bytes so far. */
  loaded: number;
  /** Bytes in all, where the server says. */
  total: number | undefined;
}

export interface FetchOptions {
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
  /** Sent as a bearer token. */
  token?: string;
}

/** More than any model of this family; a server that claims or sends more is not believed. */
const MOST_BYTES = 8 * 2 ** 30;

/** Opens a file by its path. @throws {LoadError} `ERR_NOT_FOUND`. */
export async function openFile(path: string): Promise<ByteSource> {
  const fs = await runtime.fs();
  let handle: Awaited<ReturnType<typeof fs.open>>;
  try {
    handle = await fs.open(path, "r");
  } catch (cause) {
    throw new LoadError("ERR_NOT_FOUND", `${path}: cannot be opened (${reasonOf(cause)}).`, { cause });
  }
  const { size } = await handle.stat();
  return {
    name: path,
    size,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      let done = 0;
      while (done < length) {
        const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return bytes.subarray(0, done);
    },
    close: () => handle.close(),
  };
}

/**
 * Fetches an address whole.
 *
 * @throws {LoadError} `ERR_NOT_FOUND` for 401, 403, 404, `ERR_NETWORK` for everything else that goes wrong.
 * @throws the signal's reason when aborted.
 */
export async function fetchBytes(address: URL, options: FetchOptions = {}): Promise<Uint8Array> {
  const { signal, onProgress, token } = options, file = address.href;
  signal?.throwIfAborted();
  try {
    const response = await fetch(address, { signal, headers: token ? { authorization: `Bearer ${token}` } : {} });
    if (!response.ok) {
      await response.body?.cancel();
      const missing = [401, 403, 404].includes(response.status);
      throw new LoadError(
        missing ? "ERR_NOT_FOUND" : "ERR_NETWORK",
        `${file}: the server answered ${response.status} ${response.statusText}.`,
      );
    }
    // With a content encoding the length is that of the compressed bytes.
    const claimed = response.headers.get("content-encoding") ? null : response.headers.get("content-length");
    const total = claimed === null ? undefined : Number(claimed);
    if (total !== undefined && !(total >= 0 && total <= MOST_BYTES)) {
      throw new LoadError("ERR_NETWORK", `${file}: the server claims ${claimed} bytes.`);
    }
    const bytes = await collect(file, response, total, onProgress);
    if (total !== undefined && bytes.byteLength !== total) {
      throw new LoadError(
        "ERR_NETWORK",
        `${file}: ${bytes.byteLength} of ${total} bytes came before the connection ended.`,
      );
    }
    return bytes;
  } catch (cause) {
    if (signal?.aborted) throw signal.reason;
    if (cause instanceof LoadError) throw cause;
    throw new LoadError("ERR_NETWORK", `${file}: ${(cause as Error).message}.`, { cause });
  }
}

async function collect(
  file: string,
  response: Response,
  total: number | undefined,
  onProgress?: (p: Progress) => void,
): Promise<Uint8Array> {
  const reader = response.body!.getReader();
  let bytes = new Uint8Array(total ?? 1 << 16), loaded = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (loaded + value.length > bytes.length) {
      if (total !== undefined || loaded + value.length > MOST_BYTES) {
        throw new LoadError("ERR_NETWORK", `${file}: more bytes came than the server announced.`);
      }
      const larger = new Uint8Array(Math.max(bytes.length * 2, loaded + value.length));
      larger.set(bytes.subarray(0, loaded));
      bytes = larger;
    }
    bytes.set(value, loaded);
    loaded += value.length;
    onProgress?.({ file, loaded, total });
  }
  return bytes.subarray(0, loaded);
}

/** Opens an address: by ranges for a file, whole otherwise. */
export async function open(address: URL, options: FetchOptions = {}): Promise<ByteSource> {
  if (address.protocol === "file:" && runtime.hasFiles()) {
    return await openFile((await runtime.url()).fileURLToPath(address));
  }
  return bytesInMemory(await fetchBytes(address, options), address.href);
}

/** Reads a source whole as JSON. @throws {FormatError} `ERR_CONFIG`. */
export async function readJSON(source: ByteSource): Promise<unknown> {
  if (source.size > 1 << 20) {
    throw new FormatError("ERR_CONFIG", `${source.name}: ${source.size} bytes are no configuration (at most 1 MiB).`);
  }
  const bytes = await source.read(0, source.size);
  await source.close?.();
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FormatError("ERR_CONFIG", `${source.name}: not JSON (${(cause as Error).message}).`, { cause });
  }
}
