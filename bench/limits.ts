/**
 * Where each millisecond of a frame goes, kernel by kernel, beside two limits of the same kernels in the same run: how fast
 * they multiply what is in the nearest cache, and how fast memory is read.
 */
import type { Precision } from "../mod.ts";
import { lower } from "../src/backends/wasm/lower.ts";
import { Memory } from "../src/backends/wasm/memory.ts";
import { FORMATS } from "../src/backends/wasm/precision.ts";
import { MimiConfig } from "../src/core/config.ts";
import { decoderNetwork, encoderNetwork } from "../src/core/mimi.ts";
import { inputPositions } from "../src/core/network.ts";
import { deterministicWeights } from "../tests/support/weights.ts";
import { signal } from "./signal.ts";
import { median } from "./stats.ts";
import { ms, printNote, printTable } from "./table.ts";

const CODEBOOKS = 8, WARM_UP = 20, RUNS = 60;
/** Bits of a weight. */
const BITS: Record<string, number> = { gemm: 32, gemm_int16: 16, gemm_int12: 12, gemm_int8: 8 };

/** What a kernel did in a pass. */
interface Work {
  seconds: number;
  /** Multiplications with an addition. */
  products: number;
  /** Bytes of weights. */
  bytes: number;
}

export async function limits(): Promise<void> {
  const read = await readLimit(), arithmetic = await arithmeticLimits();
  for (const [title, frames] of [["live, a frame a step", 1], ["whole files, 16 frames a step", 16]] as const) {
    for (const precision of ["f32", "int12", "int8"] as const) {
      const work = await measure(precision, frames);
      const total = [...work.values()].reduce((sum, { seconds }) => sum + seconds, 0);
      const rows = [...work].sort(([, a], [, b]) => b.seconds - a.seconds).filter(([, w]) => w.seconds > 0.004 * total);
      printTable(
        `${precision}, ${title}: ${ms(1000 * total / frames)} ms a frame, encode and decode, ${CODEBOOKS} codebooks`,
        ["", "ms a frame", "of all", "G products/s", "of their limit", "GB/s of weights", "of memory's"],
        rows.map(([name, { seconds, products, bytes }]) => {
          const rate = products / seconds, flow = bytes / seconds, most = arithmetic.get(name);
          return [
            name,
            ms(1000 * seconds / frames),
            percent(seconds / total),
            ...(products ? [(rate / 1e9).toFixed(1), most ? percent(rate / most) : ""] : ["", ""]),
            ...(bytes ? [(flow / 1e9).toFixed(1), percent(flow / read)] : ["", ""]),
          ];
        }),
      );
    }
  }
  printNote(
    `Limits: ${[...arithmetic].map(([name, rate]) => `${name} ${(rate / 1e9).toFixed(1)} G products/s`).join(", ")}, ` +
      `with everything in the nearest cache; memory ${(read / 1e9).toFixed(1)} GB/s, read in order. ` +
      `Medians of ${RUNS} passes of each half. Calls are timed one by one, which adds to the short ones.`,
  );
}

const percent = (share: number) => `${(100 * share).toFixed(0)} %`;

/** Both halves of the full-size codec, each kernel's work in the median pass. */
async function measure(precision: Precision, frames: number): Promise<Map<string, Work>> {
  const config = new MimiConfig(), weights = await deterministicWeights("full-spec"), total = new Map<string, Work>();
  for (const network of [encoderNetwork(config, CODEBOOKS), decoderNetwork(config, CODEBOOKS)]) {
    const memory = await Memory.create(), meter = metered(memory);
    const lowered = await lower(network, weights, memory, frames, FORMATS[precision]);
    const at = memory.allocate(lowered.stateSize),
      n = inputPositions(network, frames),
      passes: Map<string, Work>[] = [];
    const codes = Uint16Array.from({ length: CODEBOOKS * frames }, (_, i) => (i * 7919) % config.codebookSize);
    for (let i = -WARM_UP; i < RUNS; i++) {
      if (network.direction === "encode") memory.view(lowered.input, n).set(signal((i + WARM_UP) * n, n));
      const done = (i + WARM_UP) * frames, ports = { audio: [], codes: [codes], codebooks: CODEBOOKS };
      meter.work.clear();
      lowered.run(n, { streams: [{ at, frames: done }], ports, row: 0, frame: 0 });
      if (i >= 0) passes.push(new Map([...meter.work].map(([name, work]) => [name, { ...work }])));
    }
    for (const [name, { products, bytes }] of passes[0]) {
      const seconds = median(passes.map((pass) => pass.get(name)!.seconds)), before = total.get(name);
      total.set(name, {
        seconds: seconds + (before?.seconds ?? 0),
        products: products + (before?.products ?? 0),
        bytes: bytes + (before?.bytes ?? 0),
      });
    }
  }
  return total;
}

