/**
 * What the worker does for a node: audio of its processor to codes, or codes to audio for its processor.
 *
 * @module
 */
import { RingBuffer } from "ringbuf.js";
import type { MimiModel } from "../core/model.ts";
import { Resampler } from "../core/resample.ts";
import { errorToData } from "../engine/protocol.ts";
import { CaptureReader } from "./capture-reader.ts";
import { CodecTask } from "./codec-task.ts";
import { FrameEncoder } from "./frames.ts";
import type {
  AudioLink,
  DecoderSetup,
  EncoderSetup,
  FrameData,
  FromCapture,
  FromDecoderTask,
  FromEncoderTask,
  FromPlayout,
  NodeSetup,
  ToCapture,
  ToDecoderTask,
  ToEncoderTask,
  ToPlayout,
} from "./messages.ts";

/** Frames that wait in front of a live decoder at most: 2 s. */
const LIVE_QUEUE = 25;

/** Begins to work for a node. */
export function openNode(model: MimiModel, setup: NodeSetup, control: MessagePort, link: AudioLink): void {
  if (setup.kind === "encoder") new EncoderTask(model, setup, control, link);
  else if (setup.kind === "codec") new CodecTask(model, setup, control, link);
  else new DecoderTask(model, setup, control, link);
}

const isFrame = (item: Uint16Array | number): item is Uint16Array => typeof item !== "number";
const ringOf = ({ ring }: AudioLink) => ring && new RingBuffer(ring, Float32Array);

class EncoderTask {
  readonly #control: MessagePort;
  readonly #link: AudioLink;
  readonly #capture: CaptureReader;
  readonly #encoder: ReturnType<MimiModel["createEncoder"]>;
  /** Samples of the context that a frame is long, whole or not. */
  readonly #frame: number;
  readonly #sampleRate: number;
  /** Messages are handled one after the other. */
  #last: Promise<void> = Promise.resolve();
  #reader: number | undefined;
  readonly #links = new Map<number, MessagePort>();
  /** First sample of the first stretch and of this one; index of this one's first frame, and of the next frame. */
  #origin: number | undefined;
  #at = 0;
  #first = 0;
  #index = 0;
  /** Frames that were emitted. */
  #frames = 0;

