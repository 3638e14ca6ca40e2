/** The nodes in a real Chromium, with real worklets, workers and a microphone that plays speech. */
import assert from "node:assert/strict";
import { MimiModel } from "../mod.ts";
import { inBrowser } from "./support/browser.ts";
import { bundlePage, bundleWorker, bundleWorklet } from "./support/bundle.ts";
import { TESTS } from "./support/files.ts";
import type { Site } from "./support/serve.ts";
import { fileURLToPath } from "node:url";

const MINI = new URL("../models/mini/", TESTS);
const test = inBrowser({ microphone: fileURLToPath(new URL("it-cannot-complete.wav", MINI)) });

async function site(): Promise<Site> {
  return {
    "/page.js": await bundlePage("nodes"),
    "/worker.js": await bundleWorker(),
    "/worklet.js": await bundleWorklet(),
    "/recorder.js": new URL("pages/recorder.js", TESTS),
    "/mini/": MINI,
    "/tiny/": new URL("models/tiny-hf/", TESTS),
  };
}

const unpack = (text: string) => {
  const bytes = Uint8Array.from(Buffer.from(text, "base64"));
  return new Float32Array(bytes.buffer);
};
const unpackCodes = (text: string) => new Uint16Array(Uint8Array.from(Buffer.from(text, "base64")).buffer);

test("try", async (browser) => {
  for (const isolated of [true, false]) {
    const { url } = await browser.serve(await site(), { isolated });
    const page = await browser.open<typeof import("./pages/nodes.ts")>(url);
    console.log(await page.call("load", `${url}/mini/`));
    const r = await page.call("microphone", { sampleRate: 24000, seconds: 4 }) as any;
    console.log(page.log);
    console.log({ ...r, tracks: r.tracks.map((t: string) => t.length), frames: r.frames.slice(0, 2), n: r.frames.length });
  }
});
