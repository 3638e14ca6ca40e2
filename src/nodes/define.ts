/**
 * The node classes, over the AudioWorkletNode class of any implementation of Web Audio.
 *
 * @module
 */
import { checkOptions, describe, MimiRangeError, MimiTypeError, NotSupportedError } from "../core/errors.ts";
import type { MimiModel } from "../core/model.ts";
import { CodecCore, type CodecStats } from "./codec.ts";
import { DecoderCore, type DecoderInput, type DecoderStats, type MimiDecoderNodeOptions } from "./decoder.ts";
import { type EncodedFrame, EncoderCore, type EncoderStats } from "./encoder.ts";
import { CODEC, type CodecProcessorOptions, DECODER, ENCODER, offlineName } from "./messages.ts";
import type { NodeLike } from "./node.ts";
import {
  nextEncoder,
  OfflineCodecCore,
  type OfflineCodecOptions,
  OfflineDecoderCore,
  OfflineEncoderCore,
  type OfflineEncoderOptions,
} from "./offline.ts";
import { registrationOf, type WorkletContext, wrongModule } from "./register.ts";
import { timingOf } from "./timing.ts";

/** Those of any audio node, such as `channelCount`, whose values the browser checks and refuses with errors of its own; and: */
export interface MimiEncoderNodeOptions extends AudioNodeOptions {
  /** Value that the parameter `numQuantizers` begins with: 8, or what the model has if that is less. */
  numQuantizers?: number;
}

/** What a codec node begins with. */
export interface MimiCodecNodeOptions {
  /** Value that the parameter `numQuantizers` begins with: 8, or what the model has if that is less. */
  numQuantizers?: number;
  /** Value that the parameter `bypass` begins with: 0. */
  bypass?: number;
  /** Value that the parameter `loss` begins with: 0. */
  loss?: number;
  /** Which frames are lost: an integer from 0 to 2^32 - 1, 0 by default. One seed loses the same frames each time. */
  seed?: number;
  /** Channels of the node, 1 or 2 (default). The codec has one; both channels of the output have its sound. */
  channelCount?: number;
  /** Seconds from 0 to 1 that the worker gets for a frame, 0.08 by default; none in an offline context. */
  buffer?: number;
}

/** When something was. */
export interface MimiMoment {
  /** Microseconds of the context's clock. */
  timestamp: number;
}

/** When something began and how long it was. */
export interface MimiSpan extends MimiMoment {
  /** Microseconds. */
  duration: number;
}

/** Something happened; `detail` says when. */
export type MimiEvent = CustomEvent<MimiMoment>;
/** Something went on; `detail` says when and how long. */
export type MimiSpanEvent = CustomEvent<MimiSpan>;

/** Events of both nodes, by their names. */
export interface MimiNodeEvents {
  /** The node has failed, with a typed `error`; see {@link MimiEncoder.restart}. */
  error: ErrorEvent;
}

/** Events of a decoder node besides those, by their names. */
export interface MimiDecoderEvents {
  /** Sound begins. */
  playing: MimiEvent;
  /** The buffer ran dry; told when the silence is over. */
  underrun: MimiSpanEvent;
  /** In live mode more waited than should, and so much was left out. */
  overflow: MimiSpanEvent;
  /** A stream was played to its end. */
  ended: MimiEvent;
}

