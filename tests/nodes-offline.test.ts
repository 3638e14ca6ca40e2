/** Offline renders in browsers, by their own Web Audio and by standardized-audio-context, sample for sample. */
import assert from "node:assert/strict";
import { MimiModel } from "../mod.ts";
import type { Implementation } from "./pages/offline.ts";
import { inBrowser, type TestBrowser, type TestPage } from "./support/browser.ts";
import { testPath } from "./support/files.ts";
import { inFirefox } from "./support/firefox.ts";
import { nodesSite, unpack } from "./support/nodes-site.ts";
import { automation, branchesOf, bypass, bypassSwitched, exact, loss, type Renderer } from "./support/offline-suite.ts";
import { random } from "./support/random.ts";

// The size of a quantum can be chosen by now, behind a flag.
const test = inBrowser({ args: ["--enable-blink-features=WebAudioConfigurableRenderQuantum"] });
const rng = random("offline renders");
const tiny = await MimiModel.fromPretrained(testPath("models/tiny-hf")), mini = await MimiModel.fromPretrained("mini");
const pack = (samples: Float32Array) =>
  Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength).toString("base64");

type Page = TestPage<typeof import("./pages/offline.ts")>;

async function open(browser: TestBrowser, isolated = false): Promise<{ url: string; page: Page }> {
  const { url } = await browser.serve(await nodesSite("offline"), { isolated });
  return { url, page: await browser.open<typeof import("./pages/offline.ts")>(url) };
}

/** Renders in the page. */
function inPage(page: Pick<Page, "call">, implementation: Implementation, source: string, worker = false): Renderer {
  return async ({ source: samples, ...spec }) => {
    const packed = { ...spec, source: samples.map(pack) };
    const { channels, ...rest } = await page.call("renderPacked", implementation, { source, worker }, packed);
    return { channels: channels.map((text) => new Float32Array(unpack(text))), ...rest };
  };
}

for (const implementation of ["native", "standardized", "minimal"] as const) {
  test(`one to four nodes in series, four branches; parameters: ${implementation}`, async (browser) => {
    const { url, page } = await open(browser), render = inPage(page, implementation, `${url}/tiny/`);
    for (const rate of implementation === "minimal" ? [24000] : [8000, 24000, 44100, 48000]) {
      const source = [rng.floats(rng.integer(1, Math.round(0.3 * rate)), 0.5)], reversed = rng.next() < 0.5;
      await exact(render, tiny, { rate, source, branches: branchesOf(rng), reversed });
      await bypass(render, tiny, rng, rate);
    }
    await automation(render, tiny, rng);
    await bypassSwitched(render, tiny, rng);
    await loss(render, tiny, rng);
  });
}

test("quanta of any size, longer than a frame too", async (browser) => {
  const { url, page } = await open(browser), render = inPage(page, "native", `${url}/tiny/`);
  for (const quantum of [1, 100, 2048, 4096]) {
    for (const rate of [24000, 44100]) {
      const source = [rng.floats(rng.integer(2000, 7000), 0.5)];
      const branches = [[{ kind: "pair" as const }], [{ kind: "codec" as const }, { kind: "pair" as const }]];
      const rendered = await exact(render, tiny, { rate, source, branches, quantum });
      assert.equal(rendered.quantum, quantum, "the browser does as it is asked");
    }
  }
});

test("the embedded model, from a worker too, isolated or not", async (browser) => {
  for (const isolated of [false, true]) {
    const { url, page } = await open(browser, isolated);
    for (const worker of [false, true]) {
      const source = [rng.floats(6000, 0.5)], branches = [[{ kind: "pair" as const }], [{ kind: "codec" as const }]];
      await exact(inPage(page, "native", `${url}/mini/`, worker), mini, { rate: 48000, source, branches });
    }
  }
});

test("the worklet of live contexts in an offline one", async (browser) => {
  const { url, page } = await open(browser);
  for (const implementation of ["native", "standardized"] as const) {
    const message = await page.call("wrongWorklet", implementation, `${url}/tiny/`);
    assert.match(message, /did not register its processors; it has to be worklet-offline\.js/);
  }
});

inFirefox<typeof import("./pages/offline.ts")>(
  "Firefox: nodes in series and in parallel; parameters",
  () => nodesSite("offline"),
  async (call, url) => {
    for (const implementation of ["native", "standardized"] as const) {
      const render = inPage({ call }, implementation, `${url}/tiny/`);
      for (const rate of [8000, 24000, 44100, 48000]) {
        const source = [rng.floats(rng.integer(1, Math.round(0.3 * rate)), 0.5)], reversed = rng.next() < 0.5;
        await exact(render, tiny, { rate, source, branches: branchesOf(rng), reversed });
      }
      await automation(render, tiny, rng);
      await bypass(render, tiny, rng, 44100);
      await bypassSwitched(render, tiny, rng);
      await loss(render, tiny, rng);
    }
  },
);
