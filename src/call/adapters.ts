/**
 * Channels over what is neither a data channel nor a WebSocket. The interfaces are those parts of the vendors' clients that
 * are used, so that none of them is a dependency.
 *
 * @module
 */
import { checkOptions, describe, InvalidStateError, MimiTypeError } from "../core/errors.ts";
import type { VoiceChannel } from "./channel.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Refuses what lacks a part that is used: methods by name, or whole objects. */
function checkParts(where: string, name: string, value: unknown, methods: string[], objects: string[] = []): void {
  const parts = (value ?? {}) as Record<string, unknown>;
  const has = (part: string, type: string) => typeof parts[part] === type && parts[part] !== null;
  if (methods.every((part) => has(part, "function")) && objects.every((part) => has(part, "object"))) return;
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    `${where}: ${name} must have ${[...methods.map((part) => `${part}()`), ...objects].join(", ")}, got ${
      describe(value)
    }.`,
  );
}

/** A channel over something else. */
export abstract class AdaptedChannel extends EventTarget implements VoiceChannel {
  #state: "connecting" | "open" | "closed" = "connecting";

  /** `"connecting"`, `"open"` or `"closed"`. */
  get readyState(): string {
    return this.#state;
  }
  /** Bytes that wait to be sent. */
  abstract readonly bufferedAmount: number;
  /** Sends a message, or loses it. */
  abstract send(message: Bytes): void;
  /** Lets go of what is below, which stays as it is. */
  abstract close(): void;

