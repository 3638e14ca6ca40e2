/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Streams: an encoder that takes audio in pieces of any length, a decoder that takes frames one or many at a time.
 * Whatever the cuts, codes and samples are those of the whole.
 *
 * @module
 */
import { checkFinite, checkSamples } from "./audio.ts";
import type { Ports, Program, State, StateData } from "./backend.ts";
import { type AudioCodes, type AudioCodesInput, checkCodebooks, checkNumQuantizers, toAudioCodes } from "./codes.ts";
import type { CodecConfig } from "./codec.ts";
import type { MimiConfig } from "./config.ts";
import { checkOptions, describe, DeviceLostError, InvalidStateError, MimiTypeError } from "./errors.ts";
import type { DecodeOutput } from "./codec-model.ts";
import { andThen, type Maybe } from "./maybe.ts";
import { mostFrames, type Network, networkState, sizeOf } from "./network.ts";

/**
 * What becomes of a last frame that is not full. `"transformers"` pads inside the layers, as `transformers` does;
 * `"zeros"` pads the audio, as Kyutai's own code does. Codes of the last frame differ.
 */
export type Tail = "transformers" | "zeros";

/** How a stream is encoded. */
export interface MimiEncoderOptions {
  /** What becomes of a last frame that is not full; default `"transformers"`. */
  tail?: Tail;
  /** Codebooks to use unless a call says otherwise. */
  numQuantizers?: number;
}

/** How the frames of one call are encoded. */
export interface EncodeCallOptions {
  /** Codebooks of the frames of this call. */
  numQuantizers?: number;
}

/**
 * A stream's memory, for `restore` on another handle, in another thread or on another backend. Plain data: it survives
 * `structuredClone` and `postMessage`.
 */
export interface StreamSnapshot {
  /** Which half of the model it is of. */
  kind: "encoder" | "decoder";
  /** Of the model that it belongs to. */
  fingerprint: string;
  /** Whole frames that went through. */
  position: number;
  /** Samples that wait for their frame to fill. */
  pending: Float32Array;
  /** What the layers remember. */
  state: StateData;
}

/** What a handle needs of its model. */
export interface Session {
  part: "encoder" | "decoder";
  network: Network;
  program: Program;
  config: CodecConfig;
  /** Of the codec; for a last frame that is not full. */
  tail: Tail;
  fingerprint: string;
  checkOpen(where: string): void;
}

/** {@link Session} of a model whose frames are codes. */
export interface CodesSession extends Session {
  config: MimiConfig;
  numQuantizers: number;
}

/**
 * Checks that a stream which has seen `from` frames can take `frames` more.
 *
 * @throws {InvalidStateError} `ERR_INVALID_STATE` at the end of what a stream can last.
 */
export function checkFrames(where: string, { network, config }: Session, from: number, frames: number): void {
  const most = mostFrames(network), seconds = most * network.frameSize / config.samplingRate;
  if (from + frames <= most) return;
  throw new InvalidStateError(
    "ERR_INVALID_STATE",
    `${where}: a stream lasts at most ${most} frames (${Math.floor(seconds / 3600)} hours), ` +
      `${from} went through and ${frames} came; begin a new one, a handle by reset().`,
  );
}

/** What both directions share: a state, its snapshots, its end. */
abstract class StreamSession<S extends Session = Session> {
  protected readonly session: S;
  protected state: State;
  #closed = false;
  #freed = false;
  /** Calls that the program has not finished. */
  #running = 0;

  constructor(session: S) {
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

  /** What the program answers; fails where the stream or its model is closed before the answer comes. */
  protected ask<T>(method: string, call: (program: Program) => Maybe<T>): Maybe<T> {
    const answer = call(this.session.program);
    if (!(answer instanceof Promise)) return answer;
    this.#running++;
    return answer.catch((error) => this.#withSnapshot(error)).finally(() => {
      this.#running--;
      if (this.#closed) this.#free();
      this.checkOpen(method);
    });
  }

  /** Throws an error again, that of a lost device with the stream as it was last saved. */
  #withSnapshot(error: unknown): never {
    const { part, fingerprint, program } = this.session, state = program.lastSaved?.(this.state);
    if (!(error instanceof DeviceLostError) || !state) throw error;
    const snapshot: StreamSnapshot = {
      kind: part,
      fingerprint,
      position: state.frames,
      pending: new Float32Array(0),
      state,
    };
    throw new DeviceLostError(error.message, { cause: error.cause, snapshot });
  }

