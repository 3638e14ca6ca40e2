/**
 * Calls with codes of 1.1 kbps: a voice from a track into a channel, and from a channel into a track. docs/call.md explains it.
 *
 * ```ts
 * import { MimiModel } from "mimi-audio";
 * import { receiveVoice, sendVoice } from "mimi-audio/call";
 *
 * const model = await MimiModel.fromPretrained("kyutai/mimi", { worker: true, numQuantizers: 8 });
 * const channel = connection.createDataChannel("voice", { negotiated: true, id: 1, ordered: false, maxRetransmits: 0 });
 *
 * await sendVoice(microphone, channel, { model, context, redundancy: 1 });
 * const voice = await receiveVoice(channel, { model, context });
 * voice.node.connect(context.destination);
 * ```
 *
 * @module mimi-audio/call
 */
export { type ChannelEvent, type VoiceChannel } from "./channel.ts";
export {
  type MessageTransform,
  transformChannel,
  type TransformedChannel,
  type TransformOptions,
} from "./transform.ts";
export { TypedEventTarget } from "./events.ts";
export {
  type VoiceFrame,
  VoiceLink,
  type VoiceLinkEvents,
  type VoiceLinkOptions,
  type VoiceState,
  type VoiceTraffic,
} from "./link.ts";
export { OutgoingVoice, type OutgoingVoiceEvents, type OutgoingVoiceOptions } from "./outgoing.ts";
export { IncomingVoice, type IncomingVoiceEvents, type IncomingVoiceOptions } from "./incoming.ts";
export { sendVoice, type SendVoiceOptions, type SentVoice, type SentVoiceEvents, type VoiceSource } from "./send.ts";
export { type ReceivedVoice, type ReceivedVoiceStats, receiveVoice, type ReceiveVoiceOptions } from "./receive.ts";
export type { VoiceTaskStats } from "./messages.ts";
export {
  type AdaptedChannel,
  type DatagramTransport,
  liveKitChannel,
  type LiveKitOptions,
  type LiveKitRoom,
  mediasoupChannel,
  type MediasoupConsumer,
  type MediasoupProducer,
  webTransportChannel,
} from "./adapters.ts";
