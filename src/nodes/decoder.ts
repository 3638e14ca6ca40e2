/**
 * The decoder node's logic: codes on their way to the worker, and what became of them.
 *
 * @module
 */
import { type AudioCodesInput, checkCodebooks, toAudioCodes } from "../core/codes.ts";
import { checkOptions, describe, InvalidStateError, MimiRangeError, MimiTypeError } from "../core/errors.ts";
import type { EncodedFrame, EncoderCore } from "./encoder.ts";
import type {
  DecoderSetup,
  FromDecoderProcessor,
  FromDecoderTask,
  ToDecoderProcessor,
  ToDecoderTask,
} from "./messages.ts";
import { NodeCore, type NodeLike } from "./node.ts";
import type { PlayoutCounts } from "./playout.ts";
import type { Registration } from "./register.ts";

/** How a decoder node plays. */
export interface MimiDecoderNodeOptions {
  /**
   * `"live"` (default) keeps the delay small and leaves out what comes too late or too fast; `"playback"` plays everything,
   * and holds writers back.
   */
  mode?: "live" | "playback";
  /**
   * Seconds of audio that should be left when the next frame arrives; grows with underruns. 0.06 by default, or `maxBuffer`
   * if that is less.
   */
  buffer?: number;
  /** Seconds that it grows to at most: 0.5 by default, or `buffer` if that is more. */
  maxBuffer?: number;
}

/** What became of everything, in samples of the context and in frames. */
export interface DecoderStats {
  /** Samples that were played. */
  playedSamples: number;
  /** Samples of silence because the buffer ran dry. */
  underrunSamples: number;
  /** Samples of silence because nothing was to be played. */
  idleSamples: number;
  /** Decoded samples that were not played: cleared, or too late in live mode. */
  droppedSamples: number;
  /** How often the buffer ran dry. */
  underruns: number;
  /** Frames that came. */
  receivedFrames: number;
  /** Frames that were decoded. */
  decodedFrames: number;
  /** Frames that were thrown away before they were decoded. */
  droppedFrames: number;
}

/** What `enqueue` and `writable` take. */
export type DecoderInput = AudioCodesInput | Omit<EncodedFrame, "level">;

const FADE = 0.005;
/** Seconds of decoded audio that wait at most; in playback mode, frames that writers may be ahead. */
const CAPACITY = 2, AHEAD = 12;

const NOTHING: PlayoutCounts = { played: 0, underrun: 0, idle: 0, dropped: 0, underruns: 0 };
const NO_STATS: DecoderStats = {
  playedSamples: 0,
  underrunSamples: 0,
  idleSamples: 0,
  droppedSamples: 0,
  underruns: 0,
  receivedFrames: 0,
  decodedFrames: 0,
  droppedFrames: 0,
};

export class DecoderCore extends NodeCore<ToDecoderTask, FromDecoderTask> {
  protected readonly name: string = "MimiDecoderNode";
  protected readonly setup: DecoderSetup;
  protected readonly capacity: number;
  readonly mode: "live" | "playback";
  readonly #frame: number;
  readonly #options: { buffer: number; maxBuffer: number };
  readonly #sources = new Map<EncoderCore, number>();
  #nextId = 0;
  #writable: WritableStream<DecoderInput> | undefined;
  /** Frames that this side sent to the task, and what became of all that the task has. */
  #sent = 0;
  #task = { enqueued: 0, received: 0, decoded: 0, dropped: 0 };
  #counts: PlayoutCounts = { ...NOTHING };
  /** What tasks and playouts before these had. */
  #before: DecoderStats = { ...NO_STATS };
  #buffer: number;
  /** Orders to end and clear that were given so far, and who waits for one to be carried out. */
  #orders = 0;
  #ends: { order: number; resolve(): void; reject(error: Error): void }[] = [];
  #waiting: (() => void)[] = [];

