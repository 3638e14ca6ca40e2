/** Offline renders in a page: the browser's own Web Audio, and standardized-audio-context. */
import * as standardized from "standardized-audio-context";
import { MimiModel } from "../../mod.ts";
import { defineMimiNodes, registerMimi } from "../../src/nodes/mod.ts";
import { type Render, render, type WebAudio } from "../support/renders.ts";
import { pack } from "./audio.ts";

export type Implementation = "native" | "standardized" | "minimal";

const { addAudioWorkletModule, MinimalOfflineAudioContext } = standardized;

const IMPLEMENTATIONS: Record<Implementation, () => WebAudio> = {
  native: () => globalThis as unknown as WebAudio,
  standardized: () => standardized as unknown as WebAudio,
  minimal: () => ({ ...standardized, OfflineAudioContext: MinimalOfflineAudioContext }) as unknown as WebAudio,
};

const models = new Map<string, Promise<MimiModel>>();

/** Renders a description whose source is packed; the channels of the result are packed too. */
export async function renderPacked(
  implementation: Implementation,
  from: { source: string; worker: boolean; numQuantizers?: number },
  { source, ...spec }: Omit<Render, "source"> & { source: string[] },
): Promise<{ channels: string[]; late: number[]; errors: string[]; quantum: number }> {
  const key = JSON.stringify(from), { source: folder, ...options } = from;
  if (!models.has(key)) models.set(key, MimiModel.fromPretrained(folder, options));
  const samples = source.map((text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer));
  const { channels, ...rest } = await render(
    IMPLEMENTATIONS[implementation](),
    await models.get(key)!,
    { ...spec, source: samples },
    implementation === "minimal" ? { addModule: addAudioWorkletModule as never } : {},
  );
  return { channels: channels.map(pack), ...rest };
}

/** What becomes of a node where the worklet is not the one for offline contexts. */
export async function wrongWorklet(implementation: Implementation, source: string): Promise<string> {
  const { OfflineAudioContext, AudioWorkletNode } = IMPLEMENTATIONS[implementation]();
  const context = new OfflineAudioContext({ length: 128, sampleRate: 24000 });
  await registerMimi(context, { model: await MimiModel.fromPretrained(source), workletUrl: "worklet.js" });
  const { MimiCodecNode } = defineMimiNodes(AudioWorkletNode);
  try {
    new MimiCodecNode(context);
    return "made";
  } catch (error) {
    return (error as Error).message;
  }
}
