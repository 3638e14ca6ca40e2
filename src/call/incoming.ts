/**
 * The end that receives: packets of a channel into audio, whenever it is asked for.
 *
 * @module
 */
import { bitsOf } from "../core/bits.ts";
import { describe, MimiTypeError } from "../core/errors.ts";
import type { MimiModel } from "../core/model.ts";
import { isForSender, parsePacket } from "../rtc/packets.ts";
import {
  checkVoiceModel,
  type VoiceModel,
  VoiceReceiver,
  type VoiceReceiverOptions,
  type VoiceReceiverStats,
} from "../rtc/receiver.ts";
import type { VoiceChannel } from "./channel.ts";
import {
  checkLinkOptions,
  now,
  type VoiceFrame,
  VoiceLink,
  type VoiceLinkEvents,
  type VoiceLinkOptions,
} from "./link.ts";

/** How long a voice may wait for late packets. */
export interface IncomingVoiceOptions extends VoiceLinkOptions, Omit<VoiceReceiverOptions, "decoder"> {}

export interface IncomingVoiceEvents extends VoiceLinkEvents {
  /** A frame came in a packet of its own: for pictures of codes. */
  frame: CustomEvent<VoiceFrame>;
}

/** A record, so that the compiler misses an option that is not here. */
const RECEIVER: Record<keyof Omit<VoiceReceiverOptions, "decoder">, true> = {
  maxDelay: true,
  minDelay: true,
  startDelay: true,
  late: true,
  repair: true,
};
export const RECEIVER_OPTIONS: readonly string[] = Object.keys(RECEIVER);

/** The options of a receiver among others. */
export function receiverOptions(options: IncomingVoiceOptions): Omit<VoiceReceiverOptions, "decoder"> {
  return Object.fromEntries(Object.entries(options).filter(([name]) => RECEIVER_OPTIONS.includes(name)));
}

/** Seconds from one report to the next. */
const REPORT = 1;

/** What became of a packet. */
export interface Reception {
  /** Packets for the sender. */
  answers: Uint8Array[];
  /** Whether it was of a voice that is understood. */
  understood: boolean;
  /** Its own frame, [codebooks], if it has one. */
  frame: Uint16Array | undefined;
  /** Why it is not, if it is not. */
  refusal: Error | undefined;
}

/** Pushes packets into a receiver, and says what the sender has to be told: the answers to a hello, and reports. */
export class ReceiverDesk {
  readonly #receiver: VoiceReceiver;
  readonly #codebookSize: number;
  #reported: number | undefined;
  #taken = 0;

  constructor(receiver: VoiceReceiver, { config }: VoiceModel) {
    this.#receiver = receiver;
    this.#codebookSize = config.codebookSize;
  }

  push(packet: Uint8Array, time: number): Reception {
    const receiver = this.#receiver;
    receiver.push(packet, time);
    const answers: Uint8Array[] = [], answer = receiver.answer();
    if (answer) answers.push(answer);
    this.#reported ??= time;
    if (time - this.#reported >= REPORT) {
      const report = receiver.report(time);
      if (report) answers.push(report);
      this.#reported = time;
    }
    const { taken } = receiver.stats.packets, understood = taken > this.#taken;
    this.#taken = taken;
    return { answers, understood, frame: understood ? this.#frameOf(packet) : undefined, refusal: receiver.refusal };
  }

  /** @param packet one that was read before. */
  #frameOf(packet: Uint8Array): Uint16Array | undefined {
    const parsed = parsePacket(packet, this.#codebookSize, bitsOf(this.#codebookSize));
    return parsed.type === "voice" ? parsed.frames[0].slice() : undefined;
  }
}

/**
 * Receives the packets of a channel and answers them; whoever plays the audio asks for it. `receiveVoice` makes the same for
 * an audio graph; elsewhere:
 *
 * ```ts
 * const incoming = new IncomingVoice(model, channel);
 * setInterval(() => play(incoming.pull(480)), 20);
 * ```
 */
export class IncomingVoice extends VoiceLink<IncomingVoiceEvents> {
  readonly #decoder: ReturnType<MimiModel["createDecoderSync"]>;
  readonly #receiver: VoiceReceiver;
  readonly #desk: ReceiverDesk;

  /**
   * @throws {MimiTypeError | MimiRangeError} for what is no model, channel or option.
   * @throws {NotSupportedError} for a model whose backend is not synchronous, such as one in a worker.
   */
  constructor(model: MimiModel, channel: VoiceChannel, options: IncomingVoiceOptions = {}) {
    const name = "IncomingVoice";
    checkVoiceModel(name, model);
    if (typeof model.createDecoderSync !== "function") {
      throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${name}: model must be a MimiModel, got ${describe(model)}.`);
    }
    checkLinkOptions(name, options, RECEIVER_OPTIONS);
    super(name, channel, options);
    let decoder;
    try {
      decoder = this.#decoder = model.createDecoderSync();
      this.#receiver = new VoiceReceiver(model, { ...receiverOptions(options), decoder });
    } catch (error) {
      decoder?.close();
      super.close();
      throw error;
    }
    this.#desk = new ReceiverDesk(this.#receiver, model);
  }

  /** What became of packets, frames and samples. */
  get stats(): VoiceReceiverStats {
    return this.#receiver.stats;
  }

  /**
   * The next `n` samples, [n] between -1 and 1 at the model's rate.
   *
   * @param time when the first of them is heard, by the clock of `performance.now()` in seconds; now if it is left out.
   * @throws {InvalidStateError} once closed; {MimiRangeError} for what is no number of samples or no time.
   */
  pull(n: number, time: number = now()): Float32Array {
    this.checkOpen(`${this.name}.pull`);
    this.watch();
    return this.#receiver.pull(n, time);
  }

  protected take(packet: Uint8Array): boolean {
    if (isForSender(packet)) return false;
    const { answers, understood, frame, refusal } = this.#desk.push(packet, now());
    for (const answer of answers) this.post(answer);
    if (refusal) this.fail(refusal);
    else if (understood) this.alive();
    if (frame) this.dispatchEvent(new CustomEvent("frame", { detail: { codes: frame } }));
    return true;
  }

  override close(): void {
    if (this.state !== "closed") this.#decoder.close();
    super.close();
  }
}
