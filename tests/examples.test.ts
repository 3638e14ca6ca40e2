/** The example pages in a real Chromium, served by the commands that serve them. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { fromPCM16 } from "../src/file/mod.ts";
import { inBrowser } from "./support/browser.ts";
import { example } from "./support/example.ts";
import { TESTS } from "./support/files.ts";

const ROOT = new URL("../", TESTS);
const test = inBrowser({ live: true, microphone: fileURLToPath(new URL("models/mini/it-cannot-complete.wav", ROOT)) });

/** What stands in an element. */
const text = async (page: Page, id: string) => (await page.locator(`#${id}`).textContent())!.trim();
const figure = async (page: Page, id: string) => Number(await text(page, id));
/** Waits until an element's figure or a meter's value is at least that. */
const reaches = (page: Page, id: string, least: number) =>
  page.waitForFunction(([id, least]) => {
    const element = document.getElementById(id)!;
    return (element instanceof HTMLMeterElement ? element.value : Number(element.textContent)) >= least;
  }, [id, least] as const);
const says = (page: Page, status: string) =>
  page.waitForFunction((status) => document.getElementById("status")!.textContent === status, status);

test("microphone: sound comes out, and the slider changes the codebooks of frames", (browser) =>
  example("microphone", async (url) => {
    const { page } = await browser.open(url);
    await page.getByRole("button", { name: "Start" }).click();
    await says(page, "Running.");
    await reaches(page, "in", 0.05);
    await reaches(page, "out", 0.02);
    assert.equal(await figure(page, "codebooks"), 8);
    assert.match(await text(page, "rate"), /^8 codebooks, 0\.90 kbps$/);
    for (const codebooks of [1, 32]) {
      await page.getByLabel("Quality").fill(String(codebooks));
      await page.waitForFunction((n) => document.getElementById("codebooks")!.textContent === String(n), codebooks);
    }
    await reaches(page, "frames", 12);
    assert.match(await text(page, "rate"), /^32 codebooks, 3\.60 kbps$/);
    assert.ok(parseInt(await text(page, "latency")) >= 140);
    await page.getByLabel("original").check();
    await page.getByRole("button", { name: "Stop" }).click();
    await says(page, "Stopped.");
    const frames = await figure(page, "frames");
    // It starts once more, with a new session.
    await page.getByRole("button", { name: "Start" }).click();
    await says(page, "Running.");
    await page.waitForFunction((frames) => Number(document.getElementById("frames")!.textContent) < frames, frames);
    await page.getByRole("button", { name: "Stop" }).click();
    await says(page, "Stopped.");
    assert.equal(await page.getByRole("alert").count(), 0, "nothing was complained about");
  }));

test("microphone: what goes wrong is said", (browser) =>
  example("microphone", async (url) => {
    const missing = await browser.open(`${url}?model=./nothing/`, { expected: [/404/] });
    await missing.page.getByRole("button", { name: "Start" }).click();
    await says(missing.page, "Not running.");
    assert.match(await text(missing.page, "alert"), /^The model was not found\. /);

    const { page } = await browser.open(url);
    await page.evaluate(() => {
      const refused = new DOMException("Permission denied", "NotAllowedError");
      navigator.mediaDevices.getUserMedia = () => Promise.reject(refused);
    });
    await page.getByRole("button", { name: "Start" }).click();
    await says(page, "Not running.");
    assert.match(await text(page, "alert"), /^The microphone was not allowed\./);
  }));

test("tokens: a worker that dies is told of, and the next answer gets another", (browser) =>
  example("token-stream", async (url) => {
    const { page } = await browser.open(url);
    await page.getByRole("button", { name: "Play" }).click();
    await reaches(page, "played", 40); // by then the page waits for the end
    await page.workers()[0].evaluate(() => close()).catch(() => {}); // it does not live to answer
    await says(page, "Not connected.");
    assert.match(await text(page, "alert"), /^The worker with the codec ended/);
    await page.getByRole("button", { name: "Play" }).click();
    await reaches(page, "played", 5);
    assert.equal(await page.getByRole("alert").count(), 0);
  }));

