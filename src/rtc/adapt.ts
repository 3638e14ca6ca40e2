/**
 * From a report to what should be sent: redundancy against loss, and codebooks for what is left of the bitrate.
 *
 * @module
 */
import { bitsOf } from "../core/bits.ts";
import { checkOptions, describe, MimiRangeError } from "../core/errors.ts";
import { MOST_REDUNDANCY, voicePacketBytes } from "./packets.ts";
import type { VoiceModel } from "./receiver.ts";
import type { VoiceReport } from "./sender.ts";

export interface AdaptOptions {
  /** Bits a second for voice packets, their headers included. */
  bitrate: number;
  /** Codebooks at least and at most; default 4 and 8. */
  minQuantizers?: number;
  maxQuantizers?: number;
  /** Earlier frames in a packet, at most; default 3. Each may add a frame to the delay. */
  maxRedundancy?: number;
  /** Share of frames that may stay lost; default 0.01. */
  residual?: number;
}

/** What should be sent. */
export interface VoiceSettings {
  numQuantizers: number;
  redundancy: number;
}

/**
 * The smallest redundancy with which few enough frames stay lost, and as many codebooks as the bitrate has room for. Redundancy is
 * given up only where a packet with the fewest codebooks would not fit.
 *
 * A frame is lost with its packet, probability `loss`, and stays lost if the next packets are lost too. In a row of mean
 * length `burst` each further one is, with probability 1 - 1 / burst (Gilbert's model): `loss (1 - 1 / burst)^redundancy`.
 *
 * @param now what is sent at present: less redundancy follows only where half of `residual` would do.
 * @throws {MimiRangeError} `ERR_OUT_OF_RANGE` for an option that is not usable.
 */
export function adapt(
  model: VoiceModel,
  report: Pick<VoiceReport, "loss" | "burst">,
  now: VoiceSettings,
  options: AdaptOptions,
): VoiceSettings {
  const where = "adapt";
  checkOptions(where, options, ["bitrate", "minQuantizers", "maxQuantizers", "maxRedundancy", "residual"]);
  const { bitrate, minQuantizers = 4, maxQuantizers = 8, maxRedundancy = 3, residual = 0.01 } = options;
  const check = (name: string, value: number, low: number, high: number) => {
    if (typeof value === "number" && value >= low && value <= high) return;
    throw new MimiRangeError(
      "ERR_OUT_OF_RANGE",
      `${where}: options.${name} must be from ${low} to ${high}, got ${describe(value)}.`,
    );
  };
  check("bitrate", bitrate, 0, Number.MAX_VALUE);
  check("maxQuantizers", maxQuantizers, 1, model.numQuantizers);
  check("minQuantizers", minQuantizers, 1, maxQuantizers);
  check("maxRedundancy", maxRedundancy, 0, MOST_REDUNDANCY);
  check("residual", residual, 0, 1);

  const { samplingRate, frameSize, codebookSize } = model.config, bits = bitsOf(codebookSize);
  const stays = 1 - 1 / Math.max(1, report.burst), left = (redundancy: number) => report.loss * stays ** redundancy;
  const fits = (numQuantizers: number, redundancy: number) =>
    8 * voicePacketBytes(numQuantizers, bits, redundancy, false) * samplingRate / frameSize <= bitrate;

  let redundancy = 0;
  while (redundancy < maxRedundancy && left(redundancy) > (redundancy < now.redundancy ? residual / 2 : residual)) {
    redundancy++;
  }
  while (redundancy > 0 && !fits(minQuantizers, redundancy)) redundancy--;
  let numQuantizers = maxQuantizers;
  while (numQuantizers > minQuantizers && !fits(numQuantizers, redundancy)) numQuantizers--;
  return { numQuantizers, redundancy };
}
