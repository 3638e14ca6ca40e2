/**
 * The end that sends: frames of codes, wherever they come from, into a channel.
 *
 * @module
 */
import { type AudioCodes, toAudioCodes } from "../core/codes.ts";
import { describe, MimiRangeError, MimiTypeError } from "../core/errors.ts";
import { VoiceActivity } from "../rtc/activity.ts";
import { adapt } from "../rtc/adapt.ts";
import { isForSender, MOST_CODEBOOKS, streamOf } from "../rtc/packets.ts";
import { checkVoiceModel, type VoiceModel } from "../rtc/receiver.ts";
import { type VoiceReport, VoiceSender, type VoiceSenderOptions } from "../rtc/sender.ts";
import type { VoiceChannel } from "./channel.ts";
import { checkLinkOptions, now, VoiceLink, type VoiceLinkEvents, type VoiceLinkOptions } from "./link.ts";

/** What is sent, and when. */
export interface OutgoingVoiceOptions extends VoiceLinkOptions, Omit<VoiceSenderOptions, "stream"> {
  /**
   * Codebooks of a frame at most: 8, or what the model has if that is less. The receiver must have as many loaded. Fewer can be
   * sent at any time.
   */
  numQuantizers?: number;
  /** Whether pauses are told instead of sent; default true. */
  dtx?: boolean;
  /**
   * Bits a second for voice. With it the receiver's reports decide codebooks and redundancy, see `adapt` of `mimi-audio/rtc`;
   * without it they stay as they are.
   */
  bitrate?: number;
}

export const OUTGOING_OPTIONS: readonly string[] = ["redundancy", "falling", "numQuantizers", "dtx", "bitrate"];

export interface OutgoingVoiceEvents extends VoiceLinkEvents {
  /** The receiver told how it goes, about once a second. */
  report: CustomEvent<VoiceReport>;
}

/** What an end that sends has to know of a model: a `MimiModel` will do. */
export type OutgoingModel = VoiceModel;

/** Loudness of nothing, in dB of full scale. */
const SILENCE = -127;

/**
 * Sends frames of codes as packets over a channel, and hears what the other side says of them. `sendVoice` makes one for an
 * audio graph; elsewhere:
 *
 * ```ts
 * const outgoing = new OutgoingVoice(model, channel, { redundancy: 1 }), encoder = model.createEncoderSync();
 * for await (const frame of microphone) outgoing.send(encoder.encode(frame, { numQuantizers: 8 }), levelOf(frame));
 * ```
 */
export class OutgoingVoice<Events extends OutgoingVoiceEvents = OutgoingVoiceEvents> extends VoiceLink<Events> {
  /** With the codebooks that are sent at most: a receiver that has no more loaded will do. */
  readonly #model: VoiceModel;
  readonly #options: { falling?: boolean; bitrate?: number; dtx: boolean };
  #numQuantizers: number;
  #stream: number = Math.floor(Math.random() * 256);
  #sender: VoiceSender;
  #activity: VoiceActivity;
  #report: VoiceReport | undefined;

  /** @throws {MimiTypeError | MimiRangeError} for what is no model, channel or option. */
  constructor(model: OutgoingModel, channel: VoiceChannel, options: OutgoingVoiceOptions = {}, name = "OutgoingVoice") {
    checkVoiceModel(name, model);
    checkLinkOptions(name, options, OUTGOING_OPTIONS);
    super(name, channel, options);
    const { numQuantizers = Math.min(8, model.numQuantizers), redundancy, falling, dtx = true, bitrate } = options;
    this.#options = { falling, bitrate, dtx };
    try {
      this.#numQuantizers = checkQuantizers(name, numQuantizers, Math.min(model.numQuantizers, MOST_CODEBOOKS));
      this.#model = { config: model.config, fingerprint: model.fingerprint, numQuantizers };
      this.#sender = new VoiceSender(this.#model, { stream: this.#stream, redundancy, falling });
      if (bitrate !== undefined) this.#adapt({ loss: 0, burst: 1 });
    } catch (error) {
      super.close(); // that of a class above is not ready
      throw error;
    }
    this.#activity = new VoiceActivity(model);
  }

