/**
 * `.mimi` files, version 0: a header of 40 bytes, then the frames in order. All numbers are little-endian.
 *
 * | byte | type | what                                                                     |
 * | ---- | ---- | ------------------------------------------------------------------------ |
 * | 0    | u8x4 | `MIMI`                                                                   |
 * | 4    | u16  | version: 0                                                               |
 * | 6    | u16  | codebooks: 1 to 256                                                      |
 * | 8    | u32  | sampling rate of the audio in Hz: from 1                                 |
 * | 12   | u32  | samples of a frame: from 1                                               |
 * | 16   | u8   | bits of a code: 1 to 16                                                  |
 * | 17   | u8x7 | 0                                                                        |
 * | 24   | u8x8 | fingerprint of the model whose codes these are                           |
 * | 32   | u64  | samples of the audio, below 2^53; all bits set while the file is written |
 *
 * There are `ceil(samples / samples of a frame)` frames. A frame is one code of each codebook, codebook 0 first, packed
 * from the least significant bit of a byte upwards, and filled up with 0 bits to a whole byte: 8 codebooks of 9 bits are
 * 9 bytes. The file ends after the last frame.
 *
 * @module
 */
import type { AudioCodes } from "../core/codes.ts";
import { FormatError, MimiRangeError } from "../core/errors.ts";
import { type ByteChunks, ByteReader } from "./bytes.ts";

/** Bytes of the header. */
export const CONTAINER_HEADER_BYTES = 40;

const MAGIC = 0x494d494d; // "MIMI"
const VERSION = 0;
const MOST_CODEBOOKS = 256;
const UNFINISHED = 0xffffffffffffffffn;

/** What a `.mimi` file says about itself. */
export interface ContainerHeader {
  /** Hz of the audio. */
  samplingRate: number;
  /** Samples that a frame stands for. */
  frameSize: number;
  codebooks: number;
  /** Bits of a code: log2 of the codebook size. */
  bits: number;
  /** 16 hexadecimal characters; see `MimiModel.fingerprint`. */
  fingerprint: string;
  /** Samples of the audio, not rounded up to frames. */
  samples: number;
}

/** A `.mimi` file whose header has been read. */
export interface Container {
  header: ContainerHeader;
  /** Number of frames. */
  length: number;
  /** All frames, as codes [1, codebooks, 1 to `most`], to be read once. Throws `ERR_CONTAINER` where the file breaks off. */
  frames(most: number): AsyncGenerator<AudioCodes, void, undefined>;
}

/** Bits that a code of a codebook with `size` entries takes. */
export function bitsOf(size: number): number {
  return Math.max(1, 32 - Math.clz32(size - 1));
}

/** Frames that `samples` samples become. */
export function framesOf({ samples, frameSize }: Pick<ContainerHeader, "samples" | "frameSize">): number {
  return Math.ceil(samples / frameSize);
}

/** Bytes of a frame. */
export function frameBytes({ codebooks, bits }: Pick<ContainerHeader, "codebooks" | "bits">): number {
  return Math.ceil(codebooks * bits / 8);
}

/**
 * The header, 40 bytes. A writer that learns the number of samples last writes a header without it first, which no reader
 * takes, and the right one over it in the end.
 *
 * @throws {FormatError} `ERR_CONTAINER` for a field that the format cannot hold.
 */
export function containerHeader(header: Omit<ContainerHeader, "samples"> & { samples?: number }): Uint8Array {
  const { samplingRate, frameSize, codebooks, bits, fingerprint, samples } = header;
  checkFields({ ...header, samples: samples ?? 0 }, (what) => {
    throw new FormatError("ERR_CONTAINER", `containerHeader: ${what}.`);
  });
  const bytes = new Uint8Array(CONTAINER_HEADER_BYTES), out = new DataView(bytes.buffer);
  out.setUint32(0, MAGIC, true);
  out.setUint16(4, VERSION, true);
  out.setUint16(6, codebooks, true);
  out.setUint32(8, samplingRate, true);
  out.setUint32(12, frameSize, true);
  out.setUint8(16, bits);
  out.setBigUint64(24, BigInt("0x" + fingerprint), false); // as it is read
  out.setBigUint64(32, samples === undefined ? UNFINISHED : BigInt(samples), true);
  return bytes;
}

/**
 * Codes [1, codebooks, n] as the bytes of n frames.
 *
 * @throws {FormatError} `ERR_CONTAINER` for another shape, or a code that `bits` bits cannot hold.
 */
export function packFrames(codes: AudioCodes, layout: Pick<ContainerHeader, "codebooks" | "bits">): Uint8Array {
  const { data, shape: [batch, codebooks, frames] } = codes, { bits } = layout, stride = frameBytes(layout);
  if (batch !== 1 || codebooks !== layout.codebooks) {
    throw new FormatError(
      "ERR_CONTAINER",
      `packFrames: expected codes [1, ${layout.codebooks}, frames], got shape ${JSON.stringify(codes.shape)}.`,
    );
  }
  const bytes = new Uint8Array(frames * stride);
  for (let t = 0; t < frames; t++) {
    // `held` bits wait in `rest`, fewer than 8 between codes.
    let at = t * stride, rest = 0, held = 0;
    for (let k = 0; k < codebooks; k++) {
      const code = data[k * frames + t];
      if (code >= 1 << bits) {
        throw new FormatError(
          "ERR_CONTAINER",
          `packFrames: code ${code} at codebook ${k}, frame ${t} does not fit in ${bits} bits.`,
        );
      }
      rest |= code << held;
      for (held += bits; held >= 8; held -= 8, rest >>>= 8) bytes[at++] = rest & 255;
    }
    if (held > 0) bytes[at] = rest;
  }
  return bytes;
}

