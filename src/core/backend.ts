/**
 * What a backend is to the rest of the library: something that compiles a {@link Network} into a program, and steps
 * streams through it.
 *
 * @module
 */
import type { Network, TensorSpec } from "./network.ts";

/** Weights by their name in the reference layout, already checked against the network. */
export interface TensorSource {
  /** The values of a tensor, widened to f32. They are the backend's own, to change or to hand to another thread. */
  read(spec: TensorSpec): Promise<Float32Array>;
}

/**
 * How weights are kept. `f32` is the reference: same codes and audio as transformers. `int12` and `int8` are integers of 12
 * and 8 bits, those of sensitive layers wider: less memory, more speed, and slightly other codes and audio, which are still
 * the same on every device.
 */
export type Precision = "f32" | "int12" | "int8";

/** All of them, from the widest to the narrowest. */
export const PRECISIONS: readonly Precision[] = ["f32", "int12", "int8"];

/**
 * Whether the bits are the same everywhere, `"exact"`, or may be those of a device and its engine, `"device"`, where that is
 * faster. On a device they are always the same, however a stream is cut.
 */
export type Determinism = "exact" | "device";

/** What a backend is asked for. */
export interface CompileOptions {
  /** How weights are to be kept. */
  precision: Precision;
  /** Default `"exact"`. Backends whose bits are a device's own anyway take no notice. */
  determinism?: Determinism;
}

/** An execution provider. */
export interface Backend {
  /** How it is known in messages and to `registerBackend`. */
  readonly name: string;
  /** Whether a program's `step`, `save` and `load` finish before they return. */
  readonly sync: boolean;
  /** Whether this runtime can run it: `true`, or a sentence that says why not. */
  available(): Promise<true | string>;
  /** What it computes on, by its model and version. Without it, the name stands for all devices. */
  device?(): Promise<string>;
  /** Whether programs may end with a `DeviceLostError`. */
  readonly losesDevice?: boolean;
  /**
   * Makes a program of a network, and reads its weights, each once. @throws {NotSupportedError} for a layer or
   * precision that it does not have.
   */
  compile(network: Network, tensors: TensorSource, options: CompileOptions): Promise<Program>;
}

/**
 * What goes in and out of a step, one entry a row. Encoding reads `audio` and writes `codes`; decoding reads `codes` and
 * writes `audio`. Networks without quantizers have `latents` in place of codes (`latentChannels` in network.ts).
 */
export interface Ports {
  /**
   * Samples of each row. A step of one row that encodes accepts a last frame that is not full; the layers then pad it
   * (`padRight` in network.ts), and the row's state must be reset before its next step.
   */
  audio: Float32Array[];
  /** Codes of each row, [codebooks, frames]; none where frames are latents. */
  codes: Uint16Array[];
  /** Codebooks that are coded, from the first; 0 where frames are latents. */
  codebooks: number;
  /** Latents of each row, [frames, channels]; there exactly where frames are latents. */
  latents?: Float32Array[];
}

/** A stream's memory. Belongs to the program that created it. */
export interface State {
  /** Whole frames that have gone through. */
  readonly frames: number;
}

/** A stream's memory as plain data: `tensors` in the order and layout of `networkState`. */
export interface StateData {
  /** Whole frames that have gone through. */
  frames: number;
  /** One for each spec of `networkState`. */
  tensors: Float32Array[];
}

/** Bytes that a program holds. */
export interface ProgramMemory {
  /** Of packed weights. */
  weights: number;
  /** Of one stream. */
  state: number;
  /** Everything allocated, free space inside included. */
  total: number;
}

/** A compiled network with its weights. */
export interface Program {
  /** What it holds now. */
  readonly memory: ProgramMemory;
  /** Whether `freeState` may be called while a step of the state runs, which then fails; otherwise it never is. */
  readonly cancels?: boolean;
  /** A stream at its beginning. */
  createState(): State;
  /** Gives a stream's memory back; it is not used again. */
  freeState(state: State): void;
  /** Back to the beginning of a stream. */
  reset(state: State): void | Promise<void>;
  /** `frames` frames of every row; returns nothing exactly when the backend is synchronous. */
  step(rows: State[], ports: Ports, frames: number): void | Promise<void>;
  /** Takes a stream's memory out, without a change to it. */
  save(state: State): StateData | Promise<StateData>;
  /** Puts a memory that was saved, here or elsewhere, in the place of a stream's own. */
  load(state: State, data: StateData): void | Promise<void>;
  /** The stream as it was last saved by itself, where the program does that because its device may be lost. */
  lastSaved?(state: State): StateData | undefined;
  /** The last call. Steps that still run may fail; what they fail with is not shown to anyone. */
  close(): void;
}
