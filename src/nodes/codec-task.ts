/**
 * What the worker does for a codec node: audio of its processor through codes and back.
 *
 * @module
 */
import { RingBuffer } from "ringbuf.js";
import type { MimiModel } from "../core/model.ts";
import { errorToData } from "../engine/protocol.ts";
import { FrameCodec } from "./frames.ts";
import type {
  AudioLink,
  CodecSetup,
  CodecTaskStats,
  FromCapture,
  FromCodecTask,
  ToCodec,
  ToCodecTask,
} from "./messages.ts";

export class CodecTask {
  readonly #control: MessagePort;
  readonly #link: AudioLink;
  readonly #ring: RingBuffer | undefined;
  readonly #codec: FrameCodec;
  /** Messages are handled one after the other. */
  #last: Promise<void> = Promise.resolve();
  #closed = false;
  /** Samples of the context that were read, of this stretch and in all; and where the next audio belongs. */
  #read = 0;
  #total = 0;
  #at = 0;
  readonly #stats: CodecTaskStats = { frames: 0, lostFrames: 0, nonFiniteSamples: 0, lostSamples: 0 };

  constructor(model: MimiModel, { sampleRate, seed }: CodecSetup, control: MessagePort, link: AudioLink) {
    this.#control = control;
    this.#link = link;
    this.#ring = link.ring && new RingBuffer(link.ring, Float32Array);
    const encoder = model.createEncoder(), decoder = model.createDecoder();
    this.#codec = new FrameCodec(model, encoder, decoder, sampleRate, seed, (samples) => {
      const at = this.#at;
      this.#at += samples.length;
      this.#post({ type: "audio", at, samples }, [samples.buffer]);
    });
    link.port.onmessage = ({ data }: MessageEvent<FromCapture>) => {
      this.#last = this.#last.then(() => this.#capture(data)).catch((error) => this.#fail(error));
    };
    control.onmessage = (_: MessageEvent<ToCodecTask>) => { // there is one order only: to close
      this.#closed = true;
      for (const port of [link.port, control]) port.close();
      for (const handle of [encoder, decoder]) handle.close();
    };
    this.#post({ type: "listen", on: true });
  }

  async #capture(message: FromCapture): Promise<void> {
    if (message.type === "lost") return void (this.#stats.lostSamples += message.samples);
    if (message.type === "start") {
      this.#at = message.at;
      this.#ring?.pop(new Float32Array(message.skip), message.skip);
      this.#total += message.skip;
      this.#read = 0;
      return await this.#codec.reset();
    }
    let { samples } = message;
    if (!samples) {
      samples = new Float32Array(message.written - this.#read);
      this.#ring!.pop(samples, samples.length);
    }
    this.#read += samples.length;
    this.#total += samples.length;
    const settings = message.quantizers.map((quantizers, i) => ({ quantizers, loss: message.losses![i] }));
    await this.#codec.process(samples, settings);
    this.#post({ type: "read", samples: this.#total });
    this.#stats.nonFiniteSamples += message.nonFinite;
    const { frames, lost: lostFrames } = this.#codec;
    this.#tell({ type: "state", stats: { ...this.#stats, frames, lostFrames } });
  }

  #fail(error: unknown): void {
    this.#tell({ type: "failed", error: errorToData(error) });
  }

  #post(message: ToCodec, transfer: Transferable[] = []): void {
    if (!this.#closed) this.#link.port.postMessage(message, transfer);
  }

  #tell(message: FromCodecTask): void {
    if (!this.#closed) this.#control.postMessage(message);
  }
}
