/**
 * The sound of a codec node: what the codec makes of the input, or the input itself, equally late.
 *
 * @module
 */
import { Delay, type Timeline } from "./timeline.ts";

export class Insert {
  readonly #timeline: Timeline;
  readonly #latency: number;
  #original: Delay | undefined;
  #coded: Float32Array = new Float32Array(128);

  /**
   * @param timeline coded audio, at the places of the input that it is made of.
   * @param latency whole samples from the input to the output.
   */
  constructor(timeline: Timeline, latency: number) {
    this.#timeline = timeline;
    this.#latency = latency;
  }

  /**
   * @param at first sample of the input.
   * @param bypass 0 for coded audio, 1 for the original; one value, or one a sample.
   */
  process(input: readonly Float32Array[], output: readonly Float32Array[], at: number, bypass: Float32Array): void {
    const [{ length }] = output;
    this.#original ??= new Delay(output.length, this.#latency);
    this.#original.process(input, output);
    if (this.#coded.length !== length) this.#coded = new Float32Array(length);
    const coded = this.#coded, constant = bypass.length === 1;
    this.#timeline.read(at - this.#latency, coded);
    if (constant && bypass[0] === 1) return;
    for (const channel of output) {
      for (let i = 0; i < length; i++) {
        const share = bypass[constant ? 0 : i];
        // An original that is no number must not be heard through a product with 0.
        if (share === 0) channel[i] = coded[i];
        else if (share < 1) channel[i] = coded[i] + (channel[i] - coded[i]) * share;
      }
    }
  }
}
