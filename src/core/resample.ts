/**
 * From one sampling rate to another. Output sample k is the input's value at time k / `to`: the sum over input samples
 * n of x[n] h(k from / to - n), where h is a sinc under a Kaiser window
 * (https://ccrma.stanford.edu/~jos/resample/). Before the first sample and after the last one the input is silent.
 *
 * Against what it passes at 0 Hz, the filter is flat within 0.1 dB up to 0.9 times the lower of the two Nyquist
 * frequencies, and from that Nyquist frequency on everything is at least 95 dB down: nothing folds back, and no image
 * of the input remains. The tests measure both.
 *
 * @module
 */
import { checkFinite } from "./audio.ts";
import { checkOptions, describe, MimiRangeError, MimiTypeError } from "./errors.ts";
import { besselI0, cosSin } from "./math.ts";

/** Where the filter has fallen to a half, as a share of the lower Nyquist frequency: between 0.9 and 1. */
const CUTOFF = 0.95;
/** Zero crossings on either side, nearly: half the filter's length in samples of the lower rate. */
const HALF_WIDTH = 64;
/**
 * Of the Kaiser window, for 100 dB: 0.1102 (100 - 8.7). The fall then takes (100 - 7.95) / (2.285 pi 2 HALF_WIDTH) = 0.1
 * of the lower Nyquist frequency (J. F. Kaiser, 1974).
 */
const BETA = 10.06;
/** Rates with a ratio in whole numbers up to this one get a phase for each position that occurs: at most 9 MB. */
const MOST_STEPS = 8192;
/** Phases between two samples of the lower rate for all others; linear interpolation between them errs by some -127 dB. */
const PHASES = 1024;

/** Rates count in units of 2^-28 Hz, so that positions are whole numbers below 2^53 and never round. */
const UNIT = 2 ** 28;
const LOWEST_RATE = 1, HIGHEST_RATE = 1e7, MOST_APART = 256;

/** Samples that are converted at a time, whatever a call brings. */
const BLOCK = 1024;

/** Sampling rates in Hz from 1 to 10,000,000, whole or not (to 2^-28 Hz), at most 256 times apart. */
export interface ResamplerOptions {
  /** Rate of the input. */
  from: number;
  /** Rate of the output. */
  to: number;
}

/**
 * Converts a stream of mono audio, in pieces of any length and in constant memory. The samples are those of
 * {@link resample} over the whole, bit for bit, in every engine.
 *
 * ```ts
 * const resampler = new Resampler({ from: 48000, to: 24000 });
 * for await (const piece of microphone) use(resampler.process(piece));
 * use(resampler.finish());
 * ```
 */
export class Resampler {
  /** Hz of the input. */
  readonly from: number;
  /** Hz of the output. */
  readonly to: number;
  /**
   * Input samples that are held back, because an output sample also depends on what comes after it: of n samples given,
   * the first n - delay have become ceil((n - delay) * to / from). 64 samples of the lower rate (rounded up to an even
   * number of the input's), or none where the rates are equal.
   */
  readonly delay: number;

  readonly #filter: Filter;
  /** Input from `#start` on is still needed; it ends at `#end`. */
  readonly #input: Float64Array;
  #end = 0;
  /** The next output sample lies `#part / up` samples after the middle of the `taps` that begin here. */
  #start = 0;
  #part = 0;

  /**
   * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what are no numbers.
   * @throws {MimiRangeError} `ERR_SAMPLING_RATE` for rates that are not supported.
   */
  constructor(options: ResamplerOptions) {
    const where = "Resampler";
    checkOptions(where, options, ["from", "to"]);
    const from = this.from = checkHz(where, "from", options?.from), to = this.to = checkHz(where, "to", options?.to);
    if (Math.max(from, to) > MOST_APART * Math.min(from, to)) {
      throw new MimiRangeError(
        "ERR_SAMPLING_RATE",
        `${where}: from and to must be at most ${MOST_APART} times apart, got ${from} and ${to} Hz.`,
      );
    }
    this.#filter = makeFilter(from, to);
    this.delay = this.#filter.taps / 2;
    this.#input = new Float64Array(this.#filter.taps + BLOCK);
    this.reset();
  }

