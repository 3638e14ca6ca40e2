/**
 * What a model's owner and the worker that runs it say to each other.
 *
 * Requests have a number and are answered by it, with a result or an error. All of it is plain data.
 *
 * @module
 */
import type { Precision, ProgramMemory, StateData } from "../core/backend.ts";
import * as errors from "../core/errors.ts";
import type { Progress } from "../hub/progress.ts";
import type { PartsOptions } from "../parts.ts";
import type { ResolvedSource } from "../resolve.ts";

export type Part = "encoder" | "decoder";

/** Options of `fromPretrained` that go to another thread. */
export type RemoteOptions =
  & Pick<
    PartsOptions,
    "part" | "numQuantizers" | "precision" | "determinism" | "file" | "revision" | "token" | "endpoint" | "cache"
  >
  & {
    backend?: "wasm" | "auto";
    /** As `config.json` has it. */
    config?: Record<string, unknown>;
  };

/** What was loaded. */
export interface LoadedModel {
  config: Record<string, unknown>;
  fingerprint: string;
  numQuantizers: number;
  backend: string;
  precision: Precision;
  encoder?: ProgramMemory;
  decoder?: ProgramMemory;
}

/** What can be asked of a worker. States have numbers that the owner gives them. */
export interface Methods {
  load(source: ResolvedSource, options: RemoteOptions): LoadedModel;
  createState(part: Part, state: number): ProgramMemory;
  freeState(part: Part, state: number): void;
  reset(part: Part, state: number): void;
  save(part: Part, state: number): StateData;
  restore(part: Part, state: number, data: StateData): void;
  encode(states: number[], audio: Float32Array[], codebooks: number, frames: number): Uint16Array[];
  /** Begins to work for an audio node; `setup` and `link` are those of src/nodes/messages.ts. */
  openNode(setup: object, control: MessagePort, link: { port: MessagePort }): void;
  decode(states: number[], codes: Uint16Array[], codebooks: number, frames: number): Float32Array[];
}

export type Method = keyof Methods;

export type ToWorker =
  | { [M in Method]: { id: number; method: M; args: Parameters<Methods[M]> } }[Method]
  /** No one waits for the answer to this request any more. */
  | { abort: number };

export type FromWorker =
  /** First of all, when the worker listens; `lock` is the name of a Web Lock that it holds as long as it lives. */
  | { lock?: string }
  | { id: number; result: unknown }
  | { id: number; error: ErrorData }
  | { id: number; progress: Progress };

/** An error as plain data; structured cloning alone would lose its class and code. */
export interface ErrorData {
  name: string;
  message: string;
  code?: errors.MimiErrorCode;
  stack?: string;
  cause?: ErrorData;
}

export function errorToData(error: unknown): ErrorData {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  const { name, message, stack, cause } = error, { code } = error as Partial<errors.MimiError>;
  return {
    name,
    message,
    stack,
    ...(errors.isMimiError(error) && { code }),
    ...(cause ? { cause: errorToData(cause) } : {}),
  };
}

const { MimiTypeError, MimiRangeError, InvalidStateError, FormatError, LoadError } = errors;
const KINDS: Record<string, typeof LoadError> = {
  MimiTypeError,
  MimiRangeError,
  InvalidStateError,
  FormatError,
  LoadError,
};

/** The error of the same class, with the same code, message and cause. */
export function errorFromData({ name, message, code, stack, cause }: ErrorData): Error {
  const options = cause ? { cause: errorFromData(cause) } : undefined;
  const error = code === undefined
    ? Object.assign(new Error(message, options), { name })
    : name === "NotSupportedError"
    ? new errors.NotSupportedError(message, options)
    : new (KINDS[name] ?? errors.EngineError)(code, message, options);
  if (stack) error.stack = stack;
  return error;
}