/**
 * Reads the header of a `.mimi` file; the frames follow as they are asked for.
 *
 * @param options.name shown in error messages.
 * @throws {FormatError} `ERR_CONTAINER` for everything that is not such a file.
 */
export async function readContainer(bytes: ByteChunks, options: { name?: string } = {}): Promise<Container> {
  const { name = ".mimi file" } = options, reader = new ByteReader(bytes);
  const fail: Fail = (what) => {
    throw new FormatError("ERR_CONTAINER", `${name}: ${what}.`);
  };
  try {
    const header = parseHeader(await reader.read(CONTAINER_HEADER_BYTES), fail);
    return { header, length: framesOf(header), frames: (most) => readFrames(reader, header, most, fail) };
  } catch (error) {
    await reader.close();
    throw error;
  }
}

type Fail = (what: string) => never;

function parseHeader(bytes: Uint8Array, fail: Fail): ContainerHeader {
  const from = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length === 0) fail("the file is empty, expected a .mimi file");
  if (bytes.length < 4 || from.getUint32(0, true) !== MAGIC) {
    fail(
      `not a .mimi file: it starts with ${
        JSON.stringify(String.fromCharCode(...bytes.subarray(0, 4)))
      }, expected "MIMI"`,
    );
  }
  if (bytes.length < CONTAINER_HEADER_BYTES) {
    fail(`cut off: it has ${bytes.length} bytes, the header alone has ${CONTAINER_HEADER_BYTES}`);
  }
  const version = from.getUint16(4, true), samples = from.getBigUint64(32, true);
  if (version !== VERSION) fail(`it has version ${version}; this version of the library reads version ${VERSION}`);
  if (bytes.subarray(17, 24).some((byte) => byte !== 0)) fail("bytes 17 to 23 of its header are not 0");
  if (samples === UNFINISHED) fail("whoever wrote it did not finish: it does not say how many samples it holds");
  const header: ContainerHeader = {
    samplingRate: from.getUint32(8, true),
    frameSize: from.getUint32(12, true),
    codebooks: from.getUint16(6, true),
    bits: from.getUint8(16),
    fingerprint: from.getBigUint64(24, false).toString(16).padStart(16, "0"),
    samples: Number(samples),
  };
  checkFields(header, fail);
  return header;
}

function checkFields(header: ContainerHeader, fail: Fail): void {
  const check = (what: string, value: number, low: number, high: number) => {
    if (!Number.isInteger(value) || value < low || value > high) {
      fail(`${what} must be from ${low} to ${high}, got ${value}`);
    }
  };
  check("the sampling rate", header.samplingRate, 1, 0xffffffff);
  check("the frame size", header.frameSize, 1, 0xffffffff);
  check("the number of codebooks", header.codebooks, 1, MOST_CODEBOOKS);
  check("the bits of a code", header.bits, 1, 16);
  check("the number of samples", header.samples, 0, Number.MAX_SAFE_INTEGER);
  if (!/^[0-9a-f]{16}$/.test(header.fingerprint)) {
    fail(`the fingerprint must be 16 hexadecimal characters, got ${JSON.stringify(header.fingerprint)}`);
  }
}

async function* readFrames(
  reader: ByteReader,
  header: ContainerHeader,
  most: number,
  fail: Fail,
): AsyncGenerator<AudioCodes, void, undefined> {
  const total = framesOf(header), stride = frameBytes(header);
  if (!(most >= 1)) throw new MimiRangeError("ERR_OUT_OF_RANGE", `frames: most must be at least 1, got ${most}.`);
  try {
    for (let t = 0; t < total;) {
      const count = Math.min(most, total - t),
        bytes = await reader.read(count * stride),
        whole = Math.floor(bytes.length / stride);
      if (whole < count) {
        fail(
          bytes.length % stride
            ? `cut off inside frame ${t + whole} of ${total}`
            : `cut off: it has ${t + whole} frames, its ${header.samples} samples need ${total}`,
        );
      }
      yield unpackFrames(bytes, header, count, t, fail);
      t += count;
    }
    if (await reader.skip(1)) fail(`bytes follow its last frame; its ${header.samples} samples need ${total} frames`);
  } finally {
    await reader.close();
  }
}

/** Bytes of n frames, the first of them frame `first` of the file, as codes [1, codebooks, n]. */
function unpackFrames(
  bytes: Uint8Array,
  { codebooks, bits }: ContainerHeader,
  frames: number,
  first: number,
  fail: Fail,
): AudioCodes {
  const data = new Uint16Array(codebooks * frames), mask = (1 << bits) - 1;
  for (let t = 0, at = 0; t < frames; t++) {
    let rest = 0, held = 0;
    for (let k = 0; k < codebooks; k++) {
      for (; held < bits; held += 8) rest |= bytes[at++] << held;
      data[k * frames + t] = rest & mask;
      rest >>>= bits;
      held -= bits;
    }
    if (rest !== 0) fail(`the bits after the last code of frame ${first + t} are not 0`);
  }
  return { data, shape: [1, codebooks, frames] };
}
