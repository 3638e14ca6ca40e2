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

/** What there is to spend, and within what limits. */
export interface AdaptOptions {
  /** Bits a second for voice packets, their headers included. */
  bitrate: number;
  /** Codebooks at least and at most; default 4 and 8, or what is loaded if that is less. */
  minQuantizers?: number;
  /** Codebooks at most; default 8, or what is loaded if that is less. */
  maxQuantizers?: number;
  /** Earlier frames in a packet, at most; default 3. Each may add a frame to the delay. */
  maxRedundancy?: number;
  /** Share of frames that may stay lost; default 0.01. */
  residual?: number;
}

/** What should be sent. */
export interface VoiceSettings {
  /** Codebooks of a frame. */
  numQuantizers: number;
  /** Earlier frames in each packet, 0 to 7. */
  redundancy: number;
}

/**
 * The smallest redundancy with which few enough frames stay lost, and as many codebooks as the bitrate has room for. Redundancy is
 * given up only where a packet with the fewest codebooks would not fit.
 *
 * A frame is lost with its packet, probability `loss`, and stays lost if the next packets are lost too. In a row of mean
 * length `burst` each further one is, with probability 1 - 1 / burst (Gilbert's model): `loss (1 - 1 / burst)^redundancy`.
 *
 * Jitter and delay have no say: the receiver waits for what is late, and redundancy would not make it sooner. How many bits there
 * are for all of it is the caller's to know.
 *
 * @param report what the network does; that of `VoiceSender.receive` is a mean over some seconds, as it should be.
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
  const { bitrate, maxQuantizers = Math.min(8, model.numQuantizers), maxRedundancy = 3, residual = 0.01 } = options;
  const { minQuantizers = Math.min(4, maxQuantizers) } = options;
  const check = (name: string, value: number, is: boolean, expected: string) => {
    if (is) return;
    const what = `${where}: options.${name} must be ${expected}, got ${describe(value)}.`;
    throw new MimiRangeError("ERR_OUT_OF_RANGE", what);
  };
  const checkInteger = (name: string, value: number, low: number, high: number) =>
    check(name, value, Number.isInteger(value) && value >= low && value <= high, `an integer from ${low} to ${high}`);
  check("bitrate", bitrate, Number.isFinite(bitrate) && bitrate >= 0, "a number of bits a second");
  checkInteger("maxQuantizers", maxQuantizers, 1, model.numQuantizers);
  checkInteger("minQuantizers", minQuantizers, 1, maxQuantizers);
  checkInteger("maxRedundancy", maxRedundancy, 0, MOST_REDUNDANCY);
  check("residual", residual, residual >= 0 && residual <= 1, "a number from 0 to 1");

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
