/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Streams: an encoder that takes audio in pieces of any length, a decoder that takes frames one or many at a time.
 * Whatever the cuts, codes and samples are those of the whole.
 *
 * @module
 */
import { checkFinite } from "./audio.ts";
import type { Program, State, StateData } from "./backend.ts";
import { type AudioCodes, type AudioCodesInput, checkCodebooks, checkNumQuantizers, toAudioCodes } from "./codes.ts";
import type { MimiConfig } from "./config.ts";
import { checkOptions, describe, InvalidStateError, MimiTypeError } from "./errors.ts";
import type { DecodeOutput } from "./model.ts";
import { type Network, networkState, sizeOf } from "./network.ts";

/**
 * What becomes of a last frame that is not full. `"transformers"` pads inside the layers, as `transformers` does;
 * `"zeros"` pads the audio, as Kyutai's own code does. Codes of the last frame differ.
 */
export type Tail = "transformers" | "zeros";

export interface MimiEncoderOptions {
  /** What becomes of a last frame that is not full; default `"transformers"`. */
  tail?: Tail;
  /** Codebooks to use unless a call says otherwise. */
  numQuantizers?: number;
}

export interface EncodeCallOptions {
  /** Codebooks of the frames of this call. */
  numQuantizers?: number;
}

/**
 * A stream's memory, for `restore` on another handle, in another thread or on another backend. Plain data: it survives
 * `structuredClone` and `postMessage`.
 */
export interface StreamSnapshot {
  kind: "encoder" | "decoder";
  /** Of the model that it belongs to. */
  fingerprint: string;
  /** Whole frames that went through. */
  position: number;
  /** Samples that wait for their frame to fill. */
  pending: Float32Array;
  state: StateData;
}

/** What a handle needs of its model. */
export interface Session {
  part: "encoder" | "decoder";
  network: Network;
  program: Program;
  config: MimiConfig;
  fingerprint: string;
  numQuantizers: number;
  checkOpen(where: string): void;
}

type Maybe<T> = T | Promise<T>;

/** Goes on at once with a value, or when a promise has one: synchronous backends stay synchronous. */
function andThen<T, U>(value: Maybe<T>, next: (value: T) => Maybe<U>): Maybe<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** What both directions share: a state, its snapshots, its end. */
abstract class StreamSession {
  protected readonly session: Session;
  protected state: State;
  #closed = false;

  constructor(session: Session) {
    this.session = session;
    this.state = session.program.createState();
  }

  protected checkOpen(method: string): string {
    const where = `${this.session.part}.${method}`;
    this.session.checkOpen(where);
    if (this.#closed) throw new InvalidStateError("ERR_INVALID_STATE", `${where}: the ${this.session.part} is closed.`);
    return where;
  }

  protected abstract pending: Float32Array;

  reset(): Maybe<void> {
    this.checkOpen("reset");
    return andThen(this.session.program.reset(this.state), () => void (this.pending = new Float32Array(0)));
  }

  snapshot(): Maybe<StreamSnapshot> {
    this.checkOpen("snapshot");
    const { part, fingerprint, program } = this.session, pending = this.pending.slice();
    return andThen(
      program.save(this.state),
      (state) => ({ kind: part, fingerprint, position: state.frames, pending, state }),
    );
  }

  restore(snapshot: StreamSnapshot): Maybe<void> {
    const where = this.checkOpen("restore");
    this.#check(where, snapshot);
    const pending = snapshot.pending.slice();
    return andThen(this.session.program.load(this.state, snapshot.state), () => void (this.pending = pending));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.session.checkOpen("close");
    } catch {
      return; // the model is gone and its memory with it
    }
    this.session.program.freeState(this.state);
  }

  #check(where: string, snapshot: StreamSnapshot): void {
    const { part, fingerprint, network, config } = this.session;
    if (snapshot?.kind !== part) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: expected a snapshot of an ${part}, got ${describe(snapshot?.kind ?? snapshot)}.`,
      );
    }
    if (snapshot.fingerprint !== fingerprint) {
      throw new InvalidStateError(
        "ERR_WRONG_MODEL",
        `${where}: the snapshot is of model ${describe(snapshot.fingerprint)}, this is ${fingerprint}.`,
      );
    }
    const expected = networkState(network), { state, pending, position } = snapshot, tensors = state?.tensors;
    const fits = Array.isArray(tensors) && tensors.length === expected.length &&
      expected.every((spec, i) => tensors[i] instanceof Float32Array && tensors[i].length === sizeOf(spec.shape)) &&
      Number.isSafeInteger(position) && position >= 0 && state.frames === position &&
      pending instanceof Float32Array && pending.length < config.frameSize;
    if (!fits) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: the snapshot does not have the tensors of this ${part}.`,
      );
    }
    for (const values of [pending, ...tensors]) checkFinite(`${where}: snapshot`, values);
  }
}

