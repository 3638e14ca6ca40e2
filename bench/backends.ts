/** What a frame of 80 ms costs at full size in each backend that this runtime has, live and in whole files. */
import * as ort from "onnxruntime-web";
import { type Backend, wasm } from "../mod.ts";
import { native } from "../src/backends/onnx/native.ts";
import { onnxWasm } from "../src/backends/onnx/onnx-wasm.ts";
import { fullModel } from "./full-model.ts";
import { type Contestant, measureRounds } from "./rounds.ts";
import { signal } from "./signal.ts";
import { median } from "./stats.ts";
import { ms, printNote, printTable } from "./table.ts";

const FRAME = 1920, CODEBOOKS = 8, ROUNDS = 5, LIVE_RUNS = 10, FILE_FRAMES = 50;

export async function backends(): Promise<void> {
  const all: [title: string, backend: Backend][] = [
    ["wasm", wasm()],
    ["onnx-wasm, 1 thread", onnxWasm()],
    ["onnx-wasm, 2 threads", onnxWasm({ ort, threads: 2 })], // another build: each reads its number of threads once
    ["native, 1 thread", native()],
    ["native, 2 threads", native({ threads: 2 })],
  ];
  const codes = { data: new Uint16Array(CODEBOOKS * FILE_FRAMES), shape: [1, CODEBOOKS, FILE_FRAMES] };
  const audio = signal(0, FILE_FRAMES * FRAME), frame = { data: new Uint16Array(CODEBOOKS), shape: [1, CODEBOOKS, 1] };
  codes.data.forEach((_, i) => codes.data[i] = (i * 7919) % 2048);
  frame.data.forEach((_, i) => frame.data[i] = (i * 7919) % 2048);
  const columns: number[][] = [];
  for (const part of ["encoder", "decoder"] as const) { // not both at a time: they would take 4 GB
    const models = [];
    for (const [, backend] of all) models.push(await fullModel(backend, { numQuantizers: CODEBOOKS, part }));
    const live = models.map((model): Contestant => {
      const stream = part === "encoder" ? model.createEncoder() : model.createDecoder();
      const run = "encode" in stream ? () => stream.encode(audio.subarray(0, FRAME)) : () => stream.decode(frame);
      return { runs: LIVE_RUNS, warmUp: 3, run: async () => void await run() };
    });
    const files = models.map((model): Contestant => ({
      runs: 1,
      warmUp: 0,
      run: async () => void await (part === "encoder" ? model.encode(audio) : model.decode(codes)),
    }));
    const times = await measureRounds([...live, ...files], ROUNDS);
    columns.push(times.slice(0, all.length).map(median), times.slice(all.length).map((t) => median(t) / FILE_FRAMES));
    for (const model of models) model.close();
  }
  const first = columns.map((column) => column[0]);
  printTable(
    `Backends: milliseconds a frame of 80 ms, full size, f32, ${CODEBOOKS} codebooks, and beside wasm`,
    ["", "encode, live", "encode, file", "decode, live", "decode, file"],
    all.map(([title], i) => [title, ...columns.map((c, at) => `${ms(c[i])} (${(c[i] / first[at]).toFixed(2)}×)`)]),
  );
  printNote(`Medians of ${ROUNDS * LIVE_RUNS} live frames and ${ROUNDS} files of ${FILE_FRAMES} frames, all in turn.`);
}
