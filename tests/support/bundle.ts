/** Scripts for test pages, bundled in memory; each once a run. */
import { bundle, bundleStandalone } from "../../scripts/bundle.ts";

const bundles = new Map<string, Promise<string>>();

function once(name: string, make: () => Promise<string>): Promise<string> {
  if (!bundles.has(name)) bundles.set(name, make());
  return bundles.get(name)!;
}

/** A module of `tests/pages`, whose exports a test calls in the page: see `TestPage.call`. */
export function bundlePage(name: string): Promise<string> {
  const text = `import * as page from "./${name}.ts"; Object.assign(globalThis, { page });`;
  return once(`page ${name}`, () => bundle({ text, folder: "tests/pages" }));
}

/** A module of `tests/pages` as it is, such as a worker. */
export function bundleModule(name: string): Promise<string> {
  return once(name, () => bundle({ file: `tests/pages/${name}.ts` }));
}

/** What the build makes of the engine's worker. */
export function bundleWorker(): Promise<string> {
  return once("worker", () => bundleStandalone("src/worker.ts"));
}

/** What the build makes of the worklet. */
export function bundleWorklet(): Promise<string> {
  return once("worklet", () => bundleStandalone("src/nodes/worklet.ts"));
}

/** What the build makes of the worklet of offline contexts. */
export function bundleOfflineWorklet(): Promise<string> {
  return once("offline worklet", () => bundleStandalone("src/nodes/worklet-offline.ts"));
}