  /**
   * The output samples that can be computed with these input samples, [n] with n >= 0.
   *
   * @param pcm mono samples at `from` Hz, any number of them. The array stays the caller's.
   * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what is no Float32Array.
   * @throws {MimiRangeError} `ERR_NOT_FINITE`; the stream stays as it was.
   */
  process(pcm: Float32Array): Float32Array {
    const where = "Resampler.process";
    if (!(pcm instanceof Float32Array)) {
      throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: pcm must be a Float32Array, got ${describe(pcm)}.`);
    }
    checkFinite(where, pcm);
    if (this.delay === 0) return pcm.slice();
    const out = new Float32Array(this.#ready(pcm.length)), input = this.#input;
    for (let at = 0, done = 0; at < pcm.length;) {
      if (this.#end === input.length) this.#forget();
      const piece = pcm.subarray(at, at + input.length - this.#end);
      input.set(piece, this.#end);
      this.#end += piece.length;
      at += piece.length;
      done = this.#convert(out, done);
    }
    return out;
  }

  /** The samples that were held back, as if silence followed: in all ceil(n * to / from). Then a new stream begins. */
  finish(): Float32Array {
    const out = this.process(new Float32Array(this.delay));
    this.reset();
    return out;
  }

  /** Forgets everything that went through: a new stream begins. */
  reset(): void {
    this.#end = Math.max(0, this.delay - 1); // silence before the first sample, so that it is the middle of the taps
    this.#input.fill(0, 0, this.#end);
    this.#start = this.#part = 0;
  }

  /** How many output samples `more` input samples would complete. In BigInt, as products go past 2^53. */
  #ready(more: number): number {
    const { taps, up, down } = this.#filter, positions = this.#end + more - taps + 1 - this.#start;
    if (positions <= 0) return 0;
    return Number((BigInt(positions) * BigInt(up) - BigInt(this.#part) + BigInt(down - 1)) / BigInt(down));
  }

  /** Writes output samples from `out[done]` on for as long as their input is there; returns where they end. */
  #convert(out: Float32Array, done: number): number {
    const { taps, phases, up, down, rows } = this.#filter, input = this.#input, last = this.#end - taps;
    const whole = Math.floor(down / up), rest = down % up, scale = phases / up;
    let start = this.#start, part = this.#part;
    while (start <= last) {
      const phase = part * scale, row = Math.floor(phase), between = phase - row;
      let y = dot(rows, row * taps, input, start, taps);
      if (between > 0) y += between * (dot(rows, (row + 1) * taps, input, start, taps) - y);
      out[done++] = y;
      start += whole;
      part += rest;
      if (part >= up) {
        part -= up;
        start++;
      }
    }
    this.#start = start;
    this.#part = part;
    return done;
  }

  /** Makes room by dropping input that nothing needs any more. */
  #forget(): void {
    const drop = Math.min(this.#start, this.#end);
    this.#input.copyWithin(0, drop, this.#end);
    this.#end -= drop;
    this.#start -= drop;
  }
}

/**
 * Converts a whole recording: [n] to [ceil(n * to / from)], where output sample k lies at time k / `to`.
 *
 * ```ts
 * const { audioCodes } = await model.encode(resample(pcm, 44100, 24000));
 * ```
 *
 * @param pcm mono samples at `from` Hz.
 * @param from Hz of the input.
 * @param to Hz of the output; both as in {@link ResamplerOptions}.
 * @throws {MimiTypeError | MimiRangeError} as {@link Resampler} does.
 */
export function resample(pcm: Float32Array, from: number, to: number): Float32Array {
  const resampler = new Resampler({ from, to }), head = resampler.process(pcm), tail = resampler.finish();
  const out = new Float32Array(head.length + tail.length);
  out.set(head);
  out.set(tail, head.length);
  return out;
}

/** What a pair of rates needs: to / from = up / down in lowest terms, and the taps for `phases` positions in a sample. */
interface Filter {
  up: number;
  down: number;
  /** Input samples that an output sample depends on; a multiple of 4. */
  taps: number;
  phases: number;
  /** [phases + 1, taps]: row q for a position q / phases after the middle; the last one is there to interpolate to. */
  rows: Float64Array;
}

function makeFilter(from: number, to: number): Filter {
  const divisor = gcd(Math.round(from * UNIT), Math.round(to * UNIT));
  const up = Math.round(to * UNIT) / divisor, down = Math.round(from * UNIT) / divisor;
  if (up === down) return { up, down, taps: 0, phases: 0, rows: new Float64Array(0) };
  const stretch = Math.max(1, down / up), half = 2 * Math.ceil(HALF_WIDTH * stretch / 2), taps = 2 * half;
  const phases = Math.max(up, down) <= MOST_STEPS ? up : Math.ceil(PHASES / stretch);
  // One side of h, at `phases` points a sample.
  const side = Float64Array.from({ length: half * phases + 1 }, (_, i) => kernel(i / phases / stretch));
  const rows = new Float64Array((phases + 1) * taps);
  for (let q = 0; q <= phases; q++) {
    const row = rows.subarray(q * taps, (q + 1) * taps);
    let sum = 0;
    for (let n = 0; n < taps; n++) sum += row[n] = side[Math.abs((n - half + 1) * phases - q)];
    for (let n = 0; n < taps; n++) row[n] /= sum; // a constant stays that constant
  }
  return { up, down, taps, phases, rows };
}

/** The windowed sinc at x >= 0 samples of the lower rate from its middle. */
function kernel(x: number): number {
  if (x >= HALF_WIDTH) return 0;
  const angle = Math.PI * CUTOFF * x, share = x / HALF_WIDTH;
  return (x === 0 ? 1 : cosSin(angle)[1] / angle) * besselI0(BETA * Math.sqrt(1 - share * share));
}

/** The inner product of n values from a[i] and b[j] on, n a multiple of 4: four sums that do not wait for one another. */
function dot(a: Float64Array, i: number, b: Float64Array, j: number, n: number): number {
  let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (const end = i + n; i < end; i += 4, j += 4) {
    s0 += a[i] * b[j];
    s1 += a[i + 1] * b[j + 1];
    s2 += a[i + 2] * b[j + 2];
    s3 += a[i + 3] * b[j + 3];
  }
  return (s0 + s1) + (s2 + s3);
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function checkHz(where: string, name: string, rate: unknown): number {
  if (typeof rate !== "number") {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: ${name} must be a sampling rate in Hz, got ${describe(rate)}.`,
    );
  }
  if (!(rate >= LOWEST_RATE && rate <= HIGHEST_RATE)) {
    throw new MimiRangeError(
      "ERR_SAMPLING_RATE",
      `${where}: ${name} must be from ${LOWEST_RATE} to ${HIGHEST_RATE} Hz, got ${rate}.`,
    );
  }
  return rate;
}
