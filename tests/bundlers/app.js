// A second of codes, decoded by the embedded model: in the page or a worker, and through a node to the speaker.
import { MimiModel } from "mimi-audio";
import { mini } from "mimi-audio/mini";
import { MimiDecoderNode, registerMimi } from "mimi-audio/nodes";

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

globalThis.page = { decode, play };
