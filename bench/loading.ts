/** What loading half of the full-size model takes: bytes from a server, and peak memory beside the packed weights. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { HubServer } from "../tests/support/hub-server.ts";
import { withFullModelFiles } from "./full-model.ts";
import type { Loaded } from "./load-child.ts";
import { median } from "./stats.ts";
import { MiB, printNote, printTable } from "./table.ts";

const CHILD = fileURLToPath(new URL("./load-child.ts", import.meta.url)), ROUNDS = 3;

export async function loading(): Promise<void> {
  if (!existsSync("/proc/self/clear_refs")) {
    return printNote("loading: skipped, there is no /proc to read peak memory from.");
  }
  await withFullModelFiles(async (folder) => {
    const path = fileURLToPath(folder),
      hub = await HubServer.start(),
      cache = await mkdtemp(join(tmpdir(), "mimi-bench-"));
    try {
      const [config, weights] = await Promise.all(
        ["config.json", "model.safetensors"].map((f) => readFile(join(path, f))),
      );
      const { weights: at } = hub.repository("full/model", { "config.json": config, "model.safetensors": weights });
      const rows: string[][] = [];
      for (const part of ["encoder", "decoder"]) {
        const ways: Record<string, Loaded[]> = { "from a server": [], "from the cache": [], "from a folder": [] };
        for (let round = 0; round < ROUNDS; round++) {
          await rm(cache, { recursive: true, force: true });
          hub.sent.clear();
          ways["from a server"].push(await load("full/model", part, cache, hub.url));
          ways["from the cache"].push(await load("full/model", part, cache, hub.url));
          ways["from a folder"].push(await load(path, part, cache));
        }
        const sent = hub.sent.get(at)!;
        for (const [way, all] of Object.entries(ways)) {
          const peak = median(all.map(({ peak }) => peak)), { weights: packed } = all[0];
          const share = way === "from a server" ? `${(100 * sent / weights.length).toFixed(1)} %` : "0 %";
          rows.push([`${part}, ${way}`, share, MiB(packed), MiB(peak), (peak / packed).toFixed(2)]);
        }
      }
      printTable(
        "Loading half of the full-size model, f32, 8 codebooks",
        ["", "of the file sent", "packed weights, MiB", "peak, MiB", "peak / packed"],
        rows,
      );
    } finally {
      hub.close();
      await rm(cache, { recursive: true, force: true });
    }
  });
}

async function load(...args: string[]): Promise<Loaded> {
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", "--import", "tsx", CHILD, ...args]);
  return JSON.parse(stdout);
}
