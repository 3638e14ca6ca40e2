/** node-web-audio-api, which brings Web Audio to Node, Deno and Bun. */
import type { WebAudio } from "./renders.ts";
import "./with-resolvers.mjs";

export const api: typeof import("node-web-audio-api") = await import("node-web-audio-api");

/** For renders. */
export const nodeWebAudio: WebAudio = api as unknown as WebAudio;

/** An offline context; whatever becomes of the body, its thread ends, for which the process would wait. */
export async function inContext(
  body: (context: InstanceType<typeof api.OfflineAudioContext>) => Promise<void>,
  length: number = 128,
): Promise<void> {
  const context = new api.OfflineAudioContext({ length, sampleRate: 24000 });
  try {
    await body(context);
  } finally {
    if (context.state !== "closed") await context.startRendering();
  }
}
