/**
 * A file on a server as a source of bytes: what is needed of it is downloaded, once, over several connections, and kept.
 *
 * @module
 */
import { LoadError } from "../core/errors.ts";
import type { ByteSource } from "../core/safetensors.ts";
import { Entry, PIECE } from "./entry.ts";
import { type Answer, changed, get, retrying, withoutQuery } from "./http.ts";
import type { Meter } from "./progress.ts";
import { sha256OfSource } from "./sha256.ts";
import { memoryShelf, type Shelf } from "./shelf.ts";
import { cut, lengthOf, merged, missing, type Span } from "./spans.ts";

/** Bytes of the first request: the table of contents of a model's weights is shorter. */
const FIRST = 1 << 16;
/** Bytes between two tensors that are cheaper to download than to ask around. */
const GAP = 1 << 16;
/** The share of a file that may be missing for the rest of it to be downloaded too, so that its hash can be checked. */
const NEARLY = 0.01;
/** Bytes of one request, at most, and requests at a time. */
const REQUEST = 16 * PIECE, CONNECTIONS = 4;

/** A file that is to be opened. */
export interface RemoteFile {
  address: URL;
  /** What it is called in progress. */
  name: string;
  /** The model that it belongs to, and its revision, for whoever lists the cache. */
  model: string;
  revision?: string;
  shelf: Shelf;
  /** Whether what is kept is believed without asking the server whether it has changed. */
  lasting: boolean;
  /** Bytes and hash of the whole that the model's publisher announces. */
  size?: number;
  sha256?: string;
  /** Whether the hash is checked before anything of the file is used, and so all of it downloaded. */
  pinned?: boolean;
  /** Whether nothing may be asked of the network. */
  offline?: boolean;
}

export interface RemoteOptions {
  signal?: AbortSignal;
  /** Sent as a bearer token; not on to other origins. */
  token?: string;
  /** Bytes that are taken of the file at most. */
  most: number;
  meter: Meter;
}

/**
 * Opens a file on a server.
 *
 * @throws {LoadError} `ERR_NOT_FOUND`, `ERR_NETWORK`, `ERR_CHANGED`, `ERR_INTEGRITY`, `ERR_WRITE`.
 * @throws the signal's reason when aborted.
 */
export async function openRemote(file: RemoteFile, options: RemoteOptions): Promise<ByteSource> {
  const source = new Remote(file, options, await Entry.open(file.shelf));
  try {
    await source.begin();
  } catch (error) {
    await source.close();
    throw error;
  }
  return source;
}

class Remote implements ByteSource {
  readonly #file: RemoteFile;
  readonly #options: RemoteOptions;
  #entry: Entry;
  /** What is or will be needed. */
  #planned: Span[] = [];

  constructor(file: RemoteFile, options: RemoteOptions, entry: Entry) {
    this.#file = file;
    this.#options = options;
    this.#entry = entry;
  }