  protected step(method: string, ports: Ports, frames: number): Maybe<void> {
    checkFrames(`${this.session.part}.${method}`, this.session, this.state.frames, frames);
    return this.ask(method, (program) => program.step([this.state], ports, frames));
  }

  reset(): Maybe<void> {
    this.checkOpen("reset");
    return andThen(
      this.ask("reset", (program) => program.reset(this.state)),
      () => void (this.pending = new Float32Array(0)),
    );
  }

  snapshot(): Maybe<StreamSnapshot> {
    this.checkOpen("snapshot");
    const { part, fingerprint } = this.session, pending = this.pending.slice();
    return andThen(
      this.ask("snapshot", (program) => program.save(this.state)),
      (state) => ({ kind: part, fingerprint, position: state.frames, pending, state }),
    );
  }

  /** Goes on with a snapshot that {@link checkSnapshot} has seen. */
  restore({ pending, state }: StreamSnapshot): Maybe<void> {
    this.checkOpen("restore");
    return andThen(
      this.ask("restore", (program) => program.load(this.state, state)),
      () => void (this.pending = pending.slice()),
    );
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#free();
  }

  /** Gives the state back, once no call works on it any more. */
  #free(): void {
    if (this.#freed) return;
    const { program, checkOpen } = this.session;
    if (this.#running > 0 && !program.cancels) return;
    try {
      checkOpen("close");
    } catch {
      return; // the model is gone and its memory with it
    }
    this.#freed = true;
    program.freeState(this.state);
  }

  checkSnapshot(snapshot: StreamSnapshot): void {
    const where = this.checkOpen("restore"), { part, fingerprint, network } = this.session;
    if (snapshot?.kind !== part) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: expected a snapshot of ${part === "encoder" ? "an" : "a"} ${part}, got ${
          describe(snapshot?.kind ?? snapshot)
        }.`,
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
      pending instanceof Float32Array && pending.length < (part === "encoder" ? network.frameSize : 1);
    if (!fits) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: the snapshot does not have the tensors of this ${part}.`,
      );
    }
    const most = mostFrames(network);
    if (!(Number.isInteger(position) && position >= 0 && position <= most && state.frames === position)) {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: the snapshot's position and state.frames must be one integer from 0 to ${most}, got ${
          describe(position)
        } and ${describe(state.frames)}.`,
      );
    }
    for (const values of [pending, ...tensors]) checkFinite(`${where}: snapshot`, values);
  }
}

/** What frames become in a step: the ports that they leave by, and what is made of those for the caller. */
export interface FramesOut<T> {
  ports: Omit<Ports, "audio">;
  value: T;
}

/** The encoder's logic, synchronous exactly when its backend is. Frames leave as `T`; a call says how with `C`. */
export abstract class EncoderSession<S extends Session, T, C> extends StreamSession<S> {
  protected pending: Float32Array = new Float32Array(0);
  readonly #tail: Tail;

  constructor(where: string, session: S, tail: unknown) {
    const checked = checkTail(where, tail, session.tail);
    super(session);
    this.#tail = checked;
  }

  /** Room for `frames` frames. */
  protected abstract room(frames: number, call: C): FramesOut<T>;

  encode(pcm: Float32Array, call: C): Maybe<T> {
    const where = this.checkOpen("encode"), { frameSize } = this.session.network;
    if (!(pcm instanceof Float32Array)) {
      throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: pcm must be a Float32Array, got ${describe(pcm)}.`);
    }
    checkSamples(where, pcm);
    const audio = new Float32Array(this.pending.length + pcm.length);
    audio.set(this.pending);
    audio.set(pcm, this.pending.length);
    const frames = Math.floor(audio.length / frameSize);
    return andThen(this.#step("encode", audio.subarray(0, frames * frameSize), frames, call), (out) => {
      this.pending = audio.slice(frames * frameSize);
      return out;
    });
  }

  finish(call: C): Maybe<T> {
    this.checkOpen("finish");
    const { frameSize } = this.session.network, rest = this.pending;
    let audio = rest;
    if (rest.length && this.#tail === "zeros") {
      audio = new Float32Array(frameSize);
      audio.set(rest);
    }
    return andThen(
      this.#step("finish", audio, rest.length ? 1 : 0, call),
      (out) => andThen(this.reset(), () => out),
    );
  }

  #step(method: string, audio: Float32Array, frames: number, call: C): Maybe<T> {
    const { ports, value } = this.room(frames, call);
    if (frames === 0) return value;
    return andThen(this.step(method, { audio: [audio], ...ports }, frames), () => value);
  }
}

