/**
 * A worker thread that converts the files it is sent, one after the other. See run.ts for the other end.
 *
 * @module
 */
import { parentPort, workerData } from "node:worker_threads";
import { attempt, Engine, ModelFailure } from "./engine.ts";
import type { Settings } from "./job.ts";
import { quietLibraries } from "./quiet.ts";
import type { FromWorker, ToWorker } from "./run.ts";

const stopped = new AbortController(), say = (message: FromWorker) => parentPort!.postMessage(message);
const engine = new Engine(workerData as Settings, {
  onDownload: (download) => say({ download }),
  signal: stopped.signal,
});
quietLibraries();

async function tell(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof ModelFailure)) throw error;
    say({ modelFailure: error.message });
  }
}

parentPort!.on("message", (message: ToWorker) => {
  if ("stop" in message) stopped.abort();
  else {
    void tell(async () =>
      say({ end: await attempt(engine, message.task, (progress) => say({ progress }), stopped.signal) })
    );
  }
});
await tell(async () => {
  await engine.load();
  say({ loaded: true });
});
