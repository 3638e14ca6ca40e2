/**
 * The program of a worker, for Web Workers and for node:worker_threads.
 *
 * @module
 */
import { Host, type OpenNode } from "./engine/host.ts";
import type { FromWorker, ToWorker } from "./engine/protocol.ts";
import * as runtime from "./hub/runtime.ts";
import type { VoiceSetup } from "./call/messages.ts";
import { openVoice } from "./call/task.ts";
import type { AudioLink, NodeSetup } from "./nodes/messages.ts";
import { openNode } from "./nodes/tasks.ts";

/** What works for a node, by the kind of its setup. */
const openAny = (({ shared, direct }, setup, control, link) => {
  if ((setup as { kind: string }).kind === "voice") openVoice(direct, setup as VoiceSetup, control, link as AudioLink);
  else openNode(shared, setup as NodeSetup, control, link as AudioLink);
}) satisfies OpenNode;

// No await here: minifiers of some bundlers read this file as a script.
void (runtime.hasFiles() ? inThread() : inWebWorker());

async function inThread(): Promise<void> {
  const { parentPort } = await runtime.workerThreads();
  const host = new Host(
    (message, transfer) => parentPort!.postMessage(message, transfer as import("node:worker_threads").Transferable[]),
    openAny,
  );
  parentPort!.on("message", (message: ToWorker) => void host.receive(message));
  parentPort!.postMessage({} satisfies FromWorker);
}

async function inWebWorker(): Promise<void> {
  const host = new Host(
    (message, transfer = []) => globalThis.postMessage(message, { transfer }),
    openAny,
  );
  globalThis.onmessage = ({ data }: MessageEvent<ToWorker>) => void host.receive(data);
  globalThis.postMessage({ lock: await holdLock() } satisfies FromWorker);
}

/**
 * A Web Lock that is held as long as this worker lives: whoever asks for it after that learns that the worker is gone,
 * which no event tells. There are locks in secure contexts only.
 */
function holdLock(): Promise<string | undefined> {
  if (!globalThis.navigator?.locks) return Promise.resolve(undefined);
  const name = `mimi-audio worker ${Math.random().toString(36).slice(2)}`;
  return new Promise((resolve) => {
    navigator.locks.request(name, () => {
      resolve(name);
      return new Promise(() => {});
    }).catch(() => resolve(undefined)); // pages without storage of their own, such as sandboxed frames, may have none
  });
}
