/** `.mimi` files to read and to damage, and what a reader may say about them. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { AudioCodes, MimiError } from "../../mod.ts";
import { isMimiError } from "../../mod.ts";
import { type BlockHead, formatBlock } from "../../src/file/blocks.ts";
import { checksumOf, formatHeader } from "../../src/file/container-header.ts";
import {
  type Block,
  type Container,
  type ContainerEnd,
  type ContainerHeader,
  type FileWarning,
  readContainer,
  type SeekableContainer,
} from "../../src/file/container.ts";
import type { Random } from "./random.ts";

export const HEADER: ContainerHeader = {
  samplingRate: 24000,
  frameSize: 1920,
  codebooks: 8,
  bits: 11,
  fingerprint: "0123456789abcdef",
};

/** A file, block by block. */
export interface Sample {
  header: ContainerHeader;
  /** [1, codebooks, frames]. */
  codes: AudioCodes;
  samples: number;
  /** Bytes of the header, then of each block. */
  parts: Uint8Array[];
  /** First frame of each block, then the number of frames. */
  firsts: number[];
  bytes: Uint8Array;
}

export function randomCodes(rng: Random, { codebooks, bits }: ContainerHeader, frames: number): AudioCodes {
  const data = Uint16Array.from({ length: codebooks * frames }, () => rng.integer(0, 2 ** bits - 1));
  return { data, shape: [1, codebooks, frames] };
}

/** A file whose blocks have these numbers of frames, and whose last frame lacks `missing` samples. */
export function makeSample(rng: Random, header: ContainerHeader, sizes: number[], missing = 0): Sample {
  const frames = sizes.reduce((a, b) => a + b, 0), codes = randomCodes(rng, header, frames);
  const start = formatHeader(header), parts = [start], firsts = [0], rows = byFrame(codes);
  sizes.forEach((size, i) => {
    const first = firsts[i], last = i === sizes.length - 1;
    const head: BlockHead = { first, samples: size * header.frameSize - (last ? missing : 0), last };
    const flat = Uint16Array.from(rows.slice(first, first + size).flat());
    parts.push(formatBlock(header, checksumOf(start), head, flat));
    firsts.push(first + size);
  });
  return { header, codes, samples: frames * header.frameSize - missing, parts, firsts, bytes: concat(parts) };
}

export function concat(parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Codes [1, codebooks, n] as n frames. */
export function byFrame({ data, shape: [, codebooks, n] }: AudioCodes): number[][] {
  return Array.from({ length: n }, (_, t) => Array.from({ length: codebooks }, (_, k) => data[k * n + t]));
}

/** All that a reader says: blocks, warnings, and how it ended. */
export interface Told {
  blocks: Block[];
  warnings: FileWarning[];
  end?: ContainerEnd;
  error?: MimiError;
}

/** Reads with warnings; anything that is thrown must be an error of this library. */
export async function told(bytes: Parameters<typeof readContainer>[0]): Promise<Told> {
  const out: Told = { blocks: [], warnings: [] };
  try {
    const container = await readContainer(bytes, { onWarning: (warning) => out.warnings.push(warning) });
    out.end = await drain(container, out.blocks);
  } catch (error) {
    assert.ok(isMimiError(error), String(error));
    out.error = error;
  }
  return out;
}

/** Collects the blocks; returns what the generator returns. */
export async function drain(
  container: Container,
  blocks: Block[],
): Promise<ContainerEnd> {
  const found = container.blocks();
  let next = await found.next();
  for (; !next.done; next = await found.next()) blocks.push(next.value);
  return next.value;
}

export async function blocksFrom(container: SeekableContainer, frame: number): Promise<Block[]> {
  const out: Block[] = [];
  for await (const block of container.blocks(frame)) out.push(block);
  return out;
}

/** [first, end) of the frames that are in blocks, or lost, in order. */
export function ranges({ blocks, warnings }: Told): { there: [number, number][]; lost: [number, number][] } {
  return {
    there: blocks.map(({ first, codes }) => [first, first + codes.shape[2]]),
    lost: warnings.filter((w) => w.code === "WARN_LOST_FRAMES").map((w) => [w.first!, w.first! + w.frames!]),
  };
}

/**
 * Whatever was done to the file: each block that was read is the sample's at that place, and every frame up to the end is
 * in exactly one block or one lost range. Where an end block was found the end is the sample's.
 */
export function assertHonest(what: string, sample: Sample, said: Told): void {
  const { header: { codebooks, frameSize }, codes, samples } = sample, frames = codes.shape[2];
  assert.equal(said.error, undefined, what);
  for (const block of said.blocks) {
    const { first, codes: { data, shape }, last } = block, n = shape[2];
    assert.deepEqual(shape, [1, codebooks, n], what);
    assert.ok(n >= 1 && n <= 256, what);
    const wrong = data.findIndex((code, i) => code !== codes.data[Math.floor(i / n) * frames + first + i % n]);
    assert.equal(wrong, -1, `${what}: block from frame ${first}`);
    assert.equal(block.samples, last ? samples - first * frameSize : n * frameSize, what);
  }
  const { there, lost } = ranges(said), all = [...there, ...lost].sort((a, b) => a[0] - b[0]), { end } = said;
  let at = 0;
  for (const [from, to] of all) {
    assert.equal(from, at, `${what}: ${JSON.stringify(all)}`);
    at = to;
  }
  assert.equal(end?.frames, at, what);
  assert.equal(end.truncated, said.warnings.some((w) => w.code === "WARN_TRUNCATED"), what);
  assert.equal(end.samples, end.truncated ? at * frameSize : samples, what);
  if (!end.truncated) assert.equal(at, frames, what);
}
