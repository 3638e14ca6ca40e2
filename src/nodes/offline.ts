/**
 * The nodes' logic in an offline context, where the worklet runs the codec itself. Messages to a processor may come too late
 * in a render, so there are none: a processor has its options and its parameters.
 *
 * @module
 */
import { EngineError, InvalidStateError, NotSupportedError } from "../core/errors.ts";
import type { MimiModel } from "../core/model.ts";
import { type ModelWeights, weightsOf } from "../load.ts";
import { checkModels } from "./encoder.ts";
import { errorEvent, type NodeLike } from "./node.ts";
import { SOURCE } from "./parameters.ts";
import { timingOf } from "./timing.ts";

/** What every processor of an offline context is made with. */
export interface OfflineOptions {
  /** Names the model in the worklet. */
  model: number;
  /** With the first node of a context; those after it find the model there. */
  weights?: ModelWeights;
}

export interface OfflineEncoderOptions extends OfflineOptions {
  /** Names the encoder in the worklet. */
  encoder: number;
}

export interface OfflineCodecOptions extends OfflineOptions {
  /** Samples from input to output. */
  latency: number;
  /** Of the frames that are lost. */
  seed: number;
}

let models = 0, encoders = 0;

/** A model on its way to the worklet of one context. */
export class OfflineModel {
  readonly #number: number = ++models;
  #weights: ModelWeights | undefined;

  private constructor(weights: ModelWeights) {
    this.#weights = weights;
  }

  /** @throws as {@link weightsOf} does. */
  static async read(where: string, model: MimiModel): Promise<OfflineModel> {
    return new OfflineModel(await weightsOf(where, model));
  }

  get options(): OfflineOptions {
    return { model: this.#number, ...(this.#weights && { weights: this.#weights }) };
  }

  /** A processor was made with the options. */
  sent(): void {
    this.#weights = undefined;
  }
}

type OfflineNode = NodeLike & { readonly parameters: unknown; disconnect(): void };

/** What the nodes have in common. */
abstract class OfflineCore {
  readonly model: MimiModel;
  protected readonly node: OfflineNode;
  protected abstract readonly name: string;
  #closed = false;

  constructor(node: OfflineNode, model: MimiModel) {
    this.model = model;
    this.node = node;
    const failed = (event: Event): void => {
      const { error, message } = event as ErrorEvent;
      if (event.type === "error" && error instanceof EngineError) return;
      event.stopImmediatePropagation();
      const reason = `${this.name}: its processor in the audio worklet failed (${message}); the render is not valid.`;
      node.dispatchEvent(errorEvent(new EngineError("ERR_WORKLET", reason, { cause: error })));
    };
    for (const type of ["processorerror", "error"]) node.addEventListener(type, failed);
  }

  /** @throws {InvalidStateError} on a closed node. */
  checkOpen(method: string): void {
    if (!this.#closed) return;
    throw new InvalidStateError("ERR_INVALID_STATE", `${this.name}.${method}: the node is closed.`);
  }

  close(): void {
    this.#closed = true;
    this.node.disconnect(); // a message to the processor could come too late
    this.node.port.close();
  }

  /** @throws {NotSupportedError} */
  protected refuse(member: string, instead: string): never {
    throw new NotSupportedError(`${this.name}.${member}: not in an offline context; ${instead}.`);
  }

  async restart(): Promise<void> {
    this.refuse("restart", "make a new one");
  }
}

export class OfflineEncoderCore extends OfflineCore {
  protected readonly name: string = "MimiEncoderNode";
  readonly latency: number;
  readonly droppedFrames: number = 0;
  readonly #number: number;
  readonly #links = new Set<OfflineDecoderCore>();

  /** @param number of the encoder, from {@link nextEncoder}. */
  constructor(node: OfflineNode, model: MimiModel, number: number) {
    super(node, model);
    const { sampleRate } = node.context;
    this.#number = number;
    this.latency = timingOf(model.config, sampleRate).encoder / sampleRate;
  }

  get readable(): never {
    return this.refuse("readable", "use model.encode()");
  }

  async getStats(): Promise<never> {
    return this.refuse("getStats", "use model.encode()");
  }

  /**
   * @throws as `EncoderCore.checkLink` does; {NotSupportedError} where the decoder has codes of another encoder.
   */
  checkLink(decoder: OfflineDecoderCore): void {
    this.checkOpen("connect");
    decoder.checkOpen("input");
    checkModels(`${this.name}.connect`, this.model, decoder.model);
    if (decoder.source !== undefined && decoder.source !== this) {
      throw new NotSupportedError(
        `${this.name}.connect: in an offline context a decoder plays the codes of one encoder, this one has another; disconnect that.`,
      );
    }
  }

  link(decoder: OfflineDecoderCore): void {
    this.#links.add(decoder);
    decoder.play(this, this.#number);
  }

  unlink(decoder: OfflineDecoderCore): void {
    if (this.#links.delete(decoder)) decoder.play(undefined, 0);
  }

  get links(): OfflineDecoderCore[] {
    return [...this.#links];
  }
}

/** A number for the next encoder, which names it in the worklet. */
export function nextEncoder(): number {
  return encoders = encoders % SOURCE.maxValue + 1;
}

export class OfflineDecoderCore extends OfflineCore {
  protected readonly name: string = "MimiDecoderNode";
  readonly latency: number;
  readonly mode: "live" | "playback";
  readonly #parameters: AudioParamMap;
  source: OfflineEncoderCore | undefined;

  constructor(node: OfflineNode, model: MimiModel, mode: "live" | "playback" = "live") {
    super(node, model);
    const { sampleRate } = node.context;
    this.#parameters = node.parameters as AudioParamMap;
    this.mode = mode;
    this.latency = timingOf(model.config, sampleRate).decoder / sampleRate;
  }

  /** Plays codes of an encoder from now on, or of none. */
  play(source: OfflineEncoderCore | undefined, number: number): void {
    this.source = source;
    this.#parameters.get(SOURCE.name)!.value = number;
  }

  get writable(): never {
    return this.refuse("writable", DECODE);
  }

  get playedFrames(): never {
    return this.refuse("playedFrames", DECODE);
  }

  get bufferedFrames(): never {
    return this.refuse("bufferedFrames", DECODE);
  }

  get stats(): never {
    return this.refuse("stats", DECODE);
  }

  enqueue(_input: unknown): never {
    return this.refuse("enqueue", DECODE);
  }

  clear(_options?: unknown): never {
    return this.refuse("clear", DECODE);
  }

  async end(): Promise<never> {
    return this.refuse("end", DECODE);
  }
}

const DECODE = "it plays the codes of an encoder that is connected to it. For codes of your own, play model.decode()";

export class OfflineCodecCore extends OfflineCore {
  protected readonly name: string = "MimiCodecNode";
  readonly latency: number;

  /** @param latency seconds from input to output. */
  constructor(node: OfflineNode, model: MimiModel, latency: number) {
    super(node, model);
    this.latency = latency;
  }

  get stats(): never {
    return this.refuse("stats", "there is nothing that could be late or lost by accident");
  }
}
