/** What the types of the nodes allow and refuse, for each implementation of Web Audio; `npm run check` compiles it. */
import * as nodeAudio from "node-web-audio-api";
import * as standardized from "standardized-audio-context";
import { defineMimiNodes, MimiCodecNode, MimiDecoderNode, MimiEncoderNode, registerMimi } from "../../src/nodes/mod.ts";
import type { MimiModel } from "../../mod.ts";

export async function native(context: AudioContext, offline: OfflineAudioContext, model: MimiModel): Promise<void> {
  await registerMimi(context, { model });
  await registerMimi(offline, { model, workletUrl: new URL("https://example.org/worklet-offline.js") });
  const codec = new MimiCodecNode(offline, { numQuantizers: 4, bypass: 0, loss: 0.1, seed: 1, channelCount: 1 });
  const encoder = new MimiEncoderNode(context), decoder = new MimiDecoderNode(context, { mode: "playback" });
  new GainNode(offline).connect(codec).connect(offline.destination);
  encoder.connect(decoder).connect(context.destination);
  const parameters: AudioParam[] = [codec.bypass, codec.loss, codec.numQuantizers, encoder.numQuantizers];
  const numbers: number[] = [codec.latency, codec.stats.lostFrames, encoder.latency, decoder.latency];
  const node: AudioWorkletNode = codec;
  // @ts-expect-error an option that no codec node has
  new MimiCodecNode(context, { mode: "live" });
  // @ts-expect-error a parameter is no number
  codec.bypass = 1;
  // @ts-expect-error a codec node has no codes to read
  void codec.readable;
  // @ts-expect-error a node is not a context
  new MimiCodecNode(node);
  void [parameters, numbers];
}

export async function standard(
  context: standardized.AudioContext,
  offline: standardized.OfflineAudioContext,
  minimal: standardized.MinimalOfflineAudioContext,
  model: MimiModel,
): Promise<void> {
  const { addAudioWorkletModule, AudioWorkletNode, GainNode } = standardized;
  const nodes = defineMimiNodes(AudioWorkletNode!);
  await registerMimi(context, { model });
  await registerMimi(offline, { model });
  await registerMimi(minimal, { model, addModule: addAudioWorkletModule });
  for (const each of [context, offline, minimal]) new nodes.MimiCodecNode(each, { loss: 0.1 });
  const encoder = new nodes.MimiEncoderNode(context), decoder = new nodes.MimiDecoderNode(context);
  new GainNode(context).connect(encoder);
  encoder.connect(decoder).connect(context.destination);
  // @ts-expect-error a context of its own, not the browser's
  new MimiCodecNode(context);
  // @ts-expect-error the browser's own context
  new nodes.MimiCodecNode(new globalThis.AudioContext());
  // @ts-expect-error a node of the browser's own
  new globalThis.GainNode(new globalThis.AudioContext()).connect(encoder);
}

export async function node(model: MimiModel): Promise<void> {
  const { MimiCodecNode } = defineMimiNodes(nodeAudio.AudioWorkletNode);
  const live = new nodeAudio.AudioContext(), offline = new nodeAudio.OfflineAudioContext(1, 24000, 24000);
  await registerMimi(live, { model });
  await registerMimi(offline, { model });
  new nodeAudio.GainNode(offline).connect(new MimiCodecNode(offline)).connect(offline.destination);
  // @ts-expect-error a number of channels as text
  new MimiCodecNode(live, { channelCount: "2" });
}
