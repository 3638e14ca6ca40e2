/** The playground, built as `npm run build:site` builds it, in a real Chromium from a plain static host. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import type { Page } from "playwright-core";
import { MimiModel } from "../mod.ts";
import { equalCodes } from "../src/cli/agreement.ts";
import { codesFromSafetensors, openContainer, readWav } from "../src/file/mod.ts";
import { inBrowser, type TestBrowser } from "./support/browser.ts";
import { noBrowser } from "./support/chromium.ts";
import { TESTS } from "./support/files.ts";
import { picture } from "./support/picture.ts";

const ROOT = fileURLToPath(new URL("../", TESTS)), SAMPLE = join(ROOT, "models/mini/it-cannot-complete.wav");
const TINY = join(ROOT, "tests/models/tiny-hf");
/** Bytes of code that a page needs before it loads a model. */
const MOST_CODE = 200_000;
const folder = await mkdtemp(join(tmpdir(), "mimi-site-")), test = inBrowser({ live: true, microphone: SAMPLE });
const onGPU = inBrowser({ args: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] });
after(() => rm(folder, { recursive: true, force: true }));

let built: Promise<void> | undefined;
async function build(): Promise<void> {
  const run = (...args: string[]) => promisify(execFile)(process.execPath, args, { cwd: ROOT });
  await run("--import", "tsx", "scripts/build.mjs");
  await run(
    "node_modules/vite/bin/vite.js",
    "build",
    "examples/playground",
    "--outDir",
    join(folder, "site"),
    "--logLevel",
    "error",
  );
}

async function open({ serve, open }: TestBrowser, expected: RegExp[] = []): Promise<Page> {
  await (built ??= build());
  const { url } = await serve({ "/some/folder/": pathToFileURL(join(folder, "site/")) });
  return (await open(`${url}/some/folder/index.html`, { expected })).page;
}

const status = (page: Page, pattern: RegExp) =>
  page.waitForFunction(([source]) => new RegExp(source).test(document.getElementById("status")!.textContent!), [
    pattern.source,
  ]);
const text = async (page: Page, id: string) => (await page.locator(`#${id}`).textContent())!;
const slide = async (page: Page, id: string, value: number) => {
  const slider = page.locator(`#${id}`);
  await slider.fill(String(value));
  await slider.dispatchEvent("change");
};

/** Presses a button that saves, and says what is saved and as what. */
async function saved(page: Page, button: string): Promise<{ name: string; bytes: Uint8Array }> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: button }).click(),
  ]);
  return { name: download.suggestedFilename(), bytes: new Uint8Array(await readFile((await download.path())!)) };
}

