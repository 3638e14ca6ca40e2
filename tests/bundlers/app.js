// A second of codes, decoded by the embedded model: in the page or a worker, and through a node to the speaker. And a render.
import { MimiModel } from "mimi-audio";
import { mini } from "mimi-audio/mini";
import { MimiCodecNode, MimiDecoderNode, registerMimi } from "mimi-audio/nodes";

const codes = Array.from({ length: 8 }, (_, k) => Array.from({ length: 13 }, (_, t) => (37 * k + 101 * t) % 512));

async function decode(source = mini, options = {}) {
  const model = await MimiModel.fromPretrained(source, { part: "decoder", numQuantizers: 8, ...options });
  const { audioValues } = await model.decode(codes);
  model.close();
  return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", audioValues.data)));
}

async function play() {
  const context = new AudioContext(), model = await MimiModel.fromPretrained(mini, { worker: true, numQuantizers: 8 });
  await registerMimi(context, { model });
  const node = new MimiDecoderNode(context, { mode: "playback" });
  node.connect(context.destination);
  node.enqueue(codes);
  await node.end();
  const { decodedFrames } = node.stats;
  await context.close();
  model.close();
  return decodedFrames;
}

/** How many samples of an offline render are those of encode and decode. */
async function render() {
  const model = await MimiModel.fromPretrained(mini),
    samples = Float32Array.from({ length: 3000 }, (_, i) => Math.sin(i / 9));
  const context = new OfflineAudioContext(1, 5000, 24000);
  await registerMimi(context, { model });
  const buffer = new AudioBuffer({ length: 3000, sampleRate: 24000 }), codec = new MimiCodecNode(context);
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(codec).connect(context.destination);
  source.start();
  const rendered = (await context.startRendering()).getChannelData(0).subarray(Math.round(codec.latency * 24000));
  const { audioCodes } = await model.encode(samples, { tail: "zeros", numQuantizers: 8 });
  const { audioValues } = await model.decode(audioCodes);
  model.close();
  return rendered.filter((v, i) => v === audioValues.data[i]).length;
}

globalThis.page = { decode, play, render };
