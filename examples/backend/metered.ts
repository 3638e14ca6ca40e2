/**
 * A backend of one's own around another: it measures what each half of a model costs, for a dashboard or a log.
 *
 * ```ts
 * const backend = metered(wasm(), ({ direction, realTime }) => console.log(direction, `${realTime.toFixed(1)} x real time`));
 * const model = await MimiModel.fromPretrained("mini", { backend });
 * ```
 */
import type { Backend, Network, Ports, Program, ProgramMemory, State, StateData } from "mimi-audio/backend";

/** What a step has cost. */
export interface Reading {
  direction: Network["direction"];
  /** Streams that went together, and frames of each. */
  streams: number;
  frames: number;
  milliseconds: number;
  /** Seconds of audio of all streams for each second that it took. */
  realTime: number;
}

/**
 * @param inner what does the work.
 * @param samplingRate of the model, in Hz.
 */
export function metered(inner: Backend, onStep: (reading: Reading) => void, samplingRate: number = 24000): Backend {
  return {
    name: `metered ${inner.name}`,
    sync: inner.sync,
    losesDevice: inner.losesDevice,
    available: () => inner.available(),
    device: async () => `metered ${await inner.device?.() ?? inner.name}`,
    async compile(network, tensors, options) {
      const program = await inner.compile(network, tensors, options), { direction, frameSize } = network;
      return new MeteredProgram(program, (streams, frames, milliseconds) => {
        const seconds = streams * frames * frameSize / samplingRate;
        onStep({ direction, streams, frames, milliseconds, realTime: seconds * 1000 / milliseconds });
      });
    },
  };
}

/** A program is asked for streams, takes them a step further, and can tell and be told what they remember. */
class MeteredProgram implements Program {
  readonly #inner: Program;
  readonly #onStep: (streams: number, frames: number, milliseconds: number) => void;

  constructor(inner: Program, onStep: (streams: number, frames: number, milliseconds: number) => void) {
    this.#inner = inner;
    this.#onStep = onStep;
  }

  get memory(): ProgramMemory {
    return this.#inner.memory;
  }
  createState(): State {
    return this.#inner.createState();
  }
  freeState(state: State): void {
    this.#inner.freeState(state);
  }
  reset(state: State): void | Promise<void> {
    return this.#inner.reset(state);
  }

  /** Returns nothing where the inner backend is synchronous, so that this one is as well. */
  step(rows: State[], ports: Ports, frames: number): void | Promise<void> {
    const start = performance.now();
    const end = () => this.#onStep(rows.length, frames, performance.now() - start);
    const running = this.#inner.step(rows, ports, frames);
    return running ? running.then(end) : end();
  }

  save(state: State): StateData | Promise<StateData> {
    return this.#inner.save(state);
  }
  load(state: State, data: StateData): void | Promise<void> {
    return this.#inner.load(state, data);
  }
  lastSaved(state: State): StateData | undefined {
    return this.#inner.lastSaved?.(state);
  }
  close(): void {
    this.#inner.close();
  }
}
