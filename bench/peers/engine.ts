/**
 * One JavaScript engine in a process, `engine.ts NAME FOLDER CODEBOOKS`: reads a command a line and answers each with a line
 * of JSON, as engine.py does.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import * as ortNode from "onnxruntime-node";
import * as ortWeb from "onnxruntime-web";
import { type Backend, MimiModel, type Precision, wasm } from "../../mod.ts";
import { native } from "../../src/backends/onnx/native.ts";
import { onnxWasm } from "../../src/backends/onnx/onnx-wasm.ts";

const FRAME = 1920;

export interface Timing {
  /** Seconds: as they pass, and of all of the process's threads. */
  wall: number;
  cpu: number;
}

interface Engine {
  encode(audio: Float32Array): Promise<ArrayLike<number | bigint>>;
  decode(codes: Uint16Array): Promise<Float32Array>;
  /** Encodes and decodes the next frame of a stream; absent where an engine has no streams. */
  step?(audio: Float32Array): Promise<void>;
}

const [name, folder, count] = process.argv.slice(2), codebooks = Number(count);
const read = async (file: string) => (await readFile(join(folder, file))).buffer as ArrayBuffer;

/** This library, with a backend. */
async function ours(backend: Backend, precision: Precision = "f32"): Promise<Engine> {
  const model = await MimiModel.fromPretrained(folder, {
    backend,
    precision,
    numQuantizers: codebooks,
    selfTest: false,
  });
  const encoder = model.createEncoder(), decoder = model.createDecoder();
  return {
    encode: async (audio) => (await model.encode(audio)).audioCodes.data,
    decode: async (codes) => {
      const frames = codes.length / codebooks;
      return (await model.decode({ data: codes, shape: [1, codebooks, frames] })).audioValues.data;
    },
    step: async (audio) => void await decoder.decode(await encoder.encode(audio)),
  };
}

/** What PyTorch exports of transformers' model, for recordings of one length: what transformers.js runs. */
async function exported(ort: typeof ortWeb, provider: string): Promise<Engine> {
  const options = { executionProviders: [provider], intraOpNumThreads: 1, graphOptimizationLevel: "all" } as const;
  const session = async (half: string) =>
    await ort.InferenceSession.create(new Uint8Array(await read(`${half}.onnx`)), options);
  const encoder = await session("encoder"), decoder = await session("decoder");
  return {
    encode: async (audio) => {
      const { y } = await encoder.run({ x: new ort.Tensor("float32", audio, [1, 1, audio.length]) });
      return y.data as BigInt64Array;
    },
    decode: async (codes) => {
      const x = new ort.Tensor("int64", BigInt64Array.from(codes, BigInt), [1, codebooks, codes.length / codebooks]);
      return (await decoder.run({ x })).y.data as Float32Array;
    },
  };
}

const ENGINES: Record<string, () => Promise<Engine>> = {
  f32: () => ours(wasm()),
  int12: () => ours(wasm(), "int12"),
  int8: () => ours(wasm(), "int8"),
  "graph on onnxruntime-web": () => ours(onnxWasm()),
  "graph on onnxruntime-node": () => ours(native()),
  "export on onnxruntime-web": () => exported(ortWeb, "wasm"),
  "export on onnxruntime-node": () => exported(ortNode as unknown as typeof ortWeb, "cpu"),
};

async function timed(run: () => Promise<unknown>): Promise<Timing> {
  const before = process.cpuUsage(), start = performance.now();
  await run();
  const wall = (performance.now() - start) / 1000, { user, system } = process.cpuUsage(before);
  return { wall, cpu: (user + system) / 1e6 };
}

const answer = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
ortWeb.env.wasm.numThreads = 1;
const engine = await ENGINES[name]();
const audio = new Float32Array(await read("audio.f32")), codes = new Uint16Array(await read("codes.u16"));
const frames = Math.floor(audio.length / FRAME);
let at = 0;
answer({ version: "", live: engine.step !== undefined });
for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument] = line.split(" ");
  if (command === "check") {
    await writeFile(join(folder, `${argument}.codes`), Uint16Array.from(await engine.encode(audio), Number));
    await writeFile(join(folder, `${argument}.audio`), await engine.decode(codes));
    answer({});
  } else if (command === "live") {
    answer(
      await timed(async () => {
        for (let i = 0; i < Number(argument); i++, at = (at + 1) % frames) {
          await engine.step!(audio.subarray(at * FRAME, (at + 1) * FRAME));
        }
      }),
    );
  } else {
    answer({ encode: await timed(() => engine.encode(audio)), decode: await timed(() => engine.decode(codes)) });
  }
}
