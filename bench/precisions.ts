/** What integer weights save: time of a frame, live and in whole files, and memory. */
import { type AudioCodes, type MimiModel, type Precision, wasm } from "../mod.ts";
import { PRECISIONS } from "../src/core/backend.ts";
import { fullModel } from "./full-model.ts";
import { type Contestant, measureRounds } from "./rounds.ts";
import { signal } from "./signal.ts";
import { median } from "./stats.ts";
import { ms, printNote, printTable } from "./table.ts";

const FRAME = 1920, CODEBOOKS = 8, ROUNDS = 9, LIVE_RUNS = 10, FILE_FRAMES = 125;

export async function precisions(): Promise<void> {
  const models = new Map<Precision, MimiModel>();
  for (const precision of PRECISIONS) {
    models.set(precision, await fullModel(wasm(), { numQuantizers: CODEBOOKS, precision }));
  }
  printMemory(models);
  const audio = signal(0, FILE_FRAMES * FRAME), { audioCodes } = await models.get("f32")!.encode(audio);
  const contestants = [...models.values()].flatMap((
    model,
  ) => [...live(model, audio, audioCodes), ...files(model, audio, audioCodes)]);
  for (const { run } of contestants.filter(({ runs }) => runs > 1)) for (let i = 0; i < 20; i++) await run();
  const times = await measureRounds(contestants, ROUNDS);
  printTimes([...models.keys()], times);
  for (const model of models.values()) model.close();
}

function live(model: MimiModel, audio: Float32Array, { data }: AudioCodes): Contestant[] {
  const encoder = model.createEncoderSync(), decoder = model.createDecoderSync(), shape = [1, CODEBOOKS, 1];
  const frames = Array.from({ length: FILE_FRAMES }, (_, t) => ({
    audio: audio.subarray(t * FRAME, (t + 1) * FRAME),
    codes: { data: Uint16Array.from({ length: CODEBOOKS }, (_, k) => data[k * FILE_FRAMES + t]), shape },
  }));
  let heard = 0, said = 0;
  // Two frames a round bring the weights back into the caches.
  return [
    { runs: LIVE_RUNS, warmUp: 2, run: () => void encoder.encode(frames[heard++ % FILE_FRAMES].audio) },
    { runs: LIVE_RUNS, warmUp: 2, run: () => void decoder.decode(frames[said++ % FILE_FRAMES].codes) },
  ];
}

function files(model: MimiModel, audio: Float32Array, codes: AudioCodes): Contestant[] {
  return [
    { runs: 1, warmUp: 0, run: async () => void await model.encode(audio) },
    { runs: 1, warmUp: 0, run: async () => void await model.decode(codes) },
  ];
}

function printTimes(names: readonly Precision[], times: readonly number[][]): void {
  // Of each precision: encode and decode live, a frame a run; encode and decode of a file.
  const perFrame = times.map((t, i) => i % 4 < 2 ? median(t) : median(t) / FILE_FRAMES);
  const columns = (i: number) => {
    const [encode, decode, encodeFile, decodeFile] = perFrame.slice(4 * i, 4 * i + 4);
    return [encode, decode, encode + decode, encodeFile, decodeFile];
  };
  const first = columns(0);
  printTable(
    `Milliseconds a frame of 80 ms, full size, ${CODEBOOKS} codebooks, one thread, and beside f32`,
    ["", "encode, live", "decode, live", "both, live", "encode, file", "decode, file"],
    names.map((name, i) => [name, ...columns(i).map((time, c) => `${ms(time)} (${(time / first[c]).toFixed(2)})`)]),
  );
  printNote(`Medians of ${ROUNDS * LIVE_RUNS} live frames and ${ROUNDS} files of ${FILE_FRAMES} frames, all in turn.`);
}

function printMemory(models: ReadonlyMap<Precision, MimiModel>): void {
  const MB = (bytes: number) => (bytes / 1e6).toFixed(1);
  printTable(
    `model.memory at full size with a live stream, ${CODEBOOKS} codebooks, MB`,
    ["", ...["encoder", "decoder"].flatMap((half) => [half, "its weights", "a stream"])],
    [...models].map(([name, model]) => {
      const streams = [model.createEncoderSync(), model.createDecoderSync()], { encoder, decoder } = model.memory;
      for (const stream of streams) stream.close();
      return [name, ...[encoder!, decoder!].flatMap(({ total, weights, state }) => [total, weights, state].map(MB))];
    }),
  );
}
