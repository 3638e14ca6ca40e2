/** How results are held against goldens. */
import assert from "node:assert/strict";

/** A code may differ from the golden only where its two best entries are closer than this, relative to the best. */
const MARGIN = 1e-4;
/** Largest share of frames that may be excused by a margin. */
const MOST_EXCUSED = 0.01;

/**
 * Codes [codebooks, frames] equal the golden's; where one differs, its margin must be below 1e-4, and then the later
 * levels of that branch and frame are free. Excused frames are printed, and more than 1 % fail.
 */
export function assertCodes(
  name: string,
  actual: Uint16Array,
  golden: ArrayLike<number>,
  margin: Float32Array,
  frames: number,
  semantic: number,
): void {
  assert.equal(actual.length, golden.length, `${name}: number of codes`);
  const codebooks = actual.length / frames, free = new Set<number>();
  for (let t = 0; t < frames; t++) {
    for (const [from, to] of [[0, semantic], [semantic, codebooks]]) {
      for (let k = from; k < to; k++) {
        const at = k * frames + t;
        if (actual[at] === golden[at]) continue;
        assert.ok(
          margin[at] < MARGIN,
          `${name}: code ${actual[at]} at codebook ${k}, frame ${t} should be ${golden[at]} (margin ${margin[at]})`,
        );
        free.add(t);
        break;
      }
    }
  }
  const { size: excused } = free;
  if (excused) console.log(`${name}: ${excused} of ${frames} frames excused by a margin below ${MARGIN}`);
  assert.ok(excused <= frames * MOST_EXCUSED, `${name}: ${excused} of ${frames} frames excused`);
}

/** Largest difference is at most `bound`, absolute, or relative to the largest golden value. */
export function assertClose(
  name: string,
  actual: ArrayLike<number>,
  golden: ArrayLike<number>,
  bound: number,
  relative: boolean = false,
): void {
  assert.equal(actual.length, golden.length, `${name}: length`);
  let worst = 0, scale = relative ? 0 : 1;
  for (let i = 0; i < golden.length; i++) {
    worst = Math.max(worst, Math.abs(actual[i] - golden[i]));
    if (relative) scale = Math.max(scale, Math.abs(golden[i]));
    if (Number.isNaN(actual[i])) worst = Infinity;
  }
  assert.ok(worst <= bound * scale, `${name}: off by ${worst}, allowed ${bound * scale}`);
}
