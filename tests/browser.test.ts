/** The library in a real Chromium: the same bits as in Node, and errors where a page may not do what it takes. */
import assert from "node:assert/strict";
import { type RoundTrip, roundTrip } from "./pages/core.ts";
import { inBrowser } from "./support/browser.ts";
import { bundleModule, bundlePage, bundleWorker } from "./support/bundle.ts";
import { TESTS } from "./support/files.ts";
import type { Site } from "./support/serve.ts";

const test = inBrowser();
type Page = typeof import("./pages/core.ts");

/** The files of the embedded model lie beside the script, where a bundle of esbuild looks for them. */
const site = async (): Promise<Site> => ({
  "/page.js": await bundlePage("core"),
  "/core-worker.js": await bundleModule("core-worker"),
  "/worker.js": await bundleWorker(),
  "/": new URL("../models/mini/", TESTS),
  "/tiny/": new URL("models/tiny-hf/", TESTS),
  "/hub/kyutai/tiny/resolve/main/": new URL("models/tiny-hf/", TESTS),
});
const RECORDING = "/it-cannot-complete.wav";

const inNode = new Map<string, RoundTrip>();
async function expected(url: string, model: string): Promise<RoundTrip> {
  if (!inNode.has(model)) inNode.set(model, await roundTrip(model === "mini" ? model : url + model, url + RECORDING));
  return inNode.get(model)!;
}

for (const isolated of [false, true]) {
  for (const model of ["mini", "/tiny"]) {
    test(`${model}, ${isolated ? "" : "not "}isolated: the bits of Node in a page, in its worker and in ours`, async (browser) => {
      const { url } = await browser.serve(await site(), { isolated }), recording = url + RECORDING;
      const page = await browser.open<Page>(url), bits = await expected(url, model);
      assert.equal(await page.call("isIsolated"), isolated);
      assert.deepEqual(await page.call("roundTrip", model, recording), bits);
      assert.deepEqual(await page.call("roundTripInWorker", model, recording), bits);
      assert.deepEqual(await page.call("roundTrip", model, recording, { worker: true }), bits);
      assert.deepEqual([bits.streamedCodes, bits.streamedSamples], [bits.codes, bits.samples]);
    });
  }
}

test("a repository of a hub is asked for once, then the browser's cache", async (browser) => {
  // This hub has files and no list of them, as some mirrors.
  const { url, requests } = await browser.serve(await site()),
    page = await browser.open<Page>(url, { expected: [/404/] });
  const load = () => page.call("roundTrip", "kyutai/tiny", url + RECORDING, { endpoint: `${url}/hub` });
  const asked = () => requests.filter((path) => path.startsWith("/hub/"));
  assert.deepEqual(await load(), await expected(url, "/tiny"));
  assert.deepEqual(asked(), [
    "/hub/api/models/kyutai/tiny/revision/main",
    ...["config.json", "model.safetensors"].map((f) => `/hub/kyutai/tiny/resolve/main/${f}`),
  ]);
  assert.deepEqual(await load(), await expected(url, "/tiny"));
  assert.equal(asked().length, 3, "nothing is asked for again");
});

test("a model that is not there", async (browser) => {
  const { url } = await browser.serve(await site());
  const page = await browser.open<Page>(url, { expected: [/404/] });
  await assert.rejects(page.call("roundTrip", "/nowhere", url + RECORDING), {
    name: "LoadError",
    code: "ERR_NOT_FOUND",
    message: `${url}/nowhere/config.json: the server answered 404 Not Found.`,
  });
});

for (const csp of ["wasm", "wasm-blob"] as const) {
  test(`a strict content security policy that allows WebAssembly: ${csp}`, async (browser) => {
    const { url } = await browser.serve(await site(), { csp }), page = await browser.open<Page>(url);
    assert.deepEqual(await page.call("roundTrip", "/tiny", url + RECORDING), await expected(url, "/tiny"));
    assert.deepEqual(await page.call("roundTripInWorker", "/tiny", url + RECORDING), await expected(url, "/tiny"));
  });
}

test("a content security policy without WebAssembly: an error that says what is missing", async (browser) => {
  const { url } = await browser.serve(await site(), { csp: "no-wasm" }), page = await browser.open<Page>(url);
  for (const options of [undefined, { worker: true }]) {
    await assert.rejects(page.call("roundTrip", "/tiny", url + RECORDING, options), {
      name: "NotSupportedError",
      code: "ERR_NOT_SUPPORTED",
      message: /wasm backend cannot run here: .*'wasm-unsafe-eval'/,
    });
  }
});
