/**
 * Whether somebody speaks: by how much a frame is louder than the background, which is followed.
 *
 * @module
 */
import { describe, MimiTypeError } from "../core/errors.ts";
import { levelOf } from "../core/level.ts";

/** What is heard in a frame. */
export interface Activity {
  /** Whether it should be sent as speech. */
  active: boolean;
  /** Loudness, root mean square in dB of full scale: -127 to 0. In a pause that of the background. */
  level: number;
}

/** dB of full scale below which there is no sound. */
const NOTHING = -127;
/** dB by which speech is louder than the background, and below which nothing is speech. */
const ABOVE = 8, SOFTEST = -65;
/** Seconds for which a pause is still sent as speech: words end softly. */
const HANGOVER = 0.24;
/** dB by which the background is thought to grow in each second in which nothing is as soft. */
const RISE = 2;
/** Background before anything was heard. */
const START = -50;

/** Whether somebody speaks, by the loudness of frames against the background. */
export class VoiceActivity {
  readonly #rate: number;
  #background = START;
  #since = Infinity;

  /**
   * @param model a model, or its configuration's sampling rate in Hz.
   * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what is none.
   */
  constructor(model: { config: { samplingRate: number } }) {
    const rate = model?.config?.samplingRate;
    if (!(Number.isFinite(rate) && rate > 0)) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `VoiceActivity: model must have a config with a samplingRate in Hz, got ${describe(model)}.`,
      );
    }
    this.#rate = rate;
  }

  /**
   * What is heard in the next frame.
   *
   * @param pcm the samples that were encoded, between -1 and 1; NaN is 0, as for encoder nodes.
   * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what are no samples.
   */
  detect(pcm: Float32Array): Activity {
    if (!(pcm instanceof Float32Array) || pcm.length === 0) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `VoiceActivity.detect: pcm must be a Float32Array with samples, got ${describe(pcm)}.`,
      );
    }
    let energy = 0;
    for (const v of pcm) energy += v * v || 0;
    return this.follow(levelOf(energy / pcm.length), pcm.length / this.#rate);
  }

  /**
   * The same for a frame whose loudness is known.
   *
   * @param loudness root mean square in dB of full scale, -127 to 0.
   * @param seconds how long the frame is.
   * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what are no numbers.
   */
  follow(loudness: number, seconds: number): Activity {
    for (const [name, value] of Object.entries({ loudness, seconds })) {
      if (typeof value === "number" && !Number.isNaN(value)) continue;
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `VoiceActivity.follow: ${name} must be a number, got ${describe(value)}.`,
      );
    }
    // Nothing at all is no background, but a microphone that is off: after that it would long take noise for speech.
    if (loudness > NOTHING) this.#background = Math.min(loudness, this.#background + RISE * seconds);
    const speech = loudness > Math.max(SOFTEST, this.#background + ABOVE);
    this.#since = speech ? 0 : this.#since + seconds;
    const active = this.#since <= HANGOVER;
    return { active, level: active ? loudness : Math.min(loudness, this.#background) };
  }
}
