/** Downloads and their cache in a real Chromium: what arrives, what is kept, two tabs, a full disk. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { MimiModel } from "../mod.ts";
import type { TestBrowser, TestPage } from "./support/browser.ts";
import { inBrowser } from "./support/browser.ts";
import { bundlePage, bundleWorker } from "./support/bundle.ts";
import { HubServer } from "./support/hub-server.ts";

const test = inBrowser();
type Page = typeof import("./pages/hub.ts");
const MINI = fileURLToPath(new URL("../models/mini/", import.meta.url));
const config = await readFile(`${MINI}config.json`), weights = await readFile(`${MINI}model.safetensors`);
const FINGERPRINT = (await MimiModel.fromPretrained("mini")).fingerprint;
const NAME = "kyutai/model", KiB = 1024, MiB = 1024 * KiB;

/** A hub that serves the test's page too, and a repository with the embedded model. */
async function site(): Promise<{ hub: HubServer; path: string; sent(): number }> {
  const hub = await HubServer.start(), script = await bundlePage("hub"), worker = await bundleWorker();
  const send = (path: string, type: string, text: string) =>
    hub.twist(path, ({ response }) => response.writeHead(200, { "content-type": type }).end(text));
  send("/", "text/html", '<!doctype html><title>test</title><script type="module" src="/page.js"></script>');
  send("/page.js", "text/javascript", script);
  send("/worker.js", "text/javascript", worker);
  const { weights: path } = hub.repository(NAME, { "config.json": config, "model.safetensors": weights });
  return { hub, path, sent: () => hub.sent.get(path) ?? 0 };
}

const files = async (page: TestPage<Page>) =>
  (await page.call("listCache")).map(({ file, bytes, size, checked }) => `${file} ${bytes === size ? checked : bytes}`);
const WHOLE = ["config.json lock", "model.safetensors sha256"];

function withSite(
  name: string,
  body: (browser: TestBrowser, s: Awaited<ReturnType<typeof site>>) => Promise<void>,
): void {
  test(name, async (browser) => {
    const s = await site();
    try {
      await body(browser, s);
    } finally {
      s.hub.close();
    }
  });
}

withSite(
  "a repository: once, with its hash, parts first; bad records are replaced; cleared",
  async (browser, { hub, sent }) => {
    const page = await browser.open<Page>(hub.url), options = { endpoint: hub.url };
    const part = await page.call("load", NAME, { ...options, part: "decoder", numQuantizers: 2 });
    assert.equal(part.fingerprint, FINGERPRINT);
    assert.equal(part.last!.loaded, part.last!.total);
    const first = sent();
    assert.ok(first < 0.45 * weights.length, `${first} bytes`);
    const whole = await page.call("load", NAME, options), total = config.length + weights.length;
    assert.deepEqual([whole.fingerprint, whole.last!.total! <= total], [FINGERPRINT, true]);
    assert.equal(sent(), weights.length, "each byte once");
    assert.deepEqual(await files(page), WHOLE);
    assert.ok(await page.call("damage", "model.safetensors") > 7);
    assert.equal((await page.call("load", NAME, options)).fingerprint, FINGERPRINT);
    assert.ok(sent() > weights.length && sent() <= weights.length + MiB, "one piece again");
    assert.equal(typeof await page.call("persistCache"), "boolean");
    assert.ok(await page.call("clear", NAME) >= weights.length);
    assert.equal(await page.call("records"), 0);
  },
);

withSite("an interrupted download goes on where it was, in another tab", async (browser, { hub, path, sent }) => {
  const page = await browser.open<Page>(hub.url), options = { endpoint: hub.url };
  hub.twist(path, ({ count, from, to, response }) => {
    if (count === 0) return false;
    response.writeHead(206, { "content-range": `bytes ${from}-${to - 1}/${weights.length}` });
    response.write(weights.subarray(from, from + 3 * MiB));
    return true; // and then nothing
  });
  assert.equal(await page.call("giveUp", NAME, options, 2 * MiB), "enough");
  hub.twist(path);
  const other = await browser.open<Page>(hub.url);
  assert.equal((await other.call("load", NAME, options)).fingerprint, FINGERPRINT);
  assert.ok(sent() < weights.length - MiB / 2, `${sent()} bytes of the rest`); // a piece at least was there
  assert.deepEqual(await files(page), WHOLE);
});

withSite("two tabs and a worker at once: one download", async (browser, { hub, sent }) => {
  const pages = [await browser.open<Page>(hub.url), await browser.open<Page>(hub.url)], options = { endpoint: hub.url };
  const loads = [
    ...pages.map((page) => page.call("load", NAME, options)),
    pages[0].call("load", NAME, { ...options, worker: true } as object),
  ];
  for (const { fingerprint } of await Promise.all(loads)) assert.equal(fingerprint, FINGERPRINT);
  assert.equal(sent(), weights.length);
});

withSite("a full disk: the model loads, and is kept as far as there is room", async (browser, { hub }) => {
  const page = await browser.open<Page>(hub.url), session = await page.page.context().newCDPSession(page.page);
  await session.send("Storage.overrideQuotaForOrigin", { origin: hub.url, quotaSize: 3 * MiB });
  assert.equal((await page.call("load", NAME, { endpoint: hub.url })).fingerprint, FINGERPRINT);
  await session.send("Storage.overrideQuotaForOrigin", { origin: hub.url });
  assert.equal((await page.call("load", NAME, { endpoint: hub.url })).fingerprint, FINGERPRINT);
  assert.deepEqual(await files(page), WHOLE);
});

withSite("another origin that lets only the usual headers be seen", async (browser, { hub }) => {
  const page = await browser.open<Page>(hub.url), elsewhere = await HubServer.start();
  try {
    const headers = { "access-control-allow-origin": "*", "last-modified": new Date(0).toUTCString() };
    for (const [name, bytes] of [["config.json", config], ["model.safetensors", weights]] as const) {
      elsewhere.file(`/model/${name}`, bytes);
      elsewhere.twist(`/model/${name}`, ({ answer }) => answer(headers));
    }
    for (const _ of [1, 2]) {
      assert.equal((await page.call("load", `${elsewhere.url}/model`, {})).fingerprint, FINGERPRINT);
    }
    assert.ok(elsewhere.sent.get("/model/model.safetensors")! < 1.5 * weights.length, "kept by its date");
  } finally {
    elsewhere.close();
  }
});

for (
  const [name, code, message, headers, body] of [
    ["a web page in place of weights", "ERR_NOT_FOUND", /web page/, { "content-type": "text/html" }, "<html>"],
    [
      "a corrupt byte",
      "ERR_INTEGRITY",
      /SHA-256/,
      {},
      weights.map((byte, i) => i === weights.length >> 1 ? byte ^ 1 : byte),
    ],
    ["half of it", "ERR_INTEGRITY", /announces/, {}, weights.subarray(0, weights.length >> 1)],
  ] as const
) {
  withSite(`nothing bad is kept: ${name}`, async (browser, { hub, path }) => {
    const page = await browser.open<Page>(hub.url), load = () => page.call("load", NAME, { endpoint: hub.url });
    hub.twist(path, ({ response }) => response.writeHead(200, headers).end(body));
    await assert.rejects(load(), { name: "LoadError", code, message });
    assert.deepEqual(await files(page), ["config.json lock"]);
    hub.twist(path);
    assert.equal((await load()).fingerprint, FINGERPRINT);
    assert.deepEqual(await files(page), WHOLE);
  });
}
