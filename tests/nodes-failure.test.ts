/** Nodes that fail, and nodes whose context, model or worker goes away: everybody who waits is told, nothing is left behind. */
import assert from "node:assert/strict";
import { inBrowser, type TestBrowser, type TestPage } from "./support/browser.ts";
import { nodesSite, unpack } from "./support/nodes-site.ts";
import type { Policy, Site, TestServer } from "./support/serve.ts";

type Page = TestPage<typeof import("./pages/nodes-failure.ts")>;
const test = inBrowser({ live: true }), INVALID = "InvalidStateError ERR_INVALID_STATE", FADE = 120;

async function open(
  browser: TestBrowser,
  policy: Policy = {},
  expected: RegExp[] = [],
): Promise<{ site: Site; page: Page; server: TestServer }> {
  const site = await nodesSite("nodes-failure"), server = await browser.serve(site, policy);
  return {
    site,
    server,
    page: await browser.open<typeof import("./pages/nodes-failure.ts")>(server.url, { expected }),
  };
}

for (const how of ["context", "model", "node"] as const) {
  test(`a ${how} that is closed: readers end, writers are refused, nobody waits`, async (browser) => {
    const { page } = await open(browser, { isolated: how !== "node" });
    await page.call("load", "/mini/");
    assert.deepEqual(await page.call("over", how), {
      write: INVALID,
      end: "nothing",
      stats: INVALID,
      restart: INVALID,
      clear: INVALID,
      connect: INVALID,
      make: how === "node" ? "" : INVALID,
      register: how === "node" ? "" : INVALID,
      neverRead: true,
      errors: [],
    });
  });
}

/** What a page asks for to end the worker as if it had crashed. */
async function letKill({ page }: Page): Promise<void> {
  await page.exposeFunction("kill", async () => {
    const [worker] = page.workers();
    await worker.evaluate(() => close()).catch(() => {}); // it does not live to answer
  });
}

test("restart() with another model where the old one was: refused, until the old one is back", async (browser) => {
  const { site, page } = await open(browser), all = { ...site };
  await letKill(page);
  await page.page.exposeFunction("replace", (path: string, by: string) => void (site[path] = all[by]));
  await page.call("load", "/mini/");
  assert.deepEqual(await page.call("changedModel"), {
    changed: "InvalidStateError ERR_WRONG_MODEL",
    back: "nothing",
    codes: 8,
  });
});

for (const starts of [false, true]) {
  const when = starts ? "while its worker starts" : "at once";
  test(`restart() of a model that is closed ${when}: refused, readers end, no worker is left`, async (browser) => {
    const { page } = await open(browser), { page: tab } = page;
    await letKill(page);
    await tab.exposeFunction("workers", () => tab.workers().length);
    await page.call("load", "/mini/");
    assert.deepEqual(await page.call("closedInRestart", starts), { restarts: [INVALID, INVALID], later: INVALID });
  });
}

for (const isolated of [true, false]) {
  test(`restart(), ${isolated ? "" : "not "}isolated: without a worker, without a model, then as before`, async (browser) => {
    const { site, page } = await open(browser, { isolated }, [/404/]), all = { ...site };
    await letKill(page);
    await page.page.exposeFunction("offer", (path: string, there: boolean) => {
      if (there) site[path] = all[path];
      else delete site[path];
    });
    await page.call("load", "/mini/");
    const r = await page.call("hardRestart") as {
      played: number;
      out: number;
      since: number;
      silent: [number, number];
      track: string;
    };
    const { played, out, since, silent, track, ...rest } = r;
    assert.deepEqual(rest, {
      first: "EngineError ERR_WORKER",
      write: INVALID,
      end: "EngineError ERR_WORKER",
      noWorker: "EngineError ERR_WORKER",
      noModel: ["LoadError ERR_NOT_FOUND", "LoadError ERR_NOT_FOUND"],
      still: INVALID,
      closing: INVALID,
      closed: INVALID,
      errors: [1, 1],
    } as unknown);
    assert.ok(played > 4 * 1920, "it plays again");
    assert.ok(out <= since && out > since - 24000 * 0.2, `${out} samples of ${since} are counted`);
    const samples = new Float32Array(unpack(track)), [from, to] = silent;
    assert.ok(samples.subarray(from + 2 * FADE, to).every((v) => v === 0), "silence while it is failed");
    const cut = samples.findLastIndex((v, i) => i < to && v !== 0), level = Math.max(...samples.subarray(0, cut));
    for (let i = cut; i > cut - 10; i--) assert.ok(Math.abs(samples[i]) < 0.1 * level, "it fades out");
    assert.equal(page.page.workers().length, 1, "one worker for all");
  });
}