  get name(): string {
    return withoutQuery(this.#file.address.href);
  }

  get size(): number {
    return this.#entry.about?.size ?? 0;
  }

  /** Has the beginning, from which the size is known. */
  async begin(): Promise<void> {
    if (!await this.#isCurrent()) {
      const known = () => JSON.stringify(this.#entry.about), stale = known();
      await this.#entry.lock(this.#options.signal, async () => {
        await this.#entry.refresh();
        const another = known() !== stale && await this.#isCurrent(); // someone else was faster
        if (!another) await retrying(this.#options.signal, () => this.#first());
      });
    }
    if (this.#file.pinned) await this.prepare([{ offset: 0, length: this.size }]);
  }

  /** Whether what is kept is what the server has, and what the publisher announces. */
  async #isCurrent(): Promise<boolean> {
    const { about } = this.#entry, { size, sha256, lasting } = this.#file;
    if (!about) return false;
    if (size !== undefined && size !== about.size || sha256 !== undefined && sha256 !== about.sha256) return false;
    if (lasting) return true;
    const answer = await retrying(this.#options.signal, () => this.#get({ from: 0, to: 1 }));
    await answer.cancel();
    return answer.validator === about.validator && (answer.size ?? about.size) === about.size;
  }

  async #get(range?: Span, signal: AbortSignal | undefined = this.#options.signal): Promise<Answer> {
    const { token, most } = this.#options;
    if (this.#file.offline) {
      throw new LoadError(
        "ERR_NOT_FOUND",
        `${this.name}: not in the cache, or not all of it that is needed, and HF_HUB_OFFLINE forbids to download it.`,
      );
    }
    return await get(this.#file.address, { range, token, signal, most });
  }

  /** The first request: how large the file is, and whether the server sends parts. */
  async #first(): Promise<void> {
    let answer: Answer | undefined;
    try {
      answer = await this.#get({ from: 0, to: FIRST });
    } catch (error) {
      if ((error as LoadError).code !== "ERR_CHANGED") throw error; // no such range: the file is empty
    }
    if (!answer || answer.isPart && answer.size === undefined) {
      await answer?.cancel();
      answer = await this.#get();
    }
    const { model, revision, name, address, size: expected, sha256, lasting, shelf } = this.#file;
    if (expected !== undefined && answer.size !== undefined && answer.size !== expected) {
      await answer.cancel();
      throw this.#wrongSize(answer.size, expected);
    }
    // Without anything that tells two versions apart, a copy could become stale unnoticed.
    if (!lasting && !answer.validator) {
      this.#entry.close();
      this.#entry = await Entry.open(memoryShelf(`${address.href} ${crypto.randomUUID()}`));
      shelf.close?.();
    }
    const about = {
      ...{ model, revision, file: name, address: withoutQuery(address.href), sha256 },
      validator: answer.validator,
      ranges: answer.isPart,
    };
    // A length that nobody announced is known at the end; until then nothing is kept that would be believed.
    await (answer.size === undefined ? this.#entry.discard() : this.#entry.begin({ ...about, size: answer.size }));
    const end = await this.#take(answer).catch(async (error) => {
      if (answer.size === undefined) await this.#entry.discard();
      throw error;
    });
    if (answer.size === undefined) {
      if (expected !== undefined && end !== expected) {
        await this.#entry.discard();
        throw this.#wrongSize(end, expected);
      }
      await this.#entry.update({ ...about, size: end });
    }
  }

