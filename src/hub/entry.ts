/**
 * What is kept of one file: pieces of it, each named by its place and its SHA-256, and what is known of the whole.
 *
 * The names are the table of contents, so nothing has to be kept in step with the pieces, and what happens to be on a disk
 * is believed only after its hash.
 *
 * @module
 */
import { LoadError } from "../core/errors.ts";
import { isSha256, sha256Of } from "./sha256.ts";
import type { Shelf } from "./shelf.ts";
import { merged, missing, type Span } from "./spans.ts";

/** What is known of a file. */
export interface About {
  /** The model that it belongs to, as users name it. */
  model: string;
  /** Branch, tag or commit of a repository. */
  revision?: string;
  /** Its name, as users see it; empty for what this library keeps for itself. */
  file: string;
  address: string;
  size: number;
  /** Changes when the file on the server does. */
  validator?: string;
  /** Whether the server sends parts of it. */
  ranges: boolean;
  /** SHA-256 of the whole, where someone has published it. */
  sha256?: string;
  /** Whether the whole was held against `sha256`. */
  checked?: boolean;
}

interface Piece extends Span {
  sha256: string;
  name: string;
}

/** The blob that says what is known of a file. */
export const ABOUT = "about.json";
/** Bytes that are kept as one, at most. */
export const PIECE: number = 1 << 20;

/** Pieces of a file on a shelf. */
export class Entry {
  readonly #shelf: Shelf;
  #about: About | undefined;
  #pieces: Piece[] = [];
  /** The pieces as spans; made when asked for. */
  #spans: Span[] | undefined;
  /** What the shelf had no room for. */
  readonly #overflow = new Map<string, Uint8Array>();
  /** Hashes of pieces that turned out to be damaged, by their place. */
  readonly #damaged = new Map<string, string>();
  /** The piece that was read last; the next tensor often begins in it. */
  #last: { name: string; bytes: Uint8Array } | undefined;
  /** Where pieces are read, one after the other: new memory for each would lie around until it is collected. */
  #room: Uint8Array | undefined;

  private constructor(shelf: Shelf) {
    this.#shelf = shelf;
  }

  static async open(shelf: Shelf): Promise<Entry> {
    const entry = new Entry(shelf);
    await entry.refresh();
    return entry;
  }

  /** Undefined where nothing is kept. */
  get about(): About | undefined {
    return this.#about;
  }

  /** What is there. */
  get spans(): Span[] {
    return this.#spans ??= merged(this.#pieces);
  }

  get isWhole(): boolean {
    return this.#about !== undefined && missing([{ from: 0, to: this.#about.size }], this.spans).length === 0;
  }