  constructor(model: MimiModel, { sampleRate }: EncoderSetup, control: MessagePort, link: AudioLink) {
    const { samplingRate, frameSize } = model.config;
    this.#control = control;
    this.#link = link;
    this.#frame = frameSize * sampleRate / samplingRate;
    this.#sampleRate = sampleRate;
    this.#encoder = model.createEncoder();
    const frames = new FrameEncoder(
      model,
      this.#encoder,
      sampleRate,
      (codes, _settings, level) => this.#emit(codes, level),
    );
    this.#capture = new CaptureReader(ringOf(link), {
      start: (at) => {
        this.#origin ??= at;
        this.#at = at;
        this.#index = this.#first = Math.max(this.#index, Math.ceil((at - this.#origin) / this.#frame));
        return frames.reset();
      },
      audio: (samples, settings) => frames.process(samples, settings),
      read: (samples) => link.port.postMessage({ type: "read", samples } satisfies ToCapture),
    });
    link.port.onmessage = ({ data }: MessageEvent<FromCapture>) => {
      this.#last = this.#last.then(() => this.#capture.take(data)).catch((error) => this.#fail(error));
    };
    control.onmessage = ({ data }: MessageEvent<ToEncoderTask>) => this.#order(data);
  }

  #order(message: ToEncoderTask): void {
    switch (message.type) {
      case "read":
        this.#reader = message.reader;
        break;
      case "link":
        this.#links.set(message.id, message.port);
        break;
      case "unlink":
        this.#links.get(message.id)?.close();
        this.#links.delete(message.id);
        break;
      case "stats":
        return this.#tell({ type: "stats", id: message.id, stats: { ...this.#capture.stats, frames: this.#frames } });
      case "close":
        for (const port of [...this.#links.values(), this.#link.port, this.#control]) port.close();
        return this.#encoder.close();
    }
    this.#link.port.postMessage(
      { type: "listen", on: this.#reader !== undefined || this.#links.size > 0 } satisfies ToCapture,
    );
  }

  #emit(codes: Uint16Array, level: number): void {
    const microseconds = (samples: number) => Math.round(samples / this.#sampleRate * 1e6);
    const index = this.#index++, from = this.#at + (index - this.#first) * this.#frame;
    const timestamp = microseconds(from);
    const frame: FrameData = { codes, index, timestamp, duration: microseconds(from + this.#frame) - timestamp, level };
    this.#frames++;
    for (const port of this.#links.values()) port.postMessage(frame);
    if (this.#reader !== undefined) this.#tell({ type: "frame", reader: this.#reader, frame });
  }

  #fail(error: unknown): void {
    this.#tell({ type: "failed", error: errorToData(error) });
  }

  #tell(message: FromEncoderTask): void {
    this.#control.postMessage(message);
  }
}

class DecoderTask {
  readonly #control: MessagePort;
  readonly #link: AudioLink;
  readonly #ring: RingBuffer | undefined;
  readonly #decoder: ReturnType<MimiModel["createDecoder"]>;
  readonly #resampler: Resampler;
  readonly #live: boolean;
  /** Samples of the context that a frame may become. */
  readonly #most: number;
  readonly #links = new Map<number, MessagePort>();
  /** Codes of frames, and the orders that end a stream. */
  #queue: (Uint16Array | number)[] = [];
  #working = false;
  /** An order to clear that is still to be carried out. */
  #clear: number | undefined;
  #closed = false;
  /** Samples that were written, and that the processor has taken. */
  #written = 0;
  #read = 0;
  /** Frames that the page enqueued; those that came, from the page or an encoder; and what became of these. */
  #enqueued = 0;
  #received = 0;
  #decoded = 0;
  #dropped = 0;

  constructor(model: MimiModel, { sampleRate, mode }: DecoderSetup, control: MessagePort, link: AudioLink) {
    const { samplingRate, frameSize } = model.config;
    this.#control = control;
    this.#link = link;
    this.#ring = ringOf(link);
    this.#decoder = model.createDecoder();
    this.#resampler = new Resampler({ from: samplingRate, to: sampleRate });
    this.#live = mode === "live";
    this.#most = Math.ceil((frameSize + this.#resampler.delay) * sampleRate / samplingRate) + 1;
    link.port.onmessage = ({ data }: MessageEvent<FromPlayout>) => {
      this.#read = data.samples;
      this.#work();
    };
    control.onmessage = ({ data }: MessageEvent<ToDecoderTask>) => this.#order(data);
  }

  #order(message: ToDecoderTask): void {
    switch (message.type) {
      case "enqueue":
        this.#enqueued += message.frames.length;
        return this.#enqueue(message.frames);
      case "link":
        message.port.onmessage = ({ data }: MessageEvent<FrameData>) => this.#enqueue([data.codes]);
        return void this.#links.set(message.id, message.port);
      case "unlink":
        this.#links.get(message.id)?.close();
        if (this.#links.delete(message.id)) this.#enqueue([message.order]);
        return;
      case "end":
        return this.#enqueue([message.order]);
      case "clear":
        this.#dropped += this.#queued;
        this.#queue = [];
        this.#clear = message.order;
        this.#tell();
        return this.#work();
      case "close":
        this.#closed = true;
        for (const port of [...this.#links.values(), this.#link.port, this.#control]) port.close();
        return this.#decoder.close();
    }
  }

  /** Frames that wait to be decoded. */
  get #queued(): number {
    return this.#queue.filter(isFrame).length;
  }

  #enqueue(items: (Uint16Array | number)[]): void {
    this.#received += items.filter(isFrame).length;
    for (const item of items) this.#queue.push(item);
    if (this.#live) {
      // The oldest frames go; ends stay.
      for (let excess = this.#queued - LIVE_QUEUE; excess > 0; excess--) {
        this.#queue.splice(this.#queue.findIndex(isFrame), 1);
        this.#dropped++;
      }
    }
    this.#tell();
    this.#work();
  }

  /** Decodes as long as there are codes, and room for what becomes of them. */
  #work(): void {
    if (this.#working) return;
    this.#working = true;
    this.#loop().catch((error) => {
      if (!this.#closed) {
        this.#control.postMessage({ type: "failed", error: errorToData(error) } satisfies FromDecoderTask);
      }
    }).finally(() => this.#working = false);
  }

  async #loop(): Promise<void> {
    while (!this.#closed) {
      const [next] = this.#queue, room = this.#link.capacity - (this.#written - this.#read);
      if (this.#clear !== undefined) {
        const order = this.#clear;
        this.#clear = undefined;
        await this.#finish("cleared", order);
      } else if (typeof next === "number") {
        this.#queue.shift();
        await this.#finish("end", next);
      } else if (next && room >= this.#most) {
        this.#queue.shift();
        const { audioValues } = await this.#decoder.decode({ data: next, shape: [1, next.length, 1] });
        if (this.#clear !== undefined) {
          this.#dropped++;
          this.#tell();
          continue;
        }
        this.#write(this.#resampler.process(audioValues.data));
        this.#decoded++;
        this.#tell();
      } else return;
    }
  }

  /** The rest of a stream, for which there is always room; what comes next is a new one. */
  async #finish(type: "end" | "cleared", order: number): Promise<void> {
    this.#write(this.#resampler.finish());
    this.#post({ type, written: this.#written, order });
    await this.#decoder.reset();
  }

  #write(samples: Float32Array): void {
    this.#written += samples.length;
    if (this.#ring) this.#ring.push(samples, samples.length);
    else this.#post({ type: "audio", samples }, [samples.buffer]);
  }

  #post(message: ToPlayout, transfer: Transferable[] = []): void {
    if (!this.#closed) this.#link.port.postMessage(message, transfer);
  }

  #tell(): void {
    this.#control.postMessage(
      {
        type: "state",
        enqueued: this.#enqueued,
        received: this.#received,
        decoded: this.#decoded,
        dropped: this.#dropped,
      } satisfies FromDecoderTask,
    );
  }
}
