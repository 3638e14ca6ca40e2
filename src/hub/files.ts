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
  /** Bytes that are taken of one file at most. */
  most?: number;
}

/** More than any model of this family; a server that claims or sends more is not believed. */
const MOST_BYTES = 2 ** 31;
/** More than any configuration. */
export const MOST_JSON_BYTES: number = 2 ** 20;

/** Opens a file by its path. @throws {LoadError} `ERR_NOT_FOUND`, and `ERR_READ` where it cannot be read. */
export async function openFile(path: string): Promise<ByteSource> {
  const fs = await runtime.fs();
  let handle: Awaited<ReturnType<typeof fs.open>>;
  try {
    handle = await fs.open(path, "r");
  } catch (cause) {
    throw new LoadError("ERR_NOT_FOUND", `${path}: cannot be opened (${reasonOf(cause)}).`, { cause });
  }
  const reading = async <T>(action: () => Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (cause) {
      throw new LoadError("ERR_READ", `${path}: cannot be read (${reasonOf(cause)}).`, { cause });
    }
  };
  let size: number;
  try {
    const stat = await reading(() => handle.stat());
    if (stat.isDirectory()) throw new LoadError("ERR_READ", `${path}: is a folder, expected a file.`);
    size = stat.size;
  } catch (error) {
    await handle.close();
    throw error;
  }
  return {
    name: path,
    size,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      let done = 0;
      while (done < length) {
        const { bytesRead } = await reading(() => handle.read(bytes, done, length - done, offset + done));
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return bytes.subarray(0, done);
    },
    close: () => handle.close(),
  };
}

/** What came of an address so far: the newest bytes, and the size that the server announced, if it did. */
export interface Piece {
  bytes: Uint8Array;
  total: number | undefined;
}

/**
 * Fetches an address piece by piece; ends normally only when everything came.
 *
 * @throws {LoadError} `ERR_NOT_FOUND` for 401, 403, 404, `ERR_NETWORK` for everything else that goes wrong.
 * @throws the signal's reason when aborted.
 */
export async function* fetchPieces(address: URL, options: FetchOptions = {}): AsyncGenerator<Piece, void, undefined> {
  const { signal, onProgress, token, most = MOST_BYTES } = options, file = address.href;
  signal?.throwIfAborted();
  const guard = async <T>(action: () => Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      throw new LoadError("ERR_NETWORK", `${file}: the connection failed (${networkReason(cause)}).`, { cause });
    }
  };
  const headers = token ? { authorization: `Bearer ${token}` } : undefined;
  const response = await guard(() => fetch(address, { signal, headers }));
  const reader = response.body?.getReader();
  try {
    if (!response.ok) {
      const missing = [401, 403, 404].includes(response.status);
      throw new LoadError(
        missing ? "ERR_NOT_FOUND" : "ERR_NETWORK",
        `${file}: the server answered ${response.status} ${response.statusText}.`,
      );
    }
    // With a content encoding the length is that of the compressed bytes.
    const claimed = response.headers.get("content-encoding") ? null : response.headers.get("content-length");
    const total = claimed === null ? undefined : Number(claimed);
    if (total !== undefined && !(total >= 0 && total <= most)) {
      throw new LoadError(
        "ERR_NETWORK",
        `${file}: the server announces ${claimed} bytes, at most ${most} are taken.`,
      );
    }
    let loaded = 0;
    for (;;) {
      const { done, value } = reader ? await guard(() => reader.read()) : { done: true, value: undefined };
      if (done) break;
      loaded += value!.length;
      if (loaded > (total ?? most)) {
        throw new LoadError(
          "ERR_NETWORK",
          `${file}: more bytes came than the ${total ?? most} that were expected.`,
        );
      }
      onProgress?.({ file, loaded, total });
      yield { bytes: value!, total };
    }
    if (total !== undefined && loaded < total) {
      throw new LoadError("ERR_NETWORK", `${file}: ${loaded} of ${total} bytes came before the connection ended.`);
    }
  } finally {
    await reader?.cancel().catch(() => {});
  }
}

/** Fetches an address whole; errors as {@link fetchPieces}. */
export async function fetchBytes(address: URL, options: FetchOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
  let whole = new Uint8Array(0), loaded = 0;
  for await (const { bytes, total } of fetchPieces(address, options)) {
    const need = loaded + bytes.length;
    if (need > whole.length) {
      const larger = new Uint8Array(total ?? Math.max(1 << 16, whole.length * 2, need));
      larger.set(whole.subarray(0, loaded));
      whole = larger;
    }
    whole.set(bytes, loaded);
    loaded = need;
  }
  return whole.subarray(0, loaded);
}

/** Node wraps the reason of a failed fetch: `fetch failed`, cause `connect ECONNREFUSED 127.0.0.1:9`. */
function networkReason(cause: unknown): string {
  const { message, cause: inner } = cause as Error & { cause?: Error };
  return inner?.message ? `${message}: ${inner.message}` : message;
}

/**
 * The bytes of a `data:` address (RFC 2397). Bundlers make one of a small file such as a configuration, and a content
 * security policy may forbid to fetch it. @throws {LoadError} `ERR_READ`.
 */
function openData(address: URL): ByteSource {
  const text = address.href.slice("data:".length, address.href.length - address.hash.length), comma = text.indexOf(",");
  const name = address.href.replace(/^(.{40}).+/, "$1..."), isBase64 = /; *base64 *$/i.test(text.slice(0, comma));
  // An address is ASCII, so that what is left of it after decoding is one character a byte.
  const body = text.slice(comma + 1).replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  try {
    return bytesInMemory(Uint8Array.from(isBase64 ? atob(body) : body, (c) => c.charCodeAt(0)), name);
  } catch (cause) {
    throw new LoadError("ERR_READ", `${name}: not base64 (${reasonOf(cause)}).`, { cause });
  }
}

/** Opens an address: by ranges for a file, whole otherwise. */
export async function open(address: URL, options: FetchOptions = {}): Promise<ByteSource> {
  if (address.protocol === "file:" && runtime.hasFiles()) {
    return await openFile((await runtime.url()).fileURLToPath(address));
  }
  if (address.protocol === "data:") return openData(address);
  return bytesInMemory(await fetchBytes(address, options), address.href);
}

/** Reads a source whole as JSON, and closes it. @throws {FormatError} `ERR_CONFIG`. */
export async function readJSON(source: ByteSource): Promise<unknown> {
  let bytes: Uint8Array;
  try {
    if (source.size > MOST_JSON_BYTES) {
      throw new FormatError("ERR_CONFIG", `${source.name}: ${source.size} bytes are no configuration (at most 1 MiB).`);
    }
    bytes = await source.read(0, source.size);
  } finally {
    await source.close?.();
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FormatError("ERR_CONFIG", `${source.name}: not JSON (${(cause as Error).message}).`, { cause });
  }
}