/** The methods of an EventTarget for these events; others go to those of the base. */
export interface Listening<Events> {
  /** Calls a listener with each event of that name. */
  addEventListener<Type extends keyof Events>(
    type: Type,
    listener: (event: Events[Type]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  /** Calls a listener no more. */
  removeEventListener<Type extends keyof Events>(
    type: Type,
    listener: (event: Events[Type]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
}

/** What an encoder node adds to an AudioWorkletNode. In an offline context it has no `readable` and `getStats`. */
export interface MimiEncoder {
  /** The model whose codes come out. */
  readonly model: MimiModel;
  /**
   * Frames, one chunk each. Nothing is encoded before the first read; then at most 2 s wait, the oldest are dropped.
   * When the node, its context or its model is closed, it gives the frames that wait and ends. After it is cancelled this is
   * a new one.
   */
  readonly readable: ReadableStream<EncodedFrame>;
  /**
   * Codebooks of a frame, k-rate: the value at the frame's first sample counts, rounded, and held within what the model
   * has. 8 of Mimi are 1.1 kbps.
   */
  readonly numQuantizers: AudioParam;
  /**
   * Seconds from a frame's first sample until it is whole and can be encoded. In an offline context a whole number of samples:
   * a decoder's output is late by the `latency` of both.
   */
  readonly latency: number;
  /** Frames that nobody read in time. */
  readonly droppedFrames: number;
  /** Counters. @throws {InvalidStateError} on a node that is closed or has failed. */
  getStats(): Promise<EncoderStats>;
  /**
   * After an `error` event: starts the worker again if it is gone, and goes on with a new stream.
   *
   * @throws {InvalidStateError} on a closed node, and `ERR_WRONG_MODEL` where the model's source has another one now;
   *   {EngineError} where the worker does not start, or `ERR_WORKLET` where it was the node's processor that failed.
   */
  restart(): Promise<void>;
  /**
   * Frees what the node has in the worker and the worklet; no audio passes any more. Disconnect it as any node; in an offline
   * context it does so itself.
   */
  close(): void;
}

/**
 * What a decoder node adds to an AudioWorkletNode. In an offline context it plays codes of an encoder that is connected to it,
 * and nothing else; members that need time to pass throw {@link NotSupportedError} there.
 */
export interface MimiDecoder {
  /** The model that decodes. */
  readonly model: MimiModel;
  /**
   * Takes codes [1, codebooks, n] or frames of an encoder's `readable`. In playback mode writes are held back when about
   * 1 s waits to be decoded. Closing it is `end()`, aborting it `clear()`; after that, and after a write that was refused,
   * this is a new one.
   */
  readonly writable: WritableStream<DecoderInput>;
  /** As it was made. */
  readonly mode: "live" | "playback";
  /** Frames that were heard, in parts as well. Some 40 ms old, as the other figures here. */
  readonly playedFrames: number;
  /** Frames that wait: codes and decoded audio. */
  readonly bufferedFrames: number;
  /** Seconds that audio waits in the buffer when frames come evenly; adapts to how they come. */
  readonly latency: number;
  /** Counters. */
  readonly stats: DecoderStats;
  /**
   * Puts codes in line, without waiting.
   *
   * @throws {MimiTypeError | MimiRangeError} for codes that no loaded codebook has.
   * @throws {InvalidStateError} `ERR_WRONG_MODEL` for a frame of another model; on a node that is closed or has failed.
   */
  enqueue(input: DecoderInput): void;
  /** Fades out and throws away everything that waits: a listener interrupts. `fade` in seconds, 0.01 by default. */
  clear(options?: { fade?: number }): void;
  /**
   * No more codes of this stream; resolves when the last sample has been played, or the node was cleared or closed. Rejects
   * with the error of a node that fails.
   */
  end(): Promise<void>;
  /** As {@link MimiEncoder.restart}. */
  restart(): Promise<void>;
  /** As {@link MimiEncoder.close}. */
  close(): void;
}

/** What a codec node adds to an AudioWorkletNode. */
export interface MimiCodec {
  /** The model that encodes and decodes. */
  readonly model: MimiModel;
  /** As {@link MimiEncoder.numQuantizers}. */
  readonly numQuantizers: AudioParam;
  /**
   * 0 for coded audio (default), 1 for the original, equally late; between them both are mixed, so a ramp is a cross-fade.
   * A-rate.
   */
  readonly bypass: AudioParam;
  /** Probability, 0 to 1, that a frame is lost; the value at its first sample counts. What is lost is concealed. K-rate. */
  readonly loss: AudioParam;
  /** Seconds from input to output: a whole number of samples that never changes. */
  readonly latency: number;
  /** Counters, some 80 ms old; not in an offline context. */
  readonly stats: CodecStats;
  /** As {@link MimiEncoder.restart}. While it has failed, the node still plays what is bypassed. */
  restart(): Promise<void>;
  /** As {@link MimiEncoder.close}. */
  close(): void;
}

/** The class of audio worklet nodes of an implementation, as TypeScript wants the base of a mixin to be. */
// deno-lint-ignore no-explicit-any
export type NodeConstructor = new (...args: any[]) => NodeLike & {
  // deno-lint-ignore no-explicit-any
  connect(...args: any[]): any;
  // deno-lint-ignore no-explicit-any
  disconnect(...args: any[]): any;
  readonly parameters: unknown;
};

type ContextOf<Base extends NodeConstructor> = ConstructorParameters<Base>[0];

/** The node classes of an implementation of Web Audio. */
export interface MimiNodes<Base extends NodeConstructor> {
  /**
   * Passes audio through unchanged and turns it into codes. `connect(decoder)` also sends the codes to that decoder, which
   * takes those of one encoder at a time. Events: {@link MimiNodeEvents}.
   */
  MimiEncoderNode: new (
    context: ContextOf<Base>,
    options?: MimiEncoderNodeOptions,
  ) => Listening<MimiNodeEvents> & Omit<InstanceType<Base>, keyof MimiEncoder> & MimiEncoder;
  /**
   * Turns codes into audio, one channel. What is connected to its input is not heard. Events: {@link MimiNodeEvents} and
   * {@link MimiDecoderEvents}.
   */
  MimiDecoderNode: new (
    context: ContextOf<Base>,
    options?: MimiDecoderNodeOptions,
  ) =>
    & Listening<MimiNodeEvents>
    & Listening<MimiDecoderEvents>
    & Omit<InstanceType<Base>, keyof MimiDecoder>
    & MimiDecoder;
  /**
   * The codec as an effect: what comes in comes out as a listener would get it, `latency` later. Events:
   * {@link MimiNodeEvents}.
   */
  MimiCodecNode: new (
    context: ContextOf<Base>,
    options?: MimiCodecNodeOptions,
  ) => Listening<MimiNodeEvents> & Omit<InstanceType<Base>, keyof MimiCodec> & MimiCodec;
}

/** What nodes do, by node. No private fields: a node's constructor has to catch what its base throws. */
const encoders = new WeakMap<object, EncoderCore | OfflineEncoderCore>();
const decoders = new WeakMap<object, DecoderCore | OfflineDecoderCore>();
const codecs = new WeakMap<object, CodecCore | OfflineCodecCore>();

/** Nodes of one context, which an edge joins, are both live or both offline. */
type AnyEncoder = EncoderCore & OfflineEncoderCore;
type AnyDecoder = DecoderCore & OfflineDecoderCore;

/** Seconds of a codec node's fade before and after a gap. */
const FADE = 0.005;

/**
 * Node classes for an implementation of Web Audio: the browser's own (see `MimiEncoderNode`, `MimiDecoderNode` of this
 * module), standardized-audio-context, node-web-audio-api.
 *
 * ```ts
 * import { AudioContext, AudioWorkletNode } from "standardized-audio-context";
 * const { MimiCodecNode } = defineMimiNodes(AudioWorkletNode!);
 * ```
 *
 * @throws {NotSupportedError} for what is no class: standardized-audio-context has none where the browser has none.
 */
export function defineMimiNodes<Base extends NodeConstructor>(AudioWorkletNode: Base): MimiNodes<Base> {
  if (typeof AudioWorkletNode !== "function") {
    throw new NotSupportedError(
      `defineMimiNodes: AudioWorkletNode must be a class, got ${
        describe(AudioWorkletNode)
      }; browsers have it in secure contexts only.`,
    );
  }
  class MimiEncoderNode extends (AudioWorkletNode as NodeConstructor) implements MimiEncoder {
    // deno-lint-ignore constructor-super -- it is called, inside try
    constructor(context: WorkletContext, options: MimiEncoderNodeOptions = {}) {
      const where = "MimiEncoderNode";
      checkOptions(where, options, ["numQuantizers", "channelCount", "channelCountMode", "channelInterpretation"]);
      const registration = registrationOf(where, context, "encoder"), { model } = registration;
      const { numQuantizers: given, ...nodeOptions } = options;
      const numQuantizers = initialQuantizers(where, model, given);
      const encoder = registration.offline ? nextEncoder() : 0;
      try {
        super(context, registration.offline ? offlineName(ENCODER) : ENCODER, {
          ...nodeOptions,
          parameterData: { numQuantizers },
          ...(registration.offline && {
            processorOptions: { ...registration.offline.options, encoder } satisfies OfflineEncoderOptions,
          }),
        });
      } catch (cause) {
        throw notRegistered(where, context, cause);
      }
      registration.offline?.sent();
      encoders.set(
        this,
        registration.offline ? new OfflineEncoderCore(this, model, encoder) : new EncoderCore(this, registration),
      );
    }

    get model(): MimiModel {
      return encoders.get(this)!.model;
    }
    get readable(): ReadableStream<EncodedFrame> {
      return encoders.get(this)!.readable;
    }
    get numQuantizers(): AudioParam {
      return (this.parameters as AudioParamMap).get("numQuantizers")!;
    }
    get latency(): number {
      return encoders.get(this)!.latency;
    }
    get droppedFrames(): number {
      return encoders.get(this)!.droppedFrames;
    }
    getStats(): Promise<EncoderStats> {
      return encoders.get(this)!.getStats();
    }
    restart(): Promise<void> {
      return encoders.get(this)!.restart();
    }
    close(): void {
      encoders.get(this)!.close();
    }

    override connect(destination: object, ...rest: unknown[]): unknown {
      const encoder = encoders.get(this) as AnyEncoder, decoder = decoders.get(destination) as AnyDecoder | undefined;
      if (decoder) encoder.checkLink(decoder);
      const connected = super.connect(destination, ...rest);
      if (decoder) encoder.link(decoder);
      return connected;
    }
    override disconnect(...args: unknown[]): void {
      super.disconnect(...args);
      const [destination] = args, decoder = decoders.get(destination as object) as AnyDecoder | undefined;
      const encoder = encoders.get(this) as AnyEncoder;
      if (decoder) encoder.unlink(decoder);
      else if (typeof destination !== "object") {
        for (const each of encoder.links as AnyDecoder[]) encoder.unlink(each);
      }
    }
  }

  class MimiDecoderNode extends (AudioWorkletNode as NodeConstructor) implements MimiDecoder {
    // deno-lint-ignore constructor-super -- it is called, inside try
    constructor(context: WorkletContext, options: MimiDecoderNodeOptions = {}) {
      const where = "MimiDecoderNode";
      checkOptions(where, options, ["mode", "buffer", "maxBuffer"]);
      const registration = registrationOf(where, context, "decoder");
      checkDecoderOptions(where, options);
      try {
        super(context, registration.offline ? offlineName(DECODER) : DECODER, {
          outputChannelCount: [1],
          ...(registration.offline && { processorOptions: registration.offline.options }),
        });
      } catch (cause) {
        throw notRegistered(where, context, cause);
      }
      registration.offline?.sent();
      decoders.set(
        this,
        registration.offline
          ? new OfflineDecoderCore(this, registration.model, options.mode)
          : new DecoderCore(this, registration, options),
      );
    }

    get model(): MimiModel {
      return decoders.get(this)!.model;
    }
    get writable(): WritableStream<DecoderInput> {
      return decoders.get(this)!.writable;
    }
    get mode(): "live" | "playback" {
      return decoders.get(this)!.mode;
    }
    get playedFrames(): number {
      return decoders.get(this)!.playedFrames;
    }
    get bufferedFrames(): number {
      return decoders.get(this)!.bufferedFrames;
    }
    get latency(): number {
      return decoders.get(this)!.latency;
    }
    get stats(): DecoderStats {
      return decoders.get(this)!.stats;
    }
    enqueue(input: DecoderInput): void {
      decoders.get(this)!.enqueue(input);
    }
    clear(options?: { fade?: number }): void {
      decoders.get(this)!.clear(options);
    }
    end(): Promise<void> {
      return decoders.get(this)!.end();
    }
    restart(): Promise<void> {
      return decoders.get(this)!.restart();
    }
    close(): void {
      decoders.get(this)!.close();
    }
  }

  class MimiCodecNode extends (AudioWorkletNode as NodeConstructor) implements MimiCodec {
    // deno-lint-ignore constructor-super -- it is called, inside try
    constructor(context: WorkletContext, options: MimiCodecNodeOptions = {}) {
      const where = "MimiCodecNode";
      checkOptions(where, options, ["numQuantizers", "bypass", "loss", "seed", "channelCount", "buffer"]);
      const registration = registrationOf(where, context, "encoder", "decoder"), { model, offline } = registration;
      const { sampleRate } = context;
      const numQuantizers = initialQuantizers(where, model, options.numQuantizers);
      const { bypass, loss, seed, channelCount, buffer } = codecOptions(where, options);
      const { encoder, decoder } = timingOf(model.config, sampleRate);
      const latency = Math.ceil(encoder + decoder + (offline ? 0 : buffer * sampleRate));
      try {
        super(context, offline ? offlineName(CODEC) : CODEC, {
          channelCount,
          channelCountMode: "explicit",
          outputChannelCount: [channelCount],
          parameterData: { numQuantizers, bypass, loss },
          processorOptions: offline
            ? { ...offline.options, latency, seed } satisfies OfflineCodecOptions
            : { latency, fade: Math.round(FADE * sampleRate) } satisfies CodecProcessorOptions,
        });
      } catch (cause) {
        throw notRegistered(where, context, cause);
      }
      offline?.sent();
      const late = latency / sampleRate;
      codecs.set(
        this,
        registration.offline ? new OfflineCodecCore(this, model, late) : new CodecCore(this, registration, seed, late),
      );
    }

    get model(): MimiModel {
      return codecs.get(this)!.model;
    }
    get numQuantizers(): AudioParam {
      return (this.parameters as AudioParamMap).get("numQuantizers")!;
    }
    get bypass(): AudioParam {
      return (this.parameters as AudioParamMap).get("bypass")!;
    }
    get loss(): AudioParam {
      return (this.parameters as AudioParamMap).get("loss")!;
    }
    get latency(): number {
      return codecs.get(this)!.latency;
    }
    get stats(): CodecStats {
      return codecs.get(this)!.stats;
    }
    restart(): Promise<void> {
      return codecs.get(this)!.restart();
    }
    close(): void {
      codecs.get(this)!.close();
    }
  }

  return { MimiEncoderNode, MimiDecoderNode, MimiCodecNode } as unknown as MimiNodes<Base>;
}

/** @throws {MimiRangeError} `ERR_NUM_QUANTIZERS`. */
function initialQuantizers(where: string, model: MimiModel, given: number = Math.min(8, model.numQuantizers)): number {
  if (Number.isInteger(given) && given >= 1 && given <= model.numQuantizers) return given;
  throw new MimiRangeError(
    "ERR_NUM_QUANTIZERS",
    `${where}: numQuantizers must be an integer from 1 to ${model.numQuantizers}, got ${describe(given)}.`,
  );
}

/** @throws {MimiRangeError} `ERR_OUT_OF_RANGE`. */
function codecOptions(
  where: string,
  options: MimiCodecNodeOptions,
): Required<Omit<MimiCodecNodeOptions, "numQuantizers">> {
  const { bypass = 0, loss = 0, seed = 0, channelCount = 2, buffer = 0.08 } = options;
  const check = (name: string, value: unknown, fits: boolean, expected: string): void => {
    if (fits) return;
    throw new MimiRangeError("ERR_OUT_OF_RANGE", `${where}: ${name} must be ${expected}, got ${describe(value)}.`);
  };
  for (const [name, value] of Object.entries({ bypass, loss, buffer })) {
    check(name, value, typeof value === "number" && value >= 0 && value <= 1, "from 0 to 1");
  }
  check("seed", seed, Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32, "an integer from 0 to 4294967295");
  check("channelCount", channelCount, channelCount === 1 || channelCount === 2, "1 or 2");
  return { bypass, loss, seed, channelCount, buffer };
}

/** @throws {MimiTypeError | MimiRangeError} */
function checkDecoderOptions(where: string, { mode, buffer, maxBuffer }: MimiDecoderNodeOptions): void {
  if (mode !== undefined && mode !== "live" && mode !== "playback") {
    throw new MimiRangeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: mode must be "live" or "playback", got ${describe(mode)}.`,
    );
  }
  for (const [name, value] of Object.entries({ buffer, maxBuffer })) {
    if (value !== undefined && !(typeof value === "number" && value >= 0 && value <= 1)) {
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `${where}: ${name} must be from 0 to 1 seconds, got ${describe(value)}.`,
      );
    }
  }
  if (buffer !== undefined && maxBuffer !== undefined && buffer > maxBuffer) {
    throw new MimiRangeError(
      "ERR_OUT_OF_RANGE",
      `${where}: buffer must be at most maxBuffer, ${maxBuffer} seconds, got ${buffer}.`,
    );
  }
}

/** A module that failed while it ran, or is another, is only noticed when its processors are asked for: they do not exist. */
function notRegistered(where: string, context: WorkletContext, cause: unknown): unknown {
  const { name, message } = cause as Error;
  // As standardized-audio-context says it.
  const unsaid = name === "NotSupportedError" && message === "";
  return name === "InvalidStateError" || unsaid ? wrongModule(where, context, cause) : cause;
}

type NativeNodes = MimiNodes<typeof AudioWorkletNode>;

let natives: NativeNodes | undefined;

/**
 * A class over the browser's own AudioWorkletNode that is made when it is first used: servers import this module too, and
 * have none.
 */
export function nativeNode<Name extends keyof NativeNodes>(name: Name): NativeNodes[Name] {
  const make = (): NativeNodes[Name] | undefined =>
    typeof globalThis.AudioWorkletNode === "function"
      ? (natives ??= defineMimiNodes(globalThis.AudioWorkletNode))[name]
      : undefined;
  const proxy: NativeNodes[Name] = new Proxy(function () {} as unknown as NativeNodes[Name], {
    construct(_target, args, newTarget) {
      const made = make();
      if (made) return Reflect.construct(made, args, newTarget === proxy ? made : newTarget);
      throw new NotSupportedError(`${name}: this runtime has no AudioWorkletNode; give one to defineMimiNodes().`);
    },
    apply() {
      throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${name}: it is a class; write new ${name}().`);
    },
    // Of a function, not of a class: the prototype of a class must not be answered otherwise. On a server it stands for the
    // class, so that modules which extend it can be imported.
    get: (target, property) => Reflect.get(make() ?? target, property),
  });
  return proxy;
}
