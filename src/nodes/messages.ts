/**
 * What nodes, their processors in the audio worklet and their tasks in the worker say to each other.
 *
 * A node has two channels: one from the page to its task, and one from its processor to its task, over which all audio
 * goes, so that nothing waits for the page. Where the page is cross-origin isolated, audio goes through a ring of shared
 * memory, and the channel only tells of it.
 *
 * @module
 */
import type { PlayoutCounts, PlayoutEvent } from "./playout.ts";

/** Names under which the worklet registers its processors. */
export const ENCODER = "mimi-encoder", DECODER = "mimi-decoder", CODEC = "mimi-codec";

/** Their names in the worklet of offline contexts, so that one of the two files in place of the other is noticed. */
export const offlineName = (name: string): string => `${name}-offline`;

/** Codes of one frame on their way. */
export interface FrameData {
  /** One code of each codebook. */
  codes: Uint16Array;
  /** Frames since the encoder began to listen. Grows by more than 1 where some were lost. */
  index: number;
  /** Of the first sample, in microseconds of the context's clock; and how long the frame is. */
  timestamp: number;
  duration: number;
  /** Loudness: root mean square in dB of full scale, from -127. */
  level: number;
}

/** Between a processor and its task. */
export interface AudioLink {
  port: MessagePort;
  /** Storage of the ring for {@link capacity} samples; absent where memory cannot be shared. */
  ring?: SharedArrayBuffer;
  /** Samples that may be under way. */
  capacity: number;
}

/** Bytes of a ring as ringbuf.js lays it out: two indices, then one slot more than it holds. */
export function ringBytes(capacity: number): number {
  return 8 + 4 * (capacity + 1);
}

export interface EncoderSetup {
  kind: "encoder";
  /** Hz of the context. */
  sampleRate: number;
}

export interface DecoderSetup {
  kind: "decoder";
  sampleRate: number;
  mode: "live" | "playback";
}

/** What the processor of a codec node is made with, in samples. */
export interface CodecProcessorOptions {
  /** From input to output. */
  latency: number;
  /** Of a fade before and after a gap. */
  fade: number;
}

export interface CodecSetup {
  kind: "codec";
  sampleRate: number;
  /** Of the frames that are lost. */
  seed: number;
}

export type NodeSetup = EncoderSetup | DecoderSetup | CodecSetup;

/** From the page to a processor. */
export type ToEncoderProcessor =
  | { type: "attach"; link: AudioLink; frame: number; lookahead: number }
  | { type: "detach" }
  | { type: "close" };

export type ToDecoderProcessor =
  | {
    type: "attach";
    link: AudioLink;
    mode: "live" | "playback";
    frame: number;
    buffer: number;
    maxBuffer: number;
    fade: number;
    /** Samples after which the task and the page hear of it again. */
    interval: number;
  }
  | { type: "clear"; fade: number; order: number }
  | { type: "detach" }
  | { type: "close" };

export type ToCodecProcessor =
  | { type: "attach"; link: AudioLink; frame: number; lookahead: number }
  | { type: "detach" }
  | { type: "close" };

/** From a codec's processor to the page, about every frame: samples of silence for want of audio. */
export type FromCodecProcessor = { type: "state"; missing: number };

/** From a decoder's processor to the page: about every frame, and when something happens. */
export type FromDecoderProcessor =
  /** Counts begin again. */
  | { type: "attached" }
  | { type: "state"; counts: PlayoutCounts; buffer: number }
  /** `from` is the sample of the context that events count from. */
  | { type: "event"; event: PlayoutEvent; from: number };

/** From the processor of an encoder or codec to its task. */
export type FromCapture =
  /** A new stretch of audio begins with sample `at` of the context; `skip` samples in the ring are of the one before. */
  | { type: "start"; at: number; skip: number }
  /**
   * `written` samples of the stretch are there, the newest of them in `samples` without a ring; `quantizers` are the
   * codebooks of the frames that began, `losses` the probabilities that a codec loses them, `nonFinite` the samples that no
   * encoder takes.
   */
  | {
    type: "audio";
    written: number;
    quantizers: number[];
    losses?: number[];
    nonFinite: number;
    samples?: Float32Array;
  }
  /** So many samples found no room, because the task is too slow; the stretch is over. */
  | { type: "lost"; samples: number };

/** From a task to an encoder's processor. */
export type ToCapture = { type: "listen"; on: boolean } | { type: "read"; samples: number };

/** From a codec's task to its processor; `at` is the sample of the context whose coded form `samples` begin with. */
export type ToCodec = ToCapture | { type: "audio"; at: number; samples: Float32Array };

/** From a task to a decoder's processor. */
export type ToPlayout =
  | { type: "audio"; samples: Float32Array }
  | { type: "end"; written: number; order: number }
  | { type: "cleared"; written: number; order: number };

/** From a decoder's processor to its task. */
export type FromPlayout = { type: "read"; samples: number };

/** From the page to an encoder's task. */
export type ToEncoderTask =
  /** Number of the reader in the page that wants frames, if there is one. */
  | { type: "read"; reader: number | undefined }
  /** Frames also go to this port until it is closed. */
  | { type: "link"; id: number; port: MessagePort }
  | { type: "unlink"; id: number }
  | { type: "stats"; id: number }
  | { type: "close" };

/** From an encoder's task to the page. */
export type FromEncoderTask =
  | { type: "frame"; reader: number; frame: FrameData }
  | { type: "stats"; id: number; stats: EncoderTaskStats }
  | { type: "failed"; error: import("../engine/protocol.ts").ErrorData };

/** What the worker did for an encoder. */
export interface EncoderTaskStats {
  /** Frames that were encoded. */
  frames: number;
  /** Samples of the context that were NaN, infinite or beyond 1e6, and were coded as 0. */
  nonFiniteSamples: number;
  /** Samples of the context that were lost because the worker was too slow. */
  lostSamples: number;
}

/** From the page to a decoder's task. Orders that end or clear a stream are numbered, so that nobody takes one for another. */
export type ToDecoderTask =
  | { type: "enqueue"; frames: Uint16Array[] }
  | { type: "link"; id: number; port: MessagePort }
  /** What came by it is a stream that ends here. */
  | { type: "unlink"; id: number; order: number }
  | { type: "end"; order: number }
  | { type: "clear"; order: number }
  | { type: "close" };

/** From the page to a codec's task. */
export type ToCodecTask = { type: "close" };

/** From a codec's task to the page, after every frame. */
export type FromCodecTask =
  | { type: "state"; stats: CodecTaskStats }
  | { type: "failed"; error: import("../engine/protocol.ts").ErrorData };

/** What the worker did for a codec node. */
export interface CodecTaskStats extends EncoderTaskStats {
  /** Those of the frames that the parameter `loss` took, and that were concealed. */
  lostFrames: number;
}

/** From a decoder's task to the page. */
export type FromDecoderTask =
  | { type: "state"; enqueued: number; received: number; decoded: number; dropped: number }
  | { type: "failed"; error: import("../engine/protocol.ts").ErrorData };
