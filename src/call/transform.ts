/**
 * A channel whose messages become others on their way: encrypted, say.
 *
 * @module
 */
import { checkOptions, describe, MimiTypeError } from "../core/errors.ts";
import { type ChannelEvent, checkChannel, listen, type VoiceChannel } from "./channel.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Makes another message of one; undefined where it should be lost. */
export type MessageTransform = (message: Bytes) => Bytes | undefined | Promise<Bytes | undefined>;

/** What becomes of messages. */
export interface TransformOptions {
  /** What becomes of messages that are sent, and of those that come; without it they stay as they are. */
  send?: MessageTransform;
  /** What becomes of messages that come. */
  receive?: MessageTransform;
}

/** A channel over another one; see {@link transformChannel}. */
export class TransformedChannel extends EventTarget implements VoiceChannel {
  /** Messages that a transform threw an error for; they are lost, as those that were forged should be. */
  rejected = 0;
  readonly #channel: VoiceChannel;
  readonly #transforms: TransformOptions;
  readonly #listeners: Record<ChannelEvent, Set<unknown>> = { open: new Set(), message: new Set(), close: new Set() };
  #leave: () => void = () => {};
  /** Bytes that a transform has not given back. */
  #pending = 0;

  /** For {@link transformChannel}. */
  constructor(channel: VoiceChannel, transforms: TransformOptions) {
    super();
    this.#channel = channel;
    this.#transforms = transforms;
  }

  get bufferedAmount(): number {
    return this.#channel.bufferedAmount + this.#pending;
  }

  get readyState(): string | number {
    return this.#channel.readyState;
  }

  send(message: Bytes): void {
    const done = this.#apply(this.#transforms.send, message, (bytes) => this.#channel.send(bytes));
    if (!done) return;
    this.#pending += message.length;
    void done.then(() => this.#pending -= message.length);
  }

  override addEventListener(
    type: ChannelEvent,
    // deno-lint-ignore no-explicit-any -- as in VoiceChannel
    listener: (event: any) => void,
    options?: AddEventListenerOptions,
  ): void {
    super.addEventListener(type, listener, options);
    const before = this.#listening;
    this.#listeners[type]?.add(listener);
    if (before || !this.#listening) return;
    this.#leave = listen(this.#channel, {
      open: () => this.dispatchEvent(new Event("open")),
      close: () => this.dispatchEvent(new Event("close")),
      message: (message) =>
        this.#apply(
          this.#transforms.receive,
          message,
          (data) => this.dispatchEvent(new MessageEvent("message", { data })),
        ),
    });
  }

  // deno-lint-ignore no-explicit-any
  override removeEventListener(type: ChannelEvent, listener: (event: any) => void): void {
    super.removeEventListener(type, listener);
    this.#listeners[type]?.delete(listener);
    if (!this.#listening) this.#leave(); // nothing of this channel holds it any more
  }

  get #listening(): boolean {
    return Object.values(this.#listeners).some(({ size }) => size > 0);
  }

  /** Passes on what becomes of a message; a promise that resolves when it has, where that is not at once. */
  #apply(
    transform: MessageTransform | undefined,
    message: Bytes,
    pass: (bytes: Bytes) => void,
  ): Promise<void> | undefined {
    let made;
    try {
      made = transform ? transform(message) : message;
    } catch {
      this.rejected++;
      return undefined;
    }
    if (made && "then" in made) {
      return Promise.resolve(made).then((bytes) => {
        try {
          if (bytes) pass(bytes);
        } catch {
          // The channel has closed meanwhile, and says so.
        }
      }, () => void this.rejected++);
    }
    if (made) pass(made);
    return undefined;
  }
}

/**
 * A channel over another one whose messages are transformed: bytes in, bytes out, at once or by a promise. Both sides do it.
 *
 * ```ts
 * const encrypted = transformChannel(channel, { send: encrypt, receive: decrypt });
 * ```
 *
 * @throws {MimiTypeError} for what is no channel or function.
 */
export function transformChannel(channel: VoiceChannel, options: TransformOptions): TransformedChannel {
  const where = "transformChannel";
  checkChannel(where, channel);
  checkOptions(where, options, ["send", "receive"]);
  const { send, receive } = options ?? {};
  for (const [name, value] of Object.entries({ send, receive })) {
    if (value === undefined || typeof value === "function") continue;
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: options.${name} must be a function, got ${describe(value)}.`,
    );
  }
  return new TransformedChannel(channel, { send, receive });
}