  #wrongSize(size: number, expected: number): LoadError {
    return new LoadError(
      "ERR_INTEGRITY",
      `${this.name}: the server has ${size} bytes, the model's publisher announces ${expected}. Nothing was kept.`,
    );
  }

  async prepare(ranges: readonly { offset: number; length: number }[]): Promise<void> {
    const wanted = ranges.map(({ offset, length }) => ({ from: offset, to: Math.min(offset + length, this.size) }));
    this.#planned = this.#rounded(merged([...this.#planned, ...wanted], GAP));
    const { here, needed } = this.#progress();
    this.#options.meter.set(this.#file.name, here, needed);
    await this.#fetch(this.#planned);
    await this.#check();
  }

  /** The whole, where that is little more and can be checked. */
  #rounded(planned: Span[]): Span[] {
    const { size, sha256 } = this.#entry.about!, whole = [{ from: 0, to: size }];
    return sha256 && lengthOf(missing(whole, planned)) <= size * NEARLY ? whole : planned;
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    return this.#read(offset, length, () => this.#check());
  }

  /** @param check called when something was missing and has come. */
  async #read(offset: number, length: number, check: () => Promise<void>): Promise<Uint8Array> {
    const out = new Uint8Array(Math.max(0, Math.min(length, this.size - offset)));
    for (let attempt = 0;; attempt++) {
      const lacking = await this.#entry.copy(offset, out);
      if (lacking.length === 0) return out;
      if (attempt === 2) {
        throw new LoadError("ERR_READ", `${this.name}: what was downloaded cannot be read back from the cache.`);
      }
      await this.#fetch(lacking);
      await check();
    }
  }

  /** Downloads what is not there; whoever asks for the same at the same time waits for it. */
  async #fetch(spans: readonly Span[]): Promise<void> {
    if (missing(spans, this.#entry.spans).length === 0) return;
    await this.#entry.lock(this.#options.signal, async () => {
      const before = this.#entry.about;
      await this.#entry.refresh();
      // What somebody has cleared meanwhile begins again, as long as it is still the same file.
      if (before && !this.#entry.about) await this.#entry.begin({ ...before, checked: undefined });
      const { about } = this.#entry;
      if (!before || !about || about.size !== before.size || about.validator !== before.validator) {
        throw changed(this.name, "another download found it changed.");
      }
      // What was held against its hash as a whole has to be so again.
      if ((this.#file.pinned || before.checked) && !about.checked) spans = [{ from: 0, to: about.size }];
      const runs = about.ranges ? cut(missing(spans, this.#entry.spans), REQUEST) : [{ from: 0, to: about.size }];
      if (missing(spans, this.#entry.spans).length) await this.#download(runs);
      this.#report(0);
    });
  }

  async #download(runs: readonly Span[]): Promise<void> {
    const { signal } = this.#options, stop = new AbortController(), left = [...runs];
    const abort = () => stop.abort(signal!.reason);
    signal?.addEventListener("abort", abort);
    const connection = async () => {
      for (let run; (run = left.shift());) await this.#run(run, stop.signal);
    };
    if (signal?.aborted) abort();
    try {
      const all = Array.from({ length: Math.min(CONNECTIONS, left.length) }, () =>
        connection().catch((error) => {
          stop.abort(error); // the first failure is everyone's
          throw error;
        }));
      await Promise.allSettled(all);
      await Promise.all(all);
    } catch {
      const { reason } = stop.signal;
      if ((reason as LoadError | null)?.code === "ERR_CHANGED") await this.#entry.discard();
      throw reason;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** One request, which goes on where it was cut off. */
  async #run(run: Span, signal: AbortSignal): Promise<void> {
    let at = run.from;
    while (at < run.to) {
      await retrying(signal, async () => {
        const range = this.#entry.about!.ranges ? { from: at, to: run.to } : undefined;
        const answer = await this.#get(range, signal);
        await this.#checkSame(answer);
        await this.#take(answer, (end) => at = end);
      });
    }
  }

  /** @throws {LoadError} `ERR_CHANGED` where the answer is of another file than the one before. */
  async #checkSame({ size, validator, cancel }: Answer): Promise<void> {
    const about = this.#entry.about!, differs = validator && about.validator && validator !== about.validator;
    if (!differs && (size ?? about.size) === about.size) return;
    await cancel();
    throw changed(
      this.name,
      differs ? `ETag ${validator}, it was ${about.validator}.` : `${size} bytes, it had ${about.size}.`,
    );
  }

  /** Keeps what comes and is not there, in pieces that end at multiples of their size; returns where it ended. */
  async #take(answer: Answer, onEnd: (end: number) => void = () => {}): Promise<number> {
    const piece = new Uint8Array(PIECE);
    let begin = answer.from, at = begin;
    const flush = async () => {
      const end = at;
      for (const span of missing([{ from: begin, to: end }], this.#entry.spans)) {
        await this.#entry.keep(span.from, piece.subarray(span.from - begin, span.to - begin));
      }
      begin = end;
      onEnd(end);
    };
    try {
      for await (const bytes of answer.pieces()) {
        for (let taken = 0; taken < bytes.length;) {
          const room = PIECE - at % PIECE, some = bytes.subarray(taken, taken + room);
          piece.set(some, at - begin);
          at += some.length;
          taken += some.length;
          if (some.length === room) await flush();
        }
        this.#report(at - begin);
      }
    } finally {
      if (at > begin && this.#entry.about) await flush(); // the part of a piece that came: a later try goes on after it
    }
    if (at > begin) await flush();
    return at;
  }

  /** Bytes that are here, and bytes that are needed, as far as that is known. */
  #progress(): { here: number; needed: number | undefined } {
    const { about, spans } = this.#entry, size = about?.size ?? 0, all = about?.ranges === false || size <= FIRST;
    if (!about || !all && this.#planned.length === 0) return { here: lengthOf(spans), needed: undefined };
    const planned = all ? [{ from: 0, to: size }] : merged([{ from: 0, to: FIRST }, ...this.#planned]);
    const needed = lengthOf(planned);
    return { here: needed - lengthOf(missing(planned, spans)), needed };
  }

  /** @param more bytes that have come and are not kept yet. */
  #report(more: number): void {
    const { here, needed = Infinity } = this.#progress(), total = needed === Infinity ? undefined : needed;
    this.#options.meter.came(this.#file.name, Math.min(here + more, needed), total);
  }

  /** Holds the whole against its published hash, once, when all of it is there. */
  async #check(): Promise<void> {
    const about = this.#entry.about!, { sha256 } = about;
    if (!sha256 || about.checked || !this.#entry.isWhole) return;
    const { name, size } = this, read = (at: number, n: number) => this.#read(at, n, async () => {});
    const found = await sha256OfSource({ name, size, read }, this.#options.signal);
    if (found !== sha256) {
      await this.discard();
      throw new LoadError(
        "ERR_INTEGRITY",
        `${this.name}: its SHA-256 is ${found}, expected ${sha256}. Nothing of it was kept; loading again downloads it anew.`,
      );
    }
    if (this.#entry.about !== about) throw changed(this.name, "its copy was cleared while it was checked.");
    await this.#entry.update({ ...about, checked: true });
  }

  async discard(): Promise<void> {
    await this.#entry.discard();
  }

  close(): Promise<void> {
    this.#entry.close();
    return Promise.resolve();
  }
}
