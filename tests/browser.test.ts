/** The library in a real Chromium: the same bits as in Node, whatever the page may and may not do. */
import assert from "node:assert/strict";
import { roundTrip } from "./pages/core.ts";
import { inBrowser } from "./support/browser.ts";
import { bundleModule, bundlePage } from "./support/bundle.ts";
import { TESTS } from "./support/files.ts";
import type { Site } from "./support/serve.ts";

const test = inBrowser();
const MINI = new URL("../models/mini/", TESTS), SPEECH = "/mini/it-cannot-complete.wav";
/** A page as esbuild makes it: the embedded model's files lie beside the script. */
const site = async (): Promise<Site> => ({
  "/page.js": await bundlePage("core"),
  "/worker.js": await bundleModule("core-worker"),
  "/": MINI,
  "/mini/": MINI,
  "/tiny/": new URL("models/tiny-hf/", TESTS),
});

for (const isolated of [false, true]) {
  for (const model of ["mini", "tiny"]) {
    test(`${model}, ${isolated ? "" : "not "}isolated: the bits of Node, in the page and in a worker`, async (browser) => {
      const { url } = await browser.serve(await site(), { isolated });
      const page = await browser.open<typeof import("./pages/core.ts")>(url);
      assert.equal(await page.call("isIsolated"), isolated);
      const expected = await roundTrip(`${url}/${model}`, url + SPEECH);
      assert.deepEqual(await page.call("roundTrip", `${url}/${model}`, url + SPEECH), expected);
      assert.deepEqual(await page.call("roundTripInWorker", `${url}/${model}`, url + SPEECH), expected);
      assert.equal(expected.streamedSamples, expected.samples);
    });
  }
}
