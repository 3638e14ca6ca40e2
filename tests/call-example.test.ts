/** The call page in a real Chromium: two browser contexts, and the bot. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test as plain } from "node:test";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { WebSocket } from "ws";
import { SIGNAL_PATH } from "../examples/call/protocol.ts";
import { signal } from "../examples/call/signalling.ts";
import { inBrowser, LOOPBACK } from "./support/browser.ts";
import { noBrowser } from "./support/chromium.ts";
import { example } from "./support/example.ts";
import { TESTS } from "./support/files.ts";
import { noPeers } from "./support/peers.ts";
import { picture } from "./support/picture.ts";

const test = inBrowser({
  live: true,
  microphone: fileURLToPath(new URL("../models/mini/it-cannot-complete.wav", TESTS)),
  args: LOOPBACK,
});

const text = async (page: Page, id: string) => (await page.locator(`#${id}`).textContent())!.trim();
const says = (page: Page, id: string, pattern: RegExp) =>
  page.waitForFunction(
    ([id, pattern]) => new RegExp(pattern).test(document.getElementById(id)!.textContent!),
    [
      id,
      pattern.source,
    ] as const,
  );
/** Waits until an element's figure or a meter's value is at least that. */
const reaches = (page: Page, id: string, least: number) =>
  page.waitForFunction(([id, least]) => {
    const element = document.getElementById(id)!;
    return (element instanceof HTMLMeterElement ? element.value : parseFloat(element.textContent!)) >= least;
  }, [id, least] as const);

plain("signalling: a third one is sent away, and does no harm with what it sends", async () => {
  const server = createServer();
  signal(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const enter = (origin?: string) => new WebSocket(`ws://${host}${SIGNAL_PATH}?room=a`, { origin });
  const first = enter(), told = once(first, "message");
  await once(first, "open");
  for (const origin of ["https://elsewhere.example", "null"]) {
    const [error] = await once(enter(origin), "error");
    assert.match(error.message, /401/, "a page of another site may not join");
  }
  const second = enter(`http://${host}`);
  assert.deepEqual(JSON.parse(String((await told)[0])), { type: "joined", offers: true });
  const third = enter(), full = once(third, "message"), gone = once(third, "close");
  await once(third, "open");
  third.send(new Uint8Array(100_000)); // more than is read
  assert.deepEqual(JSON.parse(String((await full)[0])), { type: "full" });
  await gone;
  const passed = once(first, "message");
  second.send("hello");
  assert.equal(String((await passed)[0]), "hello");
  for (const socket of [first, second]) socket.terminate();
  await new Promise((closed) => server.close(closed));
});

test("two people: they hear each other, see loss, mute and hang up", (browser) =>
  example("call", async (url) => {
    const [a, b] = await Promise.all([browser.open(url), browser.open(url, { apart: true })]).then((pages) =>
      pages.map(({ page }) => page)
    );
    await b.setViewportSize({ width: 390, height: 844 });
    for (const page of [a, b]) {
      await page.getByRole("button", { name: "Join" }).click();
      await says(page, "status", /Waiting for somebody|Connect/);
    }
    for (const page of [a, b]) {
      await says(page, "status", /^Connected\.$/);
      await reaches(page, "out", 0.02);
    }
    await a.getByLabel("Redundancy").fill("2");
    await a.getByLabel("Simulated loss").fill("30");
    await a.getByLabel("Quality").fill("4");
    assert.deepEqual([await text(a, "rate"), await text(a, "repeats"), await text(a, "lossRate")], [
      "4 codebooks",
      "2 earlier frames",
      "30 %",
    ]);
    await reaches(b, "recovered", 5);
    await reaches(b, "lost", 5);
    await says(a, "roundTrip", /^\d+ ms$/);
    await picture(a, "call-desktop");
    await picture(b, "call-phone");
    await b.getByRole("button", { name: "Mute" }).click();
    assert.equal(await b.getByRole("button", { name: "Unmute" }).getAttribute("aria-pressed"), "true");
    await says(b, "sentRate", /^0\.[0-4] kbps$/);
    await a.getByRole("button", { name: "Hang up" }).click();
    await says(a, "status", /^Hung up\.$/);
    await says(b, "status", /hung up|silent/);
    // Again, with the same page at the other side.
    await a.getByRole("button", { name: "Join" }).click();
    for (const page of [a, b]) await says(page, "status", /^Connected\.$/);
    for (const page of [a, b]) assert.equal(await page.getByRole("alert").count(), 0, "nothing was complained about");
  }));

test("the bot answers, and it is heard", (browser) =>
  example("call", async (url) => {
    const { page } = await browser.open(`${url}?room=bot`);
    await page.getByRole("button", { name: "Join" }).click();
    await says(page, "status", /^Connected\.$/);
    await reaches(page, "out", 0.02);
    await reaches(page, "frames", 12);
    await page.getByRole("button", { name: "Hang up" }).click();
    assert.equal(await page.getByRole("alert").count(), 0, "nothing was complained about");
  }, ["--bot=local"]), noBrowser || noPeers);
