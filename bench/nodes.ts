/**
 * The nodes in a real Chromium, live: how late audio comes out, how often the buffer runs dry, how busy the worker is.
 *
 * `BENCH_SECONDS` is how long each of the four runs takes, 300 by default. No other project has such nodes to stand beside.
 */
import process from "node:process";
import { bundle } from "../scripts/bundle.ts";
import { withBrowser } from "../tests/support/browser.ts";
import { bundleWorker, bundleWorklet } from "../tests/support/bundle.ts";
import { noBrowser } from "../tests/support/chromium.ts";
import { withFullModelFiles } from "./full-model.ts";
import type { Figures } from "./nodes-page.ts";
import { ms, printNote, printTable } from "./table.ts";

/** Milliseconds of a frame. */
const BUDGET = 80;

export async function nodes(): Promise<void> {
  const seconds = Number(process.env.BENCH_SECONDS ?? 300);
  if (noBrowser) return printNote(`Nodes: skipped, ${noBrowser}.`);
  await withFullModelFiles(async (full) => {
    const mini = new URL("../models/mini/", import.meta.url), rows: string[][] = [];
    for (const [name, model] of [["embedded", mini], ["full size", full]] as const) {
      for (const isolated of [true, false]) {
        rows.push(row(`${name}, ${isolated ? "" : "not "}isolated`, await measure({ model, mini, isolated, seconds })));
      }
    }
    printTable(
      `Nodes in Chromium, 48 kHz, 8 codebooks, default settings, ${seconds} s each`,
      ["", "latency", "buffer at the end", "underruns", "silence", "left out", "encode", "decode", "of 80 ms", "p95"],
      rows,
    );
    printNote(
      "Latency: from a sample that goes into the encoder node to the sample that it becomes, at the decoder node's output; " +
        "the devices' own comes on top. Encode and decode: a frame in the worker, asked by the page, there and back.",
    );
  });
}

async function measure(
  { model, mini, isolated, seconds }: { model: URL; mini: URL; isolated: boolean; seconds: number },
): Promise<Figures> {
  let figures: Figures | undefined;
  await withBrowser(async ({ serve, open }) => {
    const text = 'import * as page from "./nodes-page.ts"; Object.assign(globalThis, { page });';
    const { url } = await serve({
      "/page.js": await bundle({ text, folder: "bench" }),
      "/worker.js": await bundleWorker(),
      "/worklet.js": await bundleWorklet(),
      "/recorder.js": new URL("../tests/pages/recorder.js", import.meta.url),
      "/model/": model,
      "/mini/": mini,
    }, { isolated });
    const { call } = await open<typeof import("./nodes-page.ts")>(url);
    figures = await call("live", { source: `${url}/model/`, speech: `${url}/mini/it-cannot-complete.wav`, seconds });
  });
  return figures!;
}

function row(name: string, figures: Figures): string[] {
  const { latency, buffer, underruns, silence, leftOut, encode, decode, p95 } = figures;
  const share = (time: number) => `${(100 * time / BUDGET).toFixed(0)} %`;
  return [
    name,
    `${ms(latency)} ms`,
    `${ms(buffer)} ms`,
    String(underruns),
    `${ms(silence)} ms`,
    `${ms(leftOut)} ms`,
    `${ms(encode)} ms`,
    `${ms(decode)} ms`,
    share(encode + decode),
    share(p95),
  ];
}
