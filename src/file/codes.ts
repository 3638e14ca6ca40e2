/**
 * What the formats of codes that come from tensors have in common.
 *
 * @module
 */
import { type AudioCodes, toAudioCodes } from "../core/codes.ts";
import type { Integers } from "../core/integers.ts";
import { MOST_CODEBOOKS } from "./container-header.ts";

/** How a file in memory is read. */
export interface NameOptions {
  /** Shown in error messages. */
  name?: string;
}

/** Codes above all codebooks there can be: a file does not say how many entries its codebooks have. */
export const CODE_LIMIT = 65536;
/** Rows of a batch, at most. Without frames no data stands for them. */
const MOST_ROWS = 65536;

/**
 * Codes from integers of shape [codebooks, frames] or [batch, codebooks, frames].
 *
 * @throws {MimiRangeError} `ERR_CODE_OUT_OF_RANGE` for an integer that is no code; and what `fail` throws for another shape.
 */
export function codesOf(name: string, data: Integers, shape: number[], fail: (what: string) => never): AudioCodes {
  const [batch, codebooks] = shape.length === 2 ? [1, ...shape] : shape;
  const right = (shape.length === 2 || shape.length === 3) && batch >= 1 && batch <= MOST_ROWS && codebooks >= 1 &&
    codebooks <= MOST_CODEBOOKS;
  if (!right) {
    fail(
      `shape [${
        shape.slice(0, 8)
      }], expected [codebooks, frames] or [batch, codebooks, frames] with 1 to ${MOST_CODEBOOKS} codebooks`,
    );
  }
  return toAudioCodes(name, { data, shape }, CODE_LIMIT);
}
