/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Many streams of one model that share their steps: weights are read once for all frames that wait, which is most of
 * the work of a live frame.
 *
 * @module
 */
import type { Ports, Program, ProgramMemory, State, StateData } from "./backend.ts";
import { checkOptions, describe, InvalidStateError, MimiRangeError, MimiTypeError } from "./errors.ts";
import {
  CodesDecoderSession,
  CodesEncoderSession,
  type CodesSession,
  MimiDecoder,
  MimiEncoder,
  type MimiEncoderOptions,
} from "./handles.ts";
import type { Network } from "./network.ts";
import { nextTurn } from "./turn.ts";

/** How large a pool is. */
export interface PoolOptions {
  /** Encoders that may be open at a time, and as many decoders. */
  maxStreams: number;
}

type Part = CodesSession["part"];

/**
 * Makes encoders and decoders whose frames share steps. Made by `MimiModel.createPool`.
 *
 * The handles are ordinary ones, and their codes and samples are those that they would give alone. What is called while
 * a step runs, or in the same turn of the event loop, shares the next one. Streams come and go at any time.
 */
export class MimiPool {
  /** Encoders that may be open at a time, and as many decoders. */
  readonly maxStreams: number;
  readonly #session: (where: string, part: Part) => CodesSession;
  readonly #programs = new Map<Program, SharedProgram>();

