/**
 * Voice over networks that lose, delay and reorder: packets, a jitter buffer, concealment. Everything that decides how a call
 * sounds, without clocks, timers or sockets of its own. docs/rtc.md explains it, docs/packets.md has every byte.
 *
 * ```ts
 * import { MimiModel } from "mimi-audio";
 * import { adapt, VoiceReceiver, VoiceSender } from "mimi-audio/rtc";
 *
 * const model = await MimiModel.fromPretrained("mini"), now = () => performance.now() / 1000;
 *
 * // One end. `network` is whatever carries packets.
 * const sender = new VoiceSender(model, { redundancy: 1 }), encoder = model.createEncoderSync({ numQuantizers: 8 });
 * for await (const frame of microphone) { // frameSize samples
 *   for (const packet of sender.send(encoder.encode(frame), now())) send(packet);
 * }
 *
 * // The other.
 * const receiver = new VoiceReceiver(model, { decoder: model.createDecoderSync() });
 * socket.onmessage = ({ data }) => receiver.push(new Uint8Array(data), now());
 * play(receiver.pull(480, now())); // the next 20 ms, whenever they are needed
 * ```
 *
 * @module mimi-audio/rtc
 */
export { type Activity, VoiceActivity } from "./activity.ts";
export { adapt, type AdaptOptions, type VoiceSettings } from "./adapt.ts";
export {
  type AcceptPacket,
  type HelloPacket,
  type NoisePacket,
  type Packet,
  PACKET_VERSION,
  parsePacket,
  type RefusalReason,
  type RefusePacket,
  type ReportPacket,
  streamOf,
  type VoiceFormat,
  type VoicePacket,
  voicePacketBytes,
} from "./packets.ts";
export { type VoiceModel, VoiceReceiver, type VoiceReceiverOptions, type VoiceReceiverStats } from "./receiver.ts";
export { type VoiceReport, VoiceSender, type VoiceSenderOptions } from "./sender.ts";
export type { VoiceDecoder } from "./timeline.ts";
