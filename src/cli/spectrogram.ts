/**
 * How strong each frequency is over time.
 *
 * @module
 */

/** Samples of a window: 43 ms at 24 kHz, which shows the harmonics of a voice. */
const WINDOW = 1024;
/** What silence is shown as. */
const FLOOR_DB = -140;

/** Levels in dB, [rows, columns] with the highest frequency first. */
export interface Spectrogram {
  rows: number;
  columns: number;
  levels: Float32Array;
}

/**
 * The spectrogram from 0 Hz to `highest` of audio [samples], in `columns` columns that spread evenly over it; 0 dB is a
 * sine of full scale.
 */
export function spectrogram(audio: Float32Array, samplingRate: number, columns: number, highest: number): Spectrogram {
  const rows = Math.round(highest / samplingRate * WINDOW), levels = new Float32Array(rows * columns);
  const window = Float64Array.from(
    { length: WINDOW },
    (_, i) => 0.5 - 0.5 * Math.cos(2 * Math.PI * (i + 0.5) / WINDOW),
  );
  const re = new Float64Array(WINDOW), im = new Float64Array(WINDOW);
  for (let x = 0; x < columns; x++) {
    const start = Math.round((x + 0.5) / columns * audio.length) - WINDOW / 2;
    for (let i = 0; i < WINDOW; i++) re[i] = (audio[start + i] ?? 0) * window[i];
    im.fill(0);
    fft(re, im);
    for (let y = 0; y < rows; y++) {
      const bin = rows - 1 - y, amplitude = Math.hypot(re[bin], im[bin]) * 4 / WINDOW; // the window halves it, the mirror image too
      levels[y * columns + x] = Math.max(FLOOR_DB, 20 * Math.log10(amplitude));
    }
  }
  return { rows, columns, levels };
}

/** The Fourier transform in place, radix 2; the length is a power of two. */
export function fft(re: Float64Array, im: Float64Array): void {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let half = 1; half < n; half *= 2) {
    for (let k = 0; k < half; k++) {
      const angle = -Math.PI * k / half, c = Math.cos(angle), s = Math.sin(angle);
      for (let i = k; i < n; i += 2 * half) {
        const j = i + half, x = re[j] * c - im[j] * s, y = re[j] * s + im[j] * c;
        re[j] = re[i] - x;
        im[j] = im[i] - y;
        re[i] += x;
        im[i] += y;
      }
    }
  }
}
