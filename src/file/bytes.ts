/**
 * Bytes that come in pieces, read as if they lay in one row.
 *
 * @module
 */
import { describe, MimiTypeError } from "../core/errors.ts";
import { bytesInMemory, type ByteSource } from "../core/safetensors.ts";

/** A file in pieces of any length: a web stream, a generator, an array of arrays; or all of it at once. */
export type ByteChunks = ReadableStream<Uint8Array> | AsyncIterable<Uint8Array> | Iterable<Uint8Array> | Uint8Array;

/** Bytes that are read at a time from what can be read at any place. */
const PIECE = 1 << 14;

/** Reads forward through pieces; holds one of them at a time. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);

  /** @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what has no pieces. */
  constructor(chunks: ByteChunks) {
    this.#chunks = iterate(chunks);
  }

  /** The next `length` bytes; fewer only where the pieces end. Callers bound `length`: it is allocated. */
  async read(length: number): Promise<Uint8Array> {
    if (this.#chunk.length >= length) return this.#take(length);
    const out = new Uint8Array(length);
    let done = 0;
    while (done < length && await this.#fill()) {
      const part = this.#take(length - done);
      out.set(part, done);
      done += part.length;
    }
    return out.subarray(0, done);
  }

  /** 1 to `most` bytes, as many as are at hand; none only where the pieces end. They are valid until the next call. */
  async some(most: number): Promise<Uint8Array> {
    await this.#fill();
    return this.#take(most);
  }

  /** The next `length` bytes, which stay to be read; fewer only where the pieces end. */
  async peek(length: number): Promise<Uint8Array> {
    const head = await this.read(length), all = new Uint8Array(head.length + this.#chunk.length);
    all.set(head);
    all.set(this.#chunk, head.length);
    this.#chunk = all;
    return all.subarray(0, head.length);
  }

  /** Goes past `length` bytes; returns how many there were. */
  async skip(length: number): Promise<number> {
    let done = 0;
    while (done < length && await this.#fill()) done += this.#take(length - done).length;
    return done;
  }

  /** What is left, in pieces of at most 64 KiB; closes the source in the end. */
  async *rest(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      while (await this.#fill()) yield this.#take(1 << 16);
    } finally {
      await this.close();
    }
  }

  /** Tells the source that no more is wanted, so that it can close its file. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  /** Whether a byte is at hand, after waiting for one. */
  async #fill(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) return false;
      if (!(value instanceof Uint8Array)) throw wrong("pieces of bytes must be Uint8Arrays", value);
      this.#chunk = value;
    }
    return true;
  }

  #take(most: number): Uint8Array {
    const part = this.#chunk.subarray(0, most);
    this.#chunk = this.#chunk.subarray(part.length);
    return part;
  }
}

function iterate(chunks: ByteChunks): AsyncIterator<Uint8Array> | Iterator<Uint8Array> {
  if (chunks instanceof Uint8Array) return [chunks].values();
  if (typeof chunks === "object" && chunks !== null) {
    if (Symbol.asyncIterator in chunks) return chunks[Symbol.asyncIterator]();
    if (Symbol.iterator in chunks) return chunks[Symbol.iterator]();
    // Safari's streams cannot be iterated.
    if ("getReader" in chunks) return readStream(chunks as ReadableStream<Uint8Array>);
  }
  throw wrong("bytes must be a Uint8Array, a ReadableStream, or something that yields Uint8Arrays", chunks);
}

async function* readStream(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = stream.getReader();
  try {
    for (let next; !(next = await reader.read()).done;) yield next.value;
  } finally {
    await reader.cancel().catch(() => {}); // of a stream that failed it fails again
  }
}

function wrong(expected: string, value: unknown): MimiTypeError {
  return new MimiTypeError("ERR_INVALID_ARGUMENT", `${expected}, got ${describe(value)}.`);
}

/** All parts in one array. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** The bytes of a source from `offset` to its end. */
export async function* chunksFrom(source: ByteSource, offset: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = offset; at < source.size;) {
    const bytes = await source.read(at, Math.min(PIECE, source.size - at));
    if (bytes.length === 0) return;
    yield bytes;
    at += bytes.length;
  }
}

/**
 * What can be read at any place: a source, bytes in memory, or a `Blob`: what a browser's file input gives,
 * `fs.openAsBlob(path)` in Node, `Bun.file(path)` in Bun.
 */
export type ByteSourceInput = ByteSource | Blob | Uint8Array;

/**
 * @param name shown in error messages, where the input has none of its own.
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what cannot be read at any place.
 */
export function toSource(input: ByteSourceInput, name?: string): ByteSource {
  if (input instanceof Uint8Array) return bytesInMemory(input, name);
  if (input instanceof Blob) {
    return {
      name: (input as File).name ?? name ?? "blob",
      size: input.size,
      read: async (offset, length) => new Uint8Array(await input.slice(offset, offset + length).arrayBuffer()),
    };
  }
  if (typeof input?.read === "function" && typeof input.size === "number") return input;
  throw wrong("bytes must be a Uint8Array, a Blob or a source with size and read", input);
}

/** To read and write numbers of bytes in place. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Four characters, as formats name their parts. */
export function ascii(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}
