/**
 * Starts a worker: a Web Worker in browsers, a thread of node:worker_threads in Node, Deno and Bun.
 *
 * @module
 */
import { checkOptions, describe, EngineError, MimiTypeError, reasonOf } from "../core/errors.ts";
import { getBytes } from "../hub/http.ts";
import * as runtime from "../hub/runtime.ts";
import { workerFile } from "../worker-file.ts";
import type { FromWorker, ToWorker } from "./protocol.ts";

/** Where a model's worker comes from. */
export interface WorkerOptions {
  /** Where `worker.js` is, if it is not where the package has it. */
  url?: string | URL;
  /**
   * Starts the worker from a Blob with the file's bytes. Needed where the file comes from another origin, which is found
   * out; the page's content security policy must allow `worker-src blob:`.
   */
  blob?: boolean;
}

/** Bytes of a worker's file at most. */
const MOST_SCRIPT = 2 ** 26;

/** A worker that has started. */
export interface EngineWorker {
  post(message: ToWorker, transfer?: Transferable[]): void;
  /** Whether something is asked of it: a thread that waits for nothing does not keep a program from ending. */
  busy(busy: boolean): void;
  terminate(): void;
}

/** Who hears of a worker that has started. */
export interface WorkerOwner {
  onMessage(message: FromWorker): void;
  /** Called once, when the worker ended without having been told to. */
  onFailure(error: EngineError): void;
}

/** @throws {MimiTypeError} for an option that is not usable. */
export function checkWorkerOption(where: string, option: unknown): WorkerOptions | undefined {
  if (option === undefined || option === false) return undefined;
  if (option === true) return {};
  if (typeof option !== "object" || option === null) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: worker must be true, false or { url, blob }, got ${describe(option)}.`,
    );
  }
  checkOptions(`${where}: worker`, option, ["url", "blob"]);
  const { url, blob } = option as WorkerOptions;
  if (url !== undefined) checkAddress(`${where}: worker.url`, url);
  checkBlob(`${where}: worker.blob`, blob);
  return option;
}

/**
 * The address that an option gives; of a page, it may be relative.
 *
 * @throws {MimiTypeError} for what is no address.
 */
export function checkAddress(where: string, address: unknown): URL {
  const base = runtime.hasFiles() ? import.meta.url : globalThis.location?.href;
  try {
    if (typeof address === "string" || address instanceof URL) return new URL(address, base);
  } catch {
    // neither is what cannot be parsed
  }
  throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where} must be an address, got ${describe(address)}.`);
}

/** @throws {MimiTypeError} for what is neither true, false nor undefined. */
export function checkBlob(where: string, blob: unknown): void {
  if (blob === undefined || typeof blob === "boolean") return;
  throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where} must be true or false, got ${describe(blob)}.`);
}

/**
 * Starts a worker and waits until it listens, or the signal is aborted.
 *
 * @throws {EngineError} `ERR_WORKER` where it does not start; and the signal's reason.
 */
export function spawn(options: WorkerOptions, owner: WorkerOwner, signal?: AbortSignal): Promise<EngineWorker> {
  const url = checkAddress("worker.url", options.url ?? workerFile());
  return runtime.hasFiles() ? spawnThread(url, owner, signal) : spawnWebWorker(url, owner, signal, options.blob);
}

async function spawnThread(url: URL, owner: WorkerOwner, signal?: AbortSignal): Promise<EngineWorker> {
  const { Worker } = await runtime.workerThreads();
  return await started(url, owner, signal, (events) => {
    // Flags of the program, such as --input-type, are not meant for a thread.
    const thread = new Worker(url, { execArgv: [] });
    thread.on("message", events.message);
    thread.on("error", (error) => events.failure(reasonOf(error)));
    thread.on("exit", (code) => events.failure(`it exited with code ${code}`));
    return {
      post: (message, transfer) =>
        thread.postMessage(message, transfer as import("node:worker_threads").Transferable[]),
      busy: (busy) => void (busy ? thread.ref() : thread.unref()),
      terminate: () => void thread.terminate(),
    };
  });
}

async function spawnWebWorker(
  url: URL,
  owner: WorkerOwner,
  signal?: AbortSignal,
  blob: boolean = url.origin !== globalThis.location?.origin,
): Promise<EngineWorker> {
  const address = blob ? await blobURL(url, signal) : url.href;
  try {
    return await started(url, owner, signal, (events) => {
      const worker = new Worker(address, { type: "module", name: "mimi-audio" });
      worker.onmessage = ({ data }) => {
        // A lock that the worker holds is free when it is gone, however it went.
        if (data.lock) void navigator.locks.request(data.lock, () => events.failure("it was ended"));
        events.message(data);
      };
      worker.onmessageerror = () => events.failure("a message could not be read");
      // Without a message: the file is not there, or the page's content security policy forbids it.
      worker.onerror = (event) => {
        event.preventDefault();
        events.failure(event.message || "its file cannot be loaded");
      };
      return {
        post: (message, transfer = []) => worker.postMessage(message, transfer),
        busy: () => {},
        terminate: () => worker.terminate(),
      };
    });
  } finally {
    if (blob) URL.revokeObjectURL(address);
  }
}

async function blobURL(url: URL, signal?: AbortSignal): Promise<string> {
  const bytes = await getBytes(url, { signal, most: MOST_SCRIPT });
  return URL.createObjectURL(new Blob([bytes], { type: "text/javascript" }));
}

interface Events {
  message(message: FromWorker): void;
  failure(reason: string): void;
}

/**
 * Waits for a worker's first message; from then on its owner hears of it. Owners come as an argument and not as properties
 * that are set later: Rollup takes those for what they are at first, and leaves out calls of functions that do nothing.
 */
function started(
  url: URL,
  owner: WorkerOwner,
  signal: AbortSignal | undefined,
  start: (events: Events) => EngineWorker,
): Promise<EngineWorker> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    let over = false, listening = false, running: EngineWorker | undefined;
    const failed = (reason: string, cause?: unknown) => {
      if (over) return;
      over = true;
      signal?.removeEventListener("abort", abort);
      const what = listening ? "the worker ended" : "the worker did not start";
      const error = new EngineError("ERR_WORKER", `${what}: ${url.href}: ${reason}.`, { cause });
      if (listening) owner.onFailure(error);
      else reject(error);
      running?.terminate();
    };
    const terminate = () => {
      over = true;
      running?.terminate();
    };
    const abort = () => {
      terminate();
      reject(signal!.reason);
    };
    signal?.addEventListener("abort", abort);
    const events: Events = {
      message(message) {
        if (over) return;
        if (listening) return owner.onMessage(message);
        listening = true;
        signal?.removeEventListener("abort", abort);
        running!.busy(false);
        resolve({ ...running!, terminate });
      },
      failure: (reason) => failed(reason),
    };
    try {
      running = start(events);
    } catch (cause) {
      failed(reasonOf(cause), cause);
    }
  });
}