  /** Messages can be sent from now on. */
  protected opened(): void {
    if (this.#state !== "connecting") return;
    this.#state = "open";
    this.dispatchEvent(new Event("open"));
  }

  /** There will be no more messages, either way. */
  protected ended(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.dispatchEvent(new Event("close"));
  }

  /** A message came; before the channel is open it is lost. */
  protected came(data: Uint8Array): void {
    if (this.#state === "open") this.dispatchEvent(new MessageEvent("message", { data }));
  }
}

/** What is used of a `WebTransport`. */
export interface DatagramTransport {
  /** Resolves when datagrams can be sent. */
  readonly ready: Promise<unknown>;
  /** Settles when the session is over. */
  readonly closed: Promise<unknown>;
  /** Datagrams of both directions. */
  readonly datagrams: {
    /** Those that come. */
    readonly readable: ReadableStream<Uint8Array>;
    /** Of browsers before it became `createWritable()`. */
    readonly writable?: WritableStream<Uint8Array>;
    /** Those that go. */
    createWritable?(): WritableStream<Uint8Array>;
  };
}

class DatagramChannel extends AdaptedChannel {
  bufferedAmount = 0;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  constructor({ ready, closed, datagrams }: DatagramTransport) {
    super();
    this.#reader = datagrams.readable.getReader();
    this.#writer = (datagrams.createWritable?.() ?? datagrams.writable!).getWriter();
    const end = () => this.ended();
    this.#writer.closed.catch(() => {}); // `closed` of the transport tells of it
    closed.then(end, end);
    ready.then(() => {
      this.opened();
      return this.#read();
    }).catch(end);
  }

  async #read(): Promise<void> {
    for (let read; !(read = await this.#reader.read()).done;) this.came(read.value);
  }

  send(message: Bytes): void {
    this.bufferedAmount += message.length;
    // Copied: it may be sent later.
    this.#writer.write(message.slice()).catch(() => {}).finally(() => this.bufferedAmount -= message.length);
  }

  close(): void {
    this.#reader.releaseLock();
    this.#writer.releaseLock();
    this.ended();
  }
}

/**
 * Datagrams of a WebTransport session: a message each. Takes both of its streams of datagrams for itself.
 *
 * ```ts
 * const channel = webTransportChannel(new WebTransport("https://example.org/voice"));
 * ```
 *
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what is no session.
 * @throws {InvalidStateError} if somebody else reads or writes its datagrams.
 * @throws {DOMException} `InvalidStateError` in some browsers for a session that is closed.
 */
export function webTransportChannel(transport: DatagramTransport): AdaptedChannel {
  const where = "webTransportChannel";
  checkParts(where, "transport", transport, [], ["ready", "closed", "datagrams"]);
  checkParts(where, "transport.datagrams", transport.datagrams, [], ["readable"]);
  const { readable, writable } = transport.datagrams;
  if (readable.locked || writable?.locked) {
    throw new InvalidStateError(
      "ERR_INVALID_STATE",
      `${where}: the datagrams of the transport have a reader or writer.`,
    );
  }
  return new DatagramChannel(transport);
}

// deno-lint-ignore no-explicit-any -- each event has arguments of its own
type Listener = (...args: any[]) => void;

/** What is used of a `Room` of livekit-client. */
export interface LiveKitRoom {
  /** `"connected"` while messages can be sent. */
  readonly state: string;
  /** Who sends. */
  readonly localParticipant: {
    /** Sends a message. */
    publishData(
      data: Bytes,
      options: { reliable: boolean; topic: string; destinationIdentities?: string[] },
    ): Promise<void>;
  };
  /** Listens. */
  on(event: "dataReceived" | "connected" | "disconnected", listener: Listener): unknown;
  /** Listens no more. */
  off(event: "dataReceived" | "connected" | "disconnected", listener: Listener): unknown;
}

/** Whom a channel over LiveKit joins. */
export interface LiveKitOptions {
  /** Identity of the participant at the other side. */
  participant: string;
  /** Topic of the messages; default `"mimi-voice"`. */
  topic?: string;
}

class LiveKitChannel extends AdaptedChannel {
  bufferedAmount = 0;
  readonly #room: LiveKitRoom;
  readonly #options: Required<LiveKitOptions>;
  readonly #onData = (
    data: Uint8Array,
    from: { identity: string } | undefined,
    _kind: unknown,
    topic?: string,
  ): void => {
    if (from?.identity === this.#options.participant && topic === this.#options.topic) this.came(data);
  };
  readonly #onConnected = (): void => this.opened();
  readonly #onDisconnected = (): void => this.close();

  constructor(room: LiveKitRoom, { participant, topic = "mimi-voice" }: LiveKitOptions) {
    super();
    this.#room = room;
    this.#options = { participant, topic };
    room.on("dataReceived", this.#onData);
    room.on("connected", this.#onConnected);
    room.on("disconnected", this.#onDisconnected);
    if (room.state === "connected") this.opened();
  }

  send(message: Bytes): void {
    const { participant, topic } = this.#options;
    this.bufferedAmount += message.length;
    this.#room.localParticipant.publishData(message.slice(), {
      reliable: false,
      topic,
      destinationIdentities: [participant],
    }).catch(() => {}).finally(() => this.bufferedAmount -= message.length);
  }

  close(): void {
    this.#room.off("dataReceived", this.#onData);
    this.#room.off("connected", this.#onConnected);
    this.#room.off("disconnected", this.#onDisconnected);
    this.ended();
  }
}

/**
 * Lossy data messages of a LiveKit room, to one participant and from it.
 *
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what is no room, participant or topic.
 */
export function liveKitChannel(room: LiveKitRoom, options: LiveKitOptions): AdaptedChannel {
  const where = "liveKitChannel";
  checkParts(where, "room", room, ["on", "off"], ["localParticipant"]);
  checkOptions(where, options, ["participant", "topic"]);
  const { participant, topic = "mimi-voice" } = options ?? {};
  for (const [name, value] of Object.entries({ participant, topic })) {
    if (typeof value === "string" && value !== "") continue;
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: options.${name} must be a string, got ${describe(value)}.`,
    );
  }
  return new LiveKitChannel(room, options);
}

/** What is used of a `DataProducer` of mediasoup-client; made with `{ ordered: false, maxRetransmits: 0 }`. */
export interface MediasoupProducer {
  /** `"open"` while messages can be sent. */
  readonly readyState: string;
  /** Bytes that wait to be sent. */
  readonly bufferedAmount: number;
  /** Sends a message. */
  send(data: Bytes): void;
  /** Listens. */
  on(event: "open" | "close" | "transportclose", listener: () => void): unknown;
  /** Listens no more. */
  off(event: "open" | "close" | "transportclose", listener: () => void): unknown;
}

/** What is used of a `DataConsumer` of mediasoup-client. */
export interface MediasoupConsumer {
  /** Set to `"arraybuffer"`. */
  binaryType: string;
  /** Listens. */
  on(event: "message", listener: (data: ArrayBuffer) => void): unknown;
  /** Listens no more. */
  off(event: "message", listener: (data: ArrayBuffer) => void): unknown;
}

class MediasoupChannel extends AdaptedChannel {
  readonly #producer: MediasoupProducer;
  readonly #consumer: MediasoupConsumer;
  readonly #onMessage = (data: unknown): void => {
    if (data instanceof ArrayBuffer) this.came(new Uint8Array(data));
  };
  readonly #onOpen = (): void => this.opened();
  readonly #onClose = (): void => this.close();

  constructor(producer: MediasoupProducer, consumer: MediasoupConsumer) {
    super();
    this.#producer = producer;
    this.#consumer = consumer;
    consumer.binaryType = "arraybuffer"; // some browsers give blobs otherwise
    consumer.on("message", this.#onMessage);
    producer.on("open", this.#onOpen);
    for (const event of ["close", "transportclose"] as const) producer.on(event, this.#onClose);
    if (producer.readyState === "open") this.opened();
    else if (producer.readyState === "closed") this.close();
  }

  get bufferedAmount(): number {
    return this.#producer.bufferedAmount;
  }

  send(message: Bytes): void {
    this.#producer.send(message);
  }

  close(): void {
    this.#consumer.off("message", this.#onMessage);
    this.#producer.off("open", this.#onOpen);
    for (const event of ["close", "transportclose"] as const) this.#producer.off(event, this.#onClose);
    this.ended();
  }
}

/**
 * What one side produces and the other consumes by a mediasoup router.
 *
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what is no producer or consumer.
 */
export function mediasoupChannel(producer: MediasoupProducer, consumer: MediasoupConsumer): AdaptedChannel {
  checkParts("mediasoupChannel", "producer", producer, ["send", "on", "off"]);
  checkParts("mediasoupChannel", "consumer", consumer, ["on", "off"]);
  return new MediasoupChannel(producer, consumer);
}