/** Has every call of a kernel timed and counted. */
function metered(memory: Memory): { work: Map<string, Work> } {
  const work = new Map<string, Work>(), { kernels } = memory;
  const timed = Object.fromEntries(
    Object.entries(kernels).filter(([, f]) => typeof f === "function").map(([name, f]) => [
      name,
      (...args: number[]) => {
        const [outputs, inputs, rows] = sizesOf(name, args), bits = BITS[name] ?? 0;
        const key = bits ? `${name} ${rows <= 2 ? "(1 or 2 rows)" : "(more rows)"}` : name;
        if (!work.has(key)) work.set(key, { seconds: 0, products: 0, bytes: 0 });
        const entry = work.get(key)!, start = performance.now();
        const result = (f as (...args: number[]) => number)(...args);
        entry.seconds += (performance.now() - start) / 1000;
        entry.products += outputs * inputs * rows;
        entry.bytes += outputs * inputs * bits / 8;
        return result;
      },
    ]),
  );
  Object.defineProperty(memory, "kernels", { value: timed });
  return { work };
}

/** Outputs, inputs and rows of a product, by the kernel's arguments; zeros for what is none. */
function sizesOf(name: string, args: number[]): [outputs: number, inputs: number, rows: number] {
  if (name === "gemm") return [args[8], args[9], args[10] * args[12]];
  if (name === "dot") return [args[7], args[8], args[9]];
  return name in BITS ? [args[10], 2 * args[11], args[12]] : [0, 0, 0];
}

/** Bytes a second of a bare read: `argmax` goes through everything once, and finds the largest in front. */
async function readLimit(): Promise<number> {
  const memory = await Memory.create(), n = 2 ** 25, at = memory.allocate(n);
  memory.view(at, n).fill(0.5)[0] = 1;
  return 4 * n / median(Array.from({ length: 9 }, () => secondsOf(() => memory.kernels.argmax(at, n))));
}

/** Products a second of each kernel of products, for few rows and for many, with all that it reads in the nearest cache. */
async function arithmeticLimits(): Promise<Map<string, number>> {
  const memory = await Memory.create(),
    { kernels } = memory,
    inputs = 256,
    many = 32,
    limits = new Map<string, number>();
  const at = memory.allocate(16 * inputs), x = memory.allocate(many * inputs), y = memory.allocate(many * 64);
  const one = memory.allocate(64), panel = memory.allocate(16 * inputs);
  for (const [name, bits] of Object.entries(BITS)) {
    for (const [key, rows] of [["(1 or 2 rows)", 2], ["(more rows)", many]] as const) {
      const outputs = rows === 2 ? 16 * 32 / bits : 16, repeats = 2e8 / (outputs * inputs * rows);
      const run = name === "gemm"
        ? () => kernels.gemm(at, 64, inputs * 64, one, x, inputs * 4, y, 256, outputs, inputs, rows, false, 1, 0)
        : () => {
          const kernel = kernels[name as "gemm_int8"], half = inputs / 2;
          kernel(at, one, one, x, inputs * 2, 1, inputs * 2, one, y, 256, outputs, half, rows, false, panel);
        };
      const times = Array.from({ length: 7 }, () =>
        secondsOf(() => {
          for (let i = 0; i < repeats; i++) run();
        }));
      limits.set(`${name} ${key}`, 2e8 / median(times));
    }
  }
  return limits;
}

function secondsOf(run: () => void): number {
  const start = performance.now();
  run();
  return (performance.now() - start) / 1000;
}
