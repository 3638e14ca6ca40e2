/** What a resampler does to frequencies, measured from outside: by impulses and by sines. */
import { fft } from "../../src/cli/spectrogram.ts";

export type Convert = (pcm: Float32Array) => Float32Array;

export interface Response {
  /** Gain at 0 Hz; 1 is right. */
  gain: number;
  /** Largest departure from the gain at 0 Hz, up to 0.9 of the lower Nyquist frequency, dB. */
  ripple: number;
  /** Loudest alias or image, from the lower Nyquist frequency on, dB below the gain at 0 Hz. */
  rejection: number;
}

export const dB = (ratio: number): number => 20 * Math.log10(ratio);

export function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/**
 * From impulses. Output sample k sees an impulse at input sample n through h(k / to - n / from). Impulses at every
 * remainder of n that occurs show h at all multiples of 1 / (from up), where to / from = up / down: the whole filter.
 * Its spectrum holds everything that a sine can become: what comes out at f + i from is H(f + i from).
 *
 * @param width samples of the lower rate in which an impulse dies away.
 */
export function impulseResponse(convert: Convert, from: number, to: number, width: number): Response {
  const divisor = gcd(from, to), up = to / divisor, down = from / divisor;
  let spacing = Math.ceil(width * Math.max(1, from / to));
  while (gcd(spacing, down) !== 1) spacing++;
  const pcm = new Float32Array(spacing * (down + 2)),
    impulses = Array.from({ length: down }, (_, j) => spacing * (j + 1));
  for (const n of impulses) pcm[n] = 1;
  const out = convert(pcm), reach = spacing * up / 2;
  const size = 2 ** Math.ceil(Math.log2(4 * spacing * up)), re = new Float64Array(size), im = new Float64Array(size);
  for (const n of impulses) {
    for (let k = Math.ceil((n * up - reach) / down); k * down - n * up < reach; k++) {
      re[(k * down - n * up + size) % size] = out[k];
    }
  }
  fft(re, im);
  const nyquist = Math.min(from, to) / 2 / (from * up) * size, at = (bin: number) => Math.hypot(re[bin], im[bin]);
  const zero = at(0);
  let ripple = 0, loudest = 0;
  for (let bin = 0; bin <= size / 2; bin++) {
    if (bin <= 0.9 * nyquist) ripple = Math.max(ripple, Math.abs(dB(at(bin) / zero)));
    if (bin >= nyquist) loudest = Math.max(loudest, at(bin));
  }
  return { gain: zero / up, ripple, rejection: -dB(loudest / zero) };
}

/**
 * From sines of `frequencies` (shares of the lower Nyquist frequency). What is not the same sine at the output, in phase,
 * is an alias or an image; above the lower Nyquist frequency everything is.
 *
 * @param skip seconds at either end that do not count.
 */
export function sineResponse(
  convert: Convert,
  from: number,
  to: number,
  frequencies: readonly number[],
  skip: number,
): Omit<Response, "gain"> {
  const seconds = 2 * skip + 2000 / Math.min(from, to), n = Math.ceil(seconds * from);
  let ripple = 0, rejection = Infinity;
  for (const share of frequencies) {
    const omega = 2 * Math.PI * share * Math.min(from, to) / 2;
    const out = convert(Float32Array.from({ length: n }, (_, i) => 0.5 * Math.sin(omega * i / from)));
    const first = Math.ceil(skip * to), middle = out.subarray(first, out.length - first);
    const sine = Float64Array.from(middle, (_, i) => 0.5 * Math.sin(omega * (first + i) / to));
    let power = 0, common = 0, left = 0;
    for (let i = 0; i < middle.length; i++) {
      power += sine[i] * sine[i];
      common += sine[i] * middle[i];
    }
    const gain = share < 1 ? common / power : 0;
    for (let i = 0; i < middle.length; i++) left += (middle[i] - gain * sine[i]) ** 2;
    if (share <= 0.9) ripple = Math.max(ripple, Math.abs(dB(gain)));
    // An output that is silence has no level; the input's is that of any sine of this amplitude.
    rejection = Math.min(rejection, -dB(Math.sqrt(left / middle.length) / (0.5 * Math.SQRT1_2)));
  }
  return { ripple, rejection };
}
