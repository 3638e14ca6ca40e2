/** node-web-audio-api, which brings Web Audio to Node, Deno and Bun. */
import type { WebAudio } from "./renders.ts";
import "./with-resolvers.mjs";

export const api: typeof import("node-web-audio-api") = await import("node-web-audio-api");

/** For renders. */
export const nodeWebAudio: WebAudio = api as unknown as WebAudio;
