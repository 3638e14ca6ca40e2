/**
 * What the worker does for a codec node: audio of its processor through codes and back.
 *
 * @module
 */
import { RingBuffer } from "ringbuf.js";
import type { MimiModel } from "../core/model.ts";
import { errorToData } from "../engine/protocol.ts";
import { CaptureReader } from "./capture-reader.ts";
import { FrameCodec } from "./frames.ts";
import type { AudioLink, CodecSetup, FromCapture, FromCodecTask, ToCodec, ToCodecTask } from "./messages.ts";

export class CodecTask {
  readonly #control: MessagePort;
  readonly #link: AudioLink;
  readonly #reader: CaptureReader;
  readonly #codec: FrameCodec;
  /** Messages are handled one after the other. */
  #last: Promise<void> = Promise.resolve();
  #closed = false;
  /** Where the next audio belongs. */
  #at = 0;

  constructor(model: MimiModel, { sampleRate, seed }: CodecSetup, control: MessagePort, link: AudioLink) {
    this.#control = control;
    this.#link = link;
    const encoder = model.createEncoder(), decoder = model.createDecoder();
    this.#codec = new FrameCodec(model, encoder, decoder, sampleRate, seed, (samples) => {
      const at = this.#at;
      this.#at += samples.length;
      this.#post({ type: "audio", at, samples }, [samples.buffer]);
    });
    this.#reader = new CaptureReader(link.ring && new RingBuffer(link.ring, Float32Array), {
      start: (at) => {
        this.#at = at;
        return this.#codec.reset();
      },
      audio: (samples, settings) => this.#codec.process(samples, settings),
      read: (samples) => {
        this.#post({ type: "read", samples });
        const { frames, lost: lostFrames } = this.#codec;
        this.#tell({ type: "state", stats: { ...this.#reader.stats, frames, lostFrames } });
      },
    });
    link.port.onmessage = ({ data }: MessageEvent<FromCapture>) => {
      this.#last = this.#last.then(() => this.#reader.take(data)).catch((error) => this.#fail(error));
    };
    control.onmessage = (_: MessageEvent<ToCodecTask>) => { // there is one order only: to close
      this.#closed = true;
      for (const port of [link.port, control]) port.close();
      for (const handle of [encoder, decoder]) handle.close();
    };
    this.#post({ type: "listen", on: true });
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