/** The encoder's logic, synchronous exactly when its backend is. */
export class EncoderSession extends StreamSession {
  protected pending: Float32Array = new Float32Array(0);
  readonly #codebooks: number;
  readonly #tail: Tail;

  constructor(where: string, session: Session, options: MimiEncoderOptions) {
    checkOptions(where, options, ["tail", "numQuantizers"]);
    const codebooks = checkNumQuantizers(where, options.numQuantizers, session.config, session.numQuantizers),
      tail = checkTail(where, options.tail);
    super(session);
    this.#codebooks = codebooks;
    this.#tail = tail;
  }

  encode(pcm: Float32Array, options: EncodeCallOptions = {}): Maybe<AudioCodes> {
    const where = this.checkOpen("encode"), { frameSize } = this.session.config;
    const codebooks = this.#codebooksOf(where, options);
    if (!(pcm instanceof Float32Array)) {
      throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: pcm must be a Float32Array, got ${describe(pcm)}.`);
    }
    checkFinite(where, pcm);
    const audio = new Float32Array(this.pending.length + pcm.length);
    audio.set(this.pending);
    audio.set(pcm, this.pending.length);
    const frames = Math.floor(audio.length / frameSize);
    const codes = this.#step(audio.subarray(0, frames * frameSize), frames, codebooks);
    this.pending = audio.slice(frames * frameSize);
    return codes;
  }

  finish(options: EncodeCallOptions = {}): Maybe<AudioCodes> {
    const where = this.checkOpen("finish"), { frameSize } = this.session.config;
    const codebooks = this.#codebooksOf(where, options), rest = this.pending;
    let audio = rest;
    if (rest.length && this.#tail === "zeros") {
      audio = new Float32Array(frameSize);
      audio.set(rest);
    }
    return andThen(this.#step(audio, rest.length ? 1 : 0, codebooks), (codes) => andThen(this.reset(), () => codes));
  }

  #codebooksOf(where: string, options: EncodeCallOptions): number {
    checkOptions(where, options, ["numQuantizers"]);
    return options.numQuantizers === undefined
      ? this.#codebooks
      : checkNumQuantizers(where, options.numQuantizers, this.session.config, this.session.numQuantizers);
  }

  #step(audio: Float32Array, frames: number, codebooks: number): Maybe<AudioCodes> {
    const codes: AudioCodes = { data: new Uint16Array(codebooks * frames), shape: [1, codebooks, frames] };
    if (frames === 0) return codes;
    return andThen(
      this.session.program.step([this.state], { audio: [audio], codes: [codes.data], codebooks }, frames),
      () => codes,
    );
  }
}

/** The decoder's logic, synchronous exactly when its backend is. */
export class DecoderSession extends StreamSession {
  protected pending: Float32Array = new Float32Array(0); // always empty: codes come in whole frames

  /** Checked codes of one row; separate from the step so that a caller's array is read when the call is made. */
  check(audioCodes: AudioCodesInput): AudioCodes {
    const where = this.checkOpen("decode"), { config, numQuantizers } = this.session;
    const codes = toAudioCodes(where, audioCodes, config.codebookSize), [batch, codebooks] = codes.shape;
    if (batch !== 1) {
      throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: a stream takes one row, got a batch of ${batch}.`);
    }
    checkCodebooks(where, codebooks, numQuantizers, config);
    return codes;
  }

  decode({ data, shape: [, codebooks, frames] }: AudioCodes): Maybe<DecodeOutput> {
    this.checkOpen("decode");
    const audio = new Float32Array(frames * this.session.config.frameSize);
    const output: DecodeOutput = { audioValues: { data: audio, shape: [1, 1, audio.length] } };
    if (frames === 0) return output;
    return andThen(
      this.session.program.step([this.state], { audio: [audio], codes: [data], codebooks }, frames),
      () => output,
    );
  }

  finish(): Maybe<DecodeOutput> {
    this.checkOpen("finish");
    return andThen(this.reset(), () => ({ audioValues: { data: new Float32Array(0), shape: [1, 1, 0] } }));
  }
}

