/**
 * Many channels into one.
 *
 * @module
 */
import { checkFinite } from "./audio.ts";
import { describe, MimiRangeError, MimiTypeError } from "./errors.ts";

/**
 * Share of each channel in the mix, by the number of channels. Those of the Web Audio API 1.1, "Down Mixing Speaker
 * Layouts" (https://www.w3.org/TR/webaudio-1.1/#down-mix).
 */
const SHARES: Record<number, readonly number[]> = {
  2: [0.5, 0.5], // left, right
  4: [0.25, 0.25, 0.25, 0.25], // left, right, surround left, surround right
  6: [Math.SQRT1_2, Math.SQRT1_2, 1, 0, 0.5, 0.5], // left, right, centre, low frequencies, surround left, surround right
};

/** Share of each channel in the mix; channels past the end of the list have none. */
export function downmixShares(channels: number): readonly number[] {
  return SHARES[channels] ?? [1];
}

/**
 * Mixes channels down to mono, [n], as a Web Audio node with one channel and `channelInterpretation` "speakers" does:
 *
 * - 2, stereo: 0.5 (L + R)
 * - 4, quad: 0.25 (L + R + SL + SR)
 * - 6, 5.1: sqrt(0.5) (L + R) + C + 0.5 (SL + SR), without the low-frequency channel; it can exceed 1
 * - any other number: the first channel, since the specification falls back to "discrete", which drops the rest.
 *
 * ```ts
 * downmix(Array.from({ length: buffer.numberOfChannels }, (_, c) => buffer.getChannelData(c)));
 * ```
 *
 * @param channels at least one, all equally long, in the order of an `AudioBuffer`. The arrays stay the caller's.
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what are no such channels.
 * @throws {MimiRangeError} `ERR_EMPTY_INPUT` for no channels, `ERR_NOT_FINITE` for NaN and infinities in any channel.
 */
export function downmix(channels: readonly Float32Array[]): Float32Array {
  const [first] = checkChannels(channels),
    shares = downmixShares(channels.length),
    mix = new Float32Array(first.length);
  for (let i = 0; i < mix.length; i++) {
    mix[i] = mixSample(channels, shares, i);
  }
  return mix;
}

/** Sample `i` of the mix of at least one channel, by {@link downmixShares}; not rounded to f32 yet. */
export function mixSample(channels: readonly Float32Array[], shares: readonly number[], i: number): number {
  let sum = shares[0] * channels[0][i];
  for (let c = 1; c < shares.length; c++) sum += shares[c] * channels[c][i];
  return sum;
}

function checkChannels(channels: readonly Float32Array[]): readonly Float32Array[] {
  const where = "downmix";
  if (!Array.isArray(channels)) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: channels must be a list of Float32Arrays, got ${describe(channels)}.`,
    );
  }
  if (channels.length === 0) {
    throw new MimiRangeError("ERR_EMPTY_INPUT", `${where}: there are no channels, expected at least 1.`);
  }
  for (const [c, channel] of channels.entries()) {
    if (!(channel instanceof Float32Array) || channel.length !== channels[0].length) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: channels must be Float32Arrays of one length, got ${describe(channels[0])} and at ${c} ${
          describe(channel)
        }.`,
      );
    }
    checkFinite(`${where}: channel ${c}`, channel);
  }
  return channels;
}
