/** Sound to measure with: tones whose loudness follows noise, the same in every run and for every cut. */

const TAU = 2 * Math.PI;
const RATE = 24000;
const TONES: readonly number[] = [142, 311, 587, 1240, 2650];
/** Samples between two values of the noise; in between it is linear. */
const GRAIN = 960;

/** A value in [0, 1) for each whole number. */
function noise(n: number): number {
  let x = Math.imul(n ^ (n >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
}

/** Samples `start` to `start + count` of an endless signal between -1 and 1, 24 kHz. */
export function signal(start: number, count: number): Float32Array {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const t = start + i, grain = Math.floor(t / GRAIN), share = t / GRAIN - grain;
    let sum = (noise(t) - 0.5) * 0.1;
    TONES.forEach((hz, tone) => {
      const key = tone * 0x1000003, loud = noise(key + grain) * (1 - share) + noise(key + grain + 1) * share;
      sum += loud * Math.sin((TAU * ((hz * t) % RATE)) / RATE) * 0.18;
    });
    out[i] = sum;
  }
  return out;
}
