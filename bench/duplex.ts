/** A conversation: a frame heard and a frame said at the same time, with both halves in one worker or in one each. */
import { fileURLToPath } from "node:url";
import { MimiModel } from "../mod.ts";
import { withFullModelFiles } from "./full-model.ts";
import { measureRounds } from "./rounds.ts";
import { signal } from "./signal.ts";
import { median, p95 } from "./stats.ts";
import { ms, printNote, printTable } from "./table.ts";

const FRAME = 1920, CODEBOOKS = 8, ROUNDS = 7, RUNS = 20;

export async function duplex(): Promise<void> {
  await withFullModelFiles(async (folder) => {
    const rows: string[][] = [], source = fileURLToPath(folder);
    for (const precision of ["f32", "int12", "int8"] as const) {
      const options = { worker: true, numQuantizers: CODEBOOKS, precision } as const;
      const both = await MimiModel.fromPretrained(source, options);
      const encoder = await MimiModel.fromPretrained(source, { ...options, part: "encoder" });
      const decoder = await MimiModel.fromPretrained(source, { ...options, part: "decoder" });
      const pairs = [[both, both], [encoder, decoder]].map(([heard, said]) => ({
        encoder: heard.createEncoder(),
        decoder: said.createDecoder(),
      }));
      const audio = signal(0, FRAME), codes = { data: new Uint16Array(CODEBOOKS), shape: [1, CODEBOOKS, 1] };
      const times = await measureRounds(
        pairs.map(({ encoder, decoder }) => ({
          runs: RUNS,
          warmUp: 5,
          run: async () => void await Promise.all([encoder.encode(audio), decoder.decode(codes)]),
        })),
        ROUNDS,
      );
      const [one, two] = times.map(median);
      rows.push([precision, ...times.flatMap((t) => [ms(median(t)), ms(p95(t))]), (one / two).toFixed(2)]);
      for (const model of [both, encoder, decoder]) model.close();
    }
    printTable(
      `Both directions of a conversation, milliseconds a frame of 80 ms, full size, ${CODEBOOKS} codebooks`,
      ["", "one worker", "p95", "a worker each", "p95", "one / two"],
      rows,
    );
    printNote(`Medians of ${ROUNDS * RUNS} frames in turn, messages to and from the workers included.`);
  });
}