  #setPieces(pieces: Piece[]): void {
    this.#pieces = pieces.sort((a, b) => a.from - b.from);
    this.#spans = undefined;
  }

  /** Looks what others have kept since. */
  async refresh(): Promise<void> {
    const bytes = await this.#shelf.get(ABOUT) ?? this.#overflow.get(ABOUT);
    this.#about = bytes && parseAbout(bytes);
    const names = this.#about ? [...await this.#shelf.names(), ...this.#overflow.keys()] : [];
    this.#setPieces(names.map(parsePiece).filter((piece) => piece !== undefined));
  }

  /** Begins anew: nothing that is there stays. */
  async begin(about: About): Promise<void> {
    await this.discard();
    await this.update(about);
  }

  /** Changes what is known. */
  async update(about: About): Promise<void> {
    this.#about = about;
    await this.#put(ABOUT, new TextEncoder().encode(JSON.stringify(about)));
  }

  /**
   * Keeps bytes of the file.
   *
   * @throws {LoadError} `ERR_INTEGRITY` where other bytes were kept for the same place, `ERR_WRITE`.
   */
  async keep(from: number, bytes: Uint8Array): Promise<void> {
    const to = from + bytes.length, place = placeOf(from, to), sha256 = await sha256Of(bytes);
    const before = this.#damaged.get(place);
    if (before !== undefined && before !== sha256) {
      const { address } = this.#about!;
      await this.discard();
      throw new LoadError(
        "ERR_INTEGRITY",
        `${address}: bytes ${from} to ${to} are not those of the first download (SHA-256 ${sha256}, expected ${before}). ` +
          "What was kept has been removed; loading again takes what the server has now.",
      );
    }
    const name = `${place}-${sha256}`;
    await this.#put(name, bytes);
    this.#setPieces([...this.#pieces, { from, to, sha256, name }]);
  }

  async #put(name: string, bytes: Uint8Array): Promise<void> {
    if (!await this.#shelf.put(name, bytes)) this.#overflow.set(name, bytes.slice());
  }

  /**
   * Copies the bytes from `offset` on to `out`.
   *
   * @returns what is not there, and pieces that are not what was kept, whole: those are gone.
   */
  async copy(offset: number, out: Uint8Array): Promise<Span[]> {
    const wanted = { from: offset, to: offset + out.length }, had: Span[] = [], damaged: Span[] = [];
    for (const piece of [...this.#pieces]) {
      if (piece.to <= wanted.from || piece.from >= wanted.to) continue;
      const bytes = await this.#read(piece);
      if (!bytes) {
        damaged.push(piece);
        continue;
      }
      const from = Math.max(piece.from, wanted.from), to = Math.min(piece.to, wanted.to);
      out.set(bytes.subarray(from - piece.from, to - piece.from), from - offset);
      had.push({ from, to });
    }
    return merged([...missing([wanted], had), ...damaged]);
  }

  async #read({ name, from, to, sha256 }: Piece): Promise<Uint8Array | undefined> {
    if (this.#last?.name === name) return this.#last.bytes;
    this.#last = undefined;
    const bytes = this.#overflow.get(name) ?? await this.#shelf.get(name, this.#room ??= new Uint8Array(PIECE));
    if (bytes?.length === to - from && await sha256Of(bytes) === sha256) {
      this.#last = { name, bytes };
      return bytes;
    }
    this.#damaged.set(placeOf(from, to), sha256);
    this.#setPieces(this.#pieces.filter((piece) => piece.name !== name));
    await this.#shelf.remove(name);
    return undefined;
  }

  /** Forgets everything. */
  async discard(): Promise<void> {
    this.#about = this.#last = undefined;
    this.#setPieces([]);
    this.#overflow.clear();
    this.#damaged.clear();
    await this.#shelf.clear();
  }

  lock<T>(signal: AbortSignal | undefined, body: () => Promise<T>): Promise<T> {
    return this.#shelf.lock(signal, body);
  }

  close(): void {
    this.#last = this.#room = undefined;
    this.#overflow.clear();
    this.#shelf.close?.();
  }
}

/** In the order of the file when sorted as texts. */
function placeOf(from: number, to: number): string {
  return [from, to].map((n) => String(n).padStart(10, "0")).join("-");
}

function parsePiece(name: string): Piece | undefined {
  const [, from, to, sha256] = /^(\d{10})-(\d{10})-([0-9a-f]{64})$/.exec(name) ?? [];
  return sha256 === undefined ? undefined : { from: Number(from), to: Number(to), sha256, name };
}

function parseAbout(bytes: Uint8Array): About | undefined {
  try {
    const about = JSON.parse(new TextDecoder().decode(bytes)) as About;
    const { model, file, address, size, sha256 } = about;
    const right = [model, file, address].every((text) => typeof text === "string") &&
      Number.isSafeInteger(size) && size >= 0 && (sha256 === undefined || isSha256(sha256));
    return right ? about : undefined;
  } catch {
    return undefined;
  }
}

/** What of an entry a list of names and its `about.json` say, without its pieces being read. */
export function summary(names: readonly string[], about: Uint8Array): { about: About; bytes: number } | undefined {
  const known = parseAbout(about);
  const pieces = names.map(parsePiece).filter((piece) => piece !== undefined);
  return known && { about: known, bytes: merged(pieces).reduce((n, { from, to }) => n + to - from, 0) };
}
