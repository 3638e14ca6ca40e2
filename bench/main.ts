/** `npm run bench [names...]`: prints figures as Markdown. Nothing here passes or fails. */
import { cpus } from "node:os";
import { backends } from "./backends.ts";
import { call } from "./call.ts";
import { chromium } from "./chromium.ts";
import { codebooks } from "./codebooks.ts";
import { duplex } from "./duplex.ts";
import { frames } from "./frames.ts";
import { jobs } from "./jobs.ts";
import { limits } from "./limits.ts";
import { loading } from "./loading.ts";
import { loss } from "./loss.ts";
import { memory } from "./memory.ts";
import { nodes } from "./nodes.ts";
import { packets } from "./packets.ts";
import { playground } from "./playground.ts";
import { pool } from "./pool.ts";
import { precisions } from "./precisions.ts";
import { resampling } from "./resample.ts";
import { streaming } from "./streaming.ts";

const BENCHMARKS: Record<string, () => Promise<void>> = {
  frames,
  precisions,
  codebooks,
  limits,
  duplex,
  backends,
  streaming,
  resample: resampling,
  jobs,
  pool,
  nodes,
  chromium,
  playground,
  loading,
  call,
  loss,
  packets,
  memory,
};

const asked = process.argv.slice(2), unknown = asked.filter((name) => !Object.hasOwn(BENCHMARKS, name));
if (unknown.length > 0) {
  console.error(`No benchmark ${unknown.join(", ")}; there are ${Object.keys(BENCHMARKS).join(", ")}.`);
  process.exit(2);
}
const cores = cpus(), model = cores[0]?.model ?? "unknown processor";
console.log(`${model}, ${cores.length} cores, ${process.platform} ${process.arch}, Node ${process.version}`);
for (const [name, run] of Object.entries(BENCHMARKS)) {
  if (asked.length === 0 || asked.includes(name)) await run();
}
