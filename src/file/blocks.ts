/**
 * The blocks of a `.mimi` file: how one is written, and how they are found again among bytes that cannot be trusted.
 * docs/format.md has the table.
 *
 * @module
 */
import { packBits, packedBytes } from "../core/bits.ts";
import type { ByteReader } from "./bytes.ts";
import { type ContainerHeader, HEADER_BYTES, isHeader } from "./container-header.ts";
import { crc32, multiply, shiftOf, step } from "./crc32.ts";

/** Frames of a block, at most. It bounds what a reader must hold. */
export const MOST_FRAMES = 256;
/** Most samples of a block, and most frames before one: what 32 bits hold. */
export const MOST_INDEX = 0xffffffff;

/** The first two bytes of a block, as a little-endian number: b5 1c, and with every bit turned over 4a e3. */
const DATA = 0x1cb5, END = 0xe34a;
/** The first four bytes of a file, "MIMI". */
const FILE = 0x494d494d;
const HEAD_BYTES = 10, CHECKSUM_BYTES = 4;
/** The smallest block: an end block without frames. */
const LEAST_BYTES = HEAD_BYTES + CHECKSUM_BYTES;
/** Bytes that are taken from the reader at a time. */
const PIECE = 1 << 14;
const NONE = new Uint8Array(0);

/** What a block says about itself. */
export interface BlockHead {
  /** Index of its first frame. */
  first: number;
  /** Samples that its frames stand for; only in the last block the last frame may be a partial one. */
  samples: number;
  /** Whether it is the end block. */
  last: boolean;
}

/** A block that was found whole. */
export interface FoundBlock extends BlockHead {
  frames: number;
  /** Of its first byte, in the file. */
  offset: number;
  /** Packed codes, frame by frame; valid until the scanner is asked again. */
  payload: Uint8Array;
}

/** Bytes of a block of so many frames. */
export function blockBytes({ codebooks, bits }: ContainerHeader, frames: number): number {
  return LEAST_BYTES + packedBytes(frames * codebooks, bits);
}

/**
 * The bytes of a block.
 *
 * @param checksum of the file's header.
 * @param codes of its frames, one frame after the other.
 */
export function formatBlock(
  header: ContainerHeader,
  checksum: number,
  head: BlockHead,
  codes: Uint16Array,
): Uint8Array {
  const payload = packBits(codes, header.bits), end = HEAD_BYTES + payload.length;
  const bytes = new Uint8Array(end + CHECKSUM_BYTES), out = new DataView(bytes.buffer);
  out.setUint16(0, head.last ? END : DATA, true);
  out.setUint32(2, head.first, true);
  out.setUint32(6, head.samples, true);
  bytes.set(payload, HEAD_BYTES);
  out.setUint32(end, crc32(bytes.subarray(0, end), checksum), true);
  return bytes;
}

/**
 * Finds the whole blocks in a row of bytes, one after the other, whatever lies between them.
 *
 * Where no block begins it looks one byte further. A hostile file can make every few bytes look like the start of the
 * longest block, so the checksum of a candidate must not cost its length: the scanner keeps what the checksum's register
 * is after each byte it holds, and has the checksum of any part of them from two of these (see crc32.ts). It holds as many
 * bytes as two of the longest blocks, and goes through each byte once.
 */
export class BlockScanner {
  readonly #reader: ByteReader;
  readonly #header: ContainerHeader;
  /** The checksum's register where a block begins. */
  readonly #register: number;
  /** What the frames of a block and its head multiply the register by, per number of frames; 0 if not known yet. */
  readonly #shifts: Int32Array = new Int32Array(MOST_FRAMES + 1);
  /** The bytes held are those from `#at` to `#end`. */
  #bytes: Uint8Array = NONE;
  #view: DataView = new DataView(NONE.buffer);
  /** `#registers[i]` is the register after the bytes before i, counted from the first byte ever read. */
  #registers: Int32Array = new Int32Array(1);
  #at = 0;
  #end = 0;
  /** Where byte 0 of `#bytes` lies in the file. */
  #base: number;
  #ended = false;

  /** Whether it stopped because another file begins. */
  foundFile = false;

  /** Bytes gone through or moved, places looked at, checksums made: what a test holds against the size of the file. */
  work = 0;

  /**
   * @param checksum of the file's header.
   * @param offset where in the file the reader is.
   */
  constructor(reader: ByteReader, header: ContainerHeader, checksum: number, offset: number) {
    this.#reader = reader;
    this.#header = header;
    this.#register = ~checksum;
    this.#base = offset;
  }

