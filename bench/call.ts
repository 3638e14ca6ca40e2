/**
 * A call in a real Chromium over a real peer connection: how late it is heard, and how much goes over the wire.
 *
 * `BENCH_SECONDS` is how long each run takes, 20 by default; `BENCH_FULL=1` adds the full-size model.
 */
import process from "node:process";
import { bundle } from "../scripts/bundle.ts";
import { LOOPBACK, withBrowser } from "../tests/support/browser.ts";
import { bundleWorker, bundleWorklet } from "../tests/support/bundle.ts";
import { noBrowser } from "../tests/support/chromium.ts";
import type { CallFigures } from "./call-page.ts";
import { withFullModelFiles } from "./full-model.ts";
import { ms, printNote, printTable } from "./table.ts";

export async function call(): Promise<void> {
  const seconds = Number(process.env.BENCH_SECONDS ?? 20), mini = new URL("../models/mini/", import.meta.url);
  if (noBrowser) return printNote(`Calls: skipped, ${noBrowser}.`);
  const rows: string[][] = [];
  const run = async (name: string, model: URL) => {
    for (const redundancy of [0, 1, 2]) {
      rows.push(row(`${name}, redundancy ${redundancy}`, await measure({ model, mini, seconds, redundancy })));
    }
  };
  await run("embedded", mini);
  if (process.env.BENCH_FULL) await withFullModelFiles((full) => run("full size", full));
  printTable(
    `A call in Chromium, loopback, 24 kHz, 8 codebooks, ${seconds} s each`,
    [
      "",
      "mouth to ear",
      "jitter buffer",
      "packets/s",
      "bytes a packet",
      "kbps",
      "with DTLS and SCTP",
      "kbps there",
      "concealed",
      "underruns",
    ],
    rows,
  );
  printNote(
    "Mouth to ear: from a sample that goes into the encoder node to the sound that it becomes at the receiver's node, by the " +
      "likeness of their envelopes; the devices' own comes on top. The transport's bytes have no IP and UDP headers, 28 bytes a datagram.",
  );
}

async function measure(
  { model, mini, seconds, redundancy }: { model: URL; mini: URL; seconds: number; redundancy: number },
): Promise<CallFigures> {
  let figures: CallFigures | undefined;
  await withBrowser(async ({ serve, open }) => {
    const text = 'import * as page from "./call-page.ts"; Object.assign(globalThis, { page });';
    const { url } = await serve({
      "/page.js": await bundle({ text, folder: "bench" }),
      "/worker.js": await bundleWorker(),
      "/worklet.js": await bundleWorklet(),
      "/recorder.js": new URL("../tests/pages/recorder.js", import.meta.url),
      "/model/": model,
      "/mini/": mini,
    }, { isolated: true });
    const { call } = await open<typeof import("./call-page.ts")>(url);
    const speech = `${url}/mini/it-cannot-complete.wav`;
    figures = await call("call", { source: `${url}/model/`, speech, seconds, redundancy });
  }, { args: LOOPBACK });
  return figures!;
}

function row(name: string, figures: CallFigures): string[] {
  const { latency, windows, delay, packets, bytes, wire, concealed, underruns } = figures;
  const kbps = (size: number) => (8 * size * packets / 1000).toFixed(2);
  return [
    name,
    windows > 0 ? `${ms(latency)} ms (${windows} windows)` : "not found",
    `${ms(delay)} ms`,
    packets.toFixed(1),
    bytes.toFixed(1),
    kbps(bytes),
    wire.toFixed(0),
    kbps(wire),
    String(concealed),
    String(underruns),
  ];
}
