/**
 * `.mimi` files: codes packed into checksummed blocks that are found again behind damage. docs/format.md describes every byte.
 *
 * @module
 */
import { unpackBits } from "../core/bits.ts";
import { type AudioCodes, type AudioCodesInput, toAudioCodes } from "../core/codes.ts";
import {
  checkOptions,
  describe,
  FormatError,
  InvalidStateError,
  MimiRangeError,
  MimiTypeError,
} from "../core/errors.ts";
import { blockBytes, BlockScanner, formatBlock, type FoundBlock, MOST_FRAMES, MOST_INDEX } from "./blocks.ts";
import { type ByteChunks, ByteReader, type ByteSourceInput, chunksFrom, concat, toSource } from "./bytes.ts";
import {
  checkHeader,
  checksumOf,
  type ContainerHeader,
  formatHeader,
  HEADER_BYTES,
  parseHeader,
} from "./container-header.ts";

export { bitsOf } from "../core/bits.ts";
export type { ContainerHeader } from "./container-header.ts";

/** Something in a file that was not as it should be, and did not keep the rest from being read. */
export interface FileWarning {
  /**
   * - `WARN_LOST_FRAMES`: frames `first` to `first + frames - 1` are not in the file or damaged.
   * - `WARN_STRAY_BYTES`: bytes between two blocks are no block that belongs there; no frame is lost.
   * - `WARN_TRUNCATED`: the file ends without an end block, so that nobody knows how much is missing.
   * - `WARN_TRAILING_BYTES`: bytes follow the end, another file perhaps; they were not read.
   */
  code: "WARN_LOST_FRAMES" | "WARN_STRAY_BYTES" | "WARN_TRUNCATED" | "WARN_TRAILING_BYTES";
  /** For people; names the file. */
  message: string;
  /** Byte of the file where it was noticed. */
  offset: number;
  /** First of the frames that are lost, where that is known. */
  first?: number;
  /** How many are lost. */
  frames?: number;
}

/** Frames that lie next to each other. */
export interface Block {
  /** Index of its first frame in the recording. */
  first: number;
  /** [1, codebooks, n], n from 1 to 256. */
  codes: AudioCodes;
  /** Samples that it stands for: n frames, the last of which is a partial one only at the end of the recording. */
  samples: number;
  /** Whether it is the end. A recording without frames ends without such a block. */
  last: boolean;
}

/** How a recording ends. */
export interface ContainerEnd {
  /** Number of frames, lost ones included. */
  frames: number;
  /** Number of samples; where the file is truncated, those that its frames stand for. */
  samples: number;
  /** Whether there is no end block, so that frames may be missing after the last one that was found. */
  truncated: boolean;
}

/** A `.mimi` file whose header has been read. */
export interface Container {
  /** What the file says of its codes. */
  header: ContainerHeader;
  /** The blocks, as they come, to be read once; returns how the recording ends. */
  blocks(): AsyncGenerator<Block, ContainerEnd, undefined>;
}

/** A `.mimi` file that can be read from any frame. */
export interface SeekableContainer extends ContainerEnd {
  /** What the file says of its codes. */
  header: ContainerHeader;
  /**
   * The blocks from a frame on, the first of them cut so that it begins there.
   *
   * @param fromFrame 0 to `frames`; default 0.
   * @throws {MimiRangeError} `ERR_OUT_OF_RANGE`.
   */
  blocks(fromFrame?: number): AsyncGenerator<Block, void, undefined>;
}

/** How to read a file. */
export interface ReadOptions {
  /** Shown in messages, where the file has no name of its own. */
  name?: string;
  /**
   * Told what is wrong with the file; every whole block is read then. Without it the first damage is an error, which is
   * thrown when everything before it has been read.
   */
  onWarning?: (warning: FileWarning) => void;
}

