/** Speech of which frames are lost. */
import type { MimiModel } from "mimi-audio";
import { MimiCodecNode, registerMimi } from "mimi-audio/nodes";
import { bufferOf } from "./codec.ts";

/** What is heard of a recording of which frames are lost, by the codec node in an offline context. */
export async function lossy(
  model: MimiModel,
  original: Float32Array,
  codebooks: number,
  loss: number,
): Promise<Float32Array> {
  const { samplingRate } = model.config, latency = 2 * samplingRate;
  const context = new OfflineAudioContext(1, original.length + latency, samplingRate);
  await registerMimi(context, { model });
  const codec = new MimiCodecNode(context, { numQuantizers: codebooks, loss }),
    buffer = bufferOf(original, samplingRate);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(codec).connect(context.destination);
  source.start();
  const heard = (await context.startRendering()).getChannelData(0), from = Math.round(codec.latency * samplingRate);
  codec.close();
  return heard.slice(from, from + original.length);
}
