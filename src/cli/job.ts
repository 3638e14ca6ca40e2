/**
 * What it means to convert one file: the task, what is asked of all of them, and what comes out.
 *
 * @module
 */
import type { Precision } from "../core/backend.ts";
import type { FileWarning } from "../file/container.ts";
import type { CodeFormat } from "./codes.ts";

/** One file to be made of another; `-` is stdin or stdout. */
export interface Task {
  input: string;
  output: string;
  /** Of the codes that are written; decoding finds the format in the file. */
  format: CodeFormat;
}

/** What holds for every file of a run. Plain data: it goes to workers. */
export interface Settings {
  command: "encode" | "decode";
  model: string;
  backend: string;
  precision?: Precision;
  codebooks: number;
  /** Leave out outputs that are done. */
  resume: boolean;
}

/** How far a task is. */
export interface Progress {
  /** Bytes of the input that are read. */
  bytes: number;
  /** Seconds of audio that are converted. */
  seconds: number;
}

/** What a task tells and hears while it runs. */
export interface Job {
  onProgress?: (progress: Progress) => void;
  /** Stops it; then it throws the signal's reason and leaves no output behind. */
  signal?: AbortSignal;
}

/** What became of a file. */
export interface Outcome {
  input: string;
  output: string;
  /** Samples of the audio at the model's rate. */
  samples: number;
  seconds: number;
  frames: number;
  codebooks: number;
  /** Of the model. */
  fingerprint: string;
  /** Size of the output. */
  bytes: number;
  /** What was wrong with the input and did not keep the rest from being converted. */
  warnings: FileWarning[];
  /** Whether the output was there already. */
  resumed: boolean;
}

/** What became of a file that failed. */
export interface Failure {
  input: string;
  output: string;
  error: { code?: string; message: string };
}
