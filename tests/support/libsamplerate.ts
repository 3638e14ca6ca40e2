/** libsamplerate, a peer: what the resampler is measured beside. */
import libsamplerate from "@alexanderolsen/libsamplerate-js/dist/libsamplerate.js";

/** Two of its converters. */
export type Quality = "best" | "medium";

const { SRC_SINC_BEST_QUALITY, SRC_SINC_MEDIUM_QUALITY } = libsamplerate.ConverterType;

/** Converts whole recordings at one pair of rates. */
export async function libsamplerateConverter(
  from: number,
  to: number,
  quality: Quality,
): Promise<(pcm: Float32Array) => Float32Array> {
  const converterType = quality === "best" ? SRC_SINC_BEST_QUALITY : SRC_SINC_MEDIUM_QUALITY;
  const instance = await libsamplerate.create(1, from, to, { converterType });
  return (pcm) => instance.simple(pcm);
}
