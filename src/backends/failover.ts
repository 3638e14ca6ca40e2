/**
 * Programs on a device that may go away: what they remember is saved now and then, and where there is another program the
 * streams go on in it.
 *
 * @module
 */
import type { Ports, Program, ProgramMemory, State, StateData } from "../core/backend.ts";
import { DeviceLostError } from "../core/errors.ts";
import { type Network, networkState, sizeOf } from "../core/network.ts";

/** Frames after which a stream is saved again: reading it back costs time, going through frames again does as well. */
const FRAMES_BETWEEN_SAVES = 25;

/** What went into a step of one stream. */
interface Step {
  audio: Float32Array;
  codes: Uint16Array;
  codebooks: number;
  frames: number;
}

interface GuardedState extends State {
  frames: number;
  program: Program;
  inner: State;
  /** As it was when it was last saved, and what came since then. */
  saved: StateData;
  since: Step[];
}

export class GuardedProgram implements Program {
  readonly #network: Network;
  readonly #program: Program;
  readonly #fallback: Program | undefined;
  readonly #onFailover: (error: DeviceLostError) => void;
  #lost = false;
  #closed = false;
  /** Streams that are in the program itself; once it is lost and has none, it is closed. */
  #streams = 0;

  /**
   * @param fallback goes on with the streams; without it a loss is an error, with {@link lastSaved} to begin again from.
   * @param onFailover called the first time that it does.
   */
  constructor(
    network: Network,
    program: Program,
    fallback?: Program,
    onFailover: (error: DeviceLostError) => void = () => {},
  ) {
    this.#network = network;
    this.#program = program;
    this.#fallback = fallback;
    this.#onFailover = onFailover;
  }

  get memory(): ProgramMemory {
    if (this.#gone) return this.#fallback!.memory;
    const { weights, state, total } = this.#program.memory, other = this.#fallback?.memory;
    return { weights: weights + (other?.weights ?? 0), state, total: total + (other?.total ?? 0) };
  }

  createState(): State {
    const program = this.#lost ? this.#fallback! : this.#program;
    const state: GuardedState = {
      frames: 0,
      program,
      inner: program.createState(),
      saved: this.#beginning(),
      since: [],
    };
    if (program === this.#program) this.#streams++;
    return state;
  }

  freeState(state: State): void {
    const { program, inner } = state as GuardedState;
    program.freeState(inner);
    if (program === this.#program) this.#left();
  }

  async reset(state: State): Promise<void> {
    await this.load(state, this.#beginning());
  }

  async step(rows: State[], ports: Ports, frames: number): Promise<void> {
    const states = rows as GuardedState[];
    await this.#try(states, (program) => program.step(states.map(({ inner }) => inner), ports, frames));
    for (const [row, state] of states.entries()) {
      state.frames += frames;
      if (state.program !== this.#program) continue;
      // Only whoever can go on needs what came since the last save.
      const step = { audio: ports.audio[row], codes: ports.codes[row], codebooks: ports.codebooks, frames };
      if (this.#fallback) state.since.push({ ...step, audio: step.audio?.slice(), codes: step.codes.slice() });
      if (state.frames - state.saved.frames >= FRAMES_BETWEEN_SAVES) await this.save(state);
    }
  }

  async save(state: State): Promise<StateData> {
    const own = state as GuardedState, data = await this.#try([own], (program) => program.save(own.inner));
    own.saved = copied(data);
    own.since = [];
    return data;
  }

  async load(state: State, data: StateData): Promise<void> {
    const own = state as GuardedState;
    own.saved = copied(data);
    own.since = [];
    own.frames = data.frames;
    await this.#try([own], (program) => program.load(own.inner, data));
  }

  lastSaved(state: State): StateData {
    return copied((state as GuardedState).saved);
  }

  close(): void {
    this.#closed = true;
    if (!this.#gone) this.#program.close();
    this.#fallback?.close();
  }

  get #gone(): boolean {
    return this.#lost && this.#streams === 0;
  }

  /** A stream has left the program. */
  #left(): void {
    this.#streams--;
    if (this.#gone) this.#program.close();
  }

  /** Calls the program that the streams are in, or, where its device is lost, the one that takes them over. */
  async #try<T>(states: GuardedState[], call: (program: Program) => T | Promise<T>): Promise<T> {
    if (!this.#lost) {
      try {
        return await call(this.#program);
      } catch (error) {
        if (!(error instanceof DeviceLostError) || !this.#fallback || this.#closed) throw error;
        if (!this.#lost) {
          this.#lost = true;
          this.#onFailover(error);
        }
      }
    }
    for (const state of states) await this.#move(state, this.#fallback!);
    return await call(this.#fallback!);
  }

  /** Brings a stream where it was, in another program. */
  async #move(state: GuardedState, program: Program): Promise<void> {
    if (state.program === program) return;
    const inner = program.createState(), encodes = this.#network.direction === "encode";
    await program.load(inner, state.saved);
    for (const { audio, codes, codebooks, frames } of state.since) {
      const ports: Ports = encodes
        ? { audio: [audio], codes: [new Uint16Array(codes.length)], codebooks }
        : { audio: [new Float32Array(frames * this.#network.frameSize)], codes: [codes], codebooks };
      await program.step([inner], ports, frames);
    }
    state.program.freeState(state.inner);
    Object.assign(state, { program, inner, since: [] });
    this.#left();
  }

  /** The memory of a new stream. */
  #beginning(): StateData {
    const tensors = networkState(this.#network).map(({ shape }) => new Float32Array(sizeOf(shape)));
    return { frames: 0, tensors };
  }
}

/** What is kept is no one else's: snapshots may be changed, or given to another thread. */
function copied({ frames, tensors }: StateData): StateData {
  return { frames, tensors: tensors.map((values) => values.slice()) };
}
