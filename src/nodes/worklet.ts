/**
 * The processors of the nodes, for the AudioWorkletGlobalScope. They move samples; the codec runs in the worker.
 *
 * @module
 */
import { RingBuffer } from "ringbuf.js";
import { Capture } from "./capture.ts";
import { Insert } from "./insert.ts";
import {
  CODEC,
  type CodecProcessorOptions,
  DECODER,
  ENCODER,
  type FromCodecProcessor,
  type FromDecoderProcessor,
  type FromPlayout,
  ringBytes,
  type ToCapture,
  type ToCodec,
  type ToCodecProcessor,
  type ToDecoderProcessor,
  type ToEncoderProcessor,
  type ToPlayout,
} from "./messages.ts";
import { CODEC_PARAMETERS, NUM_QUANTIZERS } from "./parameters.ts";
import { Playout } from "./playout.ts";
import { Timeline } from "./timeline.ts";

declare const currentFrame: number;
declare const sampleRate: number;
declare function registerProcessor(name: string, processor: unknown): void;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}

/** Storage for a ring in this thread's memory. */
function ownStorage(capacity: number): SharedArrayBuffer {
  return new ArrayBuffer(ringBytes(capacity)) as unknown as SharedArrayBuffer;
}

const ring = (storage: SharedArrayBuffer) => new RingBuffer(storage, Float32Array);

/** Passes audio through and captures it. */
class EncoderProcessor extends AudioWorkletProcessor {
  static get parameterDescriptors(): unknown[] {
    return [NUM_QUANTIZERS];
  }

  #capture: Capture | undefined;
  #link: MessagePort | undefined;
  #closed = false;

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<ToEncoderProcessor>) => {
      this.#link?.close();
      this.#capture = this.#link = undefined;
      if (data.type === "close") this.#closed = true;
      if (data.type !== "attach" || this.#closed) return;
      const { link: { port, ring: storage, capacity }, frame, lookahead } = data;
      const capture = new Capture({
        ring: ring(storage ?? ownStorage(capacity)),
        shared: storage !== undefined,
        capacity,
        frame,
        lookahead,
        post: (message, transfer = []) => port.postMessage(message, transfer),
      });
      port.onmessage = ({ data }: MessageEvent<ToCapture>) => {
        if (data.type === "listen") capture.listen(data.on);
        else capture.read(data.samples);
      };
      this.#capture = capture;
      this.#link = port;
    };
  }

  process(
    [input]: Float32Array[][],
    [output]: Float32Array[][],
    { numQuantizers }: Record<string, Float32Array>,
  ): boolean {
    input.forEach((channel, c) => output[c]?.set(channel));
    this.#capture?.take(input, output[0].length, currentFrame, numQuantizers[0]);
    return !this.#closed;
  }
}

