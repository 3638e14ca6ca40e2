/**
 * What a decoder node plays from its buffer, quantum by quantum: when it starts, how it bridges a buffer that runs dry,
 * what it leaves out when too much waits. Counts samples and knows no clock, so it is tested without one.
 *
 * Every sample that goes out is counted once, as played, underrun or idle; every sample that came in is played or
 * dropped.
 *
 * @module
 */

/** Samples that wait to be played. Met by ringbuf.js. */
export interface SampleSource {
  available_read(): number;
  pop(into: Float32Array, length: number, offset?: number): number;
}

export interface PlayoutOptions {
  /**
   * `"live"` keeps the delay small: what waits too long is left out. `"playback"` plays everything.
   */
  mode: "live" | "playback";
  /** Samples that arrive at a time, at the rate of the output: a frame. */
  frame: number;
  /** Samples that should be left when the next frame arrives, to begin with and at most. */
  buffer: number;
  maxBuffer: number;
  /** Samples of a fade. */
  fade: number;
  /** Samples of a second. */
  rate: number;
}

/** What happened, at which sample of the output. */
export type PlayoutEvent =
  | { type: "playing"; at: number }
  /** The buffer ran dry, and for how many samples there was silence. */
  | { type: "underrun"; at: number; samples: number }
  /** More waited than the mode allows; `samples` were left out. */
  | { type: "overflow"; at: number; samples: number }
  /** The last sample before the end that was announced by `order` is out. */
  | { type: "ended"; at: number; order: number };

/** Samples of the output and input, by what became of them. */
export interface PlayoutCounts {
  played: number;
  underrun: number;
  idle: number;
  dropped: number;
  /** Times that the buffer ran dry. */
  underruns: number;
}

/** Seconds after which a buffer that stays dry counts as idle. */
const GIVE_UP = 1;
/** Seconds by which the buffer grows with an underrun, and over which it has to do without one to shrink by half of that. */
const GROW = 0.02, CALM = 20;
/** Seconds over which the lowest level of the buffer is watched, and what may be too much of it. */
const WATCH = 5, SLACK = 0.02;

/** Rises from 0 at 0 to 1 at 1, without a corner. */
const smooth = (t: number) => t * t * (3 - 2 * t);

export class Playout {
  readonly counts: PlayoutCounts = { played: 0, underrun: 0, idle: 0, dropped: 0, underruns: 0 };
  readonly #source: SampleSource;
  readonly #options: PlayoutOptions;
  readonly #onEvent: (event: PlayoutEvent) => void;
  #state: "idle" | "buffering" | "playing" = "idle";
  /** Whether silence is that of a buffer that ran dry, and since when. */
  #dry = false;
  #drySince = 0;
  #waited = 0;
  #buffer: number;
  /** Samples out, and samples taken in. */
  #out = 0;
  #read = 0;
  /** Where streams end, as numbers of samples taken in. */
  #ends: { total: number; order: number }[] = [];
  /** Everything before this one is thrown away. */
  #discardTo = 0;
  /** The newest order to clear, and the newest that the task has carried out. */
  #clear = 0;
  #cleared = { total: 0, order: 0 };
  /** Samples of the fade that are through, or still to come. */
  #rising = 0;
  #falling: { left: number; length: number; then: "dry" | "rest" } | undefined;
  /** Samples that are mixed already: the seam where some were left out. */
  #seam = new Float32Array(0);
  #scratch: Float32Array;
  #lowest = Infinity;
  #watched = 0;
  #calm = 0;

  constructor(source: SampleSource, options: PlayoutOptions, onEvent: (event: PlayoutEvent) => void = () => {}) {
    this.#source = source;
    this.#options = options;
    this.#onEvent = onEvent;
    this.#buffer = options.buffer;
    this.#scratch = new Float32Array(2 * options.fade);
  }

  /** Samples that should be left when a frame arrives: grows with underruns. */
  get buffer(): number {
    return this.#buffer;
  }

