/**
 * Every error this library throws on purpose carries a stable `code` and says which argument was wrong, what was
 * expected and what came. The class tells the kind of mistake, the code the exact one.
 *
 * `InvalidStateError` and `NotSupportedError` have the names that the Web Audio API uses for the same situations.
 *
 * @module
 */

import type { StreamSnapshot } from "./handles.ts";

/** What went wrong, for programs. Stable across releases; messages are not. */
export type MimiErrorCode =
  | "ERR_INVALID_ARGUMENT"
  | "ERR_OUT_OF_RANGE"
  | "ERR_EMPTY_INPUT"
  | "ERR_NOT_FINITE"
  | "ERR_SAMPLING_RATE"
  | "ERR_PADDING"
  | "ERR_CODE_OUT_OF_RANGE"
  | "ERR_NUM_QUANTIZERS"
  | "ERR_INVALID_STATE"
  | "ERR_WRONG_MODEL"
  | "ERR_NOT_SUPPORTED"
  | "ERR_CONFIG"
  | "ERR_SAFETENSORS"
  | "ERR_CHECKPOINT"
  | "ERR_WAV"
  | "ERR_AUDIO"
  | "ERR_CONTAINER"
  | "ERR_NPY"
  | "ERR_JSON_LINES"
  | "ERR_PACKET"
  | "ERR_NOT_FOUND"
  | "ERR_NETWORK"
  | "ERR_CHANGED"
  | "ERR_INTEGRITY"
  | "ERR_BUNDLE"
  | "ERR_READ"
  | "ERR_WRITE"
  | "ERR_WORKER"
  | "ERR_WORKLET"
  | "ERR_BACKEND"
  | "ERR_DEVICE_LOST";

/** An error of this library, whatever its class: `isMimiError(e) && e.code === "ERR_CHECKPOINT"`. */
export interface MimiError extends Error {
  /** What went wrong, for programs. */
  readonly code: MimiErrorCode;
}

/** An argument has the wrong type or shape. */
export class MimiTypeError extends TypeError implements MimiError {
  /** The name of the class. */
  override readonly name: string = "MimiTypeError";
  /** What went wrong, for programs. */
  readonly code: MimiErrorCode;
  constructor(code: MimiErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** An argument has the right type and a value outside what is allowed. */
export class MimiRangeError extends RangeError implements MimiError {
  /** The name of the class. */
  override readonly name: string = "MimiRangeError";
  /** What went wrong, for programs. */
  readonly code: MimiErrorCode;
  constructor(code: MimiErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What errors that are neither type nor range errors have in common. */
abstract class CodedError extends Error implements MimiError {
  /** What went wrong, for programs. */
  readonly code: MimiErrorCode;
  constructor(code: MimiErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The object is not in a state in which this can be asked: it is closed, or that half of the model is not loaded. */
export class InvalidStateError extends CodedError {
  /** The name of the class. */
  override readonly name: string = "InvalidStateError";
}

/** Asked for something that this backend, runtime or version does not do. */
export class NotSupportedError extends Error implements MimiError {
  /** The name of the class. */
  override readonly name: string = "NotSupportedError";
  /** What went wrong, for programs. */
  readonly code: MimiErrorCode = "ERR_NOT_SUPPORTED";
}

/** Bytes that are not what their format promises: a config, weights, a WAV file, a file of codes. */
export class FormatError extends CodedError {
  /** The name of the class. */
  override readonly name: string = "FormatError";
}

/** A file or an address could not be read or written. `cause` holds the runtime's own error where there is one. */
export class LoadError extends CodedError {
  /** The name of the class. */
  override readonly name: string = "LoadError";
}

/**
 * What runs a model failed: a worker or an audio worklet did not start, or ended; a backend's runtime refused its work.
 * `cause` holds the runtime's own error where there is one.
 */
export class EngineError extends CodedError {
  /** The name of the class. */
  override readonly name: string = "EngineError";
}

/** The device that a model runs on is gone, and with it what its streams remembered; the model has to be loaded again. */
export class DeviceLostError extends EngineError {
  /** The name of the class. */
  override readonly name: string = "DeviceLostError";
  /**
   * The stream as it was last saved, for `restore` on another model: `snapshot.position` says from which frame on it has to
   * be fed again. Not there where no stream was asked.
   */
  readonly snapshot?: StreamSnapshot;
  constructor(message: string, options: ErrorOptions & { snapshot?: StreamSnapshot } = {}) {
    super("ERR_DEVICE_LOST", message, options);
    this.snapshot = options.snapshot;
  }
}

/** Whether a caught value is an error of this library. */
export function isMimiError(value: unknown): value is MimiError {
  return [MimiTypeError, MimiRangeError, InvalidStateError, NotSupportedError, FormatError, LoadError, EngineError]
    .some((kind) => value instanceof kind);
}

/** A short picture of a value for error messages: `"abc"`, `Float32Array(12)`, `null`, `an object`. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? value.slice(0, 57) + "..." : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (typeof value !== "object") return String(value);
  const name = value.constructor?.name ?? "object";
  if (ArrayBuffer.isView(value) || Array.isArray(value)) {
    return `${name}(${(value as { length?: number }).length ?? "?"})`;
  }
  return name === "Object" ? `an object {${Object.keys(value).slice(0, 6).join(", ")}}` : `a ${name}`;
}

/** Refuses option names that nobody reads, so that a misspelt option is not silently ignored. */
export function checkOptions(where: string, options: unknown, known: readonly string[]): void {
  if (options === undefined) return;
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: options must be an object, got ${describe(options)}.`);
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: unknown option ${JSON.stringify(key)}. Known options: ${known.join(", ") || "none"}.`,
      );
    }
  }
}

/** A runtime's message, `ENOENT: no such file or directory`, without the call and path that ours name already, and no period. */
export function reasonOf(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  return message.replace(/, \w+ '.*$/, "").replace(/\.$/, "");
}
