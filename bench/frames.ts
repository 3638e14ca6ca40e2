/** What a frame of 80 ms costs at full size, live and in whole files, with onnxruntime-web on single layers beside it. */
import type { AudioCodes, MimiModel } from "../mod.ts";
import { fullModel } from "./full-model.ts";
import { type Contestant, measureRounds } from "./rounds.ts";
import { signal } from "./signal.ts";
import { type SingleLayer, singleLayers } from "./single-layers.ts";
import { median, p95 } from "./stats.ts";
import { ms, printNote, printTable } from "./table.ts";

const FRAME = 1920, BUDGET = 80, CODEBOOKS = [8, 32];
const ROUNDS = 5;
/** Frames of a live stream that count, of each round, and runs of a single layer. */
const LIVE_RUNS = 20, LAYER_RUNS = 20;
/** Live frames in front of everything, with which the engine gets to its optimised code. */
const WARM_UP = 20;
/** 10 s. */
const FILE_FRAMES = 125;

interface Row extends Contestant {
  title: string;
  /** Frames of one run. */
  frames: number;
}

export async function frames(): Promise<void> {
  const model = await fullModel(), layers = await singleLayers();
  const audio = signal(0, FILE_FRAMES * FRAME), { audioCodes } = await model.encode(audio);
  const rows = CODEBOOKS.flatMap((
    k,
  ) => [...liveRows(model, audio, audioCodes, k), ...fileRows(model, audio, audioCodes, k)]);
  const layerRuns = layers.flatMap(({ ours, theirs }): Contestant[] =>
    [ours, theirs].map((run) => ({ run, runs: LAYER_RUNS, warmUp: 3 }))
  );
  for (const { run, frames } of rows) for (let i = 0; i < WARM_UP; i += frames) await run();
  const times = await measureRounds([...rows, ...layerRuns], ROUNDS);
  const perFrame = rows.map(({ frames }, i) => times[i].map((t) => t / frames));
  printFrames(rows, perFrame);
  printLayers(layers, times.slice(rows.length));
  model.close();
}

/** One frame a step, encoding and decoding. */
function liveRows(model: MimiModel, audio: Float32Array, codes: AudioCodes, codebooks: number): Row[] {
  const encoder = model.createEncoderSync({ numQuantizers: codebooks }), decoder = model.createDecoderSync();
  const pieces = Array.from({ length: FILE_FRAMES }, (_, t) => {
    const data = Uint16Array.from({ length: codebooks }, (_, k) => codes.data[k * FILE_FRAMES + t]);
    const column: AudioCodes = { data, shape: [1, codebooks, 1] };
    return { audio: audio.subarray(t * FRAME, (t + 1) * FRAME), codes: column };
  });
  let heard = 0, said = 0;
  // Two frames a round bring the weights back into the caches.
  const live = { runs: LIVE_RUNS, warmUp: 2, frames: 1 };
  return [
    {
      ...live,
      title: `encode, live, ${codebooks} codebooks`,
      run: () => void encoder.encode(pieces[heard++ % FILE_FRAMES].audio),
    },
    {
      ...live,
      title: `decode, live, ${codebooks} codebooks`,
      run: () => void decoder.decode(pieces[said++ % FILE_FRAMES].codes),
    },
  ];
}

/** Ten seconds at once. */
function fileRows(model: MimiModel, audio: Float32Array, codes: AudioCodes, codebooks: number): Row[] {
  const part: AudioCodes = { data: codes.data.slice(0, codebooks * FILE_FRAMES), shape: [1, codebooks, FILE_FRAMES] };
  const file = { runs: 1, warmUp: 0, frames: FILE_FRAMES };
  return [
    {
      ...file,
      title: `encode, file of 10 s, ${codebooks} codebooks`,
      run: async () => void await model.encode(audio, { numQuantizers: codebooks }),
    },
    { ...file, title: `decode, file of 10 s, ${codebooks} codebooks`, run: async () => void await model.decode(part) },
  ];
}

function printFrames(rows: readonly Row[], times: readonly number[][]): void {
  const share = (value: number) => `${((value / BUDGET) * 100).toFixed(1)} %`;
  printTable(
    "A frame of 80 ms, full size, wasm, f32, one thread",
    ["", "median ms", "p95 ms", "of 80 ms", "p95 of 80 ms", "measured"],
    rows.map(({ title, frames }, i) => {
      const middle = median(times[i]), high = p95(times[i]), unit = frames > 1 ? "files" : "frames";
      return [title, ms(middle), ms(high), share(middle), share(high), `${times[i].length} ${unit}`];
    }),
  );
}

function printLayers(layers: readonly SingleLayer[], times: readonly number[][]): void {
  printTable(
    "Single layers at 2 positions beside onnxruntime-web (wasm, one thread), same rounds",
    ["", "ours, median ms", "p95 ms", "ort, median ms", "p95 ms", "ort / ours", "difference"],
    layers.map(({ title, difference }, i) => {
      const [ours, theirs] = [times[2 * i], times[2 * i + 1]], ratio = `${(median(theirs) / median(ours)).toFixed(1)}×`;
      const figures = [ours, theirs].flatMap((t) => [ms(median(t)), ms(p95(t))]);
      return [title, ...figures, ratio, difference.toExponential(1)];
    }),
  );
  printNote(
    "Both repeat one layer: its weights stay in the caches where they fit. Difference: largest, of the largest value.",
  );
}
