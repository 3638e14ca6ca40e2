/** Speech whose frames are lost: what is heard with the receiver, and with what is simpler. */
import { readFile } from "node:fs/promises";
import { AudioCodes, type MimiModel } from "../../mod.ts";
import { readWav } from "../../src/file/mod.ts";
import { VoiceReceiver, type VoiceReceiverStats, VoiceSender } from "../../src/rtc/mod.ts";
import { concatFloats } from "../../src/core/tensor.ts";

/** A sentence of 3.1 s, mono at 24 kHz. */
export async function sentence(): Promise<Float32Array> {
  const bytes = await readFile(new URL("../../models/mini/it-cannot-complete.wav", import.meta.url)),
    pieces: Float32Array[] = [];
  for await (const [piece] of (await readWav(new Uint8Array(bytes))).pieces) pieces.push(piece);
  return concatFloats(pieces);
}

/** Codes of each frame, [codebooks]. */
export async function framesOf(model: MimiModel, audio: Float32Array, codebooks: number): Promise<Uint16Array[]> {
  const { data, shape: [, , n] } = (await model.encode(audio, { numQuantizers: codebooks })).audioCodes;
  return Array.from({ length: n }, (_, t) => Uint16Array.from({ length: codebooks }, (_, k) => data[k * n + t]));
}

/** What would be heard without loss. */
export async function decodeClean(model: MimiModel, frames: readonly Uint16Array[]): Promise<Float32Array> {
  return (await model.decode(AudioCodes.fromFrames(frames))).audioValues.data;
}

/** Pulls of a frame. */
const PULLS = 4;

export interface Heard {
  audio: Float32Array;
  stats: VoiceReceiverStats;
}

/**
 * What is heard of packets of which some are lost. Every frame waits for all of its redundancy, so that the audio lies beside
 * that without loss: frame n in samples n * frameSize and on.
 *
 * @param lost whether the packet of each frame is.
 * @param repair see `VoiceReceiverOptions`.
 */
export function hear(
  model: MimiModel,
  frames: readonly Uint16Array[],
  lost: readonly boolean[],
  { redundancy = 0, falling = false, repair = 4, wait = redundancy, speaks = () => true }: {
    redundancy?: number;
    falling?: boolean;
    repair?: number;
    /** Frames that playing waits for. */
    wait?: number;
    /** Whether somebody speaks in a frame; else it is not sent. */
    speaks?(frame: number): boolean;
  } = {},
): Heard {
  const { frameSize, samplingRate } = model.config, step = frameSize / samplingRate, delay = wait * step;
  using decoder = model.createDecoderSync();
  const sender = new VoiceSender(model, { redundancy, falling });
  const receiver = new VoiceReceiver(model, { decoder, minDelay: delay, maxDelay: delay, repair });
  const pieces: Float32Array[] = [];
  for (let n = 0; n < frames.length + wait + 2; n++) {
    if (n < frames.length) {
      const codes = { data: frames[n], shape: [1, frames[n].length, 1] };
      for (const packet of sender.send(codes, n * step, { active: speaks(n), level: -60 })) {
        const hello = (packet[0] & 7) === 0;
        if (hello || !lost[n]) receiver.push(packet, n * step);
      }
      const answer = receiver.answer();
      if (answer) sender.receive(answer, n * step);
    }
    // In small pieces, as a frame is needed by one pull before it is heard.
    for (let i = 0; i < PULLS; i++) pieces.push(receiver.pull(frameSize / PULLS, (n + i / PULLS) * step));
  }
  const { stats } = receiver, audio = concatFloats(pieces);
  return { audio: audio.slice(stats.samples.idle, stats.samples.idle + frames.length * frameSize), stats };
}

/** What is heard where lost frames are silent, or the last one again, and the decoder does not know of them. */
export function hearSimply(
  model: MimiModel,
  frames: readonly Uint16Array[],
  lost: readonly boolean[],
  how: "silence" | "repeat",
): Float32Array {
  const { frameSize } = model.config, out = new Float32Array(frames.length * frameSize);
  using decoder = model.createDecoderSync();
  let last = new Float32Array(frameSize);
  frames.forEach((codes, n) => {
    if (!lost[n]) last = decoder.decode({ data: codes, shape: [1, codes.length, 1] }).audioValues.data.slice();
    if (!lost[n] || how === "repeat") out.set(last, n * frameSize);
  });
  return out;
}
