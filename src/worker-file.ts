/**
 * Where the worker's program is: beside this file, or beside the bundle that this file became a part of.
 *
 * @module
 */
export function workerFile(): URL {
  const here = import.meta.url;
  if (!here.endsWith(".ts")) return new URL("./worker.js", import.meta.url); // written so that bundlers take it along
  // Sources run unbuilt.
  return new URL(threadsReadTypeScript() ? "./worker.ts" : "./worker-tsx.mjs", here);
}

/** Whether a thread of this runtime can run sources as they are. */
export function threadsReadTypeScript(): boolean {
  const { deno, bun } = process.versions, { typescript } = process.features as { typescript?: unknown };
  return Boolean(deno || bun || typescript);
}
