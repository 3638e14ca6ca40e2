/**
 * Codes in, packets out: numbered, with earlier frames again, and nearly nothing in pauses.
 *
 * @module
 */
import { bitsOf } from "../core/bits.ts";
import { type AudioCodes, toAudioCodes } from "../core/codes.ts";
import {
  checkOptions,
  describe,
  InvalidStateError,
  MimiRangeError,
  MimiTypeError,
  NotSupportedError,
} from "../core/errors.ts";
import type { Activity } from "./activity.ts";
import { unwrap } from "./counter.ts";
import {
  codebooksAt,
  formatHello,
  formatNoise,
  formatVoice,
  MOST_CODEBOOKS,
  MOST_REDUNDANCY,
  MOST_SILENT,
  parsePacket,
  type RefusePacket,
  type ReportPacket,
} from "./packets.ts";
import { checkVoiceModel, type VoiceModel } from "./receiver.ts";

/** The stream, and what its packets repeat. */
export interface VoiceSenderOptions {
  /** Number of the stream, 0 to 255. A stream that begins anew takes another one, so the default is one of chance. */
  stream?: number;
  /** Earlier frames in each packet, 0 to 7; default 0. Can be changed at any time. */
  redundancy?: number;
  /** Whether earlier frames have half as many codebooks with each frame of age; default false. */
  falling?: boolean;
}

/**
 * What a receiver reported. `loss` and `burst` are means over about ten reports: a second has too few packets
 * to tell how many the network loses.
 */
export interface VoiceReport extends Omit<ReportPacket, "type" | "stream" | "frame" | "held"> {
  /** Seconds from sending a packet to hearing of it, without the time it took to report; undefined if unknown. */
  roundTrip: number | undefined;
}

/** Packets of noise in a pause: one every so many frames. */
const NOISE_EVERY = 5;
/** Frames with each of which the hello is sent, and after which it is sent once a second, as long as there is no answer. */
const EAGER_HELLOS = 13;
/** Frames whose sending time is remembered. */
const SENT = 256;
/** Reports that loss is averaged over, the older the less. */
const LOOKBACK = 10;

/** Frames of codes to packets, and what the receiver says of them. No clock inside; see docs/rtc.md. */
export class VoiceSender {
  /** Earlier frames in each packet. */
  redundancy: number;
  readonly #model: VoiceModel;
  readonly #bits: number;
  readonly #stream: number;
  readonly #falling: boolean;
  readonly #step: number;
  readonly #sentAt = new Float64Array(SENT).fill(NaN);
  #frame = 0;
  #sequence = 0;
  /** Frames before this one, newest first, all with as many codebooks. */
  #earlier: Uint16Array[] = [];
  #silent = 0;
  #sinceHello = Infinity;
  #answered = false;
  #reports = 0;
  /** Share of packets that are lost, and runs of such ones a packet: means over reports. */
  #loss = 0;
  #runs = 0;
  #refusal: InvalidStateError | NotSupportedError | undefined;

