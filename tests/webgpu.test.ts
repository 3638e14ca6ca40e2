/** The GPU of a real Chromium, in software: goldens, streams, a worker, and a device that is lost. */
import assert from "node:assert/strict";
import { MimiModel } from "../mod.ts";
import { inBrowser, type TestBrowser, type TestPage } from "./support/browser.ts";
import { bundleModule, bundlePage } from "./support/bundle.ts";
import { assertClose, assertCodes } from "./support/compare.ts";
import { openGolden, TESTS } from "./support/files.ts";
import { random } from "./support/random.ts";

const test = inBrowser({
  args: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
  longest: 480_000, // shaders compile in software
});
type Page = typeof import("./pages/webgpu.ts");

async function open({ serve, open }: TestBrowser, expected: RegExp[] = []): Promise<TestPage<Page>> {
  const { url } = await serve({
    "/page.js": await bundlePage("webgpu"),
    "/webgpu-worker.js": await bundleModule("webgpu-worker"),
    "/ort/": new URL("../node_modules/onnxruntime-web/dist/", TESTS),
    "/tiny/": new URL("models/tiny-hf/", TESTS),
    "/mini/": new URL("../models/mini/", TESTS),
  });
  return await open<Page>(url, { expected });
}

const golden = await openGolden("tiny_notmult_30000"), input = [...await golden.f32("input")];
const [, codebooks, frames] = golden.shape("codes"), codes = [...await golden.i32("codes")];
const margin = await golden.f32("code_margin"), audio = await golden.f32("audio");
const assertGolden = (what: string, actual: number[]) =>
  assertCodes(what, Uint16Array.from(actual), codes, margin, frames, 1);

// Compiling shaders in software takes most of the time, so only the first test lets a backend test itself.
test("webgpu: goldens, and streams that outlive their device", async (browser) => {
  const page = await open(browser), rng = random("device loss");
  assert.equal(await page.call("load", "/tiny", { failover: true }), "webgpu");
  assertGolden("webgpu", await page.call("encode", input));
  assertClose("webgpu", await page.call("decode", codes, codebooks), audio, 1e-4);

  const live = await page.call("live", input, codes, codebooks, rng.integer(1, frames - 1));
  assert.equal(live.backend, "wasm");
  assertGolden("failover", live.codes);
  assertClose("failover", live.audio, audio, 1e-4);
  assert.match(page.log.join("\n"), /mimi-audio: The device of the webgpu backend was lost: .*Streams go on in wasm\./);
});

test("webgpu: without failover, the error has the stream to go on with", async (browser) => {
  const page = await open(browser);
  await page.call("load", "/tiny", { part: "decoder", selfTest: false });
  const { position, code, audio: rescued } = await page.call("rescued", "/tiny", codes, codebooks, 5);
  assert.deepEqual([position, code], [0, "ERR_DEVICE_LOST"]);
  assertClose("rescued", rescued, audio, 1e-4);
});

test("webgpu: the embedded model", async (browser) => {
  const page = await open(browser), here = await MimiModel.fromPretrained("mini");
  assert.equal(await page.call("load", "/mini", { selfTest: false }), "webgpu");
  const pcm = input.slice(0, 10_000), { audioCodes } = await here.encode(Float32Array.from(pcm));
  const encoded = await page.call("encode", pcm), [, codebooks, frames] = audioCodes.shape;
  // Where a near tie goes the other way, the later codes of its quantizer in that frame do as well.
  let differ = 0;
  for (let t = 0; t < frames; t++) {
    for (const [from, to] of [[0, 1], [1, codebooks]]) {
      const at = (k: number) => (from + k) * frames + t, levels = Array.from({ length: to - from }, (_, k) => k);
      differ += +levels.some((k) => encoded[at(k)] !== audioCodes.data[at(k)]);
    }
  }
  assert.ok(differ <= 1, `${differ} of ${2 * frames} quantizers and frames differ`);
  const { audioValues } = await here.decode(audioCodes);
  assertClose("embedded", await page.call("decode", [...audioCodes.data], codebooks), audioValues.data, 1e-4);
});

test("webgpu: in a worker", async (browser) => {
  const page = await open(browser), result = await page.call("encodeInWorker", "/tiny/", input);
  assert.equal(typeof result, "object", String(result));
  const { backend, codes } = result as { backend: string; codes: number[] };
  assert.equal(backend, "webgpu");
  assertGolden("worker", codes);
});

test("webgpu: a layer that the GPU cannot run is refused", async (browser) => {
  const page = await open(browser, [/fallback to CPU EP has been explicitly disabled/]);
  assert.match(await page.call("refusesCPU"), /fallback to CPU EP has been explicitly disabled/);
});
