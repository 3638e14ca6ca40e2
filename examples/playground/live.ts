/** The microphone through the codec node, live, and what was said while it ran. */
import { type MimiModel, resample } from "mimi-audio";
import { MimiCodecNode, MimiEncoderNode, registerMimi } from "mimi-audio/nodes";
import type { Heard } from "./player.ts";

export interface LiveOptions {
  codebooks: number;
  loss: number;
  heard: Heard;
  onFrame(codes: Uint16Array): void;
  onError(error: unknown): void;
  /** Told when the microphone goes away. */
  onEnd(): void;
}

export class Live {
  readonly #context: AudioContext;
  readonly #stream: MediaStream;
  readonly #codec: MimiCodecNode;
  readonly #encoder: MimiEncoderNode;
  readonly #recorded: Float32Array[] = [];

  /** @throws what the browser says of the microphone. */
  static async open(model: MimiModel, options: LiveOptions): Promise<Live> {
    const context = new AudioContext({ latencyHint: "interactive" });
    try {
      await context.resume();
      await registerMimi(context, { model });
      await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url).href);
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: true, noiseSuppression: false, autoGainControl: false },
      });
      return new Live(context, stream, options);
    } catch (error) {
      await context.close();
      throw error;
    }
  }

  private constructor(context: AudioContext, stream: MediaStream, options: LiveOptions) {
    const { codebooks, loss, heard, onFrame, onError, onEnd } = options;
    this.#context = context;
    this.#stream = stream;
    this.#codec = new MimiCodecNode(context, { numQuantizers: codebooks, loss, channelCount: 1 });
    this.#encoder = new MimiEncoderNode(context, {
      numQuantizers: codebooks,
      channelCount: 1,
      channelCountMode: "explicit",
    });
    const source = context.createMediaStreamSource(stream);
    const recorder = new AudioWorkletNode(context, "recorder", { channelCount: 1, channelCountMode: "explicit" });
    recorder.port.onmessage = ({ data }) => this.#recorded.push(data);
    source.connect(this.#codec).connect(context.destination);
    source.connect(this.#encoder);
    this.#encoder.connect(recorder);
    recorder.connect(context.destination); // it is silent, and runs only where it leads somewhere
    this.hear(heard);
    for (const node of [this.#codec, this.#encoder]) node.addEventListener("error", ({ error }) => onError(error));
    stream.getAudioTracks()[0].addEventListener("ended", onEnd);
    void this.#read(onFrame).catch(onError);
  }

  async #read(onFrame: (codes: Uint16Array) => void): Promise<void> {
    // A reader, for browsers whose streams cannot be iterated over.
    const reader = this.#encoder.readable.getReader();
    for (let frame; !(frame = await reader.read()).done;) onFrame(frame.value.codes.data);
  }

  set codebooks(codebooks: number) {
    for (const { numQuantizers } of [this.#codec, this.#encoder]) numQuantizers.value = codebooks;
  }

  set loss(loss: number) {
    this.#codec.loss.value = loss;
  }

  hear(heard: Heard): void {
    this.#codec.bypass.value = heard === "original" ? 1 : 0;
  }

  /** Ends it; what was said, at a sampling rate. */
  async close(samplingRate: number): Promise<Float32Array> {
    for (const track of this.#stream.getTracks()) track.stop();
    this.#codec.close();
    this.#encoder.close();
    const { sampleRate } = this.#context,
      all = new Float32Array(this.#recorded.reduce((n, { length }) => n + length, 0));
    await this.#context.close();
    this.#recorded.reduce((at, part) => {
      all.set(part, at);
      return at + part.length;
    }, 0);
    return resample(all, sampleRate, samplingRate);
  }
}