/** Plays what the worker decodes. Its input is silent wire: an edge of the graph that puts it after its encoder. */
class DecoderProcessor extends AudioWorkletProcessor {
  #playout: Playout | undefined;
  #link: MessagePort | undefined;
  #fade = 0;
  #closed = false;
  #interval = Infinity;
  #since = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }: MessageEvent<ToDecoderProcessor>) => {
      if (data.type === "clear") return this.#playout?.clear(data.fade, data.order);
      this.#link?.close();
      this.#link = undefined;
      if (data.type === "attach" && !this.#closed) return this.#attach(data);
      this.#playout?.clear(this.#fade, Infinity); // for good: nothing comes any more
      if (data.type === "close") this.#closed = true;
    };
  }

  #attach(
    { link: { port, ring: storage, capacity }, mode, frame, buffer, maxBuffer, fade, interval }: ToDecoderProcessor & {
      type: "attach";
    },
  ): void {
    const from = currentFrame, own = ring(storage ?? ownStorage(capacity));
    const playout = new Playout(
      own,
      { mode, frame, buffer, maxBuffer, fade, rate: sampleRate },
      (event) => this.#tell({ type: "event", event, from }),
    );
    port.onmessage = ({ data }: MessageEvent<ToPlayout>) => {
      if (data.type === "audio") own.push(data.samples, data.samples.length);
      else if (data.type === "end") playout.end(data.written, data.order);
      else playout.cleared(data.written, data.order);
    };
    if (this.#playout) this.#tellState(this.#playout);
    this.#tell({ type: "attached" });
    this.#playout = playout;
    this.#link = port;
    this.#fade = fade;
    this.#interval = interval;
  }

  #tellState({ counts, buffer }: Playout): void {
    this.#tell({ type: "state", counts: { ...counts }, buffer });
  }

  #tell(message: FromDecoderProcessor): void {
    this.port.postMessage(message);
  }

  process(_inputs: Float32Array[][], [output]: Float32Array[][]): boolean {
    const playout = this.#playout, [first, ...others] = output;
    if (!playout) return !this.#closed;
    playout.process(first);
    for (const channel of others) channel.set(first);
    this.#since += first.length;
    if (this.#since >= this.#interval) {
      this.#since = 0;
      this.#link?.postMessage({ type: "read", samples: playout.read } satisfies FromPlayout);
      this.#tellState(playout);
    }
    return !this.#closed || playout.state === "playing"; // until it has faded out
  }
}

/** Captures its input and plays what the worker makes of it when its time has come, or the input itself. */
class CodecProcessor extends AudioWorkletProcessor {
  static get parameterDescriptors(): unknown[] {
    return CODEC_PARAMETERS;
  }

  readonly #timeline: Timeline;
  readonly #insert: Insert;
  #capture: Capture | undefined;
  #link: MessagePort | undefined;
  #closed = false;
  /** Samples after which the page hears of it again. */
  #interval = Infinity;
  #since = 0;

  constructor({ processorOptions: { latency, fade } }: { processorOptions: CodecProcessorOptions }) {
    super();
    this.#timeline = new Timeline(fade);
    this.#insert = new Insert(this.#timeline, latency);
    this.port.onmessage = ({ data }: MessageEvent<ToCodecProcessor>) => {
      this.#link?.close();
      this.#capture = this.#link = undefined;
      this.#timeline.clear();
      if (data.type === "close") this.#closed = true;
      if (data.type === "attach" && !this.#closed) this.#attach(data);
    };
  }

  #attach({ link: { port, ring: storage, capacity }, frame, lookahead }: ToCodecProcessor & { type: "attach" }): void {
    const capture = new Capture({
      ring: ring(storage ?? ownStorage(capacity)),
      shared: storage !== undefined,
      capacity,
      frame,
      lookahead,
      post: (message, transfer = []) => port.postMessage(message, transfer),
    });
    port.onmessage = ({ data }: MessageEvent<ToCodec>) => {
      if (data.type === "audio") this.#timeline.write(data.at, data.samples);
      else if (data.type === "read") capture.read(data.samples);
      else capture.listen(data.on);
    };
    this.#capture = capture;
    this.#link = port;
    this.#interval = frame;
  }

  process(
    [input]: Float32Array[][],
    [output]: Float32Array[][],
    { numQuantizers, bypass, loss }: Record<string, Float32Array>,
  ): boolean {
    const [{ length }] = output;
    this.#capture?.take(input, length, currentFrame, numQuantizers[0], loss[0]);
    this.#insert.process(input, output, currentFrame, bypass);
    this.#since += length;
    if (this.#since >= this.#interval) {
      this.#since = 0;
      this.port.postMessage({ type: "state", missing: this.#timeline.missing } satisfies FromCodecProcessor);
    }
    return !this.#closed;
  }
}

registerProcessor(ENCODER, EncoderProcessor);
registerProcessor(DECODER, DecoderProcessor);
registerProcessor(CODEC, CodecProcessor);
