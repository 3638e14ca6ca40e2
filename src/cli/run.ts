/**
 * Runs tasks, in this thread or several at a time in workers, each of which has a model of its own.
 *
 * @module
 */
import { Worker } from "node:worker_threads";
import { attempt, Engine, ModelFailure } from "./engine.ts";
import type { Failure, Outcome, Progress, Settings, Task } from "./job.ts";

/** What a run tells and hears. */
export interface RunHooks {
  /** How much of the model has come, from 0 to 1; 1 when it is loaded. */
  onDownload(fraction: number): void;
  onProgress(index: number, progress: Progress): void;
  /** A task is done, or failed; the others go on. Not called for what `signal` stopped. */
  onEnd(index: number, end: Outcome | Failure): void;
  signal: AbortSignal;
}

/** What the main thread says to a worker. */
export type ToWorker = { task: Task } | { stop: true };
/** What a worker says. */
export type FromWorker =
  | { download: number }
  | { loaded: true }
  | { modelFailure: string }
  | { progress: Progress }
  | { end: Outcome | Failure | undefined };

/**
 * Runs all tasks, `jobs` at a time.
 *
 * @throws {ModelFailure} where the model cannot be loaded.
 * @throws the signal's reason when it stopped, after everything unfinished is gone.
 */
export async function runTasks(
  tasks: readonly Task[],
  settings: Settings,
  jobs: number,
  hooks: RunHooks,
): Promise<void> {
  const { signal } = hooks, queue = tasks.entries();
  const work = async (lane: Lane) => {
    for (const [index, task] of queue) {
      if (signal.aborted) break;
      const end = await lane.run(task, (progress) => hooks.onProgress(index, progress));
      if (end) hooks.onEnd(index, end);
    }
  };
  const count = Math.min(jobs, tasks.length), lanes: Lane[] = [];
  const begin = async (kind: (settings: Settings, hooks: RunHooks) => Lane) => {
    const lane = kind(settings, hooks);
    lanes.push(lane);
    await lane.ready;
    return lane;
  };
  try {
    if (count === 1) await work(await begin(inThisThread));
    else {
      // The first loads the model alone, so that it is downloaded once.
      const first = await begin(inWorker);
      await Promise.all(
        Array.from({ length: count }, async (_, i) => await work(i === 0 ? first : await begin(inWorker))),
      );
    }
  } finally {
    await Promise.all(lanes.map((lane) => lane.close()));
  }
  signal.throwIfAborted();
}

/** What runs one task after the other. */
interface Lane {
  ready: Promise<void>;
  /** Undefined where the signal stopped it. */
  run(task: Task, onProgress: (progress: Progress) => void): Promise<Outcome | Failure | undefined>;
  close(): Promise<void>;
}

/** In this thread the model is loaded when the first file is found to be good. */
function inThisThread(settings: Settings, { onDownload, signal }: RunHooks): Lane {
  const engine = new Engine(settings, { onDownload, signal });
  return {
    ready: Promise.resolve(),
    run: (task, onProgress) => attempt(engine, task, onProgress, signal),
    close: () => engine.close(),
  };
}

/** The worker's module. Sources run in Node by tsx, which a worker has to ask for itself. */
function workerModule(): URL {
  if (!import.meta.url.endsWith(".ts")) return new URL("./worker.js", import.meta.url);
  const source = new URL("./worker.ts", import.meta.url);
  if ("Deno" in globalThis || "Bun" in globalThis) return source;
  const code = `import { register } from "${
    import.meta.resolve("tsx/esm/api")
  }"; register(); await import("${source}");`;
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`);
}

function inWorker(settings: Settings, { onDownload, signal }: RunHooks): Lane {
  const worker = new Worker(workerModule(), { workerData: settings }),
    send = (message: ToWorker) => worker.postMessage(message);
  const stop = () => send({ stop: true });
  let onProgress: (progress: Progress) => void = () => {},
    onEnd: (end: Outcome | Failure | undefined) => void = () => {};
  let failed: (error: Error) => void = () => {}, busy: Promise<unknown> = Promise.resolve();
  const failure = new Promise<never>((_, reject) => failed = reject);
  failure.catch(() => {}); // whoever waits is told
  const ready = new Promise<void>((resolve) => {
    worker.on("message", (message: FromWorker) => {
      if ("download" in message) onDownload(message.download);
      else if ("loaded" in message) resolve();
      else if ("modelFailure" in message) failed(new ModelFailure(message.modelFailure));
      else if ("progress" in message) onProgress(message.progress);
      else onEnd(message.end);
    });
  });
  worker.on("error", failed);
  worker.on("exit", (code) => failed(new Error(`a worker ended with code ${code}`)));
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  return {
    ready: Promise.race([ready, failure]),
    async run(task, tell) {
      onProgress = tell;
      const end = Promise.race([new Promise<Outcome | Failure | undefined>((resolve) => onEnd = resolve), failure]);
      busy = end;
      send({ task });
      return await end;
    },
    async close() {
      signal.removeEventListener("abort", stop);
      stop(); // another lane may have failed while this one was writing
      await busy.catch(() => {});
      await worker.terminate();
    },
  };
}