  constructor(node: NodeLike, registration: Registration, options: MimiDecoderNodeOptions) {
    super(node, registration);
    const { mode = "live", buffer = Math.min(0.06, options.maxBuffer ?? 1), maxBuffer = Math.max(0.5, buffer) } =
      options;
    const { sampleRate } = node.context, { samplingRate, frameSize } = this.model.config;
    this.mode = mode;
    this.setup = { kind: "decoder", sampleRate, mode };
    this.#frame = frameSize * sampleRate / samplingRate;
    this.capacity = Math.ceil(CAPACITY * sampleRate);
    this.#options = { buffer: Math.round(buffer * sampleRate), maxBuffer: Math.round(maxBuffer * sampleRate) };
    this.#buffer = this.#options.buffer;
    node.port.onmessage = ({ data }: MessageEvent<FromDecoderProcessor>) => this.#hear(data);
    this.start();
  }

  protected start(): void {
    const { receivedFrames, decodedFrames, droppedFrames } = this.stats;
    Object.assign(this.#before, { receivedFrames, decodedFrames, droppedFrames });
    this.#task = { enqueued: 0, received: 0, decoded: 0, dropped: 0 };
    this.#sent = 0;
    const { link, transfer } = this.attach();
    this.node.port.postMessage(
      {
        type: "attach",
        link,
        mode: this.mode,
        frame: this.#frame,
        ...this.#options,
        fade: Math.round(FADE * this.node.context.sampleRate),
        interval: this.#frame / 2,
      } satisfies ToDecoderProcessor,
      transfer,
    );
    for (const encoder of [...this.#sources.keys()]) encoder.relink(this);
  }

  /** Samples and frames so far; some 40 ms old. */
  get stats(): DecoderStats {
    const { played, underrun, idle, dropped, underruns } = this.#counts, before = this.#before;
    return {
      playedSamples: before.playedSamples + played,
      underrunSamples: before.underrunSamples + underrun,
      idleSamples: before.idleSamples + idle,
      droppedSamples: before.droppedSamples + dropped,
      underruns: before.underruns + underruns,
      receivedFrames: before.receivedFrames + this.#task.received,
      decodedFrames: before.decodedFrames + this.#task.decoded,
      droppedFrames: before.droppedFrames + this.#task.dropped,
    };
  }

  get playedFrames(): number {
    return this.stats.playedSamples / this.#frame;
  }

  get bufferedFrames(): number {
    const { decoded } = this.#task, gone = (this.#counts.played + this.#counts.dropped) / this.#frame;
    return Math.max(0, this.#ahead()) + Math.max(0, decoded - gone);
  }

  get latency(): number {
    return this.#buffer / this.node.context.sampleRate;
  }

  /** Frames of codes, checked. */
  enqueue(input: DecoderInput): void {
    this.#send(this.#check(this.checkOpen("enqueue"), input));
  }

  #send(frames: Uint16Array[]): void {
    this.#sent += frames.length;
    this.tell({ type: "enqueue", frames });
  }

  #check(where: string, input: DecoderInput): Uint16Array[] {
    const { config, numQuantizers, fingerprint } = this.model;
    let codes = input as AudioCodesInput;
    if (typeof input === "object" && input !== null && "codes" in input) {
      codes = input.codes;
      if (input.fingerprint !== undefined && input.fingerprint !== fingerprint) {
        throw new InvalidStateError(
          "ERR_WRONG_MODEL",
          `${where}: the frame is of model ${describe(input.fingerprint)}, this node's is ${fingerprint}.`,
        );
      }
    }
    const { data, shape: [batch, codebooks, frames] } = toAudioCodes(where, codes, config.codebookSize);
    if (batch !== 1) {
      throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: a node takes one row, got a batch of ${batch}.`);
    }
    checkCodebooks(where, codebooks, numQuantizers, config);
    return Array.from(
      { length: frames },
      (_, t) => Uint16Array.from({ length: codebooks }, (_, k) => data[k * frames + t]),
    );
  }

  get writable(): WritableStream<DecoderInput> {
    let closing = false;
    return this.#writable ??= new WritableStream<DecoderInput>({
      start: ({ signal }) =>
        signal.addEventListener("abort", () => {
          // A stream that is closing hears of it here only; what it waits for is over then.
          if (closing && !this.failed && !this.closed) this.clear();
          this.#wake();
        }),
      write: async (input, { signal }) => {
        try {
          this.enqueue(input);
          // A stream is aborted when its write is over.
          while (this.mode === "playback" && this.#ahead() > AHEAD && !signal.aborted) {
            await new Promise<void>((resolve) => this.#waiting.push(resolve));
            this.checkOpen("writable");
          }
        } catch (error) {
          this.#writable = undefined; // as below
          throw error;
        }
      },
      close: () => {
        closing = true;
        this.#writable = undefined; // a stream that was closed cannot be written to; the next one can
        return this.end();
      },
      abort: () => {
        this.#writable = undefined;
        if (!this.failed && !this.closed) this.clear();
      },
    }, { highWaterMark: 1 });
  }

  /** Frames on their way to the task, and those that it has neither decoded nor dropped. */
  #ahead(): number {
    const { enqueued, received, decoded, dropped } = this.#task;
    return this.#sent - enqueued + received - decoded - dropped;
  }

  end(): Promise<void> {
    const ended = new Promise<void>((resolve, reject) => {
      this.checkOpen("end");
      const order = ++this.#orders;
      this.#ends.push({ order, resolve, reject });
      this.tell({ type: "end", order });
    });
    ended.catch(() => {}); // not everyone waits for it
    return ended;
  }

  clear(options: { fade?: number } = {}): void {
    const where = this.checkOpen("clear");
    checkOptions(where, options, ["fade"]);
    const { fade = 0.01 } = options;
    if (!(typeof fade === "number" && fade >= 0 && fade <= CAPACITY)) {
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `${where}: fade must be from 0 to ${CAPACITY} seconds, got ${describe(fade)}.`,
      );
    }
    const order = ++this.#orders;
    this.node.port.postMessage(
      { type: "clear", fade: Math.round(fade * this.node.context.sampleRate), order } satisfies ToDecoderProcessor,
    );
    this.tell({ type: "clear", order });
    this.#settle();
  }

  /** @throws {InvalidStateError} where codes of another encoder come in: mixed, they would be noise. */
  checkSource(where: string, encoder: EncoderCore): void {
    if (this.#sources.size === 0 || this.#sources.has(encoder)) return;
    throw new InvalidStateError(
      "ERR_INVALID_STATE",
      `${where}: the decoder takes the codes of another encoder; disconnect that one first.`,
    );
  }

  /** Takes frames of an encoder from a port. */
  receiveFrom(encoder: EncoderCore, port: MessagePort): void {
    this.receiveNoMore(encoder); // of a task before this one
    const id = this.#nextId++;
    this.#sources.set(encoder, id);
    this.tell({ type: "link", id, port }, [port]);
  }

  receiveNoMore(encoder: EncoderCore): void {
    const id = this.#sources.get(encoder);
    this.#sources.delete(encoder);
    if (id !== undefined && !this.failed) this.tell({ type: "unlink", id, order: ++this.#orders });
  }

  protected receive(message: FromDecoderTask): void {
    if (message.type !== "state") return;
    this.#task = message;
    this.#wake();
  }

  #hear(message: FromDecoderProcessor): void {
    const { sampleRate } = this.node.context,
      microseconds = (samples: number) => Math.round(samples / sampleRate * 1e6);
    if (message.type === "state") {
      this.#counts = message.counts;
      this.#buffer = message.buffer;
      return;
    }
    if (message.type === "attached") {
      const { playedSamples, underrunSamples, idleSamples, droppedSamples, underruns } = this.stats;
      Object.assign(this.#before, { playedSamples, underrunSamples, idleSamples, droppedSamples, underruns });
      this.#counts = { ...NOTHING };
      return;
    }
    const { event, from } = message, timestamp = microseconds(from + event.at);
    if (event.type === "ended") {
      while (this.#ends[0]?.order <= event.order) this.#ends.shift()!.resolve();
    }
    this.node.dispatchEvent(
      new CustomEvent(event.type, {
        detail: { timestamp, ...("samples" in event && { duration: microseconds(event.samples) }) },
      }),
    );
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Nobody waits for an end any more. */
  #settle(error?: Error): void {
    for (const { resolve, reject } of this.#ends.splice(0)) error ? reject(error) : resolve();
    this.#wake();
  }

  protected ended(error: Error | undefined): void {
    this.#settle(error);
    if (error) return;
    for (const encoder of [...this.#sources.keys()]) encoder.unlink(this);
  }
}
