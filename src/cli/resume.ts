/**
 * What `--resume` leaves out: outputs that are whole, not older than their input, and made with the same settings.
 *
 * @module
 */
import { stat } from "node:fs/promises";
import { isMimiError } from "../core/errors.ts";
import type { MimiModel } from "../core/model.ts";
import type { ContainerEnd, FileWarning } from "../file/container.ts";
import { readWav, type Wav, WAV_HEADER_BYTES } from "../file/wav.ts";
import { type CodesFile, readCodes } from "./codes.ts";
import { nameOf, readChunks } from "./files.ts";
import type { Outcome, Task } from "./job.ts";

type Files = Pick<Task, "input" | "output">;

/** What encoding would come to, if a file of codes is there that holds it. Formats without a fingerprint are believed. */
export async function encodedBefore(
  files: Files,
  codebooks: number,
  { config, fingerprint }: MimiModel,
): Promise<Outcome | undefined> {
  const bytes = await sizeOfNewer(files);
  if (bytes === undefined) return undefined;
  const codes = await readEnd(files.output, config.frameSize).catch(ifBroken);
  if (!codes || (codes.info.fingerprint ?? fingerprint) !== fingerprint) return undefined;
  if ((codes.info.codebooks ?? codes.rows) !== codebooks) return undefined;
  const { frames, samples } = codes.end, seconds = samples / config.samplingRate;
  return { ...files, samples, seconds, frames, codebooks, fingerprint, bytes, warnings: [], resumed: true };
}

/** What decoding would come to, if a WAV file is there with as many samples as the codes stand for. */
export async function decodedBefore(
  files: Files,
  { config, fingerprint }: MimiModel,
): Promise<Outcome | undefined> {
  const bytes = await sizeOfNewer(files);
  if (bytes === undefined) return undefined;
  const warnings: FileWarning[] = [];
  const codes = await readEnd(files.input, config.frameSize, (warning) => warnings.push(warning)).catch(ifBroken);
  const wav = await readWavHeader(files.output).catch(ifBroken);
  if (!codes || !wav) return undefined;
  const { end: { frames, samples }, rows } = codes, { samplingRate } = config;
  if (wav.samplingRate !== samplingRate || wav.length !== samples || bytes !== WAV_HEADER_BYTES + 2 * samples) {
    return undefined;
  }
  const seconds = samples / samplingRate;
  return { ...files, samples, seconds, frames, codebooks: rows, fingerprint, bytes, warnings, resumed: true };
}

/** Size of an output that is not older than its input. */
async function sizeOfNewer({ input, output }: Files): Promise<number | undefined> {
  const [from, to] = await Promise.all([input, output].map((path) => stat(path).catch(() => undefined)));
  return from?.isFile() && to?.isFile() && from.mtimeMs <= to.mtimeMs ? to.size : undefined;
}

/** Reads a file of codes to its end. */
async function readEnd(
  path: string,
  frameSize: number,
  onWarning?: (warning: FileWarning) => void,
): Promise<Pick<CodesFile, "info"> & { end: ContainerEnd; rows: number }> {
  const chunks = readChunks(path);
  try {
    const { info, blocks } = await readCodes(chunks, { name: nameOf(path), onWarning }), found = blocks(frameSize);
    let block = await found.next(), rows = info.codebooks ?? 0;
    for (; !block.done; block = await found.next()) rows = block.value.codes.shape[1];
    return { info, end: block.value, rows };
  } finally {
    await chunks.return();
  }
}

async function readWavHeader(path: string): Promise<Wav> {
  const chunks = readChunks(path);
  try {
    return await readWav(chunks, { name: path });
  } finally {
    await chunks.return();
  }
}

/** A file that is broken is made again. */
function ifBroken(error: unknown): undefined {
  if (!isMimiError(error)) throw error;
}
