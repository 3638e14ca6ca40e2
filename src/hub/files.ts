/**
 * Bytes from paths and addresses. All are read by ranges; of what is on a server only what is read is downloaded.
 *
 * @module
 */
import { FormatError, LoadError, reasonOf } from "../core/errors.ts";
import { bytesInMemory, type ByteSource } from "../core/safetensors.ts";
import { openShelf } from "./cache.ts";
import { getBytes } from "./http.ts";
import { openRemote, type RemoteOptions } from "./remote.ts";
import * as runtime from "./runtime.ts";
import { sha256Of, sha256OfSource } from "./sha256.ts";

export interface OpenOptions extends RemoteOptions {
  /** What the file is called in progress and in the list of the cache, and the model that it belongs to. */
  name: string;
  model: string;
  /** A folder for downloads, or `false` to keep nothing. */
  cache?: string | false;
  /** Bytes of the file, where they are known. */
  size?: number;
  /** SHA-256 that the file must have; it is checked before anything of it is used. */
  sha256?: string;
}

/** More than any model of this family; a server that claims or sends more is not believed. */
export const MOST_BYTES: number = 2 ** 31;
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

/**
 * Opens an address. A file on a server is kept if the server says how to tell whether it has changed (`ETag` or
 * `Last-Modified`), which is asked at the next load; with a hash that it must have, it is kept under that.
 *
 * @throws {LoadError} `ERR_NOT_FOUND`, `ERR_NETWORK`, `ERR_CHANGED`, `ERR_INTEGRITY`, `ERR_READ`, `ERR_WRITE`.
 */
export async function open(address: URL, options: OpenOptions): Promise<ByteSource> {
  const { sha256, size, cache, name, model, most, signal, token } = options;
  if (/^https?:$/.test(address.protocol)) {
    const key = sha256 ? ["sha256", sha256] : [address.host, "addresses", await shortened(address.pathname)];
    const shelf = await openShelf(key, cache);
    return await openRemote(
      { address, name, model, size, sha256, shelf, pinned: sha256 !== undefined, lasting: sha256 !== undefined },
      options,
    );
  }
  return await checked(await openLocal(address, { most, signal, token }), options);
}

/** A name of bearable length. */
async function shortened(path: string): Promise<string> {
  return path.length < 100
    ? path
    : `${path.slice(-60)} ${(await sha256Of(new TextEncoder().encode(path))).slice(0, 32)}`;
}

async function openLocal(address: URL, options: Parameters<typeof getBytes>[1]): Promise<ByteSource> {
  if (address.protocol === "file:" && runtime.hasFiles()) {
    const { fileURLToPath } = await runtime.url();
    let path: string;
    try {
      path = fileURLToPath(address);
    } catch (cause) {
      throw new LoadError("ERR_NOT_FOUND", `${address.href}: is no path here (${reasonOf(cause)}).`, { cause });
    }
    return await openFile(path);
  }
  if (address.protocol === "data:") return openData(address);
  return bytesInMemory(await getBytes(address, options), address.href); // blob: and what a runtime may know besides
}

/** The source, if it is as long and has the hash as it must. @throws {LoadError} `ERR_INTEGRITY`. */
async function checked(source: ByteSource, { size, sha256, signal }: OpenOptions): Promise<ByteSource> {
  try {
    if (size !== undefined && size !== source.size) {
      throw new LoadError("ERR_INTEGRITY", `${source.name}: has ${source.size} bytes, expected ${size}.`);
    }
    const found = sha256 && await sha256OfSource(source, signal);
    if (found !== sha256) {
      throw new LoadError("ERR_INTEGRITY", `${source.name}: its SHA-256 is ${found}, expected ${sha256}.`);
    }
    return source;
  } catch (error) {
    await source.close?.();
    throw error;
  }
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
