/**
 * The codec node's logic in a live context.
 *
 * @module
 */
import type {
  CodecSetup,
  CodecTaskStats,
  FromCodecProcessor,
  FromCodecTask,
  ToCodecProcessor,
  ToCodecTask,
} from "./messages.ts";
import { NodeCore, type NodeLike } from "./node.ts";
import type { Registration } from "./register.ts";
import { timingOf } from "./timing.ts";

/** Counters of a codec node. */
export interface CodecStats extends CodecTaskStats {
  /** Samples of silence because the worker was too slow; more `buffer` helps. */
  underrunSamples: number;
}

/** Seconds of audio that may wait for the worker. */
const QUEUE = 2;

export class CodecCore extends NodeCore<ToCodecTask, FromCodecTask> {
  protected readonly name: string = "MimiCodecNode";
  protected readonly setup: CodecSetup;
  protected readonly capacity: number;
  readonly latency: number;
  #task: CodecTaskStats = { frames: 0, lostFrames: 0, nonFiniteSamples: 0, lostSamples: 0 };
  /** What tasks and processors' timelines before these had. */
  #before: CodecStats = { ...this.#task, underrunSamples: 0 };
  #missing = 0;

  /** @param latency seconds from input to output. */
  constructor(node: NodeLike, registration: Registration, seed: number, latency: number) {
    super(node, registration);
    const { sampleRate } = node.context;
    this.setup = { kind: "codec", sampleRate, seed };
    this.capacity = Math.ceil(QUEUE * sampleRate);
    this.latency = latency;
    node.port.onmessage = ({ data }: MessageEvent<FromCodecProcessor>) => void (this.#missing = data.missing);
    this.start();
  }

  protected start(): void {
    this.#before = { ...this.stats, underrunSamples: 0 };
    this.#task = { frames: 0, lostFrames: 0, nonFiniteSamples: 0, lostSamples: 0 };
    const { link, transfer } = this.attach(), { sampleRate } = this.node.context;
    const { frame, lookahead } = timingOf(this.model.config, sampleRate);
    this.node.port.postMessage({ type: "attach", link, frame, lookahead } satisfies ToCodecProcessor, transfer);
  }

  get stats(): CodecStats {
    const { frames, lostFrames, nonFiniteSamples, lostSamples } = this.#before, task = this.#task;
    return {
      frames: frames + task.frames,
      lostFrames: lostFrames + task.lostFrames,
      nonFiniteSamples: nonFiniteSamples + task.nonFiniteSamples,
      lostSamples: lostSamples + task.lostSamples,
      underrunSamples: this.#missing,
    };
  }

  protected receive(message: FromCodecTask): void {
    if (message.type === "state") this.#task = message.stats;
  }

  protected ended(): void {}
}
