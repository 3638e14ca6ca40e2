/** Voice without a codec: frames that know their number, decoders that are cheap, packets that are broken. */
import type { AudioCodes } from "../../mod.ts";
import { type VoiceDecoder, type VoiceModel, type VoiceReceiver, VoiceSender } from "../../src/rtc/mod.ts";
import { formatAccept, formatHello, formatReport } from "../../src/rtc/packets.ts";
import type { Random } from "./random.ts";

export const FRAME = 1920;
export const RATE = 24000;
export const STEP = 0.08;
export const CODEBOOKS = 8;
export const BITS = 11;

/** What the ends of a stream see of Mimi. */
export const MIMI: VoiceModel = {
  config: { samplingRate: RATE, frameSize: FRAME, codebookSize: 2 ** BITS },
  fingerprint: "0123456789abcdef",
  numQuantizers: CODEBOOKS,
};

/** The same with a 32nd of the samples, for tests of very many frames. */
export const THIN: VoiceModel = {
  ...MIMI,
  config: { samplingRate: RATE / 32, frameSize: FRAME / 32, codebookSize: 2 ** BITS },
};

/** Codes that say which frame they are, in the first two codebooks, and something else in the others. */
export function numbered(frame: number): AudioCodes {
  const data = Uint16Array.from({ length: CODEBOOKS }, (_, k) => (frame * 31 + k * 7) % 2 ** BITS);
  data[0] = frame % 2 ** BITS;
  data[1] = Math.floor(frame / 2 ** BITS);
  return { data, shape: [1, CODEBOOKS, 1] };
}

export function numberOf(codes: AudioCodes): number {
  return codes.data[0] + 2 ** BITS * codes.data[1];
}

/** Says what it was asked to decode, and gives silence. */
export class SilentDecoder implements VoiceDecoder {
  readonly #silence: Float32Array;
  readonly #hear: (codes: AudioCodes) => void;
  constructor(hear: (codes: AudioCodes) => void = () => {}, { config }: VoiceModel = THIN) {
    this.#silence = new Float32Array(config.frameSize);
    this.#hear = hear;
  }
  decode(codes: AudioCodes): { audioValues: { data: Float32Array } } {
    this.#hear(codes);
    return { audioValues: { data: this.#silence } };
  }
  reset(): void {}
}

/** A tone that goes on from frame to frame: any click is larger than its own steps. */
export class ToneDecoder implements VoiceDecoder {
  static readonly HZ = 210;
  static readonly PEAK = 0.5;
  #n = 0;
  decode(): { audioValues: { data: Float32Array } } {
    const data = new Float32Array(FRAME);
    for (let i = 0; i < FRAME; i++) {
      data[i] = ToneDecoder.PEAK * Math.sin(2 * Math.PI * ((this.#n++ * ToneDecoder.HZ) % RATE) / RATE);
    }
    return { audioValues: { data } };
  }
  reset(): void {}
}

/** A random string, a packet that was changed in a few places, or a whole one. */
export function mutate(rng: Random, packet: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
  const way = rng.integer(0, 9);
  if (way === 0) return Uint8Array.from({ length: rng.integer(0, 60) }, () => rng.integer(0, 255));
  if (way <= 3) return packet;
  let bytes: Uint8Array = packet.slice();
  for (let n = rng.integer(1, 3); n > 0 && bytes.length > 0; n--) {
    const at = rng.integer(0, bytes.length - 1), other = rng.pick(others);
    switch (rng.integer(0, 5)) {
      case 0:
        bytes[at] = rng.integer(0, 255);
        break;
      case 1:
        bytes[at] ^= 1 << rng.integer(0, 7);
        break;
      case 2: // the fields that matter most
        bytes[rng.integer(0, Math.min(6, bytes.length - 1))] = rng.pick([0, 1, 0x7f, 0x80, 0xff, rng.integer(0, 255)]);
        break;
      case 3:
        bytes = bytes.slice(0, at);
        break;
      case 4:
        bytes = Uint8Array.from([...bytes, ...other.subarray(0, rng.integer(0, other.length))]);
        break;
      default:
        bytes.set(other.subarray(0, Math.min(other.length, bytes.length)));
    }
  }
  return bytes;
}

/** What a storm is made of. */
export interface Storm {
  packets: number;
  model: VoiceModel;
  receiver: VoiceReceiver;
  codes(frame: number): AudioCodes;
}

/**
 * A call whose packets come several times, most of them broken, and among others. Returns how many samples were heard and how
 * loud the loudest was; a sample that is no number counts as infinitely loud.
 */
export function storm(rng: Random, { packets, model, receiver, codes }: Storm): { heard: number; loudest: number } {
  const { config, fingerprint, numQuantizers: codebooks } = model,
    sender = new VoiceSender(model, { stream: 0, redundancy: 2 });
  const hello = formatHello({ stream: 0, ...config, fingerprint, codebooks });
  const report = { stream: 0, frame: 1, held: 0, loss: 0, burst: 1, concealed: 0, jitter: 0, delay: 0 };
  const kept = [hello, formatAccept(0), formatReport(report)];
  let heard = 0, loudest = 0;
  for (let i = 0, frame = 0; i < packets; frame++) {
    const time = frame * config.frameSize / config.samplingRate;
    if (frame % 50 === 0) receiver.push(hello, time); // a broken one may have ended the stream
    const quiet = rng.next() < 0.1 ? { active: false, level: -60 } : undefined;
    for (const packet of sender.send(codes(frame), time, quiet)) {
      if (kept.length < 64) kept.push(packet);
      else kept[rng.integer(3, 63)] = packet;
      for (let copies = rng.integer(0, 8); copies > 0; copies--, i++) {
        receiver.push(mutate(rng, copies % 2 ? packet : rng.pick(kept), kept), time + rng.next() * 0.1);
      }
    }
    receiver.answer();
    if (frame % 12 === 0) receiver.report(time);
    const pulled = receiver.pull(rng.integer(0, 2 * config.frameSize), time);
    for (const v of pulled) loudest = Math.max(loudest, v - v === 0 ? Math.abs(v) : Infinity);
    heard += pulled.length;
  }
  return { heard, loudest };
}
