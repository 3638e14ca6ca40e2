/**
 * Files of codes, whichever of the four formats they have.
 *
 * @module
 */
import type { AudioCodes } from "../core/codes.ts";
import { FormatError } from "../core/errors.ts";
import { type ByteChunks, ByteReader, concat } from "../file/bytes.ts";
import { codesFromSafetensors, type CodesInfo, codesToSafetensors } from "../file/codes-safetensors.ts";
import {
  type Block,
  type ContainerEnd,
  type ContainerHeader,
  ContainerWriter,
  type FileWarning,
  readContainer,
} from "../file/container.ts";
import { codesFromJSONLines, codesToJSONLines } from "../file/json-lines.ts";
import { codesFromNpy, codesToNpy } from "../file/npy.ts";

/** The formats, which are the endings of their files. */
export const CODE_FORMATS = ["mimi", "npy", "safetensors", "jsonl"] as const;
export type CodeFormat = (typeof CODE_FORMATS)[number];

/** The format that a name has by its ending. */
export function formatOf(name: string): CodeFormat | undefined {
  return CODE_FORMATS.find((format) => name.toLowerCase().endsWith(`.${format}`));
}

/** Makes the bytes of a file, piece by piece. */
export interface CodesWriter {
  begin(): Uint8Array;
  /** @param codes [1, codebooks, n]. */
  write(codes: AudioCodes): Uint8Array;
  /** @param samples of the whole recording. */
  finish(samples: number): Uint8Array;
}

const NOTHING = new Uint8Array(0);

/** Writers of the formats. Those that begin with a size hold all codes till the end: 16 bytes a frame of 8 codebooks. */
export const WRITERS: Record<CodeFormat, (header: ContainerHeader) => CodesWriter> = {
  mimi(header) {
    const writer = new ContainerWriter(header);
    return {
      begin: () => writer.header(),
      write: (codes) => writer.write(codes),
      finish: (samples) => writer.finish(samples),
    };
  },
  jsonl: () => ({ begin: () => NOTHING, write: codesToJSONLines, finish: () => NOTHING }),
  npy: ({ codebooks }) => gathering(codebooks, codesToNpy),
  safetensors: (header) =>
    gathering(header.codebooks, (codes, samples) => codesToSafetensors(codes, { ...header, samples })),
};

function gathering(codebooks: number, toBytes: (codes: AudioCodes, samples: number) => Uint8Array): CodesWriter {
  const pieces: AudioCodes[] = [];
  return {
    begin: () => NOTHING,
    write(codes) {
      pieces.push(codes);
      return NOTHING;
    },
    finish: (samples) => toBytes(joinCodes(pieces, codebooks), samples),
  };
}

/** Codes [1, codebooks, n] one after the other. */
export function joinCodes(pieces: readonly AudioCodes[], codebooks: number): AudioCodes {
  const frames = pieces.reduce((n, { shape }) => n + shape[2], 0), data = new Uint16Array(codebooks * frames);
  let at = 0;
  for (const { data: part, shape: [, , n] } of pieces) {
    for (let k = 0; k < codebooks; k++) data.set(part.subarray(k * n, (k + 1) * n), k * frames + at);
    at += n;
  }
  return { data, shape: [1, codebooks, frames] };
}

/** A file of codes whose beginning has been read. */
export interface CodesFile {
  format: CodeFormat;
  /** What the file says about its codes. */
  info: CodesInfo;
  /**
   * The codes, to be read once; returns how the recording ends.
   *
   * @param frameSize samples of a frame, for formats that do not say.
   */
  blocks(frameSize: number): AsyncGenerator<Block, ContainerEnd, undefined>;
}

/** Bytes of a file that must be in memory as a whole, at most. */
const MOST_BYTES = 2 ** 30;

/**
 * Reads a file of codes. Its first bytes tell the format, not its name.
 *
 * @param onWarning told of damage that does not keep the rest from being read; without it, it is an error.
 * @throws {FormatError} for what is no file of codes, and where one is broken.
 */