test("the sample: codes and audio of the library, saved, opened again, played", async (browser) => {
  const page = await open(browser), mini = await MimiModel.fromPretrained("mini");
  await page.getByRole("button", { name: "Play the sample" }).click();
  await status(page, /^3\.2 s, 40 frames\.$/);
  assert.match(await text(page, "encode"), /^\d+\.\d ms$/);
  assert.equal(await text(page, "bytes"), "360 bytes");
  for (const id of ["original", "decoded"]) {
    await page.waitForFunction((id) => document.querySelector(`#${id} > div`)?.shadowRoot?.querySelector("canvas"), id);
  }
  const container = await saved(page, "Codes, .mimi"), opened = await openContainer(container.bytes);
  assert.equal(container.name, "it-cannot-complete.mimi");
  const wav = await readWav(new Uint8Array(await readFile(SAMPLE))), pieces: Float32Array[] = [];
  for await (const [piece] of wav.pieces) pieces.push(piece.slice());
  const pcm = Float32Array.from(pieces.flatMap((piece) => [...piece]));
  const { audioCodes } = await mini.encode(pcm, { numQuantizers: 8 });
  assert.deepEqual([opened.samples, opened.header.fingerprint], [pcm.length, mini.fingerprint]);
  const tensors = await saved(page, "Codes, .safetensors");
  const kept = (await codesFromSafetensors(tensors.bytes)).audioCodes;
  assert.deepEqual(kept.shape, audioCodes.shape);
  // The browser's own decoder may round a sample otherwise, and two entries that are nearly as near change places.
  assert.ok(equalCodes(kept, audioCodes) >= 0.99);
  const decoded = await saved(page, "Decoded, .wav");
  assert.deepEqual([decoded.name, decoded.bytes.length], ["it-cannot-complete.decoded.wav", 44 + 2 * pcm.length]);

  // The sample plays by itself, once.
  await page.getByRole("button", { name: "Play", exact: true }).waitFor({ timeout: 10_000 });
  await page.getByRole("button", { name: "Play", exact: true }).click();
  await page.getByLabel("original").check();
  await page.getByRole("button", { name: "Stop" }).waitFor();
  await page.getByLabel("codec", { exact: true }).check();
  await page.getByRole("button", { name: "Play", exact: true }).waitFor({ timeout: 10_000 }); // it ends by itself
  assert.match(await text(page, "match"), /^codec \+\d\.\d dB/);

  for (const [file, bytes] of Object.entries({ "again.mimi": container.bytes, "again.safetensors": tensors.bytes })) {
    const path = join(folder, file);
    await writeFile(path, bytes);
    await page.locator("#file").setInputFiles(path);
    await page.waitForFunction(() => document.getElementById("encode")!.textContent === "–"); // codes are only decoded
    await status(page, /^3\.2 s, 40 frames\.$/);
    assert.deepEqual((await saved(page, "Decoded, .wav")).bytes, decoded.bytes);
    for (const id of ["codebooks", "loss"]) assert.ok(await page.locator(`#${id}`).isDisabled());
    await page.locator("#file").setInputFiles(SAMPLE);
    await page.waitForFunction(() => document.getElementById("encode")!.textContent !== "–");
    await status(page, /^3\.2 s, 40 frames\.$/);
    for (const id of ["codebooks", "loss"]) assert.ok(await page.locator(`#${id}`).isEnabled());
  }
  mini.close();
});

test("codebooks, loss, weights and files change what is heard", async (browser) => {
  const page = await open(browser), wavs: Uint8Array[] = [];
  await page.locator("#file").setInputFiles(SAMPLE);
  await status(page, /40 frames/);
  wavs.push((await saved(page, "Decoded, .wav")).bytes);
  await slide(page, "codebooks", 2);
  await page.waitForFunction(() => document.getElementById("bytes")!.textContent === "90 bytes");
  assert.equal(await text(page, "rate"), "2, 0.23 kbps");
  await status(page, /40 frames/);
  wavs.push((await saved(page, "Decoded, .wav")).bytes);
  await slide(page, "loss", 30);
  await status(page, /Decoding what is left/);
  await status(page, /40 frames/);
  assert.equal(await text(page, "lost"), "30 %");
  wavs.push((await saved(page, "Decoded, .wav")).bytes);
  await slide(page, "loss", 0);
  await page.getByLabel("Weights").selectOption("int8");
  await page.waitForFunction(() => document.getElementById("about")!.textContent!.includes("int8"));
  await status(page, /40 frames/);
  wavs.push((await saved(page, "Decoded, .wav")).bytes);
  assert.equal(new Set(wavs.map((bytes) => Buffer.from(bytes).toString("base64"))).size, 4);
  // A model of one's own: weights and configuration.
  await page.locator("#file").setInputFiles(
    ["config.json", "model.safetensors"].map((file) => join(ROOT, "models/mini", file)),
  );
  await status(page, /model\.safetensors is chosen/);
  await page.locator("#file").setInputFiles(SAMPLE);
  await status(page, /40 frames/);
  assert.match(await text(page, "about"), /^Model model\.safetensors, wasm, int8/);
});

