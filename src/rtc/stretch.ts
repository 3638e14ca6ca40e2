/**
 * A little more or less time for the same speech: one period is left out or heard twice, with a cross-fade where the
 * waveform is most like itself a period away (overlap-add by similarity: Verhelst and Roelands, WSOLA, ICASSP 1993). Pitch
 * stays, both ends stay as they are, and nothing clicks.
 *
 * @module
 */

/** Seconds of a period, at least and at most: voices from 67 to 400 Hz. */
const SHORTEST = 0.0025, LONGEST = 0.015;
/** Seconds of audio that a period is looked for in. */
const REGION = 0.04;
/** Likeness that a splice needs, from -1 to 1, and mean square below which anything goes (-60 dB). */
const ALIKE = 0.6, QUIET = 1e-6;

export interface StretchOptions {
  /** Samples to take out (below 0) or put in (above 0), at most. */
  change: number;
  /** Hz. */
  rate: number;
  /** Whether a splice must be made even where nothing is alike. */
  urgent: boolean;
}

/** Audio that is up to `change` samples longer or shorter; `pcm` itself where no place for a splice was found. */
export function stretch(pcm: Float32Array, { change, rate, urgent }: StretchOptions): Float32Array {
  const size = Math.min(pcm.length, Math.round(REGION * rate)), regions = Math.floor(pcm.length / size);
  const shortest = Math.round(SHORTEST * rate), longest = Math.min(Math.round(LONGEST * rate), size >> 1);
  const parts: Float32Array[] = [];
  let left = Math.abs(change);
  for (let i = 0; i < regions; i++) {
    const region = pcm.subarray(i * size, i === regions - 1 ? pcm.length : (i + 1) * size);
    // What is put in may be a period too much, what is taken out may not.
    const most = change > 0 ? longest : Math.min(longest, left);
    const lag = left > 0 && most >= shortest ? findPeriod(region, shortest, most, urgent) : 0;
    parts.push(lag === 0 ? region : change > 0 ? repeat(region, lag) : omit(region, lag));
    left -= lag;
  }
  if (left === Math.abs(change)) return pcm;
  const out = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
  for (let i = 0, at = 0; i < parts.length; at += parts[i++].length) out.set(parts[i], at);
  return out;
}

/** The lag at which the audio is most like itself, by normalised correlation; 0 where it is not alike at all. */
function findPeriod(x: Float32Array, shortest: number, longest: number, urgent: boolean): number {
  const n = x.length - longest;
  let best = 0, likeness = urgent ? -Infinity : ALIKE, own = 0;
  for (let i = 0; i < n; i++) own += x[i] * x[i];
  if (own / n < QUIET) return longest;
  for (let lag = shortest; lag <= longest; lag += 2) {
    let both = 0, other = 0;
    for (let i = 0; i < n; i += 2) {
      both += x[i] * x[i + lag];
      other += x[i + lag] * x[i + lag];
    }
    const alike = both / Math.sqrt(own / 2 * other + 1e-12);
    if (alike > likeness) {
      likeness = alike;
      best = lag;
    }
  }
  return best;
}

/** Without `lag` samples: what is before them fades into what is behind them. */
function omit(x: Float32Array, lag: number): Float32Array {
  const out = x.slice(0, x.length - lag), from = (x.length >> 1) - lag;
  out.set(x.subarray(from + lag), from);
  crossFade(out, from, x, from, from + lag, lag);
  return out;
}

/** With `lag` samples heard twice. */
function repeat(x: Float32Array, lag: number): Float32Array {
  const out = new Float32Array(x.length + lag), from = (x.length >> 1) - lag;
  out.set(x.subarray(0, from + lag));
  out.set(x.subarray(from), from + lag);
  crossFade(out, from + lag, x, from + lag, from, lag);
  return out;
}

/** `n` samples from `x[a]` on that become those from `x[b]` on. */
function crossFade(out: Float32Array, at: number, x: Float32Array, a: number, b: number, n: number): void {
  for (let i = 0; i < n; i++) {
    const share = (i + 0.5) / n;
    out[at + i] = x[a + i] * (1 - share) + x[b + i] * share;
  }
}