/** {@link EncoderSession} to codes; a call says how many codebooks. */
export class CodesEncoderSession extends EncoderSession<CodesSession, AudioCodes, number> {
  readonly #codebooks: number;

  constructor(where: string, session: CodesSession, options: MimiEncoderOptions) {
    checkOptions(where, options, ["tail", "numQuantizers"]);
    const codebooks = checkNumQuantizers(where, options.numQuantizers, session.config, session.numQuantizers);
    super(where, session, options.tail);
    this.#codebooks = codebooks;
  }

  /** Codebooks that a call asks for; separate from the step so that options are read when the call is made. */
  codebooksOf(method: "encode" | "finish", options: EncodeCallOptions = {}): number {
    const where = this.checkOpen(method);
    checkOptions(where, options, ["numQuantizers"]);
    return options.numQuantizers === undefined
      ? this.#codebooks
      : checkNumQuantizers(where, options.numQuantizers, this.session.config, this.session.numQuantizers);
  }

  protected room(frames: number, codebooks: number): FramesOut<AudioCodes> {
    const codes: AudioCodes = { data: new Uint16Array(codebooks * frames), shape: [1, codebooks, frames] };
    return { ports: { codes: [codes.data], codebooks }, value: codes };
  }
}

/** The decoder's logic, synchronous exactly when its backend is. */
export abstract class DecoderSession<S extends Session> extends StreamSession<S> {
  protected pending: Float32Array = new Float32Array(0); // always empty: what comes are whole frames

  constructor(where: string, session: S, options: object) {
    checkOptions(where, options, []);
    super(session);
  }

  protected decodeFrames(ports: Omit<Ports, "audio">, frames: number): Maybe<DecodeOutput> {
    this.checkOpen("decode");
    const audio = new Float32Array(frames * this.session.network.frameSize);
    const output: DecodeOutput = { audioValues: { data: audio, shape: [1, 1, audio.length] } };
    if (frames === 0) return output;
    return andThen(this.step("decode", { audio: [audio], ...ports }, frames), () => output);
  }

  finish(): Maybe<DecodeOutput> {
    this.checkOpen("finish");
    return andThen(this.reset(), () => ({ audioValues: { data: new Float32Array(0), shape: [1, 1, 0] } }));
  }
}

/** {@link DecoderSession} of codes. */
export class CodesDecoderSession extends DecoderSession<CodesSession> {
  /** Checked codes of one row; separate from the step so that a caller's array is read when the call is made. */
  check(audioCodes: AudioCodesInput): AudioCodes {
    const where = this.checkOpen("decode"), { config, numQuantizers } = this.session;
    const codes = toAudioCodes(where, audioCodes, config.codebookSize), [batch, codebooks] = codes.shape;
    checkOneRow(where, batch);
    checkCodebooks(where, codebooks, numQuantizers, config);
    return codes;
  }

  decode({ data, shape: [, codebooks, frames] }: AudioCodes): Maybe<DecodeOutput> {
    return this.decodeFrames({ codes: [data], codebooks }, frames);
  }
}

