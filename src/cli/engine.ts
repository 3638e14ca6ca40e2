/**
 * One thread's worth of converting: a model, loaded once, and files one after the other. Runs in the main thread and in
 * workers.
 *
 * @module
 */
import process from "node:process";
import { isMimiError } from "../core/errors.ts";
import type { MimiModel as CoreModel } from "../core/model.ts";
import { MimiModel } from "../load.ts";
import { registerBackends } from "./backends.ts";
import { decodeFile } from "./decode.ts";
import { encodeFile } from "./encode.ts";
import { nameOf } from "./files.ts";
import type { Failure, Job, Outcome, Progress, Settings, Task } from "./job.ts";

/** The model could not be loaded, so no file can be converted. */
export class ModelFailure extends Error {
  override readonly name: string = "ModelFailure";
}

export class Engine {
  readonly #settings: Settings;
  readonly #onDownload: (fraction: number) => void;
  readonly #signal: AbortSignal | undefined;
  #model: Promise<CoreModel> | undefined;

  /** @param onDownload told how much of the model has come, from 0 to 1. */
  constructor(
    settings: Settings,
    { onDownload, signal }: { onDownload(fraction: number): void; signal?: AbortSignal },
  ) {
    this.#settings = settings;
    this.#onDownload = onDownload;
    this.#signal = signal;
  }

  /** Loads the half of the model that is needed, the first time. @throws {ModelFailure} */
  readonly load = (): Promise<CoreModel> => this.#model ??= this.#load();

  /** Converts a file. */
  async run(task: Task, job: Job): Promise<Outcome> {
    const convert = this.#settings.command === "encode" ? encodeFile : decodeFile;
    return await convert(task, this.#settings, this.load, job);
  }

  async close(): Promise<void> {
    await this.#model?.then((model) => model.close(), () => {});
  }

  async #load(): Promise<CoreModel> {
    const { command, model, backend, precision, codebooks } = this.#settings;
    registerBackends();
    try {
      return await MimiModel.fromPretrained(model, {
        ...(command === "encode" ? { part: "encoder", numQuantizers: codebooks } : { part: "decoder" }),
        ...{ backend, precision },
        onWarning: (message) => void process.stderr.write(`${message}\n`), // the console is kept quiet
        signal: this.#signal,
        onProgress: ({ loaded, total }) => this.#onDownload(total ? loaded / total : 0),
      });
    } catch (cause) {
      throw new ModelFailure((cause as Error).message, { cause });
    }
  }
}

/** Converts a file; what fails about it is told, not thrown. @throws {ModelFailure} */
export async function attempt(
  engine: Engine,
  task: Task,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<Outcome | Failure | undefined> {
  try {
    return await engine.run(task, { onProgress, signal });
  } catch (error) {
    if (signal.aborted) return undefined;
    if (error instanceof ModelFailure) throw error;
    return failureOf(task, error);
  }
}

function failureOf({ input, output }: Task, error: unknown): Failure {
  const text = error instanceof Error ? error.message : String(error), names = [nameOf(input), output];
  const message = names.some((name) => text.includes(name)) ? text : `${nameOf(input)}: ${text}`;
  return { input, output, error: { ...(isMimiError(error) && { code: error.code }), message } };
}