  /** Where in the file it looks next. */
  get offset(): number {
    return this.#base + this.#at;
  }

  /** The next whole block whose first frame is not before `least`. None where the file ends, or another one begins. */
  async next(least: number): Promise<FoundBlock | undefined> {
    // Waiting takes longer than looking, so it is done only where bytes are short.
    for (; this.#holds(LEAST_BYTES) || await this.#fill(LEAST_BYTES); this.#at++) {
      const head = this.#headHere(least);
      if (head && (this.#holds(head.length) || await this.#fill(head.length))) {
        const block = this.#takeBlock(head);
        if (block) return block;
      }
      if (
        this.#view.getUint32(this.#at, true) === FILE && (this.#holds(HEADER_BYTES) || await this.#fill(HEADER_BYTES))
      ) {
        this.work += HEADER_BYTES;
        this.foundFile = isHeader(this.#bytes.subarray(this.#at, this.#at + HEADER_BYTES));
        if (this.foundFile) break;
      }
    }
    return undefined;
  }

  /** The block that begins at this very place, if there is a whole one whose first frame is not before `least`. */
  async here(least: number): Promise<FoundBlock | undefined> {
    const head = await this.#fill(LEAST_BYTES) ? this.#headHere(least) : undefined;
    return head && await this.#fill(head.length) ? this.#takeBlock(head) : undefined;
  }

  /** Whether a byte is left. */
  async more(): Promise<boolean> {
    return await this.#fill(1);
  }

  async close(): Promise<void> {
    await this.#reader.close();
  }

  /** What the next 10 bytes say, if a block can say it. */
  #headHere(least: number): BlockHead & { frames: number; length: number } | undefined {
    this.work++;
    const { frameSize } = this.#header, view = this.#view, at = this.#at, sync = view.getUint16(at, true);
    if (sync !== DATA && sync !== END) return undefined;
    const last = sync === END, first = view.getUint32(at + 2, true), samples = view.getUint32(at + 6, true);
    const plausible = first >= least && samples <= MOST_FRAMES * frameSize &&
      (last || (samples > 0 && samples % frameSize === 0)) && Number.isSafeInteger(first * frameSize + samples);
    if (!plausible) return undefined;
    const frames = Math.ceil(samples / frameSize);
    return { first, samples, last, frames, length: blockBytes(this.#header, frames) };
  }

  /** Goes past the block at this place, all of whose bytes are held, if its checksum is right. */
  #takeBlock({ length, ...head }: BlockHead & { frames: number; length: number }): FoundBlock | undefined {
    this.work++;
    const { offset } = this, checked = length - CHECKSUM_BYTES, at = this.#at, end = at + checked;
    const shift = (this.#shifts[head.frames] ||= shiftOf(checked));
    const register = this.#registers[end] ^ multiply(this.#registers[at] ^ this.#register, shift);
    if (~register >>> 0 !== this.#view.getUint32(end, true)) return undefined;
    this.#at += length;
    return { ...head, offset, payload: this.#bytes.subarray(at + HEAD_BYTES, end) };
  }

  #holds(length: number): boolean {
    return this.#end - this.#at >= length;
  }

  /** Waits for bytes until `length` are held; false where there are not so many. */
  async #fill(length: number): Promise<boolean> {
    while (!this.#holds(length) && !this.#ended) {
      const piece = await this.#reader.some(PIECE);
      if (piece.length === 0) this.#ended = true;
      else this.#append(piece);
    }
    return this.#holds(length);
  }

  #append(piece: Uint8Array): void {
    if (this.#end + piece.length > this.#bytes.length) this.#makeRoom(piece.length);
    this.#bytes.set(piece, this.#end);
    let register = this.#registers[this.#end];
    for (const byte of piece) this.#registers[++this.#end] = register = step(register, byte);
    this.work += piece.length;
  }

  /** Moves the bytes held to the front; into twice the room where they would fill more than half of it. */
  #makeRoom(more: number): void {
    const held = this.#end - this.#at, needed = 2 * (held + more);
    const bytes = this.#bytes.subarray(this.#at, this.#end),
      registers = this.#registers.subarray(this.#at, this.#end + 1);
    if (needed > this.#bytes.length) {
      this.#bytes = new Uint8Array(needed);
      this.#view = new DataView(this.#bytes.buffer);
      this.#registers = new Int32Array(needed + 1);
    }
    this.#bytes.set(bytes);
    this.#registers.set(registers);
    this.work += held;
    this.#base += this.#at;
    this.#at = 0;
    this.#end = held;
  }
}