test("tokens: play to the end, and barge in", (browser) =>
  example("token-stream", async (url) => {
    const { page } = await browser.open(url);
    await page.getByRole("button", { name: "Play" }).click();
    await reaches(page, "level", 0.02);
    await says(page, "Played to the end.");
    const frames = await figure(page, "received");
    assert.ok(frames > 100);
    await reaches(page, "played", frames);
    assert.deepEqual([await figure(page, "buffered"), await figure(page, "underruns")], [0, 0]);

    await page.getByRole("button", { name: "Replay" }).click();
    await reaches(page, "played", 10);
    await reaches(page, "level", 0.02);
    await page.getByRole("button", { name: "Barge in" }).click();
    await says(page, "Interrupted.");
    await page.waitForFunction(() => (document.getElementById("level") as HTMLMeterElement).value === 0);
    // Nothing comes after it: not what waited here, and not what was under way.
    const before = [await figure(page, "played"), await figure(page, "received")];
    assert.ok(before[0] < frames);
    await page.waitForTimeout(500);
    assert.deepEqual([await figure(page, "played"), await figure(page, "received")], before);
    assert.equal(await page.locator("#level").evaluate((meter: HTMLMeterElement) => meter.value), 0);
    await page.getByRole("button", { name: "Replay" }).click();
    await reaches(page, "played", 10);
    assert.equal(await page.getByRole("alert").count(), 0, "nothing was complained about");
  }));

test("effects: the codec between a filter and a reverb, live and rendered", (browser) =>
  example("effects-page", async (url) => {
    const { page } = await browser.open(url);
    await page.getByRole("button", { name: "Play" }).click();
    await says(page, "Playing.");
    await reaches(page, "out", 0.02);
    await page.getByLabel("Codebooks").fill("1");
    assert.equal(await text(page, "quality-value"), "1");
    await page.getByLabel("Bypass the codec").check();
    await reaches(page, "out", 0.02);
    await page.getByRole("button", { name: "Stop" }).click();
    await says(page, "Stopped.");
    await page.getByLabel("Bypass the codec").uncheck();
    await page.getByLabel("Codebooks").fill("8");
    await page.getByRole("button", { name: "Render" }).click();
    await page.waitForFunction(() => document.getElementById("status")!.textContent!.startsWith("Rendered"));
    const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#file").click()]);
    const samples = fromPCM16((await readFile(await download.path())).subarray(44));
    assert.ok(samples.length > 4 * 48000, "the speech and a second more");
    assert.ok(samples.some((v) => Math.abs(v) > 0.01), "speech is in the file");
    assert.equal(await page.getByRole("alert").count(), 0, "nothing was complained about");
  }));

test("react: a component speaks, is stopped, is taken away, and says what went wrong", (browser) =>
  example("react", async (url) => {
    const { page } = await browser.open(url), status = page.getByRole("status");
    const says = (state: string) => status.filter({ hasText: state }).waitFor();
    // All contexts that the page makes, in a global of its own. As text, since what compiles this test names classes by a helper.
    await page.evaluate(`
      globalThis.contexts = [];
      globalThis.AudioContext = class extends AudioContext {
        constructor() {
          super();
          contexts.push(this);
        }
      };`);
    const open = () => page.evaluate<number>('contexts.filter(({ state }) => state !== "closed").length');
    await says("silent");
    await page.getByRole("button", { name: "Speak" }).click();
    await says("speaking");
    assert.equal(page.workers().length, 1);
    const before = Date.now();
    await says("silent");
    assert.ok(Date.now() - before > 2000, "3.1 s of speech were played");
    await page.getByRole("button", { name: "Speak" }).click();
    await says("speaking");
    await page.getByRole("button", { name: "Stop" }).click();
    await says("silent");
    // Twice at once is the second alone; one context for all of it.
    await page.getByRole("button", { name: "Speak" }).click();
    await page.getByRole("button", { name: "Speak" }).click();
    await says("speaking");
    assert.equal(await open(), 1);
    // Taken away while it speaks, it leaves nothing.
    await page.getByRole("checkbox").uncheck();
    const left = async () => page.workers().length + await open();
    for (const end = Date.now() + 5000; await left() > 0 && Date.now() < end;) await page.waitForTimeout(20);
    assert.equal(await left(), 0);
    await page.getByRole("checkbox").check();
    await page.getByRole("button", { name: "Speak" }).click();
    await says("speaking");
    await page.workers()[0].evaluate(() => close()).catch(() => {});
    await page.getByRole("alert").filter({ hasText: "worker" }).waitFor();
    await says("silent");
    await page.getByRole("button", { name: "Speak" }).click();
    await says("speaking");
    assert.equal(await page.getByRole("alert").count(), 0);

    const missing = await browser.open(`${url}?model=./nothing/`, { expected: [/404/] });
    await missing.page.getByRole("button", { name: "Speak" }).click();
    await missing.page.getByRole("alert").filter({ hasText: "404" }).waitFor();
  }));
