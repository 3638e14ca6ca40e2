/**
 * The encoder node's logic: frames on their way to a reader, and links to decoders.
 *
 * @module
 */
import type { AudioCodes } from "../core/codes.ts";
import { InvalidStateError, MimiRangeError } from "../core/errors.ts";
import type { MimiModel } from "../core/model.ts";
import type { DecoderCore } from "./decoder.ts";
import type {
  EncoderSetup,
  EncoderTaskStats,
  FrameData,
  FromEncoderTask,
  ToEncoderProcessor,
  ToEncoderTask,
} from "./messages.ts";
import { NodeCore, type NodeLike } from "./node.ts";
import type { Registration } from "./register.ts";
import { timingOf } from "./timing.ts";

/** One frame of an encoder node. */
export interface EncodedFrame {
  /** [1, codebooks, 1] */
  codes: AudioCodes;
  /** Frames since the node began to listen, or since its last `restart()`; grows by more than 1 where some were lost. */
  index: number;
  /** Of its first sample, in microseconds of the context's clock (`currentTime`). */
  timestamp: number;
  /** In microseconds. */
  duration: number;
  /** Loudness: root mean square in dB of full scale, -127 to 0. */
  level: number;
  /** Of the model whose codes these are. */
  fingerprint: string;
}

/** What became of audio and frames. */
export interface EncoderStats extends EncoderTaskStats {
  /** Frames that were thrown away because nobody read them. */
  droppedFrames: number;
  /** Frames that wait to be read. */
  queuedFrames: number;
}

/** Seconds of frames that wait for a reader, and of audio that waits for the worker. */
const QUEUE = 2;

/** Checks that codes of one model are codes of the other. */
export function checkModels(where: string, encoder: MimiModel, decoder: MimiModel): void {
  if (decoder.fingerprint !== encoder.fingerprint) {
    throw new InvalidStateError(
      "ERR_WRONG_MODEL",
      `${where}: the decoder's model is ${decoder.fingerprint}, this node's is ${encoder.fingerprint}; codes mean something else there.`,
    );
  }
  if (encoder.numQuantizers > decoder.numQuantizers) {
    throw new MimiRangeError(
      "ERR_NUM_QUANTIZERS",
      `${where}: this node can give ${encoder.numQuantizers} codebooks, the decoder has ${decoder.numQuantizers} loaded.`,
    );
  }
}

export class EncoderCore extends NodeCore<ToEncoderTask, FromEncoderTask> {
  protected readonly name: string = "MimiEncoderNode";
  protected readonly setup: EncoderSetup;
  protected readonly capacity: number;
  /** Seconds between a frame's first sample and the time at which its last one is there to be encoded. */
  readonly latency: number;
  readonly #frame: number;
  readonly #lookahead: number;
  readonly #most: number;
  #queue: FrameData[] = [];
  #dropped = 0;
  /** Numbered, so that no frame is taken for one of a reader before. */
  #reader: number | undefined;
  #readable: ReadableStream<EncodedFrame> | undefined;
  #controller: ReadableStreamDefaultController<EncodedFrame> | undefined;
  #wanted: (() => void) | undefined;
  readonly #links = new Map<DecoderCore, number>();
  #nextId = 0;
  readonly #asked = new Map<number, { resolve(stats: EncoderStats): void; reject(error: Error): void }>();