test("what a model has made stays that model's: played and saved after another is chosen, or cannot be had", async (browser) => {
  const page = await open(browser, [/Failed to load resource|ERR_|net::/]), play = page.locator("#play");
  const model = ["preprocessor_config.json", "config.json", "model.safetensors"];
  await page.getByRole("button", { name: "Play the sample" }).click();
  await page.waitForFunction(() => document.getElementById("play")!.textContent === "Stop");
  const before = await saved(page, "Codes, .mimi"), wav = await saved(page, "Decoded, .wav");
  await page.locator("#file").setInputFiles(model.map((file) => join(TINY, file)));
  await status(page, /model\.safetensors is chosen/);
  assert.equal(await play.textContent(), "Play");
  const path = join(folder, "before.mimi");
  await writeFile(path, before.bytes);
  await page.locator("#file").setInputFiles(path);
  await page.getByRole("alert").filter({ hasText: "These codes are of model" }).waitFor();
  await page.route("https://huggingface.co/**", (route) => route.abort());
  await page.getByLabel("Model").selectOption("kyutai/mimi");
  await page.getByRole("button", { name: "Cancel" }).click();
  await status(page, /^Cancelled\.$/);
  for (const [button, { bytes }] of [["Codes, .mimi", before], ["Decoded, .wav", wav]] as const) {
    assert.deepEqual((await saved(page, button)).bytes, bytes);
  }
  await play.click();
  await page.waitForFunction(() => document.getElementById("play")!.textContent === "Stop");
  await page.waitForFunction(() => document.getElementById("play")!.textContent === "Play");
  assert.ok(await page.locator("#alert").isHidden());
});

test("a bundle: its folder dropped, or its files chosen", async (browser) => {
  const page = await open(browser), bundle = join(folder, "bundle");
  await promisify(execFile)(
    process.execPath,
    ["--import", "tsx", "src/cli/main.ts", "pack", "mini", bundle, "--codebooks", "8", "--precision", "int8"],
    { cwd: ROOT },
  );
  const devtools = await page.context().newCDPSession(page);
  const drag = async (type: "dragEnter" | "dragOver" | "drop", files: string[]) =>
    await devtools.send("Input.dispatchDragEvent", {
      type,
      x: 50,
      y: 50,
      data: { items: [], files, dragOperationsMask: 1 },
    });
  for (const type of ["dragEnter", "dragOver", "drop"] as const) await drag(type, [bundle]);
  await status(page, /^a bundle is chosen/);
  await page.locator("#file").setInputFiles(SAMPLE);
  await status(page, /40 frames/);
  assert.match(await text(page, "about"), /^Model a bundle, wasm/);
  for (const type of ["dragEnter", "dragOver", "drop"] as const) await drag(type, [SAMPLE]);
  await status(page, /40 frames/);
  const files = (await readdir(bundle)).map((name) => join(bundle, name));
  await page.locator("#file").setInputFiles(files);
  await status(page, /^a bundle is chosen/);
  await page.locator("#file").setInputFiles(files.filter((file) => !file.endsWith("bundle.json")));
  await page.locator("#file").setInputFiles(SAMPLE);
  await page.getByRole("alert").filter({ hasText: "bundle.json" }).waitFor();
});

test("the microphone, live, and what was said afterwards", async (browser) => {
  const page = await open(browser), button = page.getByRole("button", { name: "Microphone" });
  await button.click();
  await status(page, /^Listening/);
  assert.equal(await button.getAttribute("aria-pressed"), "true");
  await slide(page, "codebooks", 4);
  await page.getByLabel("original").check();
  await page.waitForTimeout(2500);
  await button.click();
  await status(page, /^\d\.\d s, \d+ frames\.$/);
  assert.ok(parseInt(await text(page, "frames")) >= 20);
  assert.equal(await button.getAttribute("aria-pressed"), "false");
  assert.equal((await saved(page, "Codes, .mimi")).name, "microphone.mimi");
});

