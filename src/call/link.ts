/**
 * What both ends of a voice have in common: a channel that may be replaced, and whether somebody is at its other side.
 *
 * @module
 */
import { checkOptions, describe, InvalidStateError, MimiRangeError } from "../core/errors.ts";
import { checkChannel, isClosed, isOpen, listen, type VoiceChannel } from "./channel.ts";
import { TypedEventTarget } from "./events.ts";

/**
 * - `"connecting"`: the channel is not open yet, or the other side has not answered.
 * - `"connected"`: the other side is heard.
 * - `"disconnected"`: nothing came for `timeout` seconds, or the channel closed. It goes on by itself when something comes, or
 *   with another channel.
 * - `"failed"`: the other side is not understood, or the worker ended, see `error`. It goes on with another channel or
 *   `restart()`; an end that receives also when somebody is there whom it understands.
 * - `"closed"`: by `close()`.
 */
export type VoiceState = "connecting" | "connected" | "disconnected" | "failed" | "closed";

/** When the other side counts as gone. */
export interface VoiceLinkOptions {
  /**
   * Seconds without a packet after which the other side counts as gone; default 5. An end that sends hears a report a second,
   * of which the network loses some; an end that receives hears something each 0.4 seconds also in pauses.
   */
  timeout?: number;
}

/** Events that both ends have. */
export interface VoiceLinkEvents {
  /** `state` is another one. */
  statechange: Event;
}

/** A frame of codes on its way. */
export interface VoiceFrame {
  /** [codebooks] */
  codes: Uint16Array;
}

/** Bytes that wait in a channel at most. More would be heard too late, so packets are dropped. */
const MOST_BUFFERED = 4096;
/** Milliseconds after which it is looked whether the other side is gone. */
const WATCH = 250;

/** Seconds of a clock that only goes forward. */
export const now = (): number => performance.now() / 1000;

/** What both ends of a voice have in common. */
export abstract class VoiceLink<Events extends VoiceLinkEvents> extends TypedEventTarget<Events> {
  /** As users know it. */
  protected readonly name: string;
  readonly #timeout: number;
  readonly #timer: ReturnType<typeof setInterval>;
  #channel!: VoiceChannel;
  #leave: () => void = () => {};
  #state: VoiceState = "connecting";
  #error: Error | undefined;
  #heard = 0;
  /** Of the messages on the wire, without what the channel adds. */
  readonly #traffic = { sentPackets: 0, sentBytes: 0, droppedPackets: 0, receivedPackets: 0, receivedBytes: 0 };

  /** @throws {MimiTypeError | MimiRangeError} for what is no channel or option. */
  constructor(name: string, channel: VoiceChannel, { timeout = 5 }: VoiceLinkOptions) {
    super();
    this.name = name;
    checkChannel(name, channel);
    if (!(typeof timeout === "number" && timeout > 0 && timeout <= 3600)) {
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `${name}: options.timeout must be seconds, up to 3600, got ${describe(timeout)}.`,
      );
    }
    this.#timeout = timeout;
    this.#timer = setInterval(() => this.watch(), WATCH);
    (this.#timer as { unref?(): void }).unref?.(); // a call does not keep a program of Node from ending
    this.#join(channel);
    if (isClosed(channel)) this.#state = "disconnected";
  }

  /** What there is between the two ends now. */
  get state(): VoiceState {
    return this.#state;
  }

  /** Why it failed: `ERR_WRONG_MODEL`, `ERR_NOT_SUPPORTED` for a format or version, `ERR_WORKER`. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** What carries the packets now. */
  get channel(): VoiceChannel {
    return this.#channel;
  }

  /** Messages that were sent, that the channel had no room for, and that came, this end's only. */
  get traffic(): VoiceTraffic {
    return { ...this.#traffic };
  }

  /**
   * Goes on over another channel: after a connection broke, say. The old one stays open.
   *
   * @throws {MimiTypeError} for what is no channel; {InvalidStateError} once closed.
   */
  replaceChannel(channel: VoiceChannel): void {
    const where = `${this.name}.replaceChannel`;
    this.checkOpen(where);
    checkChannel(where, channel);
    this.#leave();
    this.#error = undefined;
    this.#join(channel);
    this.begin();
    this.#to(isClosed(channel) ? "disconnected" : "connecting");
  }

  /** Ends it. The channel stays open: it is whoever opened it who closes it. */
  close(): void {
    if (this.#state === "closed") return;
    clearInterval(this.#timer);
    this.#leave();
    this.#to("closed");
  }

  /** A packet that may be for this end; returns whether it is. */
  protected abstract take(packet: Uint8Array<ArrayBuffer>): boolean;
  /** Whoever is at the other side now may know nothing of what was before. */
  protected begin(): void {}
  /** Nothing was heard for long: whoever is there may be another one, or only the answers are lost. */
  protected ask(): void {}

  /** The other side was heard, and understands. */
  protected alive(): void {
    this.#heard = now();
    this.#error = undefined;
    if (this.#state !== "closed") this.#to("connected");
  }

  protected fail(error: Error): void {
    if (this.#state === "closed" || this.#state === "failed") return;
    this.#error = error;
    this.#to("failed");
  }

  protected checkOpen(where: string): void {
    if (this.#state === "closed") throw new InvalidStateError("ERR_INVALID_STATE", `${where}: it is closed.`);
  }

  /** Looks whether the other side is gone; called also where something happens, as timers of hidden pages are slow. */
  protected watch(): void {
    if (this.#state !== "connected" || now() - this.#heard <= this.#timeout) return;
    this.ask();
    this.#to("disconnected");
  }

  /** Sends a packet if the channel has room for it. */
  protected post(packet: Uint8Array): void {
    const { bufferedAmount } = this.#channel;
    if (!isOpen(this.#channel) || bufferedAmount > MOST_BUFFERED) {
      this.#traffic.droppedPackets++;
      return;
    }
    try {
      this.#channel.send(packet as Uint8Array<ArrayBuffer>);
      this.#traffic.sentPackets++;
      this.#traffic.sentBytes += packet.length;
    } catch {
      this.#traffic.droppedPackets++; // it closes at this moment; the close event tells of it
    }
  }

  #join(channel: VoiceChannel): void {
    this.#channel = channel;
    this.#leave = listen(channel, {
      open: () => this.begin(), // what was sent before never went anywhere
      message: (bytes) => {
        if (!this.take(bytes)) return;
        this.#traffic.receivedPackets++;
        this.#traffic.receivedBytes += bytes.length;
      },
      close: () => this.#lose(),
    });
  }

  #lose(): void {
    if (this.#state !== "connected" && this.#state !== "connecting") return;
    this.begin();
    this.#to("disconnected");
  }

  #to(state: VoiceState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.dispatchEvent(new Event("statechange"));
  }
}

/** Messages of an end, without what the channel adds to them. */
export interface VoiceTraffic {
  /** Messages that were given to the channel. */
  sentPackets: number;
  /** Their bytes, without what the channel adds. */
  sentBytes: number;
  /** Messages that the channel had no room for. */
  droppedPackets: number;
  /** Messages of the other end that came. */
  receivedPackets: number;
  /** Their bytes. */
  receivedBytes: number;
}

/** Refuses names that are options of neither the link nor the end itself. */
export function checkLinkOptions(where: string, options: object, known: readonly string[]): void {
  checkOptions(where, options, ["timeout", ...known]);
}
