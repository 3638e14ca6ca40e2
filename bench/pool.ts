/** What a live frame costs when streams share their steps: 1, 2, 4 and 8 streams of one model on one core. */
import { AudioCodes, type MimiModel } from "../mod.ts";
import { fullModel } from "./full-model.ts";
import { type Contestant, measureRounds } from "./rounds.ts";
import { signal } from "./signal.ts";
import { median, p95 } from "./stats.ts";
import { ms, printNote, printTable } from "./table.ts";

const FRAME = 1920, BUDGET = 80, CODEBOOKS = 8, STREAMS = [1, 2, 4, 8], ROUNDS = 5, RUNS = 15;

export async function pool(): Promise<void> {
  const model = await fullModel();
  const rows = STREAMS.flatMap((streams) => [encoding(model, streams), decoding(model, streams)]);
  for (const { run } of rows) for (let i = 0; i < 5; i++) await run();
  const times = await measureRounds(rows, ROUNDS), perFrame = times.map((t, i) => median(t) / rows[i].streams);
  printTable(
    `Streams that share steps, full size, wasm, f32, one thread, ${CODEBOOKS} codebooks, one frame of each a step`,
    ["", "step, median ms", "p95 ms", "a frame of one stream, ms", "of one stream alone", "streams in real time"],
    rows.map(({ title, streams }, i) => [
      title,
      ms(median(times[i])),
      ms(p95(times[i])),
      ms(perFrame[i]),
      (perFrame[i] / perFrame[i % 2]).toFixed(2),
      streams < Math.max(...STREAMS) ? "" : String(Math.floor(BUDGET / perFrame[i])),
    ]),
  );
  printNote("Streams in real time: of that direction alone, on one core, with nothing to spare.");
  model.close();
}

interface Row extends Contestant {
  title: string;
  streams: number;
}

function encoding(model: MimiModel, streams: number): Row {
  const pool = model.createPool({ maxStreams: streams });
  const encoders = Array.from({ length: streams }, () => pool.createEncoder({ numQuantizers: CODEBOOKS }));
  const audio = encoders.map((_, i) => signal(i * FRAME, FRAME));
  return {
    title: `encode, ${streams} stream${streams > 1 ? "s" : ""}`,
    streams,
    runs: RUNS,
    warmUp: 2,
    run: async () => void await Promise.all(encoders.map((encoder, i) => encoder.encode(audio[i]))),
  };
}

function decoding(model: MimiModel, streams: number): Row {
  const pool = model.createPool({ maxStreams: streams });
  const decoders = Array.from({ length: streams }, () => pool.createDecoder());
  const frames = decoders.map((_, i) =>
    AudioCodes.fromFrames([Array.from({ length: CODEBOOKS }, (_, k) => (i * 97 + k * 211) % 2048)])
  );
  return {
    title: `decode, ${streams} stream${streams > 1 ? "s" : ""}`,
    streams,
    runs: RUNS,
    warmUp: 2,
    run: async () => void await Promise.all(decoders.map((decoder, i) => decoder.decode(frames[i]))),
  };
}
