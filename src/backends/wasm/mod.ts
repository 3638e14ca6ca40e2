/**
 * The WebAssembly backend: plain SIMD kernels, the same bits on every device and for every way of cutting a stream.
 *
 * @module
 */
import type {
  Backend,
  CompileOptions,
  Ports,
  Program,
  ProgramMemory,
  State,
  StateData,
  TensorSource,
} from "../../core/backend.ts";
import { inputPositions, type Network } from "../../core/network.ts";
import { lower, type Lowered } from "./lower.ts";
import { kernelsAvailable, Memory } from "./memory.ts";

/**
 * Frames that one pass covers at most. More make whole files faster, since weights are read once for all of them, and
 * cost memory for activations; nothing depends on it but time.
 */
const FRAMES_PER_PASS = 8;

/** The default backend. Runs wherever WebAssembly has SIMD; needs no threads and no shared memory. */
export function wasm(): Backend {
  return {
    name: "wasm",
    sync: true,
    available: kernelsAvailable,
    async compile(network: Network, tensors: TensorSource, _options: CompileOptions): Promise<Program> {
      const memory = await Memory.create();
      return new WasmProgram(network, memory, await lower(network, tensors, memory, FRAMES_PER_PASS));
    },
  };
}

interface WasmState extends State {
  frames: number;
  /** Where its block starts. */
  readonly at: number;
}

class WasmProgram implements Program {
  readonly #network: Network;
  #memory: Memory | undefined;
  #lowered: Lowered | undefined;
  /** Blocks of closed streams, for the next ones. */
  readonly #free: number[] = [];

  constructor(network: Network, memory: Memory, lowered: Lowered) {
    this.#network = network;
    this.#memory = memory;
    this.#lowered = lowered;
  }

  get memory(): ProgramMemory {
    return {
      weights: this.#lowered?.weights ?? 0,
      state: (this.#lowered?.stateSize ?? 0) * 4,
      total: this.#memory?.total ?? 0,
    };
  }

  createState(): State {
    const state: WasmState = { frames: 0, at: this.#free.pop() ?? this.#memory!.allocate(this.#lowered!.stateSize) };
    this.reset(state);
    return state;
  }

  freeState(state: State): void {
    this.#free.push((state as WasmState).at);
  }

  reset(state: State): void {
    const s = state as WasmState;
    s.frames = 0;
    this.#memory!.kernels.zero(s.at, this.#lowered!.stateSize * 4);
  }

  step(rows: State[], ports: Ports, frames: number): void {
    const memory = this.#memory!, lowered = this.#lowered!, network = this.#network;
    rows.forEach((row, index) => {
      const state = row as WasmState, audio = ports.audio[index];
      for (let frame = 0; frame < frames; frame += FRAMES_PER_PASS) {
        const count = Math.min(FRAMES_PER_PASS, frames - frame), from = inputPositions(network, frame);
        const pass = { state: state.at, frames: state.frames, ports, row: index, frame };
        if (network.direction === "encode") {
          const samples = audio.subarray(from, from + inputPositions(network, count));
          memory.view(lowered.input, samples.length).set(samples);
          lowered.run(samples.length, pass);
        } else {
          const samples = count * network.frameSize;
          audio.set(memory.view(lowered.run(count, pass), samples), frame * network.frameSize);
        }
        state.frames += count;
      }
    });
  }

  save(state: State): StateData {
    const { at, frames } = state as WasmState;
    return { frames, tensors: this.#lowered!.slots.flatMap((slot) => slot.save(at, frames)) };
  }

  load(state: State, data: StateData): void {
    const s = state as WasmState;
    this.reset(s);
    s.frames = data.frames;
    let next = 0;
    for (const slot of this.#lowered!.slots) slot.load(s.at, data.frames, data.tensors.slice(next, next += slot.count));
  }

  close(): void {
    this.#memory = this.#lowered = undefined;
    this.#free.length = 0;
  }
}