export async function readCodes(
  bytes: ByteChunks,
  { name, onWarning }: { name: string; onWarning?: (warning: FileWarning) => void },
): Promise<CodesFile> {
  const reader = new ByteReader(bytes);
  try {
    const head = await reader.peek(16), format = sniff(head);
    switch (format) {
      case "mimi": {
        const { header, blocks } = await readContainer(reader.rest(), { name, onWarning });
        return { format, info: header, blocks: () => blocks() };
      }
      case "jsonl":
        return {
          format,
          info: {},
          blocks: (frameSize) => inOrder(codesFromJSONLines(reader.rest(), { name }), frameSize),
        };
      case "npy": {
        const codes = codesFromNpy(await readAll(reader, name), { name });
        return { format, info: { codebooks: codes.shape[1] }, blocks: (size) => inOrder([oneRow(codes, name)], size) };
      }
      case "safetensors": {
        const { audioCodes, info } = await codesFromSafetensors(await readAll(reader, name), { name });
        const codes = oneRow(audioCodes, name), [, codebooks, frames] = codes.shape;
        return {
          format,
          info: { ...info, codebooks },
          blocks: (frameSize) => inOrder([codes], frameSize, samplesOf(info, frames, frameSize, name)),
        };
      }
      default:
        throw new FormatError(
          "ERR_CONTAINER",
          head.length === 0
            ? `${name}: the file is empty, expected codes.`
            : `${name}: no file of codes: it starts with ${
              JSON.stringify(String.fromCharCode(...head.subarray(0, 4)))
            }, expected .mimi, .npy, safetensors or JSON lines.`,
        );
    }
  } catch (error) {
    await reader.close();
    throw error;
  }
}

/** Which format a file has by its first bytes. */
export function sniff(head: Uint8Array): CodeFormat | undefined {
  const text = String.fromCharCode(...head.subarray(0, 16));
  if (text.startsWith("MIMI")) return "mimi";
  if (text.startsWith("\x93NUMPY")) return "npy";
  if (text.startsWith("[")) return "jsonl";
  // The size of the header in 64 bits, which never needs more than 32; then the header.
  if (/^[^]{4}\0{4}\{/.test(text)) return "safetensors";
  return undefined;
}

async function readAll(reader: ByteReader, name: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of reader.rest()) {
    size += piece.length;
    if (size > MOST_BYTES) throw new FormatError("ERR_CONTAINER", `${name}: it has more than ${MOST_BYTES} bytes.`);
    pieces.push(piece.slice());
  }
  return concat(pieces);
}

function oneRow(codes: AudioCodes, name: string): AudioCodes {
  if (codes.shape[0] === 1) return codes;
  throw new FormatError("ERR_CONTAINER", `${name}: it holds a batch of ${codes.shape[0]}, expected one recording.`);
}

function samplesOf({ samples }: CodesInfo, frames: number, frameSize: number, name: string): number {
  if (samples === undefined || Math.ceil(samples / frameSize) === frames) return samples ?? frames * frameSize;
  throw new FormatError(
    "ERR_SAFETENSORS",
    `${name}: it says ${samples} samples and has ${frames} frames of ${frameSize}.`,
  );
}

/** Codes that follow one another as blocks, cut to `most` samples. */
async function* inOrder(
  pieces: AsyncIterable<AudioCodes> | Iterable<AudioCodes>,
  frameSize: number,
  most: number = Infinity,
): AsyncGenerator<Block, ContainerEnd, undefined> {
  let first = 0, left = most;
  for await (const codes of pieces) {
    const frames = codes.shape[2], samples = Math.min(left, frames * frameSize);
    if (frames > 0) yield { first, codes, samples, last: false };
    first += frames;
    left -= samples;
  }
  return { frames: first, samples: Math.min(most, first * frameSize), truncated: false };
}
