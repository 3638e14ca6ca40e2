/**
 * The largest layers of Mimi, each alone: through the wasm backend and through onnxruntime-web (wasm, one thread).
 *
 * Both get two new positions (the strided convolution: enough input for two out) behind the past that the layer needs;
 * the transposed convolution of ONNX has no past and gets the two alone. Ours includes keeping the past for the next
 * step, which a stream over ONNX would have to do itself.
 */
import * as ort from "onnxruntime-web";
import { Graph } from "../src/backends/onnx/graph.ts";
import { lower, type Pass } from "../src/backends/wasm/lower.ts";
import { Memory } from "../src/backends/wasm/memory.ts";
import { type Layer, sizeOf, tensorsOf } from "../src/core/network.ts";
import { signal } from "./signal.ts";

const CONV = { kind: "conv", dilation: 1, bias: true, padMode: "constant" } as const;

type Constants = { shape: number[]; values: Float32Array }[];

interface Case {
  title: string;
  layer: Layer & { inChannels: number; outChannels: number };
  /** New positions in and out. */
  fresh: number;
  out: number;
  /** Rows of past in front of ONNX's input. */
  past: number;
  /** Positions that ONNX puts out. */
  onnxOut: number;
  attributes: Record<string, number[]>;
}

const CASES: readonly Case[] = [
  {
    title: "Conv 512→1024, kernel 7 (decoder.layers.0)",
    layer: { ...CONV, name: "decoder.layers.0.conv", inChannels: 512, outChannels: 1024, kernel: 7, stride: 1 },
    fresh: 2,
    out: 2,
    past: 6,
    onnxOut: 2,
    attributes: {},
  },
  {
    title: "ConvTranspose 1024→512, kernel 16, stride 8 (decoder.layers.2)",
    layer: {
      kind: "convTranspose",
      name: "decoder.layers.2.conv",
      inChannels: 1024,
      outChannels: 512,
      kernel: 16,
      stride: 8,
      groups: 1,
      bias: true,
    },
    fresh: 2,
    out: 16,
    past: 0,
    onnxOut: 24,
    attributes: { strides: [8] },
  },
  {
    title: "Conv 512→1024, kernel 16, stride 8 (encoder.layers.12)",
    layer: { ...CONV, name: "encoder.layers.12.conv", inChannels: 512, outChannels: 1024, kernel: 16, stride: 8 },
    fresh: 16,
    out: 2,
    past: 8,
    onnxOut: 2,
    attributes: { strides: [8] },
  },
  {
    title: "MatMul 512→2048 (mlp.fc1)",
    layer: { kind: "linear", name: "mlp.fc1", inChannels: 512, outChannels: 2048, bias: false },
    fresh: 2,
    out: 2,
    past: 0,
    onnxOut: 2,
    attributes: {},
  },
];

/** A layer made ready both ways. */
export interface SingleLayer {
  title: string;
  /** Runs our kernels once. */
  ours(): void;
  /** Runs onnxruntime-web once. */
  theirs(): Promise<void>;
  /** Largest difference of the two results on the first step of a stream, over the largest value. */
  difference: number;
}

export async function singleLayers(): Promise<SingleLayer[]> {
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  const layers: SingleLayer[] = [];
  // One after the other: sessions that are made at the same time mix up constants of the same name.
  for (const which of CASES) layers.push(await prepare(which));
  return layers;
}

async function prepare(which: Case): Promise<SingleLayer> {
  const { title, layer, fresh, out, past } = which;
  const constants = tensorsOf(layer).map(({ shape }, i) => ({ shape, values: weights(sizeOf(shape), i) }));
  const x = signal(0, fresh * layer.inChannels);
  const { run, result } = await ourLayer(layer, constants, x, fresh, out);
  const session = await onnxSession(which, constants);
  const feeds = { x: onnxInput(layer, x, fresh, past) };
  const [output] = session.outputNames, first = await session.run(feeds);
  return {
    title,
    ours: run,
    theirs: async () => {
      const results = await session.run(feeds);
      results[output].dispose();
    },
    difference: difference(result, first[output].data as Float32Array, which),
  };
}

/** The layer as a network of its own, and what its first step gives. */
async function ourLayer(
  layer: Case["layer"],
  constants: Constants,
  x: Float32Array,
  fresh: number,
  out: number,
): Promise<{ run: () => void; result: Float32Array }> {
  const names = tensorsOf(layer).map(({ name }) => name), memory = await Memory.create();
  const source = { read: ({ name }: { name: string }) => Promise.resolve(constants[names.indexOf(name)].values) };
  // Frames of a decoding network are positions; samples never enter or leave here.
  const lowered = await lower({ direction: "decode", frameSize: 1, layers: [layer] }, source, memory, fresh);
  const input = memory.store(x), state = memory.allocate(lowered.stateSize);
  const streams = [{ at: state, frames: 0 }];
  const pass: Pass = { streams, ports: { audio: [], codes: [], codebooks: 0 }, row: 0, frame: 0 };
  const run = () => lowered.run(fresh, pass, input);
  return { result: memory.view(run(), out * layer.outChannels).slice(), run };
}

async function onnxSession(which: Case, constants: Constants): Promise<ort.InferenceSession> {
  const { layer, attributes, fresh, past, onnxOut } = which, { inChannels, outChannels } = layer, graph = new Graph();
  const linear = layer.kind === "linear", op = linear ? "MatMul" : layer.kind === "conv" ? "Conv" : "ConvTranspose";
  // y = x W, so the weights stand the other way round.
  const weights = linear
    ? [{ shape: [inChannels, outChannels], values: transpose(constants[0].values, outChannels) }]
    : constants;
  const x = graph.input("x", "float32", linear ? [fresh, inChannels] : [1, inChannels, past + fresh]);
  const y = graph.op(op, [x, ...weights.map(({ shape, values }) => graph.constant(values, shape))], attributes);
  graph.output(y, "float32", linear ? [onnxOut, outChannels] : [1, outChannels, onnxOut]);
  const { model, externalData } = graph.build();
  return await ort.InferenceSession.create(model, { executionProviders: ["wasm"], externalData });
}

/** ONNX has channels first; the past of a stream's first step is zeros. */
function onnxInput(layer: Case["layer"], x: Float32Array, fresh: number, past: number): ort.Tensor {
  if (layer.kind === "linear") return new ort.Tensor("float32", x, [fresh, layer.inChannels]);
  const rows = new Float32Array((past + fresh) * layer.inChannels);
  rows.set(x, past * layer.inChannels);
  return new ort.Tensor("float32", transpose(rows, past + fresh), [1, layer.inChannels, past + fresh]);
}

function difference(ours: Float32Array, theirs: Float32Array, { layer, out, onnxOut }: Case): number {
  let most = 0, largest = 0;
  for (let t = 0; t < out; t++) {
    for (let c = 0; c < layer.outChannels; c++) {
      const value = theirs[layer.kind === "linear" ? t * layer.outChannels + c : c * onnxOut + t];
      most = Math.max(most, Math.abs(value - ours[t * layer.outChannels + c]));
      largest = Math.max(largest, Math.abs(value));
    }
  }
  return most / largest;
}

/** Some weights; `salt` makes those of two tensors differ. */
function weights(size: number, salt: number): Float32Array {
  return Float32Array.from(
    { length: size },
    (_, i) => Math.fround(((i * 7919 + salt * 104729) % 2003) / 2003 - 0.5) * 0.05,
  );
}

/** [rows, columns] to [columns, rows]. */
function transpose(values: Float32Array, rows: number): Float32Array {
  const columns = values.length / rows, out = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c];
  return out;
}