  /** @param session of the model that the pool belongs to; throws where that half is not there. */
  constructor(options: PoolOptions, session: (where: string, part: Part) => CodesSession) {
    const where = "createPool";
    checkOptions(where, options, ["maxStreams"]);
    const maxStreams: unknown = options?.maxStreams;
    if (typeof maxStreams !== "number") {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: maxStreams must be a number, got ${describe(maxStreams)}.`,
      );
    }
    if (!Number.isSafeInteger(maxStreams) || maxStreams < 1) {
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `${where}: maxStreams must be an integer from 1, got ${maxStreams}.`,
      );
    }
    this.maxStreams = maxStreams;
    this.#session = session;
  }

  /**
   * A stream of audio to codes, as `MimiModel.createEncoder` makes.
   *
   * @throws {InvalidStateError} where `maxStreams` encoders are open, or the model is closed or has no encoder.
   */
  createEncoder(options: MimiEncoderOptions = {}): MimiEncoder {
    const where = "pool.createEncoder";
    return new MimiEncoder(new CodesEncoderSession(where, this.#shared(where, "encoder"), options));
  }

  /**
   * A stream of codes to audio, as `MimiModel.createDecoder` makes.
   *
   * @throws {InvalidStateError} where `maxStreams` decoders are open, or the model is closed or has no decoder.
   */
  createDecoder(options: Record<string, never> = {}): MimiDecoder {
    const where = "pool.createDecoder";
    return new MimiDecoder(new CodesDecoderSession(where, this.#shared(where, "decoder"), options));
  }

  #shared(where: string, part: Part): CodesSession {
    const session = this.#session(where, part);
    let program = this.#programs.get(session.program);
    if (!program) {
      const checkOpen = () => session.checkOpen(`${part}.${session.network.direction}`);
      this.#programs.set(session.program, program = new SharedProgram(session.program, session.network, checkOpen));
    }
    if (program.streams >= this.maxStreams) {
      throw new InvalidStateError(
        "ERR_INVALID_STATE",
        `${where}: ${program.streams} ${part}s are open, the pool has room for ${this.maxStreams} (maxStreams); close one.`,
      );
    }
    return { ...session, program };
  }
}

/** Frames of one stream that wait for their step. */
interface Request {
  state: State;
  audio: Float32Array;
  codes: Uint16Array;
  codebooks: number;
  frames: number;
  /** Frames that are through. */
  done: number;
  resolve(): void;
  reject(error: unknown): void;
}

/** Frames that one step takes of a stream at most, so that a long piece does not keep the others waiting. */
const MOST_FRAMES = 8;

/** A program whose steps wait for each other: those of many streams become one. */
export class SharedProgram implements Program {
  readonly cancels = true;
  readonly network: Network;
  /** Streams that are open. */
  streams: number = 0;
  readonly #program: Program;
  readonly #checkOpen: () => void;
  #waiting: Request[] = [];
  #stepping: Request[] = [];
  /** Streams that were closed while a step of theirs ran. */
  #leaving: State[] = [];
  #running = false;

  /** @param checkOpen throws where the model is closed. */
  constructor(program: Program, network: Network, checkOpen: () => void = () => {}) {
    this.#program = program;
    this.network = network;
    this.#checkOpen = checkOpen;
  }

  get memory(): ProgramMemory {
    return this.#program.memory;
  }

  createState(): State {
    const state = this.#program.createState();
    this.streams++;
    return state;
  }

  freeState(state: State): void {
    this.streams--;
    for (const request of this.#waiting.filter((r) => r.state === state)) request.reject(this.#closed());
    this.#waiting = this.#waiting.filter((r) => r.state !== state);
    if (this.#stepping.some((r) => r.state === state)) this.#leaving.push(state);
    else this.#program.freeState(state);
  }

  reset(state: State): void | Promise<void> {
    return this.#program.reset(state);
  }

  save(state: State): StateData | Promise<StateData> {
    return this.#program.save(state);
  }

  load(state: State, data: StateData): void | Promise<void> {
    return this.#program.load(state, data);
  }

  lastSaved(state: State): StateData | undefined {
    return this.#program.lastSaved?.(state);
  }

  close(): void {
    this.#program.close();
  }

  async step(rows: State[], { audio, codes, codebooks }: Ports, frames: number): Promise<void> {
    const request = (state: State, row: number) =>
      new Promise<void>((resolve, reject) => {
        this.#waiting.push({
          state,
          audio: audio[row],
          codes: codes[row],
          codebooks,
          frames,
          done: 0,
          resolve,
          reject,
        });
      });
    const all = Promise.all(rows.map(request));
    if (!this.#running) void this.#run();
    await all;
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (;;) {
      await nextTurn();
      if (this.#waiting.length === 0) break;
      const together = this.#together();
      try {
        this.#checkOpen();
        this.#stepping = together;
        await this.#step(together);
      } catch (error) {
        for (const request of together) request.reject(error);
        this.#waiting = this.#waiting.filter((r) => !together.includes(r));
      }
      this.#stepping = [];
      for (const state of this.#leaving.splice(0)) this.#program.freeState(state);
    }
    this.#running = false;
  }

  /** The requests of the next step: the one that waits longest, and all that fit to it. */
  #together(): Request[] {
    const [first] = this.#waiting;
    if (this.#wholeFrames(first) === 0) return [first];
    // Codes of fewer codebooks are the first ones of those of more, so encoders need not agree; decoders do.
    const any = this.network.direction === "encode";
    return this.#waiting.filter((r) => this.#wholeFrames(r) > 0 && (any || r.codebooks === first.codebooks));
  }

  /** Frames that are still to come; a last one that is not full does not count. */
  #wholeFrames({ audio, frames, done }: Request): number {
    const { direction, frameSize } = this.network;
    return (direction === "encode" ? Math.floor(audio.length / frameSize) : frames) - done;
  }

  /** As many frames of each as all of them have. */
  async #step(together: Request[]): Promise<void> {
    const { direction, frameSize } = this.network;
    const count = Math.min(MOST_FRAMES, ...together.map((r) => this.#wholeFrames(r))) || 1;
    const codebooks = Math.max(...together.map((r) => r.codebooks));
    const ports: Ports = {
      audio: together.map((r) => r.audio.subarray(r.done * frameSize, (r.done + count) * frameSize)),
      codes: together.map(() => new Uint16Array(codebooks * count)),
      codebooks,
    };
    const each = (copy: (inStep: Uint16Array, own: Uint16Array) => void) =>
      together.forEach((r, i) => {
        for (let k = 0; k < r.codebooks; k++) {
          const at = k * r.frames + r.done;
          copy(ports.codes[i].subarray(k * count, (k + 1) * count), r.codes.subarray(at, at + count));
        }
      });
    if (direction === "decode") each((inStep, own) => inStep.set(own));
    await this.#program.step(together.map((r) => r.state), ports, count);
    if (direction === "encode") each((inStep, own) => own.set(inStep));
    for (const request of together) {
      request.done += count;
      if (request.done === request.frames) request.resolve();
    }
    this.#waiting = this.#waiting.filter((r) => r.done < r.frames);
  }

  #closed(): InvalidStateError {
    return new InvalidStateError(
      "ERR_INVALID_STATE",
      `${this.network.direction}: the stream was closed before its frames were through.`,
    );
  }
}
