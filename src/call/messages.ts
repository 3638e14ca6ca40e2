/**
 * What an end that receives in an audio graph, and its task in the worker, say to each other. With its processor the task
 * talks as that of a decoder node does, see `src/nodes/messages.ts`.
 *
 * @module
 */
import type { ErrorData } from "../engine/protocol.ts";
import type { Reception } from "./incoming.ts";
import type { VoiceReceiverOptions, VoiceReceiverStats } from "../rtc/receiver.ts";

export interface VoiceSetup {
  kind: "voice";
  /** Hz of the context. */
  sampleRate: number;
  /** Samples of the context that are decoded ahead of what is played. */
  lead: number;
  options: Omit<VoiceReceiverOptions, "decoder">;
}

/** From the page to the task. */
export type ToVoiceTask =
  | { type: "packet"; packet: Uint8Array }
  | { type: "stats"; id: number }
  | { type: "close" };

/** From the task to the page. */
export type FromVoiceTask =
  /** What became of a packet. */
  | (Omit<Reception, "refusal"> & { type: "reception"; refusal: ErrorData | undefined })
  | { type: "stats"; id: number; stats: VoiceTaskStats }
  | { type: "failed"; error: ErrorData };

export interface VoiceTaskStats extends VoiceReceiverStats {
  /** Samples at the model's rate that nobody heard, because the context was suspended. */
  unheardSamples: number;
}
