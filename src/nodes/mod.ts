/**
 * Mimi in the Web Audio graph: an encoder node and a decoder node, whose codec runs in a worker.
 *
 * ```ts
 * import { MimiModel } from "mimi-audio";
 * import { MimiDecoderNode, MimiEncoderNode, registerMimi } from "mimi-audio/nodes";
 *
 * const context = new AudioContext();
 * const model = await MimiModel.fromPretrained("kyutai/mimi", { worker: true, numQuantizers: 8 });
 * await registerMimi(context, { model });
 *
 * const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
 * const encoder = new MimiEncoderNode(context), decoder = new MimiDecoderNode(context);
 * context.createMediaStreamSource(microphone).connect(encoder).connect(decoder).connect(context.destination);
 * ```
 *
 * @module mimi-audio/nodes
 */
import { type MimiCodec, type MimiDecoder, type MimiEncoder, type MimiNodes, nativeNode } from "./define.ts";

/** {@link MimiNodes.MimiEncoderNode} over the browser's own AudioWorkletNode; made when it is first used. */
export const MimiEncoderNode: MimiNodes<typeof AudioWorkletNode>["MimiEncoderNode"] = nativeNode("MimiEncoderNode");
export type MimiEncoderNode = InstanceType<typeof MimiEncoderNode>;

/** {@link MimiNodes.MimiCodecNode} over the browser's own AudioWorkletNode; made when it is first used. */
export const MimiCodecNode: MimiNodes<typeof AudioWorkletNode>["MimiCodecNode"] = nativeNode("MimiCodecNode");
export type MimiCodecNode = InstanceType<typeof MimiCodecNode>;

/** {@link MimiNodes.MimiDecoderNode} over the browser's own AudioWorkletNode; made when it is first used. */
export const MimiDecoderNode: MimiNodes<typeof AudioWorkletNode>["MimiDecoderNode"] = nativeNode("MimiDecoderNode");
export type MimiDecoderNode = InstanceType<typeof MimiDecoderNode>;

export type { MimiCodec, MimiDecoder, MimiEncoder, MimiNodes };
export {
  defineMimiNodes,
  type Listening,
  type MimiCodecNodeOptions,
  type MimiDecoderEvents,
  type MimiEncoderNodeOptions,
  type MimiEvent,
  type MimiMoment,
  type MimiNodeEvents,
  type MimiSpan,
  type MimiSpanEvent,
  type NodeConstructor,
} from "./define.ts";
export { registerMimi, type RegisterOptions, type WorkletContext } from "./register.ts";
export type { EncodedFrame, EncoderStats } from "./encoder.ts";
export type { DecoderInput, DecoderStats, MimiDecoderNodeOptions } from "./decoder.ts";
export type { CodecStats } from "./codec.ts";
export type { CodecTaskStats, EncoderTaskStats } from "./messages.ts";
export type { NodeLike } from "./node.ts";
