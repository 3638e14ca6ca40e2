/**
 * Codes as JSON lines: a frame a line, the codes of its codebooks as an array, `[1049,1700,...]`. What a language model
 * prints, or a shell pipe carries.
 *
 * @module
 */
import { AudioCodes, type AudioCodesInput, toAudioCodes } from "../core/codes.ts";
import { describe, FormatError, MimiTypeError } from "../core/errors.ts";
import { type ByteChunks, ByteReader, concat } from "./bytes.ts";
import { CODE_LIMIT, type NameOptions } from "./codes.ts";
import { MOST_CODEBOOKS } from "./container-header.ts";

/** Bytes of a line, at most, and of what is read at a time: 1024 codes of 5 digits take 6 KB. */
const MOST_LINE_BYTES = 1 << 14;
const NEWLINE = 10;
const UTF8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Codes as the bytes of n lines. Lines of later codes may follow.
 *
 * @param codes [1, codebooks, n], n from 0.
 * @throws {MimiTypeError | MimiRangeError} `ERR_INVALID_ARGUMENT`, `ERR_CODE_OUT_OF_RANGE`.
 */
export function codesToJSONLines(codes: AudioCodesInput): Uint8Array {
  const where = "codesToJSONLines",
    { data, shape: [batch, codebooks, frames] } = toAudioCodes(where, codes, CODE_LIMIT);
  if (batch !== 1) {
    throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: codes must be one row, got a batch of ${batch}.`);
  }
  let text = "";
  for (let t = 0; t < frames; t++) {
    text += JSON.stringify(Array.from({ length: codebooks }, (_, k) => data[k * frames + t])) + "\n";
  }
  return new TextEncoder().encode(text);
}

/**
 * Codes from JSON lines in UTF-8: [1, codebooks, n] whenever n whole lines have come. The last line need not end.
 *
 * @throws {FormatError} `ERR_JSON_LINES`, with the number of the line, for a line that is not an array of integers from 0
 *   to 65535, as many as on the first; when what comes before it has been read.
 */
export async function* codesFromJSONLines(
  bytes: ByteChunks,
  options: NameOptions = {},
): AsyncGenerator<AudioCodes, void, undefined> {
  const { name = "JSON lines" } = options, reader = new ByteReader(bytes);
  let held: Uint8Array = new Uint8Array(0), number = 1, codebooks = 0;
  const fail: Fail = (what) => {
    throw new FormatError("ERR_JSON_LINES", `${name}: line ${number}: ${what}.`);
  };
  /** Adds bytes to those of the line that are held. */
  const hold = (part: Uint8Array) => {
    if (held.length + part.length > MOST_LINE_BYTES) fail(`it has more than ${MOST_LINE_BYTES} bytes`);
    held = concat([held, part]);
  };
  /** The line that is held. */
  const frame = (): number[] => {
    const codes = parseLine(held, codebooks, fail);
    codebooks = codes.length;
    number++;
    held = held.subarray(0, 0);
    return codes;
  };
  try {
    for (let piece; (piece = await reader.some(MOST_LINE_BYTES)).length > 0;) {
      const frames: number[][] = [];
      try {
        for (let end; (end = piece.indexOf(NEWLINE)) >= 0; piece = piece.subarray(end + 1)) {
          hold(piece.subarray(0, end));
          frames.push(frame());
        }
        hold(piece);
      } finally {
        if (frames.length > 0) yield AudioCodes.fromFrames(frames); // also those before a line that is wrong
      }
    }
    if (held.length > 0) yield AudioCodes.fromFrames([frame()]);
  } finally {
    await reader.close();
  }
}

type Fail = (what: string) => never;

/** Codes of a line; any number of them where `codebooks` is 0. */
function parseLine(bytes: Uint8Array, codebooks: number, fail: Fail): number[] {
  let codes: unknown;
  try {
    codes = JSON.parse(UTF8.decode(bytes));
  } catch (cause) {
    return fail(`expected JSON, an array of codes (${(cause as Error).message})`);
  }
  if (!Array.isArray(codes) || codes.length === 0 || codes.length > MOST_CODEBOOKS) {
    return fail(`expected an array of 1 to ${MOST_CODEBOOKS} codes, got ${describe(codes)}`);
  }
  if (codebooks > 0 && codes.length !== codebooks) {
    fail(`it has ${codes.length} codes, the lines before it have ${codebooks}`);
  }
  const wrong = codes.findIndex((code) => !Number.isInteger(code) || code < 0 || code >= CODE_LIMIT);
  if (wrong >= 0) {
    fail(`code ${describe(codes[wrong])} of codebook ${wrong} is not an integer from 0 to ${CODE_LIMIT - 1}`);
  }
  return codes;
}
