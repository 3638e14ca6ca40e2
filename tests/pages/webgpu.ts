/** A model on the GPU of a page, and what happens when that goes away. */
import { AudioCodes, DeviceLostError, type LoadOptions, MimiModel } from "../../mod.ts";
import { Graph } from "../../src/backends/onnx/graph.ts";
import { webgpu } from "../../src/backends/onnx/webgpu.ts";

/** ONNX Runtime as it lies in its package; a page without a bundler names it itself. */
export const importRuntime = async (): Promise<
  { InferenceSession: { create: (...args: unknown[]) => Promise<unknown> } }
> => await import(new URL("/ort/ort.webgpu.min.mjs", location.href).href);

let device: GPUDevice, model: MimiModel;

/** Loads a model on a device that the page can destroy. */
export async function load(source: string, options: LoadOptions): Promise<string> {
  const adapter = (await navigator.gpu.requestAdapter())!;
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  device = await adapter.requestDevice({ requiredLimits: { maxBufferSize, maxStorageBufferBindingSize } });
  model = await MimiModel.fromPretrained(source, {
    backend: webgpu({ ort: await importRuntime(), device }),
    ...options,
  });
  return model.backend;
}

export async function encode(input: number[]): Promise<number[]> {
  return [...(await model.encode(Float32Array.from(input))).audioCodes.data];
}

export async function decode(codes: number[], codebooks: number): Promise<number[]> {
  const { audioValues } = await model.decode({ data: codes, shape: [1, codebooks, codes.length / codebooks] });
  return [...audioValues.data];
}

/** Codes and audio of live streams, frame by frame; before frame `lost` the device goes. */
export async function live(
  input: number[],
  codes: number[],
  codebooks: number,
  lost: number,
): Promise<{ codes: number[]; audio: number[]; backend: string }> {
  const encoder = model.createEncoder(), decoder = model.createDecoder(), frames = codes.length / codebooks;
  const heard: number[][] = [], audio: number[] = [];
  for (let t = 0; t < frames; t++) {
    if (t === lost) device.destroy();
    const pcm = Float32Array.from(input.slice(t * 1920, (t + 1) * 1920));
    const parts = [await encoder.encode(pcm), ...(t === frames - 1 ? [await encoder.finish()] : [])];
    for (const { data } of parts) if (data.length) heard.push([...data]);
    const frame = AudioCodes.fromFrames([Array.from({ length: codebooks }, (_, k) => codes[k * frames + t])]);
    audio.push(...(await decoder.decode(frame)).audioValues.data);
  }
  return { codes: [...AudioCodes.fromFrames(heard).data], audio, backend: model.backend };
}

/** Audio of a stream that ends with its device, and goes on in wasm with the snapshot of the error. */
export async function rescued(
  source: string,
  codes: number[],
  codebooks: number,
  lost: number,
): Promise<{ position: number; code: string; audio: number[] }> {
  const frames = codes.length / codebooks, decoder = model.createDecoder(), audio: number[] = [];
  const frame = (t: number) =>
    AudioCodes.fromFrames([Array.from({ length: codebooks }, (_, k) => codes[k * frames + t])]);
  for (let t = 0; t < lost; t++) audio.push(...(await decoder.decode(frame(t))).audioValues.data);
  device.destroy();
  const error = await decoder.decode(frame(lost)).then(() => undefined, (error) => error);
  if (!(error instanceof DeviceLostError)) throw error;
  const position = error.snapshot!.position, other = (await MimiModel.fromPretrained(source)).createDecoder();
  await other.restore(error.snapshot!);
  audio.length = position * 1920;
  for (let t = position; t < frames; t++) audio.push(...(await other.decode(frame(t))).audioValues.data);
  return { position, code: error.code, audio };
}

/** Whether a graph with a node that the GPU cannot run is refused, as a session of ours would be. */
export async function refusesCPU(): Promise<string> {
  const graph = new Graph();
  graph.input("x", "float32", ["n", 1]);
  graph.output(graph.op("Det", [graph.op("Reshape", ["x", graph.integers(-1, 1, 1)])]), "float32", ["n"]);
  const { model } = graph.build();
  const options = { executionProviders: ["webgpu"], extra: { session: { disable_cpu_ep_fallback: "1" } } };
  return await (await importRuntime()).InferenceSession.create(model, options).then(() => "taken", (e) => e.message);
}

/** The same in a worker. */
export async function encodeInWorker(source: string, input: number[]): Promise<unknown> {
  const worker = new Worker("/webgpu-worker.js", { type: "module" });
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage({ source: new URL(source, location.href).href, input });
    });
  } finally {
    worker.terminate();
  }
}
