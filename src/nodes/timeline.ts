/**
 * Audio that has its place in time: pieces are written where they belong, and read when their time has come.
 *
 * @module
 */

interface Piece {
  at: number;
  end: number;
  samples: Float32Array;
}

/** Samples by their place; silence where there are none. */
export class Timeline {
  /** Samples of silence after the first sound. */
  missing = 0;
  readonly #fade: number;
  #pieces: Piece[] = [];
  #level = 0;
  #begun = false;

  /** @param fade samples over which sound goes before a gap and comes back after it; 0 leaves it as it is. */
  constructor(fade: number) {
    this.#fade = fade;
  }

  /** Pieces come in the order of their places, and do not overlap. */
  write(at: number, samples: Float32Array): void {
    if (samples.length > 0) this.#pieces.push({ at, end: at + samples.length, samples });
  }

  /** Forgets what is still to come. */
  clear(): void {
    this.#pieces = [];
    this.#begun = false;
  }

  /** Fills `output` with the samples from `at` on, and forgets everything up to its end. */
  read(at: number, output: Float32Array): void {
    const end = at + output.length;
    output.fill(0);
    for (let t = at; t < end;) {
      while (this.#pieces.length > 0 && this.#pieces[0].end <= t) this.#pieces.shift();
      const [piece] = this.#pieces, from = Math.min(end, Math.max(t, piece?.at ?? end));
      if (from > t) {
        this.#level = 0;
        if (this.#begun) this.missing += from - t;
        t = from;
        continue;
      }
      const to = Math.min(end, piece.end), part = output.subarray(t - at, to - at);
      this.#begun = true;
      part.set(piece.samples.subarray(t - piece.at, to - piece.at));
      if (this.#fade > 0) this.#soften(part, this.#soundEnd() - t);
      t = to;
    }
  }

  /** Where there is sound up to without a gap. */
  #soundEnd(): number {
    let { end } = this.#pieces[0];
    for (let i = 1; this.#pieces[i]?.at === end; i++) end = this.#pieces[i].end;
    return end;
  }

  /** @param left samples until the next gap, as far as it can be told. */
  #soften(part: Float32Array, left: number): void {
    if (this.#level === 1 && left - part.length >= this.#fade) return;
    const step = 1 / this.#fade;
    for (let i = 0; i < part.length; i++) {
      this.#level = Math.min(1, this.#level + step, (left - i) * step);
      part[i] *= this.#level;
    }
  }
}

/** Delays channels by a whole number of samples. */
export class Delay {
  readonly #rings: Float32Array[];
  #at = 0;

  constructor(channels: number, samples: number) {
    this.#rings = Array.from({ length: channels }, () => new Float32Array(samples));
  }

  /** Puts samples in and takes as many out, for each channel; channels that are not there are silent. */
  process(inputs: readonly Float32Array[], outputs: readonly Float32Array[]): void {
    const length = outputs[0].length;
    this.#rings.forEach((ring, c) => {
      const input = inputs[c], output = outputs[c];
      for (let i = 0, at = this.#at; i < length; i++) {
        output[i] = ring[at];
        ring[at] = input ? input[i] : 0;
        if (++at === ring.length) at = 0;
      }
    });
    this.#at = (this.#at + length) % this.#rings[0].length;
  }
}
