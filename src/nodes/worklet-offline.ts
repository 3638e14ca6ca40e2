/**
 * The processors of the nodes in an offline context, for its AudioWorkletGlobalScope. They run the codec themselves, within
 * the quantum in which a frame becomes whole: a render waits for them.
 *
 * @module
 */
import { RingBuffer } from "ringbuf.js";
import { compileKernelsNow, wasm } from "../backends/wasm/mod.ts";
import { MimiConfig } from "../core/config.ts";
import { decoderNetwork, encoderNetwork } from "../core/mimi.ts";
import { MimiModel } from "../core/model.ts";
import type { Network } from "../core/network.ts";
import type { ModelWeights } from "../load.ts";
import { Capture } from "./capture.ts";
import { CaptureReader } from "./capture-reader.ts";
import { FrameCodec, FrameDecoder, FrameEncoder, type FrameSettings } from "./frames.ts";
import { Insert } from "./insert.ts";
import { CODEC, DECODER, ENCODER, offlineName, ringBytes } from "./messages.ts";
import type { OfflineCodecOptions, OfflineEncoderOptions, OfflineOptions } from "./offline.ts";
import { CODEC_PARAMETERS, NUM_QUANTIZERS, SOURCE } from "./parameters.ts";
import { Timeline } from "./timeline.ts";
import { timingOf } from "./timing.ts";

declare const currentFrame: number;
declare const sampleRate: number;
declare function registerProcessor(name: string, processor: unknown): void;
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}

interface Options<T> {
  processorOptions: T;
}

/** A model of this scope. */
class ScopeModel {
  #model: MimiModel | undefined;
  #error: unknown = new Error("the weights did not become a model in time");

  constructor(weights: ModelWeights) {
    this.#load(weights).then((model) => this.#model = model, (error) => this.#error = error);
  }

  /**
   * Everything that it waits for is there, so it is through when the task that made the processor is: promises that are
   * settled go on before anything else happens.
   */
  async #load(
    { config: json, tensors, part, precision, numQuantizers, fingerprint }: ModelWeights,
  ): Promise<MimiModel> {
    compileKernelsNow();
    const config = MimiConfig.fromJSON(json), backend = wasm();
    const compile = (network: Network) =>
      backend.compile(network, { read: ({ name }) => Promise.resolve(tensors.get(name)!) }, { precision });
    return new MimiModel({
      config,
      numQuantizers,
      fingerprint,
      backend,
      precision,
      encoder: part === "decoder" ? undefined : await compile(encoderNetwork(config, numQuantizers)),
      decoder: part === "encoder" ? undefined : await compile(decoderNetwork(config, numQuantizers)),
    });
  }

  get model(): MimiModel {
    if (this.#model) return this.#model;
    throw this.#error;
  }
}

/** What the nodes of this context share: models, and encoders for the decoders that play their codes. */
const models = new Map<number, ScopeModel>(), encoders = new Map<number, EncoderProcessor>();

function scopeModel({ model, weights }: OfflineOptions): ScopeModel {
  let known = models.get(model);
  if (!known && weights) models.set(model, known = new ScopeModel(weights));
  if (!known) throw new Error("the node that brought the weights was not made");
  return known;
}

/** A capture whose audio is handled at once, in this thread. */
function capture(
  { config }: MimiModel,
  length: number,
  start: (at: number) => void,
  audio: (samples: Float32Array, settings: FrameSettings[]) => void,
): Capture {
  const { frame, lookahead } = timingOf(config, sampleRate), capacity = Math.ceil(frame + lookahead) + length;
  const storage = new ArrayBuffer(ringBytes(capacity)) as unknown as SharedArrayBuffer;
  const reader = new CaptureReader(undefined, { start, audio, read: (samples) => made.read(samples) });
  const made = new Capture({
    ring: new RingBuffer(storage, Float32Array),
    shared: false,
    capacity,
    frame,
    lookahead,
    post: (message) => void reader.take(message),
  });
  made.listen(true);
  return made;
}

/** A frame, and the place of its first sample in the context's time. */
interface PlacedFrame {
  codes: Uint16Array;
  at: number;
}

/** Passes audio through and has the frames that become whole with it. */
class EncoderProcessor extends AudioWorkletProcessor {
  static get parameterDescriptors(): unknown[] {
    return [NUM_QUANTIZERS];
  }

  /** Frames of the quantum that begins at {@link at}. */
  frames: PlacedFrame[] = [];
  at = -1;
  readonly #scope: ScopeModel;
  #capture: Capture | undefined;
  #next = 0;