/** @throws {MimiTypeError} `ERR_INVALID_ARGUMENT`. */
export function checkOneRow(where: string, batch: number): void {
  if (batch === 1) return;
  throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: a stream takes one row, got a batch of ${batch}.`);
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
export abstract class Handle<S extends StreamSession> {
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

  /** The stream's memory as plain data. @throws {EngineError | DeviceLostError} as {@link MimiEncoder.encode} does. */
  snapshot(): Promise<StreamSnapshot> {
    return this.run(() => this.session.snapshot());
  }

  /**
   * Goes on where a snapshot was taken.
   *
   * @throws {InvalidStateError} `ERR_WRONG_MODEL` for a snapshot of another model.
   * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what is no snapshot of such a handle.
   * @throws {EngineError | DeviceLostError} as {@link MimiEncoder.encode} does.
   */
  async restore(snapshot: StreamSnapshot): Promise<void> {
    this.session.checkSnapshot(snapshot);
    const { pending, state: { frames, tensors } } = snapshot;
    const own = { ...snapshot, pending: pending.slice(), state: { frames, tensors: tensors.map((t) => t.slice()) } };
    await this.run(() => this.session.restore(own));
  }

  /** Gives the stream's memory back. Calls whose answers have not come yet fail with an {@link InvalidStateError}. */
  close(): void {
    this.session.close();
  }

  /** Closes it: `using encoder = ...`. */
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
    this.session.checkSnapshot(snapshot);
    void this.session.restore(snapshot);
  }

  /** Gives the stream's memory back. */
  close(): void {
    this.session.close();
  }

  /** Closes it: `using encoder = ...`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** Audio to codes, piece by piece. Made by {@link MimiModel.createEncoder}. */
export class MimiEncoder extends Handle<CodesEncoderSession> {
  /**
   * Codes [1, codebooks, n] of the frames that became whole with these samples; n may be 0.
   *
   * @param pcm mono samples at the model's rate, any number of them. The array stays the caller's.
   * @throws {MimiTypeError | MimiRangeError} for what are no finite samples; the stream stays as it was.
   * @throws {InvalidStateError} on a closed handle or model, and at the end of what a stream can last: 2^24 positions
   *   of attention, which are 186 hours of Mimi. The stream stays as it was; `reset()` begins a new one.
   * @throws {EngineError} `ERR_BACKEND` where the backend fails: samples are taken only by a step that worked, but of a call
   *   of many frames some may have gone through; `restore` or `reset` makes sure. `ERR_WORKER` where the model's worker fails.
   * @throws {DeviceLostError} where the backend's device is lost and the model was loaded without `failover`; its `snapshot`
   *   is the stream as it was last saved.
   */
  async encode(pcm: Float32Array, options?: EncodeCallOptions): Promise<AudioCodes> {
    const codebooks = this.session.codebooksOf("encode", options);
    const own = pcm instanceof Float32Array ? pcm.slice() : pcm;
    return await this.run(() => this.session.encode(own, codebooks));
  }

  /** Codes [1, codebooks, 0 or 1] of the last frame if it was not full; then a new stream begins. */
  async finish(options?: EncodeCallOptions): Promise<AudioCodes> {
    const codebooks = this.session.codebooksOf("finish", options);
    return await this.run(() => this.session.finish(codebooks));
  }
}

/** Codes to audio, frame by frame. Made by {@link MimiModel.createDecoder}. */
export class MimiDecoder extends Handle<CodesDecoderSession> {
  /**
   * Audio [1, 1, frames * frameSize] of codes [1, codebooks, frames].
   *
   * @throws {MimiTypeError | MimiRangeError} for codes that no loaded codebook has; the stream stays as it was.
   * @throws {InvalidStateError} on a closed handle or model, and at the end of what a stream can last; see
   *   {@link MimiEncoder.encode}.
   * @throws {EngineError | DeviceLostError} as {@link MimiEncoder.encode} does.
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
export class MimiEncoderSync extends SyncHandle<CodesEncoderSession> {
  /** See {@link MimiEncoder.encode}. */
  encode(pcm: Float32Array, options?: EncodeCallOptions): AudioCodes {
    return this.session.encode(pcm, this.session.codebooksOf("encode", options)) as AudioCodes;
  }

  /** See {@link MimiEncoder.finish}. */
  finish(options?: EncodeCallOptions): AudioCodes {
    return this.session.finish(this.session.codebooksOf("finish", options)) as AudioCodes;
  }
}

/** {@link MimiDecoder} without promises, for worklets. Made by {@link MimiModel.createDecoderSync}. */
export class MimiDecoderSync extends SyncHandle<CodesDecoderSession> {
  /** See {@link MimiDecoder.decode}. */
  decode(audioCodes: AudioCodesInput): DecodeOutput {
    return this.session.decode(this.session.check(audioCodes)) as DecodeOutput;
  }

  /** See {@link MimiDecoder.finish}. */
  finish(): DecodeOutput {
    return this.session.finish() as DecodeOutput;
  }
}

/** Whether a value is one of the tails that there are. */
export function isTail(value: unknown): value is Tail {
  return value === "transformers" || value === "zeros";
}

/** @throws {MimiTypeError} `ERR_INVALID_ARGUMENT`. */
export function checkTail(where: string, tail: unknown, fallback: Tail): Tail {
  if (tail === undefined) return fallback;
  if (isTail(tail)) return tail;
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    `${where}: tail must be "transformers" or "zeros", got ${describe(tail)}.`,
  );
}
