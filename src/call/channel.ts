/**
 * What carries packets: an unordered data channel without retransmissions, best of all, or whatever behaves like one.
 *
 * @module
 */
import { describe, MimiTypeError } from "../core/errors.ts";

/** Events of a channel, as a data channel and a socket name them. */
export type ChannelEvent = "open" | "message" | "close";

/**
 * What is used of a channel. An `RTCDataChannel` and a `WebSocket` are channels as they are; `mimi-audio/call` has adapters for
 * others. Messages are `ArrayBuffer`s or views; each carries one packet, of at most some 350 bytes. They may be lost, come
 * twice or in another order. One voice each way goes over a channel; each end takes what is meant for it.
 */
export interface VoiceChannel {
  /** Sends a message, or loses it. */
  send(message: Uint8Array<ArrayBuffer>): void;
  /** Bytes that wait to be sent. */
  readonly bufferedAmount: number;
  /** `"open"` or 1 while messages can be sent, `"connecting"` or 0 before. */
  readonly readyState: string | number;
  /** Set to `"arraybuffer"` where it is something else. */
  binaryType?: string;
  /** Calls a listener with each event; that of a message has its bytes in `data`. */
  // deno-lint-ignore no-explicit-any -- every implementation has event classes of its own
  addEventListener(type: ChannelEvent, listener: (event: any) => void): void;
  /** Calls a listener no more. */
  // deno-lint-ignore no-explicit-any
  removeEventListener(type: ChannelEvent, listener: (event: any) => void): void;
}

/** Who hears of a channel. */
export interface ChannelListener {
  open(): void;
  message(bytes: Uint8Array<ArrayBuffer>): void;
  close(): void;
}

/** Whether messages can be sent. */
export function isOpen({ readyState }: VoiceChannel): boolean {
  return readyState === "open" || readyState === 1;
}

/** Whether nothing will ever be sent any more; the event that told of it may be over. */
export function isClosed({ readyState }: VoiceChannel): boolean {
  return [2, 3, "closing", "closed"].includes(readyState);
}

/** @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what is no channel. */
export function checkChannel(where: string, channel: VoiceChannel): void {
  const { send, addEventListener } = (channel ?? {}) as Partial<VoiceChannel>;
  if (typeof send === "function" && typeof addEventListener === "function") return;
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    `${where}: channel must be a VoiceChannel, such as an RTCDataChannel, got ${describe(channel)}.`,
  );
}

/** Listens to a channel until what is returned is called. */
export function listen(channel: VoiceChannel, listener: ChannelListener): () => void {
  if (channel.binaryType !== undefined && channel.binaryType !== "arraybuffer") channel.binaryType = "arraybuffer";
  const listeners: [ChannelEvent, (event: { data: unknown }) => void][] = [
    ["open", () => listener.open()],
    ["close", () => listener.close()],
    ["message", ({ data }) => {
      const bytes = bytesOf(data);
      if (bytes) listener.message(bytes);
    }],
  ];
  for (const [type, listener] of listeners) channel.addEventListener(type, listener);
  return () => {
    for (const [type, listener] of listeners) channel.removeEventListener(type, listener);
  };
}

/** Texts and whatever else an application sends over the same channel are none. */
function bytesOf(data: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (!ArrayBuffer.isView(data)) return undefined;
  return new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
}
