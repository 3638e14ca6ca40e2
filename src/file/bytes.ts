/**
 * Bytes that come in pieces, read as if they lay in one row.
 *
 * @module
 */

/** Pieces of a file, of any length: a stream, a generator, an array of arrays. */
export type ByteChunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** Reads forward through pieces; holds one of them at a time. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);

  constructor(chunks: ByteChunks) {
    this.#chunks = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
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

  /** Goes past `length` bytes; returns how many there were. */
  async skip(length: number): Promise<number> {
    let done = 0;
    while (done < length && await this.#fill()) done += this.#take(length - done).length;
    return done;
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