  constructor(node: NodeLike, registration: Registration) {
    super(node, registration);
    const { sampleRate } = node.context, { frame, lookahead } = timingOf(this.model.config, sampleRate);
    this.setup = { kind: "encoder", sampleRate };
    this.capacity = Math.ceil(QUEUE * sampleRate);
    this.#frame = frame;
    this.#lookahead = lookahead;
    this.#most = Math.ceil(QUEUE * this.model.config.frameRate);
    this.latency = (this.#frame + this.#lookahead) / sampleRate;
    this.start();
  }

  protected start(): void {
    const { link, transfer } = this.attach();
    this.node.port.postMessage(
      { type: "attach", link, frame: this.#frame, lookahead: this.#lookahead } satisfies ToEncoderProcessor,
      transfer,
    );
    if (this.#reader !== undefined) this.tell({ type: "read", reader: this.#reader });
    for (const [decoder, id] of this.#links) this.#connect(decoder, id);
  }

  /** Frames, from the first read on. */
  get readable(): ReadableStream<EncodedFrame> {
    return this.#readable ??= new ReadableStream<EncodedFrame>({
      start: (controller) => {
        if (this.closed) controller.close();
        else this.#controller = controller;
      },
      pull: (controller) => this.#pull(controller),
      cancel: () => {
        this.#readable = this.#controller = undefined; // a stream that was cancelled cannot be read; the next one can
        this.#reader = undefined;
        this.#queue = [];
        if (!this.failed) this.tell({ type: "read", reader: undefined });
        this.#wanted?.();
      },
    }, { highWaterMark: 0 }); // so that nothing is asked for before someone reads
  }

  get droppedFrames(): number {
    return this.#dropped;
  }

  async #pull(controller: ReadableStreamDefaultController<EncodedFrame>): Promise<void> {
    if (this.#reader === undefined) {
      this.#reader = this.#nextId++;
      if (!this.failed) this.tell({ type: "read", reader: this.#reader });
    }
    while (this.#queue.length === 0) {
      await new Promise<void>((resolve) => this.#wanted = resolve);
      if (controller !== this.#controller) return; // closed or cancelled
    }
    this.#give(controller);
  }

  /** The oldest frame that waits. */
  #give(controller: ReadableStreamDefaultController<EncodedFrame>): void {
    const { codes, ...frame } = this.#queue.shift()!;
    controller.enqueue({
      codes: { data: codes, shape: [1, codes.length, 1] },
      ...frame,
      fingerprint: this.model.fingerprint,
    });
  }

  protected receive(message: FromEncoderTask): void {
    if (message.type === "frame") {
      if (message.reader !== this.#reader) return;
      this.#queue.push(message.frame);
      if (this.#queue.length > this.#most) {
        this.#queue.shift();
        this.#dropped++;
      }
      this.#wanted?.();
    } else if (message.type === "stats") {
      this.#asked.get(message.id)?.resolve({
        ...message.stats,
        droppedFrames: this.#dropped,
        queuedFrames: this.#queue.length,
      });
      this.#asked.delete(message.id);
    }
  }

  getStats(): Promise<EncoderStats> {
    return new Promise((resolve, reject) => {
      this.checkOpen("getStats");
      const id = this.#nextId++;
      this.#asked.set(id, { resolve, reject });
      this.tell({ type: "stats", id });
    });
  }

  /**
   * @throws {InvalidStateError} `ERR_WRONG_MODEL`; where one of the two is closed or has failed, or the decoder has the
   *   codes of another encoder.
   * @throws {MimiRangeError} `ERR_NUM_QUANTIZERS`.
   */
  checkLink(decoder: DecoderCore): void {
    const where = this.checkOpen("connect");
    decoder.checkOpen("input");
    decoder.checkSource(where, this);
    checkModels(where, this.model, decoder.model);
  }

  /** Sends codes to a decoder that was checked. */
  link(decoder: DecoderCore): void {
    if (this.#links.has(decoder)) return;
    const id = this.#nextId++;
    this.#links.set(decoder, id);
    this.#connect(decoder, id);
  }

  #connect(decoder: DecoderCore, id: number): void {
    const { port1, port2 } = new MessageChannel();
    decoder.receiveFrom(this, port2);
    this.tell({ type: "link", id, port: port1 }, [port1]);
  }

  unlink(decoder: DecoderCore): void {
    const id = this.#links.get(decoder);
    if (id === undefined) return;
    this.#links.delete(decoder);
    if (!this.failed) this.tell({ type: "unlink", id });
    decoder.receiveNoMore(this);
  }

  get links(): DecoderCore[] {
    return [...this.#links.keys()];
  }

  /** A decoder got a new task. */
  relink(decoder: DecoderCore): void {
    const id = this.#links.get(decoder);
    if (id === undefined || this.failed) return;
    this.tell({ type: "unlink", id });
    this.#connect(decoder, id);
  }

  protected ended(error: Error | undefined): void {
    for (const { reject } of this.#asked.values()) {
      reject(error ?? new InvalidStateError("ERR_INVALID_STATE", `${this.name}: the node was closed.`));
    }
    this.#asked.clear();
    if (error) return; // a reader waits for restart() or close()
    for (const decoder of this.links) this.unlink(decoder);
    const controller = this.#controller;
    this.#controller = undefined;
    while (controller && this.#queue.length > 0) this.#give(controller); // to be read before the end
    controller?.close();
    this.#wanted?.();
  }
}
