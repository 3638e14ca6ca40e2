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
import { describe, NotSupportedError } from "../../core/errors.ts";
import { latentChannels, type Network } from "../../core/network.ts";
import { lower, type Lowered, type Pass, type PassStream } from "./lower.ts";
import { kernelsAvailable, Memory } from "./memory.ts";
import { FORMATS } from "./precision.ts";

/**
 * Frames that one pass covers at most, those of all its streams together. More make whole files and many streams faster,
 * since weights are read once for all of them, and cost memory for activations; nothing depends on it but time.
 */
const FRAMES_PER_PASS = 16;

export { compileKernelsNow } from "./memory.ts";

/** The default backend. Runs wherever WebAssembly has SIMD; needs no threads and no shared memory. */
export function wasm(): Backend {
  const backend: Backend = {
    name: "wasm",
    sync: true,
    available: kernelsAvailable,
    async compile(
      network: Network,
      tensors: TensorSource,
      { precision, determinism }: CompileOptions,
    ): Promise<Program> {
      if (!Object.hasOwn(FORMATS, precision)) {
        throw new NotSupportedError(`wasm: precision ${describe(precision)} is not available.`);
      }
      const memory = await Memory.create(determinism);
      return new WasmProgram(
        network,
        memory,
        await lower(network, tensors, memory, FRAMES_PER_PASS, FORMATS[precision]),
      );
    },
  };
  made.add(backend);
  return backend;
}

/** Whether a backend is {@link wasm} itself, and no copy with something changed. */
export function isWasm(backend: Backend): boolean {
  return made.has(backend);
}

const made = new WeakSet<Backend>();

interface WasmState extends State, PassStream {
  frames: number;
}

class WasmProgram implements Program {
  readonly #network: Network;
  readonly #latentChannels: number | undefined;
  #memory: Memory | undefined;
  #lowered: Lowered | undefined;
  /** Blocks of closed streams, for the next ones. */
  readonly #free: number[] = [];

  constructor(network: Network, memory: Memory, lowered: Lowered) {
    this.#network = network;
    this.#latentChannels = latentChannels(network);
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
    const lowered = this.#lowered!, streams = rows as WasmState[];
    for (let row = 0; row < rows.length; row += FRAMES_PER_PASS) {
      const together = streams.slice(row, row + FRAMES_PER_PASS);
      const most = Math.floor(FRAMES_PER_PASS / together.length);
      for (let frame = 0; frame < frames; frame += most) {
        const count = Math.min(most, frames - frame);
        this.#pass(lowered, { streams: together, ports, row, frame }, count);
        for (const stream of together) stream.frames += count;
      }
    }
  }

  /** Takes `frames` frames of some streams through the network. */
  #pass(lowered: Lowered, pass: Pass, frames: number): void {
    const memory = this.#memory!, network = this.#network, { streams, ports, row, frame } = pass;
    const encodes = network.direction === "encode", channels = this.#latentChannels;
    // What lies in rows of values a frame; codes go through the layers that read and write them.
    const audio = { rows: ports.audio, size: network.frameSize };
    const latents = channels === undefined ? undefined : { rows: ports.latents!, size: channels };
    const source = encodes ? audio : latents, target = encodes ? latents : audio;
    let values = 0;
    for (let i = 0; source && i < streams.length; i++) {
      const part = source.rows[row + i].subarray(frame * source.size, (frame + frames) * source.size);
      memory.view(lowered.input + values * 4, part.length).set(part);
      values += part.length;
    }
    const output = lowered.run(encodes ? values : frames * streams.length, pass);
    for (let i = 0; target && i < streams.length; i++) {
      const size = frames * target.size;
      target.rows[row + i].set(memory.view(output + i * size * 4, size), frame * target.size);
    }
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
