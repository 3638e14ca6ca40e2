/** Precisions in a real Chromium: milliseconds a frame, and what a decoder takes of its page's process. */
import { readdirSync, readFileSync } from "node:fs";
import type { Precision } from "../mod.ts";
import { bundle } from "../scripts/bundle.ts";
import { PRECISIONS } from "../src/core/backend.ts";
import { type TestBrowser, withBrowser } from "../tests/support/browser.ts";
import { noBrowser } from "../tests/support/chromium.ts";
import { withFullModelFiles } from "./full-model.ts";
import { ms, printNote, printTable } from "./table.ts";

const WAYS = [
  ...PRECISIONS.map((precision) => ({ precision, determinism: "exact" as const })),
  { precision: "f32" as const, determinism: "device" as const },
];
const nameOf = ({ precision, determinism }: typeof WAYS[number]) =>
  determinism === "exact" ? precision : `${precision}, relaxed SIMD`;

type Page = typeof import("./chromium-page.ts");

export async function chromium(): Promise<void> {
  if (noBrowser) return printNote(`Chromium: skipped, ${noBrowser}.`);
  const text = 'import * as page from "./chromium-page.ts"; Object.assign(globalThis, { page });';
  const code = await bundle({ text, folder: "bench" });
  await withFullModelFiles(async (model) => {
    const memory: string[][] = [];
    for (const precision of PRECISIONS) {
      await withBrowser(async (browser) =>
        void memory.push([precision, ...await memoryOf(browser, code, model, precision)])
      );
    }
    await withBrowser(async ({ serve, open }) => {
      const { url } = await serve({ "/page.js": code, "/model/": model }, { ranges: true });
      const times = await (await open<Page>(url)).call("times", `${url}/model/`, WAYS);
      printTable(
        "Chromium: milliseconds a frame of 80 ms, full size, 8 codebooks, one thread, and beside f32",
        ["", "encode, live", "decode, live", "encode, file", "decode, file"],
        times.map((row, i) => [nameOf(WAYS[i]), ...row.map((t, c) => `${ms(t)} (${(t / times[0][c]).toFixed(2)})`)]),
      );
    });
    printTable(
      "Chromium: a decoder with 8 codebooks and a stream, MB",
      ["", "model.memory", "its page's process grew by"],
      memory,
    );
  });
}

async function memoryOf(
  { serve, open }: TestBrowser,
  code: string,
  model: URL,
  precision: Precision,
): Promise<string[]> {
  const { url } = await serve({ "/page.js": code, "/model/": model }, { ranges: true }), page = await open<Page>(url);
  const before = renderers(), bytes = await page.call("decoder", `${url}/model/`, precision);
  await page.page.requestGC();
  await new Promise((resolve) => setTimeout(resolve, 1000)); // memory goes back by and by
  const grown = renderers() - before;
  return [bytes, grown].map((n) => (n / 1e6).toFixed(1));
}

/** Bytes of resident memory of all pages' processes on this machine. */
function renderers(): number {
  let sum = 0;
  for (const id of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${id}/cmdline`, "utf8").includes("--type=renderer")) continue;
      sum += 1024 * Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${id}/status`, "utf8"))?.[1] ?? 0);
    } catch {
      // it has ended meanwhile
    }
  }
  return sum;
}
