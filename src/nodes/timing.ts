/**
 * How long things take that take a fixed number of samples.
 *
 * @module
 */
import type { MimiConfig } from "../core/config.ts";

/** In samples of a context. */
export interface Timing {
  /** Of a frame, whole or not. */
  frame: number;
  /** After a frame's last sample, until the resampler to the model's rate is through with it. */
  lookahead: number;
  /** Whole samples from a frame's first one until its codes are there, from codes until the resampler gives them all. */
  encoder: number;
  decoder: number;
}

export function timingOf({ samplingRate, frameSize }: MimiConfig, sampleRate: number): Timing {
  const frame = frameSize * sampleRate / samplingRate;
  if (sampleRate === samplingRate) return { frame, lookahead: 0, encoder: frame, decoder: 0 };
  // The resampler's delay: 64 samples of the lower rate, rounded up to an even number of those that go in.
  const lookahead = 2 * Math.ceil(32 * Math.max(1, sampleRate / samplingRate)) + 2;
  const held = 2 * Math.ceil(32 * Math.max(1, samplingRate / sampleRate));
  return {
    frame,
    lookahead,
    encoder: Math.ceil(frame + lookahead),
    decoder: Math.ceil(held * sampleRate / samplingRate) + 1,
  };
}
