/**
 * Where the parts of one downloaded file are kept: a few named blobs that are there whole or not at all.
 *
 * @module
 */

/** A place for the blobs of one file. */
export interface Shelf {
  names(): Promise<string[]>;
  /** The bytes of a blob; in `room` where the shelf has to read them and they fit. */
  get(name: string, room?: Uint8Array): Promise<Uint8Array | undefined>;
  /** Keeps a copy of bytes, in place of those of this name. `false` where there is no room for them. */
  put(name: string, bytes: Uint8Array): Promise<boolean>;
  remove(name: string): Promise<void>;
  /** Removes everything. */
  clear(): Promise<void>;
  /**
   * Waits until nobody else holds the lock of this shelf, in this process or another, tab or thread, and holds it while
   * `body` runs. It saves work; blobs stay right without it.
   *
   * @throws the signal's reason when aborted while waiting.
   */
  lock<T>(signal: AbortSignal | undefined, body: () => Promise<T>): Promise<T>;
  /** The last call. */
  close?(): void;
}

const queues = new Map<string, Promise<unknown>>();

/** Runs bodies of one key one after the other. */
export async function inTurn<T>(key: string, signal: AbortSignal | undefined, body: () => Promise<T>): Promise<T> {
  const before = queues.get(key) ?? Promise.resolve();
  const turn = before.then(() => {
    signal?.throwIfAborted();
    return body();
  });
  const settled = turn.catch(() => {});
  queues.set(key, settled);
  void settled.then(() => queues.get(key) === settled && queues.delete(key));
  if (!signal) return await turn;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop);
    // Once it is the body's turn, the body ends itself.
    void before.then(() => signal.removeEventListener("abort", stop));
  });
  return await Promise.race([turn, aborted]).finally(() => signal.removeEventListener("abort", stop));
}

const memories = new Map<string, { blobs: Map<string, Uint8Array>; users: number }>();

/** Blobs in memory, which whoever asks for the same key at the same time shares; gone with its last user. */
export function memoryShelf(key: string): Shelf {
  const memory = memories.get(key) ?? { blobs: new Map<string, Uint8Array>(), users: 0 }, { blobs } = memory;
  memory.users++;
  memories.set(key, memory);
  return {
    names: () => Promise.resolve([...blobs.keys()]),
    get: (name) => Promise.resolve(blobs.get(name)),
    put: (name, bytes) => Promise.resolve(!!blobs.set(name, bytes.slice())),
    remove: (name) => Promise.resolve(void blobs.delete(name)),
    clear: () => Promise.resolve(blobs.clear()),
    lock: (signal, body) => inTurn(`memory ${key}`, signal, body),
    close: () => void (--memory.users === 0 && memories.delete(key)),
  };
}