/** Runs calls one after the other, in the order in which they were made. */
class Queue {
  #last: Promise<unknown> = Promise.resolve();
  run<T>(task: () => Maybe<T>): Promise<T> {
    const result = this.#last.then(task);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** What encoder and decoder handles share. Calls run in the order in which they were made, also when not awaited. */
abstract class Handle<S extends StreamSession> {
  protected readonly session: S;
  readonly #queue = new Queue();

  constructor(session: S) {
    this.session = session;
  }

  protected run<T>(task: () => Maybe<T>): Promise<T> {
    return this.#queue.run(task);
  }

  /** Forgets everything that went through: a new stream begins. */
  reset(): Promise<void> {
    return this.run(() => this.session.reset());
  }

  /** The stream's memory as plain data. */
  snapshot(): Promise<StreamSnapshot> {
    return this.run(() => this.session.snapshot());
  }

  /**
   * Goes on where a snapshot was taken.
   *
   * @throws {InvalidStateError} `ERR_WRONG_MODEL` for a snapshot of another model.
   * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what is no snapshot of such a handle.
   */
  restore(snapshot: StreamSnapshot): Promise<void> {
    return this.run(() => this.session.restore(snapshot));
  }

  /** Gives the stream's memory back. Calls that still wait fail. */
  close(): void {
    this.session.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** {@link Handle} without promises, for synchronous backends. */
abstract class SyncHandle<S extends StreamSession> {
  protected readonly session: S;

  constructor(session: S) {
    this.session = session;
  }

  /** Forgets everything that went through: a new stream begins. */
  reset(): void {
    void this.session.reset();
  }

  /** The stream's memory as plain data. */
  snapshot(): StreamSnapshot {
    return this.session.snapshot() as StreamSnapshot;
  }

  /** Goes on where a snapshot was taken; throws as {@link MimiEncoder.restore} does. */
  restore(snapshot: StreamSnapshot): void {
    void this.session.restore(snapshot);
  }

  /** Gives the stream's memory back. */
  close(): void {
    this.session.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Audio to codes, piece by piece. Made by {@link MimiModel.createEncoder}. */
export class MimiEncoder extends Handle<EncoderSession> {
  /**
   * Codes [1, codebooks, n] of the frames that became whole with these samples; n may be 0.
   *
   * @param pcm mono samples at the model's rate, any number of them. The array stays the caller's.
   * @throws {MimiTypeError | MimiRangeError} for what are no finite samples; the stream stays as it was.
   * @throws {InvalidStateError} on a closed handle or model.
   */
  async encode(pcm: Float32Array, options?: EncodeCallOptions): Promise<AudioCodes> {
    const own = pcm instanceof Float32Array ? pcm.slice() : pcm;
    return await this.run(() => this.session.encode(own, options));
  }

  /** Codes [1, codebooks, 0 or 1] of the last frame if it was not full; then a new stream begins. */
  finish(options?: EncodeCallOptions): Promise<AudioCodes> {
    return this.run(() => this.session.finish(options));
  }
}

/** Codes to audio, frame by frame. Made by {@link MimiModel.createDecoder}. */
export class MimiDecoder extends Handle<DecoderSession> {
  /**
   * Audio [1, 1, frames * frameSize] of codes [1, codebooks, frames].
   *
   * @throws {MimiTypeError | MimiRangeError} for codes that no loaded codebook has; the stream stays as it was.
   * @throws {InvalidStateError} on a closed handle or model.
   */
  async decode(audioCodes: AudioCodesInput): Promise<DecodeOutput> {
    const own = this.session.check(audioCodes);
    return await this.run(() => this.session.decode(own));
  }

  /** Nothing is held back, so the audio is empty; a new stream begins. */
  finish(): Promise<DecodeOutput> {
    return this.run(() => this.session.finish());
  }
}

/** {@link MimiEncoder} without promises, for worklets. Made by {@link MimiModel.createEncoderSync}. */
export class MimiEncoderSync extends SyncHandle<EncoderSession> {
  /** See {@link MimiEncoder.encode}. */
  encode(pcm: Float32Array, options?: EncodeCallOptions): AudioCodes {
    return this.session.encode(pcm, options) as AudioCodes;
  }

  /** See {@link MimiEncoder.finish}. */
  finish(options?: EncodeCallOptions): AudioCodes {
    return this.session.finish(options) as AudioCodes;
  }
}

/** {@link MimiDecoder} without promises, for worklets. Made by {@link MimiModel.createDecoderSync}. */
export class MimiDecoderSync extends SyncHandle<DecoderSession> {
  /** See {@link MimiDecoder.decode}. */
  decode(audioCodes: AudioCodesInput): DecodeOutput {
    return this.session.decode(this.session.check(audioCodes)) as DecodeOutput;
  }

  /** See {@link MimiDecoder.finish}. */
  finish(): DecodeOutput {
    return this.session.finish() as DecodeOutput;
  }
}

/** @throws {MimiTypeError} `ERR_INVALID_ARGUMENT`. */
export function checkTail(where: string, tail: unknown = "transformers"): Tail {
  if (tail === "transformers" || tail === "zeros") return tail;
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    `${where}: tail must be "transformers" or "zeros", got ${describe(tail)}.`,
  );
}
