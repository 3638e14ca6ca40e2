/** What the shortlist saves of the search for the nearest entries, and that it finds the same ones. */
import { Codebook } from "../src/backends/wasm/codebook.ts";
import { matmul, type Scratch } from "../src/backends/wasm/matmul.ts";
import { Memory } from "../src/backends/wasm/memory.ts";
import { rowsOf } from "../src/core/packing.ts";
import { random } from "../tests/support/random.ts";
import { measureRounds } from "./rounds.ts";
import { median } from "./stats.ts";
import { ms, printNote, printTable } from "./table.ts";

const LEVELS = 32, SIZE = 2048, DIM = 256, ROUNDS = 7, RUNS = 20;
/** Vectors of a search: of a live frame, and of a pass over a file. */
const COUNTS = [1, 16];

export async function codebooks(): Promise<void> {
  const rows: string[][] = [];
  for (const count of COUNTS) {
    const { plain, shortlist, differing } = await measure(count);
    const ratio = shortlist / plain;
    rows.push([`${count} at a time`, ms(plain / count), ms(shortlist / count), ratio.toFixed(2), String(differing)]);
  }
  printTable(
    `Residual vector quantization, ${LEVELS} codebooks of ${SIZE} entries of ${DIM} values: milliseconds a vector`,
    [
      "",
      "all entries in f32",
      "by a shortlist",
      "ratio",
      `codes that differ, of ${COUNTS.map((n) => n * LEVELS).join(" and ")}`,
    ],
    rows,
  );
  printNote(
    `Medians of ${ROUNDS * RUNS} runs in turn. tests/kernels.test.ts holds 100,000 vectors against the plain search.`,
  );
}

/** Codebooks that get finer from level to level, as those of a trained quantizer do. */
async function measure(count: number): Promise<{ plain: number; shortlist: number; differing: number }> {
  const memory = await Memory.create(), rng = random("codebooks", 1);
  const books = Array.from({ length: LEVELS }, (_, level) => rng.floats(SIZE * DIM, 0.9 ** level));
  const shared = new Map<string, Scratch & { bytes: number }>();
  const scratch = (name: string, bytes: number) => {
    const known = shared.get(name) ?? { at: 0, bytes: 0 };
    known.bytes = Math.max(known.bytes, bytes);
    shared.set(name, known);
    return known;
  };
  const shortlists = books.map((entries) => new Codebook(memory, entries, SIZE, DIM, count, scratch));
  const plains = books.map((entries) => {
    const half = Float32Array.from({ length: SIZE }, (_, e) => {
      let squares = 0;
      for (let c = 0; c < DIM; c++) squares += entries[e * DIM + c] ** 2;
      return -squares / 2;
    });
    const weights = { rows: rowsOf(entries, DIM), outputs: SIZE, inputs: DIM, bias: memory.store(half) };
    return {
      entries: memory.store(entries),
      scores: matmul(memory, weights, "f32", { frames: count, perFrame: 1, taps: 1, stride: 1 }, scratch),
    };
  });
  for (const buffer of shared.values()) buffer.at = memory.allocate(Math.ceil(buffer.bytes / 4));
  const vectors = rng.floats(count * DIM), x = memory.store(vectors), residual = memory.allocate(count * DIM);
  const scores = memory.allocate(count * SIZE), found = memory.allocate(count * LEVELS), { kernels } = memory;
  const codes = [new Uint32Array(count * LEVELS), new Uint32Array(count * LEVELS)];
  const byShortlist = () => {
    kernels.move(residual, x, count * DIM * 4);
    shortlists.forEach((book, level) => book.search(residual, count, found + level * count * 4));
    codes[0].set(memory.integers(found, count * LEVELS));
  };
  const byAll = () => {
    kernels.move(residual, x, count * DIM * 4);
    plains.forEach((book, level) => {
      book.scores.run(residual, DIM * 4, scores, SIZE * 4, count, false);
      for (let t = 0; t < count; t++) {
        const code = codes[1][level * count + t] = kernels.argmax(scores + t * SIZE * 4, SIZE);
        const at = residual + t * DIM * 4;
        const values = memory.view(at, DIM), entry = memory.view(book.entries + code * DIM * 4, DIM);
        for (let c = 0; c < DIM; c++) values[c] -= entry[c];
      }
    });
  };
  const contestant = { runs: RUNS, warmUp: 3 };
  const [plain, shortlist] = await measureRounds(
    [{ ...contestant, run: byAll }, { ...contestant, run: byShortlist }],
    ROUNDS,
  );
  return {
    plain: median(plain),
    shortlist: median(shortlist),
    differing: codes[0].filter((code, i) => code !== codes[1][i]).length,
  };
}
