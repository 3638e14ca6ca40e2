/**
 * A network in ONNX Runtime: streams, and their way through the graph.
 *
 * @module
 */
import type { Ports, Program, ProgramMemory, State, StateData } from "../../core/backend.ts";
import { inputPositions, type Network, networkState, sizeOf } from "../../core/network.ts";
import type { Lowered, Slot, Values } from "./lower.ts";
import type { Ort, OrtTensor } from "./runtime.ts";

/**
 * Frames that one run covers at most. More make whole files faster, since weights are read once for all of them, and cost
 * memory for activations.
 */
const FRAMES_PER_RUN = 16;

/** A session, and the calls that may be made of it. */
export interface Session {
  ort: Ort;
  /** Runs the graph; inputs are asked for when its turn has come. */
  run(inputs: () => Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  /** Values of tensors, wherever they are. */
  read(tensors: readonly OrtTensor[]): Promise<unknown[]>;
  /** Gives it back; the last call. */
  release(): void;
}

interface OnnxState extends State {
  frames: number;
  /** What each slot holds. */
  tensors: OrtTensor[];
}

export class OnnxProgram implements Program {
  readonly #network: Network;
  readonly #lowered: Omit<Lowered, "model" | "externalData">;
  readonly #session: Session;
  readonly #weights: number;
  #streams = 0;
  #closed = false;

  constructor(network: Network, lowered: Lowered, session: Session) {
    const { externalData, model, ...rest } = lowered; // weights are the session's from here on
    this.#network = network;
    this.#lowered = rest;
    this.#session = session;
    this.#weights = externalData.reduce((n, { data }) => n + data.length, model.length);
  }

  /** `total` is weights and streams; what ONNX Runtime holds beside them it does not tell. */
  get memory(): ProgramMemory {
    if (this.#closed) return { weights: 0, state: 0, total: 0 };
    const state = this.#lowered.slots.reduce((n, { shape }) => n + 4 * sizeOf(shape), 0);
    return { weights: this.#weights, state, total: this.#weights + this.#streams * state };
  }

  createState(): State {
    this.#streams++;
    const state: OnnxState = { frames: 0, tensors: this.#lowered.slots.map(({ shape }) => this.#zeros(shape)) };
    return state;
  }

  freeState(state: State): void {
    this.#streams--;
    for (const tensor of (state as OnnxState).tensors.splice(0)) tensor.dispose();
  }

  reset(state: State): Promise<void> {
    return this.load(state, {
      frames: 0,
      tensors: this.#lowered.slots.map(({ shape }) => new Float32Array(sizeOf(shape))),
    });
  }

  async step(rows: State[], ports: Ports, frames: number): Promise<void> {
    for (let row = 0; row < rows.length; row++) {
      for (let frame = 0; frame < frames; frame += FRAMES_PER_RUN) {
        await this.#run(rows[row] as OnnxState, ports, row, frame, Math.min(FRAMES_PER_RUN, frames - frame));
      }
    }
  }

  /** Takes `count` frames of one row through the graph. A stream changes only when that has worked. */
  async #run(state: OnnxState, ports: Ports, row: number, frame: number, count: number): Promise<void> {
    const { slots, feeds, audioIn, audioOut, codesIn, codesOut } = this.#lowered, network = this.#network;
    const inputs: Record<string, OrtTensor> = {};
    let positions = count;
    if (audioIn !== undefined) {
      const [from, to] = [frame, frame + count].map((n) => inputPositions(network, n));
      const samples = ports.audio[row].slice(from, to);
      positions = samples.length;
      inputs[audioIn] = this.#tensor({ data: samples, shape: [positions, 1] });
    }
    let first = 0;
    for (const { name, codebooks, size } of codesIn) {
      const codes = entriesOf(ports, row, frame, count, first, codebooks, size);
      inputs[name] = this.#tensor({ data: codes, shape: [codebooks, count] });
      first += codebooks;
    }
    for (const { name, make } of feeds) inputs[name] = this.#tensor(make(state.frames, positions));
    const outputs = await this.#session.run(() => {
      slots.forEach(({ input }, i) => inputs[input] = state.tensors[i]);
      return inputs;
    });

    if (audioOut !== undefined) {
      ports.audio[row].set(outputs[audioOut].data as Float32Array, frame * network.frameSize);
    }
    for (let k = 0; k < Math.min(codesOut.length, ports.codebooks); k++) {
      const own = outputs[codesOut[k]].data as BigInt64Array,
        all = ports.codes[row],
        frames = all.length / ports.codebooks;
      for (let t = 0; t < count; t++) all[k * frames + frame + t] = Number(own[t]);
    }
    slots.forEach((slot, i) => this.#keep(state, i, slot, outputs[slot.output]));
    state.frames += count;
  }

  #keep(state: OnnxState, index: number, { shape, ring }: Slot, output: OrtTensor): void {
    if (!ring) {
      state.tensors[index].dispose();
      state.tensors[index] = output;
      return;
    }
    const [heads, rows, width] = shape, n = output.dims[1], start = state.frames * ring.positionsPerFrame;
    const [from, to] = [output.data as Float32Array, state.tensors[index].data as Float32Array];
    for (let head = 0; head < heads; head++) {
      for (let t = Math.max(0, n - rows); t < n; t++) {
        const at = (head * n + t) * width, place = (head * rows + (start + t) % rows) * width;
        to.set(from.subarray(at, at + width), place);
      }
    }
    output.dispose();
  }

