/**
 * A process that loads half a model and prints what it took as JSON: `load-child.ts SOURCE PART CACHE [ENDPOINT]`. The peak of
 * resident memory counts from after a small model was loaded, so that code and kernels are there already.
 */
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { MimiModel } from "../mod.ts";

export interface Loaded {
  /** Bytes: the peak, and the packed weights of the half. */
  peak: number;
  weights: number;
}

const [source, part, cache, endpoint] = process.argv.slice(2) as [string, "encoder" | "decoder", string, string?];
const resident = (field: "VmRSS" | "VmHWM") =>
  1024 * Number(new RegExp(`${field}:\\s*(\\d+)`).exec(readFileSync("/proc/self/status", "utf8"))![1]);
(await MimiModel.fromPretrained("mini")).close();
(globalThis as { gc?: () => void }).gc?.();
const before = resident("VmRSS");
writeFileSync("/proc/self/clear_refs", "5"); // the peak begins anew
const model = await MimiModel.fromPretrained(source, { part, numQuantizers: 8, cache, endpoint });
const loaded: Loaded = { peak: resident("VmHWM") - before, weights: model.memory[part]!.weights };
process.stdout.write(JSON.stringify(loaded));
