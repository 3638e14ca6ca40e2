// The library's worker, which dies of a decode of 13 frames.
import process from "node:process";
import { parentPort } from "node:worker_threads";

parentPort.on("message", ({ method, args }) => {
  if (method === "decode" && args[3] === 13) throw new Error("thirteen is too many");
});
const { versions, features } = process;
await import(versions.deno || versions.bun || features.typescript ? "../../src/worker.ts" : "../../src/worker-tsx.mjs");
