/** Original and decoded at the same time, of which one is heard: the other begins where the ear is. */
import { bufferOf } from "./codec.ts";

export type Heard = "original" | "decoded";

/** Seconds of a cross-fade. */
const FADE = 0.01;

export class Player {
  readonly #context = new AudioContext();
  #gains: Partial<Record<Heard, GainNode>> = {};
  #sources: AudioBufferSourceNode[] = [];
  #levels: Partial<Record<Heard, number>> = {};
  #heard: Heard = "decoded";
  #began = 0;

  /** Loudness of the decoded beside the original, dB; what is heard of it is raised by as much. */
  set(tracks: Partial<Record<Heard, Float32Array>>, samplingRate: number): number {
    this.stop();
    const { original, decoded } = tracks, match = original && decoded ? loudness(original) / loudness(decoded) : 1;
    const known = Number.isFinite(match) && match > 0 ? Math.min(4, match) : 1;
    this.#levels = { original: 1, decoded: known };
    this.#sources = [];
    this.#gains = {};
    for (const [name, samples] of Object.entries(tracks) as [Heard, Float32Array | undefined][]) {
      if (!samples) continue;
      const gain = this.#gains[name] = new GainNode(this.#context, { gain: 0 });
      const source = new AudioBufferSourceNode(this.#context, { buffer: bufferOf(samples, samplingRate) });
      source.connect(gain).connect(this.#context.destination);
      this.#sources.push(source);
    }
    return 20 * Math.log10(known);
  }

  /** @param onTime told the seconds that were heard, and `undefined` at the end. */
  async start(
    tracks: Partial<Record<Heard, Float32Array>>,
    samplingRate: number,
    onTime: (at?: number) => void,
  ): Promise<void> {
    this.set(tracks, samplingRate);
    await this.#context.resume();
    this.hear(this.#heard);
    this.#began = this.#context.currentTime;
    const sources = this.#sources;
    for (const source of sources) source.start();
    const tick = () => {
      if (this.#sources !== sources) return;
      onTime(this.#context.currentTime - this.#began);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    sources[0].onended = () => {
      if (this.#sources !== sources) return;
      this.stop();
      onTime();
    };
  }

  /** Chooses what is heard, at once. */
  hear(heard: Heard): void {
    this.#heard = heard;
    for (const [name, gain] of Object.entries(this.#gains)) {
      const level = name === heard || !(heard in this.#gains) ? this.#levels[name as Heard] ?? 1 : 0;
      gain.gain.setTargetAtTime(level, this.#context.currentTime, FADE / 3);
    }
  }

  get playing(): boolean {
    return this.#sources.length > 0 && this.#began > 0;
  }

  stop(): void {
    for (const source of this.#sources) source.disconnect();
    if (this.#began) { for (const source of this.#sources) source.stop(); }
    this.#sources = [];
    this.#began = 0;
  }
}

/** Root mean square. */
function loudness(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, v) => sum + v * v, 0) / Math.max(1, samples.length));
}
