/** What test pages of the nodes load. */
import { bundleOfflineWorklet, bundlePage, bundleWorker, bundleWorklet } from "./bundle.ts";
import { TESTS } from "./files.ts";
import type { Site } from "./serve.ts";

export const MINI: URL = new URL("../models/mini/", TESTS);

/** @param page module of `tests/pages` that a test calls. */
export async function nodesSite(page: string = "nodes"): Promise<Site> {
  return {
    "/page.js": await bundlePage(page),
    "/worker.js": await bundleWorker(),
    "/worklet.js": await bundleWorklet(),
    "/worklet-offline.js": await bundleOfflineWorklet(),
    "/recorder.js": new URL("pages/recorder.js", TESTS),
    "/mini/": MINI,
    "/tiny/": new URL("models/tiny-hf/", TESTS),
  };
}

/** Bytes of typed arrays as the page packs them. */
export function unpack(text: string): ArrayBuffer {
  return Uint8Array.from(Buffer.from(text, "base64")).buffer;
}
