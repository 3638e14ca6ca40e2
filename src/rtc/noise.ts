/**
 * Comfort noise: what is heard where nothing is said, in the colour and loudness of the quietest frames of late.
 *
 * Colour is an all-pole filter by linear prediction (autocorrelation, Levinson-Durbin), loudness the energy of what it leaves.
 *
 * @module
 */

const ORDER = 10;
/** By how much the loudness that counts as quiet grows with each second in which nothing was quieter. */
const RISE = 1.3;
/** Mean square of the noise before anything was heard (-80 dB), and at most (-36 dB): louder is no background. */
const SOFTEST = 1e-8, LOUDEST = 2.5e-4;

export class ComfortNoise {
  readonly #rise: number;
  /** Of the quietest frame: mean square, filter, gain of the white noise that goes into it. */
  #floor = Infinity;
  #filter = new Float64Array(ORDER);
  /** Gain for a mean square of 1. */
  #gain = 1;
  #level: number | undefined;
  readonly #memory = new Float64Array(ORDER);
  #seed = 0x6d2b79f5;

  /** @param frameSeconds how long a frame lasts. */
  constructor(frameSeconds: number) {
    this.#rise = RISE ** frameSeconds;
  }

  /** A frame of what was said, or of its background: [samples]. */
  learn(pcm: Float32Array): void {
    let energy = 0;
    for (const v of pcm) energy += v * v;
    energy = Math.max(SOFTEST, energy / pcm.length);
    if (energy > (this.#floor *= this.#rise)) return;
    this.#floor = energy;
    this.#shape(pcm);
  }

  /** What the sender says of its silence, in dB below full scale; holds until the next time. */
  setLevel(db: number): void {
    this.#level = 10 ** (-db / 10);
  }

  /** Forgets what the sender said. */
  clearLevel(): void {
    this.#level = undefined;
  }

  /** The next samples of the noise. */
  next(n: number): Float32Array {
    const energy = this.#level ?? (this.#floor === Infinity ? 0 : this.#floor);
    const gain = this.#gain * Math.sqrt(Math.min(LOUDEST, energy)), out = new Float32Array(n);
    const filter = this.#filter, past = this.#memory;
    for (let i = 0; i < n; i++) {
      // The filter runs at unit loudness, so that a change of loudness is heard at once.
      let y = this.#white();
      for (let k = ORDER - 1; k > 0; k--) {
        y -= filter[k] * past[k];
        past[k] = past[k - 1];
      }
      y -= filter[0] * past[0];
      past[0] = y;
      out[i] = gain * y;
    }
    return out;
  }

  /** Uniform with a mean square of 1. */
  #white(): number {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) | 0;
    return this.#seed / 2 ** 31 * 1.7320508;
  }

  #shape(pcm: Float32Array): void {
    const r = new Float64Array(ORDER + 1), n = pcm.length;
    for (let lag = 0; lag <= ORDER; lag++) {
      for (let i = lag; i < n; i++) r[lag] += pcm[i] * pcm[i - lag];
    }
    r[0] = r[0] * 1.0001 + 1e-9 * n; // a noise floor, so that the filter stays tame
    const a = new Float64Array(ORDER);
    let error = r[0];
    for (let k = 0; k < ORDER; k++) {
      let sum = r[k + 1];
      for (let j = 0; j < k; j++) sum += a[j] * r[k - j];
      const reflection = -sum / error, before = a.slice(0, k);
      a[k] = reflection;
      for (let j = 0; j < k; j++) a[j] = before[j] + reflection * before[k - 1 - j];
      error *= 1 - reflection * reflection;
    }
    this.#filter = a;
    this.#gain = Math.sqrt(error / r[0]);
  }
}
