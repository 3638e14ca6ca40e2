/**
 * `mimi verify`: whether `.mimi` files are whole. Every block is read and held against its checksum.
 *
 * @module
 */
import { isMimiError } from "../core/errors.ts";
import { type FileWarning, readContainer } from "../file/container.ts";
import { nameOf, readChunks } from "./files.ts";
import { formatSeconds } from "./format.ts";
import type { Surroundings } from "./program.ts";

/** What is found in a file. */
interface Finding {
  file: string;
  whole: boolean;
  /** Those that are lost included. */
  frames: number;
  lost: number;
  samples: number;
  seconds: number;
  warnings: FileWarning[];
}

/**
 * Verifies files and says what is wrong with each.
 *
 * @returns the exit code: 0 where all are whole, 1 where one is not, or is no `.mimi` file.
 */
export async function verify(
  { subjects, json }: { subjects: string[]; json: boolean },
  { print, say, signal }: Surroundings,
): Promise<number> {
  let code = 0;
  for (const file of subjects) {
    signal.throwIfAborted();
    try {
      const finding = await verifyFile(file, signal);
      if (!finding.whole) code = 1;
      await print(`${json ? JSON.stringify(finding) : describeFinding(finding)}\n`);
    } catch (error) {
      if (!isMimiError(error)) throw error;
      code = 1;
      if (json) await print(`${JSON.stringify({ file, error: { code: error.code, message: error.message } })}\n`);
      say(error.message);
    }
  }
  return code;
}

async function verifyFile(file: string, signal: AbortSignal): Promise<Finding> {
  const warnings: FileWarning[] = [], chunks = readChunks(file, { signal });
  try {
    const { header: { samplingRate }, blocks } = await readContainer(chunks, {
      name: nameOf(file),
      onWarning: (warning) => warnings.push(warning),
    });
    const found = blocks();
    let block = await found.next(), there = 0;
    for (; !block.done; block = await found.next()) there += block.value.codes.shape[2];
    const { frames, samples } = block.value;
    return {
      file,
      whole: warnings.length === 0,
      frames,
      lost: frames - there,
      samples,
      seconds: samples / samplingRate,
      warnings,
    };
  } finally {
    await chunks.return();
  }
}

function describeFinding({ file, whole, frames, lost, seconds, warnings }: Finding): string {
  const name = nameOf(file), duration = formatSeconds(seconds);
  if (whole) return `${name}: whole, ${frames} frames, ${duration}`;
  const loss = lost === 0 ? "no frame is lost" : `${lost} of ${frames} frames ${lost === 1 ? "is" : "are"} lost`;
  return [...warnings.map(({ message }) => message), `${name}: damaged, ${loss}, ${duration} in all`].join("\n");
}