  /** Codebooks of a frame at present, from 1 to those of the option. */
  get numQuantizers(): number {
    return this.#numQuantizers;
  }
  /** @throws {MimiRangeError} for what is no such number. */
  set numQuantizers(codebooks: number) {
    this.#numQuantizers = checkQuantizers(`${this.name}.numQuantizers`, codebooks, this.#model.numQuantizers);
  }

  /** Earlier frames in each packet, 0 to 7. */
  get redundancy(): number {
    return this.#sender.redundancy;
  }
  /** @throws {MimiRangeError} for what is no such number. */
  set redundancy(frames: number) {
    if (!Number.isInteger(frames) || frames < 0 || frames > 7) {
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `${this.name}.redundancy must be an integer from 0 to 7, got ${describe(frames)}.`,
      );
    }
    this.#sender.redundancy = frames;
  }

  /** What the receiver reported last. */
  get report(): VoiceReport | undefined {
    return this.#report;
  }

  /**
   * Sends the next frame, or tells of a pause.
   *
   * @param codes [1, codebooks, 1]; the first `numQuantizers` of them are sent.
   * @param level loudness of the frame: root mean square in dB of full scale.
   * @throws {MimiTypeError | MimiRangeError} for what are no codes of one frame, or no level.
   * @throws {InvalidStateError} once closed.
   */
  send(codes: AudioCodes, level: number): void {
    const where = `${this.name}.send`;
    this.checkOpen(where);
    if (typeof level !== "number" || Number.isNaN(level)) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: level must be a number of dB, got ${describe(level)}.`,
      );
    }
    this.watch();
    if (this.state === "failed") return;
    const { samplingRate, frameSize } = this.#model.config, { dtx } = this.#options;
    const heard = this.#activity.follow(Math.max(SILENCE, Math.min(0, level)), frameSize / samplingRate);
    const { data, shape: [batch, codebooks, frames] } = toAudioCodes(where, codes, this.#model.config.codebookSize);
    const kept = Math.min(codebooks, this.#numQuantizers);
    // Codes of a residual quantizer: the first ones are those of a coarser one.
    const first = frames === 1 ? { data: data.slice(0, kept), shape: [batch, kept, 1] } : codes;
    for (const packet of this.#sender.send(first, now(), dtx ? heard : undefined)) this.post(packet);
  }

  /** Passes over frames that were never encoded, so that what comes then has its right time. */
  skip(frames: number): void {
    this.#sender.skip(frames);
  }

  protected take(packet: Uint8Array): boolean {
    if (!isForSender(packet) || streamOf(packet) !== this.#stream) return false;
    if (this.state === "failed") return true; // an answer to what was sent before changes nothing
    let report;
    try {
      report = this.#sender.receive(packet, now());
    } catch (error) {
      if (error !== this.#sender.refusal) return false; // what cannot be read is not worth a word
      this.fail(error as Error);
      return true;
    }
    if (this.#sender.accepted) this.alive();
    if (report) {
      this.#report = report;
      if (this.#options.bitrate !== undefined) this.#adapt(report);
      this.dispatchEvent(new CustomEvent("report", { detail: report }));
    }
    return true;
  }

  /** A stream of a new number, with a hello: whoever listens now may not have heard the one before. */
  protected override begin(): void {
    const { redundancy } = this.#sender, { falling } = this.#options;
    this.#stream = (this.#stream + 1) % 256;
    this.#sender = new VoiceSender(this.#model, { stream: this.#stream, redundancy, falling });
  }

  protected override ask(): void {
    this.#sender.announce();
  }

  #adapt(report: Pick<VoiceReport, "loss" | "burst">): void {
    const now = { numQuantizers: this.numQuantizers, redundancy: this.redundancy };
    const { bitrate } = this.#options, maxQuantizers = this.#model.numQuantizers;
    const next = adapt(this.#model, report, now, { bitrate: bitrate!, maxQuantizers });
    this.numQuantizers = next.numQuantizers;
    this.redundancy = next.redundancy;
  }
}

function checkQuantizers(where: string, codebooks: number, most: number): number {
  if (Number.isInteger(codebooks) && codebooks >= 1 && codebooks <= most) return codebooks;
  throw new MimiRangeError(
    "ERR_NUM_QUANTIZERS",
    `${where}: numQuantizers must be an integer from 1 to ${most}, got ${describe(codebooks)}.`,
  );
}