  async save(state: State): Promise<StateData> {
    const { frames, tensors } = state as OnnxState, { slots } = this.#lowered;
    const values = await this.#session.read(tensors);
    const saved = slots.map((slot, i) => unrolled(values[i] as Float32Array, slot, frames));
    // A window of one position has rows of nothing, which are saved and not computed with.
    const all = networkState(this.#network).map(({ shape }) => sizeOf(shape) ? saved.shift()! : new Float32Array(0));
    return { frames, tensors: all };
  }

  async load(state: State, { frames, tensors }: StateData): Promise<void> {
    const own = state as OnnxState, values = tensors.filter(({ length }) => length > 0);
    this.#lowered.slots.forEach((slot, i) => {
      own.tensors[i].dispose();
      own.tensors[i] = this.#tensor({ data: rolled(values[i], slot, frames), shape: slot.shape });
    });
    own.frames = frames;
  }

  close(): void {
    this.#closed = true;
    this.#session.release();
  }

  #zeros(shape: number[]): OrtTensor {
    return this.#tensor({ data: new Float32Array(sizeOf(shape)), shape });
  }

  #tensor({ data, shape }: Values): OrtTensor {
    return new this.#session.ort.Tensor(data instanceof Int32Array ? "int32" : "float32", data, shape);
  }
}

/** Rows in a quantizer's table of the codes of a step; the row of zeros for codebooks that it does not have. */
function entriesOf(
  { codes, codebooks: given }: Ports,
  row: number,
  frame: number,
  count: number,
  first: number,
  codebooks: number,
  size: number,
): Int32Array {
  const frames = codes[row].length / given;
  return Int32Array.from({ length: codebooks * count }, (_, i) => {
    const book = Math.floor(i / count), k = first + book;
    return k < given ? book * size + codes[row][k * frames + frame + i % count] : codebooks * size;
  });
}

/** A state's tensor as all backends save it: oldest rows first, zero where the stream has not been yet. */
function unrolled(values: Float32Array, { shape, ring }: Slot, frames: number): Float32Array {
  return ring ? moveRows(values, shape, frames * ring.positionsPerFrame, false) : values.slice();
}

/** The opposite. */
function rolled(values: Float32Array, { shape, ring }: Slot, frames: number): Float32Array {
  return ring ? moveRows(values, shape, frames * ring.positionsPerFrame, true) : values.slice();
}

/** Between rows of a ring that has seen `end` positions, and rows by age. */
function moveRows(values: Float32Array, [heads, rows, width]: number[], end: number, intoRing: boolean): Float32Array {
  const out = new Float32Array(values.length);
  for (let head = 0; head < heads; head++) {
    for (let back = 1; back <= Math.min(rows, end); back++) {
      const place = (head * rows + (end - back) % rows) * width, byAge = (head * rows + rows - back) * width;
      const [from, to] = intoRing ? [byAge, place] : [place, byAge];
      out.set(values.subarray(from, from + width), to);
    }
  }
  return out;
}