  /** @throws {MimiTypeError | MimiRangeError} for what is no model or option. */
  constructor(model: VoiceModel, options: VoiceSenderOptions = {}) {
    const where = "VoiceSender";
    checkVoiceModel(where, model);
    checkOptions(where, options, ["stream", "redundancy", "falling"]);
    const { stream = Math.floor(256 * Math.random()), redundancy = 0, falling = false } = options;
    checkInteger(where, "options.stream", stream, 0, 255);
    checkInteger(where, "options.redundancy", redundancy, 0, MOST_REDUNDANCY);
    if (typeof falling !== "boolean") {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: options.falling must be a boolean, got ${describe(falling)}.`,
      );
    }
    this.#model = model;
    this.#bits = bitsOf(model.config.codebookSize);
    this.#step = model.config.frameSize / model.config.samplingRate;
    this.#stream = stream;
    this.redundancy = redundancy;
    this.#falling = falling;
  }

  /** Whether the receiver has said that it understands the stream. */
  get accepted(): boolean {
    return this.#answered;
  }

  /** Why the receiver refused the stream, if it did. */
  get refusal(): InvalidStateError | NotSupportedError | undefined {
    return this.#refusal;
  }

  /** Says again what the stream is, once a second until the receiver answers: who listens now may not have heard it. */
  announce(): void {
    this.#answered = false;
    this.#sinceHello = Infinity;
  }

  /** Frames that went through or were skipped: the time of the next one, in frames. */
  get position(): number {
    return this.#frame;
  }

  /**
   * The packets of a frame, to be sent at once: one, with a hello before it until the receiver has answered, or none in
   * a pause.
   *
   * @param codes [1, codebooks, 1], at most 32 codebooks.
   * @param time now, in seconds of the clock of {@link receive}.
   * @param activity what was heard in the frame; without it everything is sent as speech.
   * @throws {MimiTypeError | MimiRangeError} for what are no codes of one frame, no time or no activity.
   * @throws {InvalidStateError | NotSupportedError} once the receiver has refused the stream.
   */
  send(codes: AudioCodes, time: number, activity?: Activity): Uint8Array[] {
    const where = "VoiceSender.send", { config, numQuantizers } = this.#model;
    if (this.#refusal) throw this.#refusal;
    const { data, shape } = toAudioCodes(where, codes, config.codebookSize), [batch, codebooks, frames] = shape;
    if (batch !== 1 || frames !== 1 || codebooks < 1 || codebooks > Math.min(numQuantizers, MOST_CODEBOOKS)) {
      const most = Math.min(numQuantizers, MOST_CODEBOOKS);
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: codes must be [1, 1 to ${most} codebooks, 1], got ${JSON.stringify(shape)}.`,
      );
    }
    if (typeof time !== "number" || !Number.isFinite(time)) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: time must be a number of seconds, got ${describe(time)}.`,
      );
    }
    const { active, level } = activity ?? { active: true, level: 0 };
    if (typeof active !== "boolean" || typeof level !== "number" || Number.isNaN(level)) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: activity must be { active, level }, as of VoiceActivity, got ${describe(activity)}.`,
      );
    }
    checkInteger(where, "redundancy", this.redundancy, 0, MOST_REDUNDANCY);
    const packets: Uint8Array[] = [];
    if (!this.#answered && this.#helloDue()) packets.push(this.#hello());
    const packet = active ? this.#speak(data) : this.#pause(level);
    if (packet) {
      packets.push(packet);
      this.#sentAt[this.#frame % SENT] = time;
      this.#sequence++;
    } else this.#sentAt[this.#frame % SENT] = NaN;
    this.#frame++;
    return packets;
  }

  /**
   * Passes over frames that were never encoded, as when a microphone was off: what comes then has its right time.
   *
   * @throws {MimiRangeError} unless it is an integer from 0.
   */
  skip(frames: number): void {
    checkInteger("VoiceSender.skip", "frames", frames, 0, Number.MAX_SAFE_INTEGER);
    if (frames === 0) return;
    this.#frame += frames;
    this.#earlier = [];
    this.#silent = 0;
    this.#sentAt.fill(NaN);
  }

  /**
   * Takes what the receiver says; returns a report if it is one.
   *
   * @param time when it came, in seconds.
   * @throws {InvalidStateError} `ERR_WRONG_MODEL` if it has another model.
   * @throws {NotSupportedError} if it does not read this version of the format, or this stream.
   * @throws {FormatError} `ERR_PACKET` for what is no packet; nothing has changed then.
   */
  receive(bytes: Uint8Array, time: number): VoiceReport | undefined {
    const where = "VoiceSender.receive";
    if (!(bytes instanceof Uint8Array)) {
      throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: bytes must be a Uint8Array, got ${describe(bytes)}.`);
    }
    const packet = parsePacket(bytes, this.#model.config.codebookSize, this.#bits);
    if (packet.stream !== this.#stream) return undefined;
    if (packet.type === "refuse") throw this.#refusal = this.#refused(packet);
    if (packet.type === "accept" || packet.type === "report") this.#answered = true;
    if (packet.type !== "report") return undefined;
    const { concealed, jitter, delay, held } = packet, frame = unwrap(packet.frame, 16, this.#frame - 1);
    const sent = frame >= this.#frame - SENT && frame < this.#frame && frame >= 0 ? this.#sentAt[frame % SENT] : NaN;
    const roundTrip = Number.isNaN(sent) ? undefined : Math.max(0, time - sent - held);
    const weight = 1 / Math.min(++this.#reports, LOOKBACK);
    this.#loss += (packet.loss - this.#loss) * weight;
    this.#runs += (packet.loss / packet.burst - this.#runs) * weight;
    const burst = this.#runs > 0 ? Math.max(1, this.#loss / this.#runs) : 1;
    return { loss: this.#loss, burst, concealed, jitter, delay, roundTrip };
  }

  #refused({ reason, version, fingerprint }: RefusePacket): InvalidStateError | NotSupportedError {
    const start = "VoiceSender: the receiver refused the stream: ";
    switch (reason) {
      case "model":
        return new InvalidStateError(
          "ERR_WRONG_MODEL",
          `${start}its model is ${describe(fingerprint)}, this is ${describe(this.#model.fingerprint)}.`,
        );
      case "version":
        return new NotSupportedError(`${start}it reads packets up to version ${version}.`);
      case "format":
        return new NotSupportedError(`${start}its model does not have the codebooks, or the rates, of this one.`);
    }
  }

  #helloDue(): boolean {
    const every = this.#frame < EAGER_HELLOS ? 1 : Math.ceil(1 / this.#step);
    return ++this.#sinceHello >= every;
  }

  #hello(): Uint8Array {
    this.#sinceHello = 0;
    const { config, fingerprint, numQuantizers } = this.#model, { samplingRate, frameSize, codebookSize } = config;
    const codebooks = Math.min(numQuantizers, MOST_CODEBOOKS);
    return formatHello({ stream: this.#stream, fingerprint, samplingRate, frameSize, codebookSize, codebooks });
  }

  #speak(codes: Uint16Array): Uint8Array {
    // Frames of a packet have as many codebooks; those before a pause are none of its neighbours.
    if (this.#silent > 0 || this.#earlier[0]?.length !== codes.length) this.#earlier = [];
    this.#silent = 0;
    const packet = { ...this.#head(), frames: [codes, ...this.#again(1)] };
    this.#earlier.unshift(codes);
    this.#earlier.length = Math.min(this.#earlier.length, MOST_REDUNDANCY);
    return formatVoice(packet, this.#bits);
  }

  /** A packet with the first frames of a pause, as long as there is something to repeat, and then now and again. */
  #pause(level: number): Uint8Array | undefined {
    const silent = ++this.#silent, left = this.redundancy - silent + 1;
    if (left <= 0 && silent % NOISE_EVERY !== 1) return undefined;
    const frames = left > 0 ? this.#again(0).slice(0, left) : [];
    const db = Math.max(0, Math.min(127, Math.round(-level)));
    return formatNoise({ ...this.#head(), level: db, silent: Math.min(silent, MOST_SILENT), frames }, this.#bits);
  }

  #head(): { stream: number; frame: number; sequence: number; falling: boolean } {
    return { stream: this.#stream, frame: this.#frame, sequence: this.#sequence, falling: this.#falling };
  }

  /** The earlier frames as they are repeated, the newest of them being `age` frames older than the first of the packet. */
  #again(age: number): Uint16Array[] {
    return this.#earlier.slice(0, this.redundancy)
      .map((codes, i) => codes.subarray(0, codebooksAt(codes.length, i + age, this.#falling)));
  }
}

function checkInteger(where: string, name: string, value: unknown, low: number, high: number): void {
  if (!Number.isInteger(value) || (value as number) < low || (value as number) > high) {
    throw new MimiRangeError(
      "ERR_OUT_OF_RANGE",
      `${where}: ${name} must be an integer from ${low} to ${high}, got ${describe(value)}.`,
    );
  }
}
