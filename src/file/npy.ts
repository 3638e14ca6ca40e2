/**
 * Codes to and from `.npy` files, NumPy's own format: `np.load("codes.npy")` is an array [batch, codebooks, frames] of u16.
 *
 * @module
 */
import { type AudioCodes, type AudioCodesInput, toAudioCodes } from "../core/codes.ts";
import { describe, FormatError, MimiTypeError } from "../core/errors.ts";
import { type IntegerType, toIntegers } from "../core/integers.ts";
import { sizeOf } from "../core/network.ts";
import { CODE_LIMIT, codesOf, type NameOptions } from "./codes.ts";

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // "\x93NUMPY"
/** Bytes before the header, per major version: magic, version, and the header's length of 2 or 4 bytes. */
const PREAMBLES: Record<number, number> = { 1: 10, 2: 12 };
/** Data begins at a multiple of it. */
const ALIGNMENT = 64;
/** A header has about 60 characters; NumPy itself refuses to evaluate more. */
const MOST_HEADER_BYTES = 10_000;

const TYPES: Record<string, IntegerType> = {
  "|u1": "U8",
  "|i1": "I8",
  "<u2": "U16",
  "<i2": "I16",
  "<u4": "U32",
  "<i4": "I32",
  "<u8": "U64",
  "<i8": "I64",
};

/** One `key: value,` of the header, a Python dict: a string, a truth value, or a tuple of sizes. The last comma may be absent. */
const ENTRY =
  /\s*(['"])(\w+)\1\s*:\s*(?:(['"])([^'"\\]*)\3|(True|False)|\(((?:\s*\d{1,16}\s*,)*(?:\s*\d{1,16})?)\s*\))\s*(?:,|(?=\}))/y;

/**
 * The bytes of a `.npy` file, version 1.0, of u16.
 *
 * @param codes [batch, codebooks, frames].
 * @throws {MimiTypeError | MimiRangeError} `ERR_INVALID_ARGUMENT`, `ERR_CODE_OUT_OF_RANGE`.
 */
export function codesToNpy(codes: AudioCodesInput): Uint8Array {
  const { data, shape } = toAudioCodes("codesToNpy", codes, CODE_LIMIT);
  const header = `{'descr': '<u2', 'fortran_order': False, 'shape': (${shape.join(", ")}), }`;
  const start = Math.ceil((PREAMBLES[1] + header.length + 1) / ALIGNMENT) * ALIGNMENT;
  const bytes = new Uint8Array(start + data.byteLength), length = start - PREAMBLES[1];
  bytes.set([...MAGIC, 1, 0, length & 255, length >> 8]);
  bytes.set(new TextEncoder().encode(header.padEnd(length - 1) + "\n"), PREAMBLES[1]);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start);
  return bytes;
}

/**
 * Codes [batch, codebooks, frames] from the bytes of a `.npy` file, version 1.0 or 2.0: integers of 1 to 8 bytes,
 * little-endian, in C order, of shape [codebooks, frames] or [batch, codebooks, frames].
 *
 * @throws {FormatError} `ERR_NPY` for everything else.
 * @throws {MimiRangeError} `ERR_CODE_OUT_OF_RANGE` for an integer that is not from 0 to 65535.
 */
export function codesFromNpy(bytes: Uint8Array, options: NameOptions = {}): AudioCodes {
  const { name = ".npy file" } = options;
  if (!(bytes instanceof Uint8Array)) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `codesFromNpy: bytes must be a Uint8Array, got ${describe(bytes)}.`,
    );
  }
  const fail: Fail = (what) => {
    throw new FormatError("ERR_NPY", `${name}: ${what}.`);
  };
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) fail("not a .npy file");
  const [major, minor] = bytes.subarray(6, 8), preamble = PREAMBLES[major];
  if (bytes.length >= 8 && (preamble === undefined || minor !== 0)) {
    fail(`it has version ${major}.${minor}; versions 1.0 and 2.0 can be read`);
  }
  if (bytes.length < 8 || bytes.length < preamble) fail("cut off inside its header");
  const view = new DataView(bytes.buffer, bytes.byteOffset),
    length = preamble === 10 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > MOST_HEADER_BYTES) fail(`its header claims ${length} bytes, at most ${MOST_HEADER_BYTES} are taken`);
  const start = preamble + length;
  if (bytes.length < start) fail("cut off inside its header");
  const { type, shape } = parseHeader(new TextDecoder().decode(bytes.subarray(preamble, start)), fail);

  // Sizes are checked against the bytes that are there before anything is made of them.
  const needed = sizeOf(shape) * Number(type.at(-1)), there = bytes.length - start;
  if (needed !== there) {
    fail(`its shape [${shape}] of ${type} needs ${needed} bytes, ${there} follow its header`);
  }
  return codesOf(name, toIntegers(bytes.subarray(start), TYPES[type]), shape, fail);
}

type Fail = (what: string) => never;

/** The three entries of the header, each there once. */
function parseHeader(text: string, fail: Fail): { type: string; shape: number[] } {
  let type: string | undefined, fortran: string | undefined, shape: number[] | undefined, at = text.indexOf("{") + 1;
  for (let entry; (entry = entryAt(text, at)); at = ENTRY.lastIndex) {
    const [, , key, , word, truth, sizes] = entry;
    if (key === "descr" && type === undefined && word !== undefined) type = word;
    else if (key === "fortran_order" && fortran === undefined && truth) fortran = truth;
    else if (key === "shape" && !shape && sizes !== undefined) shape = (sizes.match(/\d+/g) ?? []).map(Number);
    else fail(`its header has an entry ${JSON.stringify(entry[0].trim())} that does not belong there`);
  }
  const ends = /^\s*\{/.test(text) && /^\s*\}\s*$/.test(text.slice(at));
  if (!ends || type === undefined || !fortran || !shape) {
    return fail(`its header is not a dict of descr, fortran_order and shape: ${describe(text)}`);
  }
  if (!Object.hasOwn(TYPES, type)) fail(`its data type is ${describe(type)}, expected one of ${Object.keys(TYPES)}`);
  if (fortran === "True") fail("it is in Fortran order; save it with np.ascontiguousarray");
  if (!shape.every(Number.isSafeInteger)) fail(`its shape [${shape}] is too large`);
  return { type, shape };
}

function entryAt(text: string, at: number): RegExpExecArray | null {
  ENTRY.lastIndex = at;
  return ENTRY.exec(text);
}