/** Makes the bytes of a `.mimi` file, piece by piece; nothing that it gave is changed later, so a pipe will do. */
export class ContainerWriter {
  readonly #header: ContainerHeader;
  readonly #headerBytes: Uint8Array;
  readonly #framesPerBlock: number;
  /** Frames that are in no block yet, one after the other, and how many they are. */
  readonly #held: Uint16Array;
  #count = 0;
  /** Frames that are in blocks. */
  #written = 0;
  #finished = false;

  /**
   * @param options.framesPerBlock 1 to 256, default 64. Damage costs a block at least, and each takes 14 bytes besides
   *   its codes. A live pipe takes 1. It is less where more would have 2^32 samples.
   * @throws {MimiTypeError | MimiRangeError} `ERR_INVALID_ARGUMENT`, `ERR_OUT_OF_RANGE` for a field that the format cannot
   *   hold.
   */
  constructor(header: ContainerHeader, options: { framesPerBlock?: number } = {}) {
    const where = "ContainerWriter";
    this.#header = checkHeader(where, header);
    this.#headerBytes = formatHeader(this.#header);
    checkOptions(where, options, ["framesPerBlock"]);
    const { framesPerBlock = 64 } = options, { frameSize, codebooks } = this.#header;
    if (!Number.isInteger(framesPerBlock) || framesPerBlock < 1 || framesPerBlock > MOST_FRAMES) {
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `${where}: framesPerBlock must be an integer from 1 to ${MOST_FRAMES}, got ${describe(framesPerBlock)}.`,
      );
    }
    this.#framesPerBlock = Math.min(framesPerBlock, Math.floor(MOST_INDEX / frameSize));
    this.#held = new Uint16Array(this.#framesPerBlock * codebooks);
  }

  /** Number of frames so far. */
  get frames(): number {
    return this.#written + this.#count;
  }

  /** The first bytes of the file: its header, 28 bytes. */
  header(): Uint8Array {
    return this.#headerBytes.slice();
  }

  /**
   * Takes codes and gives the bytes of the blocks that are certain, often none: the newest frame is always held back, since
   * it may turn out to be the last.
   *
   * @param codes [1, codebooks, n], n from 0.
   * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for another shape.
   * @throws {MimiRangeError} `ERR_CODE_OUT_OF_RANGE` for a code that does not fit in the bits of a code;
   *   `ERR_OUT_OF_RANGE` for more frames than a file can hold (2^32 - 1, or 2^53 samples).
   * @throws {InvalidStateError} `ERR_INVALID_STATE` after `finish`.
   */
  write(codes: AudioCodesInput): Uint8Array {
    const where = "ContainerWriter.write", { codebooks, bits, frameSize } = this.#header;
    this.#checkOpen(where);
    const { data, shape: [batch, rows, frames] } = toAudioCodes(where, codes, 1 << bits);
    if (batch !== 1 || rows !== codebooks) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: codes must be [1, ${codebooks}, frames], got shape [${batch},${rows},${frames}].`,
      );
    }
    const total = this.frames + frames;
    if (total > MOST_INDEX || !Number.isSafeInteger(total * frameSize)) {
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `${where}: a file cannot hold ${total} frames of ${frameSize} samples.`,
      );
    }
    const blocks: Uint8Array[] = [];
    for (let t = 0; t < frames; t++) {
      if (this.#count === this.#framesPerBlock) blocks.push(this.#block(this.#count * frameSize, false));
      const at = this.#count++ * codebooks;
      for (let k = 0; k < codebooks; k++) this.#held[at + k] = data[k * frames + t];
    }
    return concat(blocks);
  }

  /**
   * The end block, with the frames held back.
   *
   * @param samples of the whole recording: as many as its frames stand for, or less than a frame fewer.
   * @throws {MimiRangeError} `ERR_OUT_OF_RANGE` for another number; more frames can still be written then.
   * @throws {InvalidStateError} `ERR_INVALID_STATE` after `finish`.
   */
  finish(samples: number): Uint8Array {
    const where = "ContainerWriter.finish", { frameSize } = this.#header, { frames } = this;
    this.#checkOpen(where);
    if (!Number.isSafeInteger(samples) || samples < 0 || Math.ceil(samples / frameSize) !== frames) {
      const least = Math.max(0, (frames - 1) * frameSize + 1);
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `${where}: samples must be from ${least} to ${frames * frameSize} for ${frames} frames, got ${
          describe(samples)
        }.`,
      );
    }
    this.#finished = true;
    return this.#block(samples - this.#written * frameSize, true);
  }

  /** Turns the frames held back into a block. */
  #block(samples: number, last: boolean): Uint8Array {
    const codes = this.#held.subarray(0, this.#count * this.#header.codebooks), first = this.#written;
    this.#written += this.#count;
    this.#count = 0;
    return formatBlock(this.#header, checksumOf(this.#headerBytes), { first, samples, last }, codes);
  }

  #checkOpen(where: string): void {
    if (this.#finished) throw new InvalidStateError("ERR_INVALID_STATE", `${where}: the file is finished.`);
  }
}

/**
 * Reads the header of a `.mimi` file; the blocks follow as they are asked for, each as soon as its bytes are there. Holds
 * little, however long the file.
 *
 * @throws {FormatError} `ERR_CONTAINER` for what is no such file, and for damage (from `blocks`) without `onWarning`.
 */
export async function readContainer(
  bytes: ByteChunks,
  options: ReadOptions = {},
): Promise<Container> {
  checkOptions("readContainer", options, ["name", "onWarning"]);
  const { name = ".mimi file", onWarning } = options, reader = new ByteReader(bytes);
  try {
    const start = await reader.read(HEADER_BYTES), header = parseHeader(start, name);
    const scanner = new BlockScanner(reader, header, checksumOf(start), HEADER_BYTES);
    let asked = false;
    return {
      header,
      blocks() {
        if (asked) throw new InvalidStateError("ERR_INVALID_STATE", `${name}: its blocks can be read only once.`);
        asked = true;
        return readBlocks(scanner, header, reporter(name, onWarning));
      },
    };
  } catch (error) {
    await reader.close();
    throw error;
  }
}

/**
 * Opens a `.mimi` file that can be read at any place. It finds the end, and any frame, with a few small reads: blocks of one
 * size lie where a product says. Where the block there is another one, since bytes were lost or blocks differ in size, it
 * begins before that, at the start of the file at worst.
 *
 * What is wrong with the end is told here; lost frames and stray bytes are told by `blocks` when it comes to them.
 *
 * @param input bytes in memory, a `Blob`, or a source. It must stay as it is.
 * @throws {FormatError} `ERR_CONTAINER` for what is no such file, and for damage without `onWarning`.
 */
export async function openContainer(
  input: ByteSourceInput,
  options: ReadOptions = {},
): Promise<SeekableContainer> {
  checkOptions("openContainer", options, ["name", "onWarning"]);
  const source = toSource(input, options.name ?? ".mimi file");
  const start = await source.read(0, Math.min(HEADER_BYTES, source.size));
  const header = parseHeader(start, source.name), checksum = checksumOf(start);
  const report = reporter(source.name, options.onWarning);
  const scan = (offset: number) =>
    new BlockScanner(new ByteReader(chunksFrom(source, offset)), header, checksum, offset);

  const opening = await scan(HEADER_BYTES).here(0);
  /** Frames and bytes of a block, if all are like the first. */
  const size = opening?.first === 0 && !opening.last ? opening.frames : 0, stride = blockBytes(header, size);
  /** Reads from where block `index` should be, or the nearest one before it that is at its place; goes back in doubling steps. */
  const readFrom = async (index: number, report: Report, from: number) => {
    for (let i = index, back = 1; size > 0 && i > 0; i -= back, back *= 2) {
      const offset = HEADER_BYTES + i * stride, first = i * size, block = await scan(offset).here(first);
      if (block?.first === first) return readBlocks(scan(offset), header, report, first, from);
    }
    return readBlocks(scan(HEADER_BYTES), header, report, 0, from);
  };

  const whole = await readFrom(Math.floor((source.size - HEADER_BYTES) / stride), report, Infinity);
  let end = await whole.next();
  while (!end.done) end = await whole.next();
  const { frames } = end.value;
  return {
    header,
    ...end.value,
    blocks(fromFrame = 0) {
      if (!Number.isInteger(fromFrame) || fromFrame < 0 || fromFrame > frames) {
        throw new MimiRangeError(
          "ERR_OUT_OF_RANGE",
          `${source.name}: fromFrame must be an integer from 0 to ${frames}, got ${describe(fromFrame)}.`,
        );
      }
      const inside: Report = (warning) => ABOUT_THE_END.includes(warning.code) || report(warning);
      return (async function* () {
        yield* await readFrom(Math.floor(fromFrame / size), inside, fromFrame);
      })();
    },
  };
}

type Report = (warning: FileWarning) => void;

const ABOUT_THE_END: FileWarning["code"][] = ["WARN_TRUNCATED", "WARN_TRAILING_BYTES"];

/** Puts the name of the file before a warning, and makes it an error where nobody listens. */
function reporter(name: string, onWarning?: (warning: FileWarning) => void): Report {
  return (warning) => {
    const message = `${name}: ${warning.message}.`;
    if (!onWarning) throw new FormatError("ERR_CONTAINER", message);
    onWarning({ ...warning, message });
  };
}

/**
 * What a scanner finds, as blocks from frame `from` on and warnings about what lies between them.
 *
 * @param next index of the frame that should come next.
 */
async function* readBlocks(
  scanner: BlockScanner,
  header: ContainerHeader,
  report: Report,
  next = 0,
  from = 0,
): AsyncGenerator<Block, ContainerEnd, undefined> {
  try {
    for (;;) {
      const { offset } = scanner, found = await scanner.next(next);
      if (!found) {
        const message = `truncated: it has no end block; ${next} frames end at byte ${offset}`;
        report({ code: "WARN_TRUNCATED", message, offset });
        if (scanner.foundFile) report(trailing(scanner.offset, "another .mimi file follows"));
        return { frames: next, samples: next * header.frameSize, truncated: true };
      }
      const { first, frames, samples, last } = found, lost = Math.max(next, from);
      if (first > lost) {
        const message = `frames ${lost} to ${first - 1} are lost: ${
          found.offset > offset ? `bytes ${offset} to ${found.offset - 1} are damaged` : `missing at byte ${offset}`
        }`;
        report({ code: "WARN_LOST_FRAMES", message, offset, first: lost, frames: first - lost });
      } else if (found.offset > offset && next >= from) {
        const message = `bytes ${offset} to ${found.offset - 1} are no block that belongs there; no frame is lost`;
        report({ code: "WARN_STRAY_BYTES", message, offset });
      }
      next = first + frames;
      if (frames > 0 && next > from) yield blockOf(found, header, Math.max(0, from - first));
      if (!last) continue;
      if (await scanner.more()) report(trailing(scanner.offset, "bytes follow its end block"));
      return { frames: next, samples: first * header.frameSize + samples, truncated: false };
    }
  } finally {
    await scanner.close();
  }
}

function trailing(offset: number, what: string): FileWarning {
  return { code: "WARN_TRAILING_BYTES", message: `${what} at byte ${offset}`, offset };
}

/** A block without its first `skip` frames. */
function blockOf(found: FoundBlock, { codebooks, bits, frameSize }: ContainerHeader, skip: number): Block {
  const { first, frames, samples, last, payload } = found, n = frames - skip;
  const packed = unpackBits(payload, frames * codebooks, bits), data = new Uint16Array(codebooks * n);
  for (let t = 0; t < n; t++) {
    for (let k = 0; k < codebooks; k++) data[k * n + t] = packed[(skip + t) * codebooks + k];
  }
  return {
    first: first + skip,
    codes: { data, shape: [1, codebooks, n] },
    samples: samples - skip * frameSize,
    last,
  };
}