test("what goes wrong is said: files that are none, a model that cannot be had, and work that is cancelled", async (browser) => {
  const page = await open(browser, [/Failed to load resource|ERR_|net::/]), path = join(folder, "none.wav");
  await writeFile(path, "no audio");
  await page.locator("#file").setInputFiles(path);
  await page.locator("#alert:not([hidden])").waitFor();
  assert.match(await text(page, "alert"), /decode/i);
  await page.route("https://huggingface.co/**", (route) => route.abort());
  await page.getByLabel("Model").selectOption("kyutai/mimi");
  await page.getByRole("button", { name: "Play the sample" }).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await status(page, /^Cancelled\.$/);
  await page.getByLabel("Model").selectOption("mini");
  await page.getByRole("button", { name: "Play the sample" }).click();
  await status(page, /40 frames/);
  assert.ok(await page.locator("#alert").isHidden());
});

onGPU("WebGPU: the codes of wasm", async (browser) => {
  const page = await open(browser), path = join(folder, "short.wav"), wav = new Uint8Array(await readFile(SAMPLE));
  const short = wav.slice(0, 44 + 2 * 5000), view = new DataView(short.buffer);
  view.setUint32(4, short.length - 8, true);
  view.setUint32(40, short.length - 44, true);
  await writeFile(path, short);
  const codes: Uint8Array[] = [];
  for (const [label, backend] of [["WebAssembly, in a worker", "wasm"], ["WebGPU, f32", "webgpu"]]) {
    await page.getByLabel("Engine").selectOption(label);
    await page.locator("#file").setInputFiles(path);
    await page.waitForFunction(
      (backend) => {
        const [about, status] = ["about", "status"].map((id) => document.getElementById(id)!.textContent!);
        return about.includes(`, ${backend}, `) && /^0\.2 s, 3 frames/.test(status);
      },
      backend,
      { timeout: 110_000 },
    ); // it is a GPU in software
    codes.push((await saved(page, "Codes, .mimi")).bytes);
  }
  assert.deepEqual(codes[1], codes[0]);
});

for (
  const [name, colorScheme, viewport] of [
    ["desktop, light", "light", { width: 1000, height: 900 }],
    ["phone, dark", "dark", { width: 390, height: 844 }],
  ] as const
) {
  test(`accessible, and nothing sticks out: ${name}`, async (browser) => {
    const page = await open(browser);
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(viewport);
    // By keyboard: the link, then the sample.
    for (const key of ["Tab", "Tab", "Enter"]) await page.keyboard.press(key);
    await status(page, /40 frames/);
    await page.addScriptTag({ path: join(ROOT, "node_modules/axe-core/axe.min.js") });
    const found = await page.evaluate(async () => {
      // deno-lint-ignore no-explicit-any -- what axe-core puts on the page
      const { violations } = await (globalThis as any).axe.run();
      return violations.map(({ id, impact, nodes }: { id: string; impact: string; nodes: { html: string }[] }) =>
        `${impact}: ${id}: ${nodes[0].html}`
      ) as string[];
    });
    assert.deepEqual(found.filter((violation) => /^(serious|critical)/.test(violation)), []);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "no scrolling sideways");
    await picture(page, `playground ${name}`);
  });
}

test("the licences of all that is in the site are in it", async (browser) => {
  await open(browser);
  const read = (name: string) => readFile(join(folder, "site", name), "utf8");
  assert.match(await read("LICENSES-PACKAGES.md"), /wavesurfer\.js[^]*BSD/);
  assert.match(await read("LICENSES.txt"), /MIT licence/);
  assert.match(await read("MODEL.md"), /license: cc-by-sa-3\.0/);
}, noBrowser);

test("code that comes before a model is small", async (browser) => {
  await open(browser);
  const assets = join(folder, "site/assets"), html = await readFile(join(folder, "site/index.html"), "utf8");
  const first = (await readdir(assets)).filter((file) => html.includes(file));
  const sizes = await Promise.all(first.map(async (file) => (await stat(join(assets, file))).size));
  const total = sizes.reduce((a, b) => a + b, Buffer.byteLength(html));
  console.log(`# ${total} bytes: ${first.join(", ")}`);
  assert.ok(first.some((file) => file.endsWith(".js")) && total <= MOST_CODE, `${total} bytes`);
}, noBrowser);