test("worklets that register nothing, that throw, and whose processors throw", async (browser) => {
  const { site, page } = await open(browser, {}, [/no worklet today/, /no quantum today/]);
  await page.call("load", "/mini/");
  site["/empty.js"] = "";
  site["/throws.js"] = 'throw new Error("no worklet today");';
  site["/broken.js"] = `for (const name of ["mimi-encoder", "mimi-decoder"]) {
    registerProcessor(name, class extends AudioWorkletProcessor {
      static get parameterDescriptors() { return [{ name: "numQuantizers", defaultValue: 8 }]; }
      process() { throw new Error("no quantum today"); }
    });
  }`;
  const worklet = "EngineError ERR_WORKLET";
  assert.deepEqual(await page.call("badWorklets"), {
    unregistered: [worklet, worklet],
    throws: worklet,
    processors: [worklet, worklet],
    restart: [worklet, worklet],
  });
});

test("a worker that is not there", async (browser) => {
  const { page } = await open(browser, {}, [/404/]);
  await assert.rejects(page.call("load", "/mini/", { url: "/nowhere.js" }), {
    name: "EngineError",
    code: "ERR_WORKER",
    message: /^the worker did not start: .*nowhere\.js: its file cannot be loaded/,
  });
  await assert.rejects(page.call("load", "/mini/", { url: "/nowhere.js", blob: true }), { name: "LoadError" });
});

test("a hundred pairs made and closed leave nothing behind", async (browser) => {
  const { page } = await open(browser, { isolated: true });
  await page.call("load", "/mini/");
  const memory = await page.call("rounds", 100);
  // A state takes 0.16 MB and is used again; some may be open at a time. A hundred pairs would take 31 MB.
  assert.ok(memory.at(-1)! - memory[0] < 4e6, `the worker's memory: ${memory}`);
  const devtools = await page.page.context().newCDPSession(page.page);
  let alive = Infinity;
  for (let i = 0; i < 20 && alive > 4; i++) {
    await devtools.send("HeapProfiler.collectGarbage");
    await new Promise((resolve) => setTimeout(resolve, 100));
    alive = await page.call("survivors");
  }
  assert.ok(alive <= 4, `${alive} of 200 nodes are kept by something`);
});

test("blobs where the policy allows them, and where it does not", async (browser) => {
  const { page } = await open(browser, { csp: "wasm-blob" });
  await page.call("load", "/mini/", { blob: true });
  assert.ok(await page.call("plays", { blob: true }) > 0);
  const { page: strict } = await open(browser, { csp: "wasm" }, [/Content Security Policy/]);
  await assert.rejects(strict.call("load", "/mini/", { blob: true }), { name: "EngineError", code: "ERR_WORKER" });
  await strict.call("load", "/mini/");
  await assert.rejects(strict.call("plays", { blob: true }), { name: "EngineError", code: "ERR_WORKLET" });
  assert.ok(await strict.call("plays") > 0);
});

test("worker and worklet from another origin", async (browser) => {
  const { page } = await open(browser), { url } = await browser.serve(await nodesSite(), { cors: true });
  await page.call("load", "/mini/", { url: `${url}/worker.js` });
  assert.ok(await page.call("plays", { workletUrl: `${url}/worklet.js` }) > 0);
  assert.ok(await page.call("plays", { workletUrl: `${url}/worklet.js`, blob: true }) > 0);
});
