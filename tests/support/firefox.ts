/**
 * Tests in an installed Firefox: `MIMI_FIREFOX`, else `firefox` or `firefox-esr` of the PATH. Playwright drives only a Firefox of
 * its own, so the page asks the test what to do.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import type { TestPage } from "./browser.ts";
import { serve, type Site } from "./serve.ts";

const firefox = process.env.MIMI_FIREFOX ??
  (process.env.PATH ?? "").split(delimiter).flatMap((folder) => ["firefox", "firefox-esr"].map((f) => join(folder, f)))
    .find((path) => existsSync(path));

/** Why there is no Firefox for tests here; `false` where there is one. */
const noFirefox: string | false = "Deno" in globalThis || "Bun" in globalThis
  ? "browser tests run under Node"
  : !firefox && "no Firefox is installed: install one, or name it in MIMI_FIREFOX";

const PAGE = `<!doctype html><meta charset="utf-8"><title>test</title>
<script type="module" src="/page.js"></script><script type="module" src="/work.js"></script>`;
const WORK = `
for (let answer = ""; ; ) {
  const response = await fetch("/next", { method: "POST", body: answer });
  const { name, args } = await response.json();
  try {
    answer = JSON.stringify({ value: await page[name](...args) });
  } catch (error) {
    answer = JSON.stringify({ error: String(error) });
  }
}`;

interface Job {
  text: string;
  resolve(answer: string): void;
}

/** A test whose body calls functions of a page in Firefox; skipped by name where there is none. */
export function inFirefox<Module>(
  name: string,
  site: () => Promise<Site>,
  body: (call: TestPage<Module>["call"], url: string) => Promise<void>,
): void {
  const title = `${name}${noFirefox ? ` (skipped: ${noFirefox})` : ""}`;
  test(title, { skip: noFirefox, timeout: 120_000 }, async () => {
    const profile = await mkdtemp(join(tmpdir(), "mimi-firefox-"));
    const jobs: Job[] = [];
    let running: Job | undefined, wake: (() => void) | undefined;
    const server = await serve({
      ...await site(),
      "/index.html": PAGE,
      "/work.js": WORK,
      // The answer to the last job comes with the question for the next.
      "/next": async (answer) => {
        running?.resolve(answer);
        while (jobs.length === 0) await new Promise<void>((resolve) => wake = resolve);
        running = jobs.shift()!;
        return running.text;
      },
    });
    const browser = spawn(firefox as string, ["--headless", "--no-remote", "--profile", profile, server.url], {
      env: { ...process.env, HOME: profile },
      stdio: "ignore",
    });
    const ended = once(browser, "exit");
    try {
      const call = async (name: string, ...args: unknown[]) => {
        const answered = new Promise<string>((resolve) => jobs.push({ text: JSON.stringify({ name, args }), resolve }));
        wake?.();
        const gone = ended.then(() => Promise.reject(new Error("Firefox ended")));
        const { value, error } = JSON.parse(await Promise.race([answered, gone]));
        if (error) throw new Error(error);
        return value;
      };
      await body(call as TestPage<Module>["call"], server.url);
    } finally {
      browser.kill();
      await ended;
      await server.close();
      await rm(profile, { recursive: true, maxRetries: 5 });
    }
  });
}
