/**
 * Tests in a real Chromium.
 *
 * ```ts
 * const test = inBrowser();
 * test("...", async ({ open, serve }) => {
 *   const { url } = await serve({ "/page.js": await bundlePage("core") }, { isolated: true });
 *   const page = await open<typeof import("./pages/core.ts")>(url);
 *   assert.equal(await page.call("encode", 4000), "...");
 * });
 * ```
 */
import assert from "node:assert/strict";
import process from "node:process";
import { after, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { findChromium, noBrowser } from "./chromium.ts";
import { type Policy, serve, type Site, type TestServer } from "./serve.ts";

export interface BrowserOptions {
  /** Path of a WAV file that the microphone plays once. */
  microphone?: string;
  /** More arguments for Chromium. */
  args?: string[];
  /**
   * What the tests do is live. A machine that stands still for a second breaks that, so one that fails is tried once more from
   * its start, and its first failure is printed; `MIMI_TRIES` is another number of tries.
   */
  live?: boolean;
  /** Milliseconds after which a test that does not end fails; default 2 minutes. */
  longest?: number;
}

// deno-lint-ignore no-explicit-any
type Functions = Record<string, (...args: any[]) => unknown>;

export interface TestPage<Module> {
  /**
   * Calls a function that the page's module exports. Arguments and result are cloned; an error keeps its name, code and
   * message.
   */
  call<Name extends keyof Module & string>(
    name: Name,
    ...args: Module[Name] extends (...args: infer Args) => unknown ? Args : never
  ): Promise<Module[Name] extends (...args: never) => infer Result ? Awaited<Result> : never>;
  /** Console lines so far. */
  readonly log: string[];
  /** Playwright's page. */
  readonly page: Page;
}

/** What a test has. All of it is closed when the test ends. */
export interface TestBrowser {
  /**
   * Opens an address in a profile of the test's own. An error on its console, one that nobody caught or a crash fails the
   * test, unless it matches one of `expected`; `apart` is in a profile that no other page has. Worklets have no console here: what goes wrong in them is an event of a node.
   */
  open<Module = Functions>(
    address: string,
    options?: { expected?: RegExp[]; apart?: boolean },
  ): Promise<TestPage<Module>>;
  serve(site: Site, policy?: Policy): Promise<TestServer>;
}

/** How often a live test is tried before it fails. */
const TRIES = Math.max(1, Number(process.env.MIMI_TRIES) || 2);

/**
 * A `test` whose bodies run in one Chromium; it starts with the first of them and is skipped by name where there is none, or for
 * another reason that a test gives.
 */
export function inBrowser(
  options: BrowserOptions = {},
): (name: string, body: (browser: TestBrowser) => Promise<void>, skipped?: string | false) => void {
  const { live = false, longest = 120_000 } = options, tries = live ? TRIES : 1;
  let browser: Browser | undefined;
  after(async () => await browser?.close());
  return (name, body, skipped = noBrowser) => {
    const title = `${name}${skipped ? ` (skipped: ${skipped})` : ""}`;
    test(title, { skip: skipped, timeout: tries * longest + 60_000 }, async ({ signal }) => {
      for (let left = tries - 1;; left--) {
        if (!browser?.isConnected()) browser = await launch(options);
        try {
          return await limited(browser, body, longest);
        } catch (error) {
          if (left === 0 || signal.aborted) throw error;
          console.warn(`${name}: tried once more, after`, error);
        }
      }
    });
  };
}

/** Runs a body; where that takes too long, its browser is closed. */
async function limited(
  browser: Browser,
  body: (browser: TestBrowser) => Promise<void>,
  longest: number,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<"late">((resolve) => timer = setTimeout(resolve, longest, "late")),
    running = run(browser, body);
  const outcome = await Promise.race([running, limit]).finally(() => clearTimeout(timer));
  if (outcome !== "late") return;
  running.catch(() => {}); // its browser is gone
  await browser.close();
  throw new Error(`no end within ${longest / 1000} s`);
}

/** Arguments with which peer connections use the machine's own address, and say so. */
export const LOOPBACK: string[] = [
  "--allow-loopback-in-peer-connection",
  "--disable-features=WebRtcHideLocalIpsWithMdns",
];

/** One Chromium outside of tests, for a benchmark. */
export async function withBrowser(
  body: (browser: TestBrowser) => Promise<void>,
  options: BrowserOptions = {},
): Promise<void> {
  const browser = await launch(options);
  try {
    await run(browser, body);
  } finally {
    await browser.close();
  }
}

/** How often a browser is started that crashes as it starts, as Chromium does once in a long while on busy machines. */
const LAUNCHES = 3;

async function launch({ microphone, args = [] }: BrowserOptions): Promise<Browser> {
  const { executablePath, env } = await findChromium(), { chromium } = await import("playwright-core");
  const start = () =>
    chromium.launch({
      executablePath,
      env: { ...process.env as Record<string, string>, ...env },
      ignoreDefaultArgs: ["--mute-audio"],
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        ...(microphone ? [`--use-file-for-fake-audio-capture=${microphone}%noloop`] : []),
        ...args,
      ],
    });
  for (let launches = 1; launches < LAUNCHES; launches++) {
    try {
      return await start();
    } catch (error) {
      console.warn(`the browser did not start, once more: ${(error as Error).message.split("\n", 1)[0]}`);
    }
  }
  return await start();
}

async function run(browser: Browser, body: (browser: TestBrowser) => Promise<void>): Promise<void> {
  const contexts = [await browser.newContext({ permissions: ["microphone"] })];
  const servers: TestServer[] = [], errors: string[] = [];
  try {
    await body({
      async serve(site, policy) {
        servers.push(await serve(site, policy));
        return servers[servers.length - 1];
      },
      async open(address, { expected = [], apart = false } = {}) {
        if (apart) contexts.push(await browser.newContext({ permissions: ["microphone"] }));
        const page = await contexts[apart ? contexts.length - 1 : 0].newPage(), log: string[] = [];
        const failed = (error: string) => expected.some((known) => known.test(error)) || errors.push(error);
        page.on("console", (message) => {
          log.push(message.text());
          if (message.type() === "error") failed(message.text());
        });
        page.on("pageerror", (error) => failed(error.stack ?? error.message));
        page.on("crash", () => failed("the page crashed"));
        await page.goto(address);
        return { page, log, call: (name, ...args) => call(page, name, args) };
      },
    });
    assert.deepEqual(errors, [], "errors in the page");
  } catch (error) {
    if (errors.length) console.error("errors in the page:", errors);
    throw error;
  } finally {
    for (const server of servers) await server.close();
    if (browser.isConnected()) { for (const context of contexts) await context.close(); }
  }
}

// deno-lint-ignore no-explicit-any
async function call(page: Page, name: string, args: unknown[]): Promise<any> {
  const outcome = await page.evaluate(async ([name, args]) => {
    try {
      return { value: await (globalThis as unknown as { page: Functions }).page[name](...args) };
    } catch (error) {
      const { name, message, code } = error as Error & { code?: string };
      return { error: { name, message, code } };
    }
  }, [name, args] as const);
  if (outcome.error) throw Object.assign(new Error(outcome.error.message), outcome.error);
  return outcome.value;
}
