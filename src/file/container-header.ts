/**
 * The first 28 bytes of a `.mimi` file: what its codes are. docs/format.md has the table.
 *
 * @module
 */
import { describe, FormatError, MimiRangeError, MimiTypeError } from "../core/errors.ts";
import { viewOf } from "./bytes.ts";
import { crc32 } from "./crc32.ts";

/** Bytes of the header. */
export const HEADER_BYTES = 28;
/** Codebooks that a file of codes has at most. */
export const MOST_CODEBOOKS = 1024;

const MAGIC = [0x4d, 0x49, 0x4d, 0x49]; // "MIMI"
const VERSION = 1;
/** Bytes that the checksum covers: those before it. */
const CHECKED = 24;
const FINGERPRINT = /^[0-9a-f]{16}$/;

/** What a `.mimi` file says about its codes. */
export interface ContainerHeader {
  /** Hz of the audio, 1 to 2^32 - 1. */
  samplingRate: number;
  /** Samples that a frame stands for, 1 to 2^32 - 1. */
  frameSize: number;
  /** Codes of a frame, 1 to 1024. */
  codebooks: number;
  /** Bits of a code, 1 to 16: log2 of the codebook size. */
  bits: number;
  /** 16 hexadecimal characters; see `MimiModel.fingerprint`. */
  fingerprint: string;
}

/** The numbers of a header: what errors call them, and the values that the format can hold. */
const RANGES: Record<Exclude<keyof ContainerHeader, "fingerprint">, [what: string, low: number, high: number]> = {
  samplingRate: ["the sampling rate", 1, 0xffffffff],
  frameSize: ["the frame size", 1, 0xffffffff],
  codebooks: ["the number of codebooks", 1, MOST_CODEBOOKS],
  bits: ["the number of bits of a code", 1, 16],
};
const FIELDS = Object.keys(RANGES) as (keyof typeof RANGES)[];

/**
 * A copy of a caller's header, checked.
 *
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what is no header, or no fingerprint.
 * @throws {MimiRangeError} `ERR_OUT_OF_RANGE` for a number that the format cannot hold.
 */
export function checkHeader(where: string, header: ContainerHeader): ContainerHeader {
  if (typeof header !== "object" || header === null) {
    throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: header must be an object, got ${describe(header)}.`);
  }
  const { samplingRate, frameSize, codebooks, bits, fingerprint } = header;
  for (const field of FIELDS) {
    const [, low, high] = RANGES[field], value = header[field];
    if (!Number.isInteger(value) || value < low || value > high) {
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `${where}: header.${field} must be an integer from ${low} to ${high}, got ${describe(value)}.`,
      );
    }
  }
  if (typeof fingerprint !== "string" || !FINGERPRINT.test(fingerprint)) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: header.fingerprint must be 16 hexadecimal characters in lower case, got ${describe(fingerprint)}.`,
    );
  }
  return { samplingRate, frameSize, codebooks, bits, fingerprint };
}

/** The bytes of a checked header. */
export function formatHeader({ samplingRate, frameSize, codebooks, bits, fingerprint }: ContainerHeader): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES), out = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  out.setUint8(4, VERSION);
  out.setUint8(5, bits);
  out.setUint16(6, codebooks, true);
  out.setUint32(8, samplingRate, true);
  out.setUint32(12, frameSize, true);
  out.setBigUint64(16, BigInt("0x" + fingerprint), false); // as it is read
  out.setUint32(CHECKED, checksumOf(bytes), true);
  return bytes;
}

/** Checksum of a header; those of the blocks go on from it, so that a block fits no file with another header. */
export function checksumOf(header: Uint8Array): number {
  return crc32(header.subarray(0, CHECKED));
}

/** Whether bytes begin with a whole header, of whatever version. */
export function isHeader(bytes: Uint8Array): boolean {
  return bytes.length >= HEADER_BYTES && MAGIC.every((byte, i) => bytes[i] === byte) &&
    viewOf(bytes).getUint32(CHECKED, true) === checksumOf(bytes);
}

/**
 * Reads a header.
 *
 * @param name shown in error messages.
 * @throws {FormatError} `ERR_CONTAINER` for what is none, or is damaged.
 */
export function parseHeader(bytes: Uint8Array, name: string): ContainerHeader {
  const fail = (what: string): never => {
    throw new FormatError("ERR_CONTAINER", `${name}: ${what}.`);
  };
  if (bytes.length === 0) fail("the file is empty, expected a .mimi file");
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) {
    const start = JSON.stringify(String.fromCharCode(...bytes.subarray(0, 4)));
    fail(`not a .mimi file: it starts with ${start}, expected "MIMI"`);
  }
  if (bytes.length < HEADER_BYTES) {
    fail(`cut off: it has ${bytes.length} bytes, the header alone has ${HEADER_BYTES}`);
  }
  const from = viewOf(bytes), version = from.getUint8(4);
  if (version !== VERSION) fail(`it has version ${version}; this version of the library reads version ${VERSION}`);
  if (!isHeader(bytes)) fail("its header is damaged (wrong checksum)");
  const header: ContainerHeader = {
    samplingRate: from.getUint32(8, true),
    frameSize: from.getUint32(12, true),
    codebooks: from.getUint16(6, true),
    bits: from.getUint8(5),
    fingerprint: from.getBigUint64(16, false).toString(16).padStart(16, "0"),
  };
  for (const field of FIELDS) {
    const [what, low, high] = RANGES[field], value = header[field];
    if (value < low || value > high) fail(`${what} must be from ${low} to ${high}, got ${value}`);
  }
  return header;
}
