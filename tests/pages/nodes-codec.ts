/** Codec nodes in a live context. */
import { type CodecStats, MimiCodecNode } from "../../src/nodes/mod.ts";
import { seconds } from "../support/wait.ts";
import { errorsOf, liveContext, load, pack, Recording } from "./audio.ts";

export { load };

export interface CodecSession {
  /** Of the source, of a codec, and of one that is bypassed; packed, side by side. */
  tracks: string[];
  /** Samples. */
  latency: number;
  stats: CodecStats;
  errors: string[];
}

/** Noise through two codec nodes for a while. */
export async function codecs(sampleRate: number, duration: number): Promise<CodecSession> {
  const context = await liveContext(sampleRate);
  const noise = new AudioBuffer({ length: 2 * sampleRate, sampleRate }), samples = noise.getChannelData(0);
  samples.forEach((_, i) => samples[i] = Math.random() - 0.5);
  const source = new AudioBufferSourceNode(context, { buffer: noise, loop: true });
  const codec = new MimiCodecNode(context, { buffer: 0.5 }), bypassed = new MimiCodecNode(context, { bypass: 1 });
  const errors = errorsOf(codec), latency = Math.round(codec.latency * sampleRate);
  const recording = new Recording(context, [source, codec, bypassed]);
  source.connect(codec);
  source.connect(bypassed);
  source.start();
  await seconds(duration);
  const { tracks } = await recording.stop(), { stats } = codec;
  await context.close();
  return { tracks: tracks.map(pack), latency, stats, errors };
}

/** What a codec node says and does when its worker's model is closed. */
export async function closing(): Promise<{ stats: CodecStats; bypass: [number, number]; loss: [number, number] }> {
  const context = await liveContext(24000), codec = new MimiCodecNode(context, { loss: 0.25 });
  const { stats, bypass, loss } = codec;
  codec.close();
  codec.close();
  await context.close();
  return { stats, bypass: [bypass.minValue, bypass.maxValue], loss: [loss.value, loss.maxValue] };
}