  constructor({ processorOptions }: Options<OfflineEncoderOptions>) {
    super();
    this.#scope = scopeModel(processorOptions);
    encoders.set(processorOptions.encoder, this);
  }

  #open(length: number): Capture {
    const { model } = this.#scope, { frame } = timingOf(model.config, sampleRate);
    const frames = new FrameEncoder(model, model.createEncoderSync(), sampleRate, (codes) => {
      this.frames.push({ codes, at: this.#next });
      this.#next += frame;
    });
    return capture(
      model,
      length,
      (at) => this.#next = at,
      (samples, settings) => void frames.process(samples, settings),
    );
  }

  process(
    [input]: Float32Array[][],
    [output]: Float32Array[][],
    { numQuantizers }: Record<string, Float32Array>,
  ): boolean {
    const [{ length }] = output;
    input.forEach((channel, c) => output[c]?.set(channel));
    this.frames = [];
    this.at = currentFrame;
    this.#capture ??= this.#open(length);
    this.#capture.take(input, length, currentFrame, numQuantizers[0]);
    return true;
  }
}

/** Plays the codes of an encoder, which the audio edge between the two has put before it. */
class DecoderProcessor extends AudioWorkletProcessor {
  static get parameterDescriptors(): unknown[] {
    return [SOURCE];
  }

  readonly #scope: ScopeModel;
  readonly #timeline: Timeline = new Timeline(0);
  #decoder: FrameDecoder | undefined;
  #source = 0;
  #latency = 0;
  /** Where the next audio belongs, once there was some. */
  #next: number | undefined;

  constructor({ processorOptions }: Options<OfflineOptions>) {
    super();
    this.#scope = scopeModel(processorOptions);
  }

  #open(): FrameDecoder {
    const { model } = this.#scope, { encoder, decoder } = timingOf(model.config, sampleRate);
    this.#latency = encoder + decoder;
    return new FrameDecoder(model, model.createDecoderSync(), sampleRate);
  }

  process(
    _inputs: Float32Array[][],
    [output]: Float32Array[][],
    { source: [source] }: Record<string, Float32Array>,
  ): boolean {
    const decoder = this.#decoder ??= this.#open(), encoder = encoders.get(source);
    if (source !== this.#source) {
      this.#source = source;
      this.#next = undefined;
      this.#timeline.clear();
      void decoder.reset();
    }
    if (encoder) {
      if (encoder.at !== currentFrame) throw new Error("the encoder was not processed before the decoder");
      for (const { codes, at } of encoder.frames) {
        const samples = decoder.process(codes) as Float32Array, from = this.#next ?? Math.ceil(at);
        this.#timeline.write(from, samples);
        this.#next = from + samples.length;
      }
    }
    this.#timeline.read(currentFrame - this.#latency, output[0]);
    return true;
  }
}

/** Plays what the codec makes of its input, or the input itself, equally late. */
class CodecProcessor extends AudioWorkletProcessor {
  static get parameterDescriptors(): unknown[] {
    return CODEC_PARAMETERS;
  }

  readonly #scope: ScopeModel;
  readonly #seed: number;
  readonly #timeline: Timeline = new Timeline(0);
  readonly #insert: Insert;
  #capture: Capture | undefined;
  #next = 0;

  constructor({ processorOptions }: Options<OfflineCodecOptions>) {
    super();
    this.#scope = scopeModel(processorOptions);
    this.#seed = processorOptions.seed;
    this.#insert = new Insert(this.#timeline, processorOptions.latency);
  }

  #open(length: number): Capture {
    const { model } = this.#scope, encoder = model.createEncoderSync(), decoder = model.createDecoderSync();
    const codec = new FrameCodec(model, encoder, decoder, sampleRate, this.#seed, (samples) => {
      this.#timeline.write(this.#next, samples);
      this.#next += samples.length;
    });
    return capture(
      model,
      length,
      (at) => this.#next = at,
      (samples, settings) => void codec.process(samples, settings),
    );
  }

  process(
    [input]: Float32Array[][],
    [output]: Float32Array[][],
    { numQuantizers, bypass, loss }: Record<string, Float32Array>,
  ): boolean {
    const [{ length }] = output;
    this.#capture ??= this.#open(length);
    this.#capture.take(input, length, currentFrame, numQuantizers[0], loss[0]);
    this.#insert.process(input, output, currentFrame, bypass);
    return true;
  }
}

registerProcessor(offlineName(ENCODER), EncoderProcessor);
registerProcessor(offlineName(DECODER), DecoderProcessor);
registerProcessor(offlineName(CODEC), CodecProcessor);
