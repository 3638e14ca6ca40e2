/**
 * How much of speech is left: STOI (Taal, Hendriks, Heusdens, Jensen, IEEE TASLP 19(7), 2011) and the distance of mel spectra.
 * Written from the paper; where it leaves room, as `pystoi` does.
 */
import { resample } from "../../mod.ts";
import { fft } from "../../src/cli/spectrogram.ts";

const RATE = 10000, FRAME = 256, HOP = 128, SIZE = 512;
const BANDS = 15, LOWEST = 150;
/** Frames of a segment: 384 ms; dB by which silent frames are below the loudest; clipping, as 10^(15/20). */
const SEGMENT = 30, DYNAMIC = 40, CLIP = 10 ** (15 / 20);
const EPS = 2 ** -52;

/** Hann without its zeros. */
function hann(n: number): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => 0.5 - 0.5 * Math.cos(2 * Math.PI * (i + 1) / (n + 1)));
}

/** Squared magnitudes of `size / 2 + 1` frequencies of each frame. */
function powers(x: ArrayLike<number>, frame: number, hop: number, size: number): Float64Array[] {
  const window = hann(frame), out: Float64Array[] = [];
  for (let start = 0; start < x.length - frame; start += hop) {
    const re = new Float64Array(size), im = new Float64Array(size);
    for (let i = 0; i < frame; i++) re[i] = window[i] * x[start + i];
    fft(re, im);
    out.push(Float64Array.from({ length: size / 2 + 1 }, (_, i) => re[i] * re[i] + im[i] * im[i]));
  }
  return out;
}

/** The frames of both in which the clean one is not silent, joined again. */
function withoutSilence(x: Float32Array, y: Float32Array): [Float64Array, Float64Array] {
  const window = hann(FRAME), starts: number[] = [], levels: number[] = [];
  for (let start = 0; start < x.length - FRAME; start += HOP) {
    let energy = 0;
    for (let i = 0; i < FRAME; i++) energy += (window[i] * x[start + i]) ** 2;
    starts.push(start);
    levels.push(20 * Math.log10(Math.sqrt(energy) + EPS));
  }
  const loudest = levels.reduce((a, b) => Math.max(a, b), -Infinity);
  const kept = starts.filter((_, i) => levels[i] > loudest - DYNAMIC),
    length = Math.max(0, kept.length - 1) * HOP + FRAME;
  const joined: [Float64Array, Float64Array] = [new Float64Array(length), new Float64Array(length)];
  kept.forEach((start, n) => {
    for (let i = 0; i < FRAME; i++) {
      joined[0][n * HOP + i] += window[i] * x[start + i];
      joined[1][n * HOP + i] += window[i] * y[start + i];
    }
  });
  return joined;
}

/** Third-octave bands as ranges of frequencies [from, to). */
const EDGES: readonly (readonly [number, number])[] = Array.from({ length: BANDS }, (_, k) => {
  const nearest = (hz: number) => Math.round(hz * SIZE / RATE);
  return [nearest(LOWEST * 2 ** ((2 * k - 1) / 6)), nearest(LOWEST * 2 ** ((2 * k + 1) / 6))];
});

function bands(x: Float64Array): number[][] {
  return powers(x, FRAME, HOP, SIZE).map((power) =>
    EDGES.map(([from, to]) => Math.sqrt(power.subarray(from, to).reduce((a, b) => a + b, 0)))
  );
}

const norm = (values: number[]) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
const centred = (values: number[]) => {
  const mean = values.reduce((a, b) => a + b, 0) / values.length,
    out = values.map((v) => v - mean),
    n = norm(out) + EPS;
  return out.map((v) => v / n);
};

/** Short-time objective intelligibility, up to 1, of speech that should be `clean`: both [samples] at `rate` Hz. */
export function stoi(clean: Float32Array, heard: Float32Array, rate: number): number {
  const [x, y] = rate === RATE ? [clean, heard] : [resample(clean, rate, RATE), resample(heard, rate, RATE)];
  const [xs, ys] = withoutSilence(x, y), a = bands(xs), b = bands(ys);
  let sum = 0, count = 0;
  for (let end = SEGMENT; end <= a.length; end++) {
    for (let band = 0; band < BANDS; band++) {
      const p = a.slice(end - SEGMENT, end).map((frame) => frame[band]);
      const q = b.slice(end - SEGMENT, end).map((frame) => frame[band]), scale = norm(p) / (norm(q) + EPS);
      const u = centred(p), v = centred(q.map((value, i) => Math.min(value * scale, p[i] * (1 + CLIP))));
      sum += u.reduce((all, value, i) => all + value * v[i], 0);
      count++;
    }
  }
  return sum / count;
}

/** Windows of 43 ms at 24 kHz every 10.7 ms, 40 triangular bands from 0 Hz to 8 kHz, nothing below -80 dB. */
const MEL_WINDOW = 1024, MEL_HOP = 256, MEL_BANDS = 40, MEL_HIGHEST = 8000, MEL_FLOOR = 1e-8;

function melSpectrum(x: Float32Array, rate: number): Float64Array[] {
  const mel = (hz: number) => 2595 * Math.log10(1 + hz / 700), hertz = (m: number) => 700 * (10 ** (m / 2595) - 1);
  const edges = Array.from({ length: MEL_BANDS + 2 }, (_, i) => hertz(mel(MEL_HIGHEST) * i / (MEL_BANDS + 1)));
  const weights = Array.from(
    { length: MEL_BANDS },
    (_, b) =>
      Float64Array.from({ length: MEL_WINDOW / 2 + 1 }, (_, i) => {
        const hz = i * rate / MEL_WINDOW, [low, middle, high] = edges.slice(b, b + 3);
        return Math.max(0, Math.min((hz - low) / (middle - low), (high - hz) / (high - middle)));
      }),
  );
  const scale = 4 / MEL_WINDOW ** 2 * 8 / 3; // a sine of full scale is about 0 dB
  return powers(x, MEL_WINDOW, MEL_HOP, MEL_WINDOW).map((power) =>
    Float64Array.from(weights, (weight) => {
      let sum = 0;
      for (let i = 0; i < weight.length; i++) sum += weight[i] * power[i];
      return 10 * Math.log10(Math.max(MEL_FLOOR, sum * scale));
    })
  );
}

/** Mean absolute difference of mel spectra in dB. */
export function melDistance(clean: Float32Array, heard: Float32Array, rate: number): number {
  const a = melSpectrum(clean, rate), b = melSpectrum(heard, rate), frames = Math.min(a.length, b.length);
  let sum = 0;
  for (let t = 0; t < frames; t++) {
    for (let band = 0; band < MEL_BANDS; band++) sum += Math.abs(a[t][band] - b[t][band]);
  }
  return sum / (frames * MEL_BANDS);
}

/** Signal-to-noise ratio in dB of `actual` against `expected`. */
export function snr(actual: Float32Array, expected: Float32Array): number {
  let noise = 0, signal = 0;
  expected.forEach((v, i) => {
    noise += (actual[i] - v) ** 2;
    signal += v * v;
  });
  return 10 * Math.log10(signal / noise);
}