  /** Samples taken in: played, dropped, or in the seam that is about to be. */
  get read(): number {
    return this.#read;
  }

  get state(): "idle" | "buffering" | "playing" {
    return this.#state;
  }

  /** There will be `total` samples in all; what comes after them is a new stream. Orders to end and clear are numbered. */
  end(total: number, order: number): void {
    this.#ends.push({ total, order });
  }

  /**
   * Fades out over `fade` samples and throws away what waits. What comes then waits until {@link cleared} says where the
   * next stream begins, which may be known already.
   */
  clear(fade: number, order: number): void {
    this.#clear = order;
    this.#discardTo = this.#held ? this.#read + this.#available() : this.#cleared.total;
    if (this.#state === "playing") {
      const length = Math.max(0, Math.min(fade, Math.min(this.#discardTo, this.#end) - this.#read));
      if (this.#falling) this.#falling.then = "rest"; // it goes on from where it is
      else this.#falling = { left: length, length, then: "rest" };
    } else this.#rest();
    this.#forgetEnds(order);
  }

  /** The task carried out an order to clear; the streams before it had `total` samples. */
  cleared(total: number, order: number): void {
    this.#cleared = { total, order };
    if (!this.#held) this.#discardTo = total;
    this.#forgetEnds(order);
  }

  /** Whether what waits may be of a stream that was cleared. */
  get #held(): boolean {
    return this.#cleared.order < this.#clear;
  }

  #forgetEnds(cleared: number): void {
    this.#ends = this.#ends.filter(({ order }) => order > cleared);
  }

  /** Fills `output`. */
  process(output: Float32Array): void {
    for (let at = 0; at < output.length;) {
      at += this.#state === "playing" ? this.#play(output, at) : this.#wait(output, at);
    }
  }

  get #end(): number {
    return this.#ends[0]?.total ?? Infinity;
  }

  #available(): number {
    return this.#source.available_read() + this.#seam.length;
  }

  /** Silence, unless it is time to begin; returns the samples that it gave. */
  #wait(output: Float32Array, from: number): number {
    const { frame, rate } = this.#options, n = output.length - from;
    this.#discard();
    const available = this.#held ? 0 : Math.min(this.#available(), this.#end - this.#read);
    if (available > 0) {
      if (this.#state === "idle") {
        this.#state = "buffering";
        this.#waited = 0;
      }
      if (this.#read + available >= this.#end || available + this.#waited >= frame + this.#buffer) return this.#begin();
      this.#waited += n;
    } else if (this.#end <= this.#read) this.#over();
    output.fill(0, from);
    this.#out += n;
    if (this.#dry) this.counts.underrun += n;
    else this.counts.idle += n;
    if (this.#dry && available <= 0 && this.#out - this.#drySince >= GIVE_UP * rate) this.#rest();
    return n;
  }

  #begin(): 0 {
    this.#wet();
    this.#state = "playing";
    this.#rising = 0;
    this.#lowest = Infinity;
    this.#watched = 0;
    this.#onEvent({ type: "playing", at: this.#out });
    return 0;
  }

  /** Audio; returns the samples that it gave, which may be none when the state changes. */
  #play(output: Float32Array, from: number): number {
    // An order to end may come when the next stream is already played.
    while (this.#end < this.#read) this.#tellEnded();
    const { fade } = this.#options, available = this.#available(), left = this.#end - this.#read;
    if (!this.#falling) {
      if (available >= left && left <= fade) this.#falling = { left, length: left, then: "rest" };
      // What a fade needs is kept back, since a buffer tells that it is dry only when it is.
      else if (available <= fade && available < left) {
        this.#falling = { left: available, length: available, then: "dry" };
      } else this.#shed(available, left);
    }
    const most = this.#falling?.left ?? Math.min(this.#available(), this.#end - this.#read) - fade;
    const n = Math.min(output.length - from, most);
    this.#take(output, from, n);
    if (this.#rising < fade) {
      for (let i = from; i < from + n && this.#rising < fade; i++) output[i] *= smooth(++this.#rising / fade);
    }
    if (this.#falling) {
      for (let i = from; i < from + n; i++) output[i] *= smooth(--this.#falling.left / this.#falling.length);
    }
    this.#out += n;
    this.counts.played += n;
    this.#relax(n);
    if (this.#falling?.left === 0) this.#fallen(this.#falling.then);
    return n;
  }

  #fallen(then: "dry" | "rest"): void {
    this.#falling = undefined;
    if (then === "rest") this.#over();
    else {
      const { maxBuffer, rate } = this.#options;
      this.#state = "buffering";
      this.#waited = 0;
      this.#dry = true;
      this.#drySince = this.#out;
      this.counts.underruns++;
      this.#buffer = Math.min(maxBuffer, this.#buffer + Math.round(GROW * rate));
      this.#calm = 0;
    }
  }

  /** A stream is, by its end or because it was cleared. */
  #over(): void {
    this.#rest();
    while (this.#end <= this.#read) this.#tellEnded();
  }

  #tellEnded(): void {
    this.#onEvent({ type: "ended", at: this.#out, order: this.#ends.shift()!.order });
  }

  #rest(): void {
    this.#wet();
    this.#state = "idle";
  }

  /** A dry spell is over. */
  #wet(): void {
    if (!this.#dry) return;
    this.#dry = false;
    this.#onEvent({ type: "underrun", at: this.#drySince, samples: this.#out - this.#drySince });
  }

  /** The next samples, those of the seam first. */
  #take(into: Float32Array, from: number, n: number): void {
    const mixed = Math.min(n, this.#seam.length);
    into.set(this.#seam.subarray(0, mixed), from);
    this.#seam = this.#seam.subarray(mixed);
    this.#read += mixed + (n > mixed ? this.#source.pop(into, n - mixed, from + mixed) : 0);
  }

  #drop(n: number): void {
    for (let left = n; left > 0;) {
      const some = Math.min(left, this.#scratch.length);
      this.#take(this.#scratch, 0, some);
      left -= some;
    }
    this.counts.dropped += n;
  }

  #discard(): void {
    const n = Math.min(this.#available(), this.#discardTo - this.#read);
    if (n > 0) this.#drop(n);
  }

  /** Leaves out what is too much of a live stream, with a cross-fade over the seam. */
  #shed(available: number, left: number): void {
    const { mode, frame, fade, rate, maxBuffer } = this.#options;
    if (mode !== "live") return;
    this.#lowest = Math.min(this.#lowest, available);
    let excess = 0;
    if (available > 2 * frame + maxBuffer) excess = available - frame - this.#buffer;
    else if (this.#watched >= WATCH * rate) {
      excess = Math.min(this.#lowest - this.#buffer, 2 * SLACK * rate);
      if (excess < SLACK * rate) excess = 0;
      this.#watched = 0;
      this.#lowest = Infinity;
    }
    excess = Math.floor(Math.min(excess, left - 2 * fade)); // an end is not left out
    if (excess < fade || this.#seam.length > 0 || available < excess + 2 * fade) return;
    const old = new Float32Array(fade), fresh = new Float32Array(fade);
    this.#take(old, 0, fade);
    this.#drop(excess - fade);
    this.counts.dropped += fade;
    this.#source.pop(fresh, fade);
    for (let i = 0; i < fade; i++) {
      const share = smooth((i + 1) / (fade + 1));
      fresh[i] = old[i] * (1 - share) + fresh[i] * share;
    }
    this.#seam = fresh;
    this.#watched = 0;
    this.#lowest = Infinity;
    this.#onEvent({ type: "overflow", at: this.#out, samples: excess });
  }

  /** Without underruns the buffer slowly goes back to what it was. */
  #relax(n: number): void {
    const { rate, buffer } = this.#options;
    this.#watched += n;
    this.#calm += n;
    if (this.#calm < CALM * rate) return;
    this.#calm = 0;
    this.#buffer = Math.max(buffer, this.#buffer - Math.round(GROW * rate / 2));
  }
}
