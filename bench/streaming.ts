/**
 * Whether a long stream costs more than a short one: time and memory at frame 500 and at frame 10,000 of one stream.
 *
 * Minutes lie between the two, in which the machine may become slower or faster, so both stretches then run once more
 * from snapshots, in turns, frame by frame.
 */
import { MimiModel, type ModelMemory, type StreamSnapshot } from "../mod.ts";
import { signal } from "./signal.ts";
import { median } from "./stats.ts";
import { MiB, ms, printTable } from "./table.ts";

const FRAME = 1920;
const MIDDLES: readonly number[] = [500, 10_000];
/** Frames measured on either side of a middle. */
const AROUND = 100;

/** An encoder and a decoder of what it encodes. */
class Stream {
  readonly #encoder;
  readonly #decoder;
  #frame = 0;
  encodeTimes: number[] = [];
  decodeTimes: number[] = [];

  constructor(model: MimiModel) {
    this.#encoder = model.createEncoderSync();
    this.#decoder = model.createDecoderSync();
  }

  /** Codes the next frame. */
  step(): void {
    const audio = signal(this.#frame++ * FRAME, FRAME), start = performance.now();
    const codes = this.#encoder.encode(audio), between = performance.now();
    this.#decoder.decode(codes);
    this.encodeTimes.push(between - start);
    this.decodeTimes.push(performance.now() - between);
  }

  snapshots(): [StreamSnapshot, StreamSnapshot] {
    return [this.#encoder.snapshot(), this.#decoder.snapshot()];
  }

  restore([encoder, decoder]: [StreamSnapshot, StreamSnapshot]): void {
    this.#encoder.restore(encoder);
    this.#decoder.restore(decoder);
    this.#frame = encoder.position;
  }
}

interface Stretch {
  /** Medians in milliseconds. */
  encode: number;
  decode: number;
  memory: ModelMemory;
}

export async function streaming(): Promise<void> {
  const model = await MimiModel.fromPretrained("mini");
  const { stretches, starts } = once(model), again = inTurns(model, starts);
  model.close();
  print(stretches, again);
}

/** The one long stream; `starts` are snapshots from which each stretch can be repeated. */
function once(model: MimiModel): { stretches: Stretch[]; starts: [StreamSnapshot, StreamSnapshot][] } {
  const stream = new Stream(model), stretches: Stretch[] = [], starts: [StreamSnapshot, StreamSnapshot][] = [];
  let frame = 0;
  for (const middle of MIDDLES) {
    for (; frame < middle - AROUND; frame++) stream.step();
    starts.push(stream.snapshots());
    stream.encodeTimes = [];
    stream.decodeTimes = [];
    for (; frame < middle + AROUND; frame++) stream.step();
    stretches.push({ encode: median(stream.encodeTimes), decode: median(stream.decodeTimes), memory: model.memory });
  }
  return { stretches, starts };
}

function inTurns(model: MimiModel, starts: readonly [StreamSnapshot, StreamSnapshot][]): Omit<Stretch, "memory">[] {
  const streams = starts.map((start) => {
    const stream = new Stream(model);
    stream.restore(start);
    return stream;
  });
  for (let frame = 0; frame < 2 * AROUND; frame++) for (const stream of streams) stream.step();
  return streams.map((stream) => ({ encode: median(stream.encodeTimes), decode: median(stream.decodeTimes) }));
}

function print(stretches: readonly Stretch[], again: readonly Omit<Stretch, "memory">[]): void {
  const bytes = (n: number) => `${n.toLocaleString("en")} (${MiB(n)} MiB)`;
  const time = (title: string, [a, b]: number[]) => [title, `${ms(a)} ms`, `${ms(b)} ms`, (b / a).toFixed(3)];
  const versus = (a: number, b: number) => (a === b ? "the same" : (b / a).toFixed(3));
  const size = (title: string, [a, b]: number[]) => [title, bytes(a), bytes(b), versus(a, b)];
  const halves = ["encoder", "decoder"] as const;
  printTable(
    `One stream, embedded model: medians over the ${2 * AROUND} frames around a frame, memory behind them`,
    ["", ...MIDDLES.map((middle) => `frame ${middle.toLocaleString("en")}`), "ratio"],
    [
      time("encode a frame, as the stream passes", stretches.map((s) => s.encode)),
      time("decode a frame, as the stream passes", stretches.map((s) => s.decode)),
      time("encode a frame, both in turns", again.map((s) => s.encode)),
      time("decode a frame, both in turns", again.map((s) => s.decode)),
      ...halves.map((half) => size(`${half}, state of the stream`, stretches.map((s) => s.memory[half]!.state))),
      ...halves.map((half) => size(`${half}, all wasm memory`, stretches.map((s) => s.memory[half]!.total))),
    ],
  );
}
