/**
 * Lowers a network to an ONNX graph that takes any number of frames a step.
 *
 * Values in the graph are rows, [positions, channels]. A convolution is one `Gemm` over windows of the rows
 * `[past | new | padding]`, a transposed one the same with `stride` times the outputs, so that weights are prepared once
 * and nothing is added up afterwards. What a stream remembers goes in and comes out as tensors.
 *
 * @module
 */
import type { TensorSource } from "../../core/backend.ts";
import { cosSin, ropeAngle, ropeFrequencies } from "../../core/math.ts";
import {
  type AttentionLayer,
  type ConvLayer,
  type ConvTransposeLayer,
  inputPositions,
  type Layer,
  type LinearLayer,
  type Network,
  padLeft,
  padRight,
  positionsAfter,
  projections,
  type ResidualQuantizer,
  stateOf,
  taps,
  tensorsOf,
} from "../../core/network.ts";
import { concatFloats } from "../../core/tensor.ts";
import { codebookEntries, scaled } from "../../core/weights.ts";
import { type ElementType, Graph, type OnnxModel, type Value } from "./graph.ts";

/** What a tensor of a step is made of. */
export interface Values {
  data: Float32Array | Int32Array;
  shape: number[];
}

/** An input that depends on nothing but how far a stream is and how much comes. */
export interface Feed {
  name: Value;
  type: ElementType;
  /**
   * @param start frames that went through before.
   * @param positions positions that enter the network.
   */
  make(start: number, positions: number): Values;
}

/** A tensor that a stream remembers. They have the order of `networkState`; what is empty there is left out. */
export interface Slot {
  input: Value;
  output: Value;
  /** As in `networkState`. */
  shape: number[];
  /**
   * In a ring the output is only the new rows, [heads, positions, width], and whoever runs the graph writes row `position`
   * to place `position % rows`. Otherwise the output takes the input's place.
   */
  ring?: { positionsPerFrame: number };
}

export interface Lowered extends OnnxModel {
  feeds: Feed[];
  slots: Slot[];
  /** When encoding: the input with samples, [positions, 1], and the output with the codes of each codebook, [frames]. */
  audioIn?: Value;
  codesOut: Value[];
  /** When decoding: the inputs with rows of each quantizer's entries, [codebooks, frames], and the output with samples. */
  codesIn: { name: Value; codebooks: number; size: number }[];
  audioOut?: Value;
}

export interface LowerOptions {
  /**
   * Where attention keeps its past. On the host, rings save copying the whole past in every step; on a device the state
   * stays where it is, and the graph moves it along.
   */
  past: "host" | "device";
}

/** An end that lies beyond every tensor. */
const END = 2 ** 31 - 1;
/** What hides a key: added to a score, it leaves no weight in f32. */
const HIDDEN = -1e9;

/** From positions that enter the network to those that enter a layer. */
type Positions = (n: number) => number;

export async function lower(network: Network, tensors: TensorSource, { past }: LowerOptions): Promise<Lowered> {
  const lowering = new Lowering(network, tensors, past);
  return await lowering.run();
}

class Lowering {
  readonly #network: Network;
  readonly #tensors: TensorSource;
  readonly #past: LowerOptions["past"];
  readonly #graph: Graph = new Graph();
  readonly #feeds = new Map<string, Feed>();
  readonly #slots: Slot[] = [];
  readonly #codesOut: Value[] = [];
  readonly #codesIn: Lowered["codesIn"] = [];

  constructor(network: Network, tensors: TensorSource, past: LowerOptions["past"]) {
    this.#network = network;
    this.#tensors = tensors;
    this.#past = past;
  }

  async run(): Promise<Lowered> {
    const { direction, layers } = this.#network, graph = this.#graph, encodes = direction === "encode";
    const audioIn = encodes ? graph.input("audio", "float32", ["samples", 1]) : undefined;
    const end = await this.#chain(layers, audioIn ?? "", (n) => n);
    const audioOut = encodes ? undefined : graph.output(end, "float32", ["samples", 1]);
    return {
      ...graph.build(),
      feeds: [...this.#feeds.values()],
      slots: this.#slots,
      codesIn: this.#codesIn,
      codesOut: this.#codesOut,
      audioIn,
      audioOut,
    };
  }

  async #chain(layers: readonly Layer[], x: Value, at: Positions): Promise<Value> {
    for (let i = 0; i < layers.length; i++) {
      const layer = layers[i], next = layers[i + 1], here = at;
      let scale: Float32Array | undefined;
      if ((layer.kind === "linear" || layer.kind === "attention") && next?.kind === "scale") {
        scale = await this.#read(next, 0);
        i++;
      }
      x = await this.#layer(layer, x, here, scale);
      at = (n) => positionsAfter(layer, here(n));
    }
    return x;
  }

  async #layer(layer: Layer, x: Value, at: Positions, scale?: Float32Array): Promise<Value> {
    const graph = this.#graph;
    switch (layer.kind) {
      case "elu":
        return graph.op("Elu", [x]);
      case "gelu":
        return graph.op("Gelu", [x]);
      case "conv":
        return await this.#conv(layer, x, at);
      case "convTranspose":
        return await this.#convTranspose(layer, x);
      case "linear":
        return await this.#linear(layer, x, scale);
      case "attention":
        return await this.#attention(layer, x, at, scale);
      case "scale":
        return graph.op("Mul", [x, graph.constant(await this.#read(layer, 0), [layer.channels])]);
      case "layerNorm": {
        const [weight, bias] = [await this.#read(layer, 0), await this.#read(layer, 1)];
        return graph.op(
          "LayerNormalization",
          [x, graph.constant(weight, [layer.channels]), graph.constant(bias, [layer.channels])],
          { axis: -1, epsilon: { float: layer.eps } },
        );
      }
      case "residual": {
        const branch = await this.#chain(layer.branch, x, at);
        return graph.op("Add", [await this.#chain(layer.shortcut, x, at), branch]);
      }
      case "quantize":
        for (const quantizer of layer.quantizers) await this.#quantize(quantizer, x);
        return x;
      case "dequantize": {
        let sum: Value | undefined;
        for (const quantizer of layer.quantizers) {
          const part = await this.#dequantize(quantizer);
          sum = sum === undefined ? part : graph.op("Add", [sum, part]);
        }
        return sum!;
      }
    }
  }

  /** Tensor `index` of a layer. */
  async #read(layer: Layer, index: number): Promise<Float32Array> {
    return await this.#tensors.read(tensorsOf(layer)[index]);
  }

  #slice(x: Value, axis: number, from: number, to: number = END, step: number = 1): Value {
    const integers = [from, to, axis, step].map((n) => this.#graph.integers(n));
    return this.#graph.op("Slice", [x, ...integers]);
  }

  #reshape(x: Value, ...shape: number[]): Value {
    return this.#graph.op("Reshape", [x, this.#graph.integers(...shape)]);
  }

  #transpose(x: Value, ...perm: number[]): Value {
    return this.#graph.op("Transpose", [x], { perm });
  }

  #concat(parts: Value[], axis: number): Value {
    return parts.length === 1 ? parts[0] : this.#graph.op("Concat", parts, { axis });
  }

  /** `x W^T + bias`, with W of [outputs, inputs]. */
  #gemm(x: Value, weight: Float32Array, outputs: number, bias?: Float32Array): Value {
    const constants = [this.#graph.constant(weight, [outputs, weight.length / outputs])];
    if (bias) constants.push(this.#graph.constant(bias, [outputs]));
    return this.#graph.op("Gemm", [x, ...constants], { transB: 1 });
  }

  /** An input that several layers may share. */
  #feed(name: string, type: ElementType, shape: (number | string)[], make: Feed["make"]): Value {
    if (!this.#feeds.has(name)) {
      this.#graph.input(name, type, shape);
      this.#feeds.set(name, { name, type, make });
    }
    return name;
  }

  /** The rows that a convolution remembers; empty where it has none. The newest rows of `all` are the next ones. */
  #rows(layer: ConvLayer | ConvTransposeLayer): { past: Value[]; keep(all: Value): void } {
    const [spec] = stateOf(layer);
    if (!spec) return { past: [], keep: () => {} };
    const { name, shape } = spec, input = this.#graph.input(`past ${name}`, "float32", shape);
    const keep = (all: Value) => {
      const output = this.#graph.output(this.#slice(all, 0, -shape[0]), "float32", shape);
      this.#slots.push({ input, output, shape });
    };
    return { past: [input], keep };
  }

  async #conv(layer: ConvLayer, x: Value, at: Positions): Promise<Value> {
    const { name, kernel, stride, dilation, inChannels, outChannels, padMode } = layer;
    const { past, keep } = this.#rows(layer), left = padLeft(layer);
    let all: Value;
    if (padMode === "replicate" && (left > 0 || stride > 1)) {
      // The nearest row repeated is a choice of rows: of `[past | new]`, or in a new stream of the first new one.
      const rows = this.#feed(`rows ${name}`, "int32", [`rows of ${name}`], (start, positions) => {
        const n = at(positions), data = new Int32Array(left + n + padRight(layer, n));
        for (let i = 0; i < data.length; i++) data[i] = Math.min(start === 0 ? Math.max(i, left) : i, left + n - 1);
        return { data, shape: [data.length] };
      });
      all = this.#graph.op("Gather", [this.#concat([...past, x], 0), rows], { axis: 0 });
    } else {
      const padding = stride === 1 ? [] : [
        this.#feed(`padding ${name}`, "float32", [`padding of ${name}`, inChannels], (_, positions) => {
          const rows = padRight(layer, at(positions));
          return { data: new Float32Array(rows * inChannels), shape: [rows, inChannels] };
        }),
      ];
      all = this.#concat([...past, x, ...padding], 0);
    }
    keep(all); // with padding in it the stream is at its end
    const weight = columns(await this.#read(layer, 0), outChannels, inChannels, kernel);
    const windows = this.#windows(all, inChannels, kernel, stride, dilation);
    return this.#gemm(windows, weight, outChannels, layer.bias ? await this.#read(layer, 1) : undefined);
  }

  /** Row t of the result is rows `t * stride + j * dilation` of x for all j below `count`, side by side. */
  #windows(x: Value, channels: number, count: number, stride: number, dilation: number): Value {
    if (dilation === 1 && stride > 1 && count % stride === 0) {
      return this.#windows(this.#reshape(x, -1, stride * channels), stride * channels, count / stride, 1, 1);
    }
    if (count === 1 && stride === 1) return x;
    const reach = (count - 1) * dilation;
    const parts = Array.from({ length: count }, (_, j) => {
      const from = j * dilation;
      return this.#slice(x, 0, from, from === reach ? END : from - reach, stride);
    });
    return this.#concat(parts, 1);
  }

  async #convTranspose(layer: ConvTransposeLayer, x: Value): Promise<Value> {
    const { kernel, stride, groups, inChannels, outChannels } = layer, count = taps(layer), graph = this.#graph;
    const weight = await this.#read(layer, 0), bias = layer.bias ? await this.#read(layer, 1) : undefined;
    const { past, keep } = this.#rows(layer), all = this.#concat([...past, x], 0);
    keep(all);
    if (groups === inChannels && groups === outChannels) {
      // One channel alone is a product of a value with the stride's weights, for each row that is mixed.
      let sum = bias && graph.constant(bias, [outChannels]);
      for (let j = 0; j < count; j++) {
        const from = count - 1 - j, rows = this.#slice(all, 0, from, from === count - 1 ? END : from - count + 1);
        const factors = new Float32Array(stride * outChannels);
        for (let i = 0; i < stride && j * stride + i < kernel; i++) {
          for (let c = 0; c < outChannels; c++) factors[i * outChannels + c] = weight[c * kernel + j * stride + i];
        }
        const spread = this.#reshape(rows, -1, 1, outChannels);
        const part = graph.op("Mul", [spread, graph.constant(factors, [stride, outChannels])]);
        sum = sum ? graph.op("Add", [sum, part]) : part;
      }
      return this.#reshape(sum!, -1, outChannels);
    }
    // Outputs of one input position lie side by side: [stride, outChannels].
    const wide = new Float32Array(stride * outChannels * count * inChannels);
    const inGroup = inChannels / groups, outGroup = outChannels / groups;
    for (let c = 0; c < inChannels; c++) {
      for (let o = 0; o < outGroup; o++) {
        for (let k = 0; k < kernel; k++) {
          const row = (k % stride) * outChannels + Math.floor(c / inGroup) * outGroup + o;
          const tap = count - 1 - Math.floor(k / stride);
          wide[(row * count + tap) * inChannels + c] = weight[(c * outGroup + o) * kernel + k];
        }
      }
    }
    const biases = bias && concatFloats(Array.from({ length: stride }, () => bias));
    const mixed = this.#gemm(this.#windows(all, inChannels, count, 1, 1), wide, stride * outChannels, biases);
    return this.#reshape(mixed, -1, outChannels);
  }

  async #linear(layer: LinearLayer, x: Value, scale?: Float32Array): Promise<Value> {
    const bias = layer.bias ? scaled(await this.#read(layer, 1), scale) : undefined;
    return this.#gemm(x, scaled(await this.#read(layer, 0), scale), layer.outChannels, bias);
  }

  async #attention(layer: AttentionLayer, x: Value, at: Positions, scale?: Float32Array): Promise<Value> {
    const { heads, keyValueHeads, headDim, window } = layer, graph = this.#graph, rotated = heads + keyValueHeads;
    const { query, key, value, output } = projections(layer), weights: Float32Array[] = [], biases: Float32Array[] = [];
    for (const part of [query, key, value]) {
      const factor = part === query ? 1 / Math.sqrt(headDim) : 1;
      weights.push((await this.#read(part, 0)).map((v) => v * factor));
      if (part.bias) biases.push((await this.#read(part, 1)).map((v) => v * factor));
    }
    const all = (rotated + keyValueHeads) * headDim;
    const qkv = this.#gemm(x, concatFloats(weights), all, layer.bias ? concatFloats(biases) : undefined);

    const qk = this.#rotate(layer, this.#reshape(this.#slice(qkv, 1, 0, rotated * headDim), -1, rotated, headDim), at);
    // Queries of the heads that share keys lie one after the other: [keyValueHeads, heads / keyValueHeads * T, headDim].
    const spread = this.#reshape(this.#slice(qk, 1, 0, heads), -1, keyValueHeads, heads / keyValueHeads, headDim);
    const queries = this.#reshape(this.#transpose(spread, 1, 2, 0, 3), keyValueHeads, -1, headDim);
    const values = this.#reshape(this.#slice(qkv, 1, rotated * headDim), -1, keyValueHeads, headDim);
    const fresh = [this.#transpose(this.#slice(qk, 1, heads), 1, 0, 2), this.#transpose(values, 1, 0, 2)];

    const past = window > 1 ? stateOf(layer).map((spec, i) => this.#pastRows(spec, fresh[i], at)) : [];
    const scores = [...past.slice(0, 1), fresh[0]].map((keys) =>
      graph.op("MatMul", [queries, this.#transpose(keys, 0, 2, 1)])
    );
    const masked = graph.op("Add", [this.#concat(scores, 2), this.#mask(layer, at)]);
    const shares = graph.op("Softmax", [masked], { axis: -1 });
    let sum: Value;
    if (past.length) {
      const [old, now] = [this.#slice(shares, 2, 0, window - 1), this.#slice(shares, 2, window - 1)];
      sum = graph.op("Add", [graph.op("MatMul", [old, past[1]]), graph.op("MatMul", [now, fresh[1]])]);
    } else sum = graph.op("MatMul", [shares, fresh[1]]);
    const attended = this.#reshape(sum, keyValueHeads, heads / keyValueHeads, -1, headDim);
    return await this.#linear(output, this.#reshape(this.#transpose(attended, 2, 0, 1, 3), -1, heads * headDim), scale);
  }

  /** Rotary embedding of rows [positions, heads, headDim]: `x cos + swapped x sin`, the sign of the halves in the sines. */
  #rotate({ ropeTheta, headDim }: AttentionLayer, x: Value, at: Positions): Value {
    const graph = this.#graph, frequencies = ropeFrequencies(ropeTheta, headDim), half = headDim / 2;
    const perFrame = this.#perFrame(at), name = `${ropeTheta} ${headDim} ${perFrame}`;
    const table = (kind: "cos" | "sin") =>
      this.#feed(`${kind} ${name}`, "float32", [`positions at ${perFrame}`, 1, headDim], (start, positions) => {
        const n = at(positions), data = new Float32Array(n * headDim);
        for (let t = 0; t < n; t++) {
          for (let j = 0; j < half; j++) {
            const [cos, sin] = cosSin(ropeAngle(start * perFrame + t, frequencies[j])), first = t * headDim + j;
            data[first] = kind === "cos" ? cos : -sin;
            data[first + half] = kind === "cos" ? cos : sin;
          }
        }
        return { data, shape: [n, 1, headDim] };
      });
    const swapped = this.#concat([this.#slice(x, 2, half), this.#slice(x, 2, 0, half)], 2);
    return graph.op("Add", [graph.op("Mul", [x, table("cos")]), graph.op("Mul", [swapped, table("sin")])]);
  }

  /** Keys or values of earlier positions, which `fresh` [heads, positions, headDim] join for the next step. */
  #pastRows({ name, shape }: { name: string; shape: number[] }, fresh: Value, at: Positions): Value {
    const graph = this.#graph, input = graph.input(`past ${name}`, "float32", shape), [heads, rows, width] = shape;
    if (this.#past === "host") {
      const perFrame = this.#perFrame(at);
      const output = graph.output(fresh, "float32", [heads, `positions at ${perFrame}`, width]);
      this.#slots.push({ input, output, shape, ring: { positionsPerFrame: perFrame } });
    } else {
      const moved = this.#slice(this.#concat([input, fresh], 1), 1, -rows);
      this.#slots.push({ input, output: graph.output(moved, "float32", shape), shape });
    }
    return input;
  }

  /** What hides keys outside a query's window, [queries, past + new keys]. */
  #mask({ window, heads, keyValueHeads }: AttentionLayer, at: Positions): Value {
    const perFrame = this.#perFrame(at),
      repeats = heads / keyValueHeads,
      rows = window - 1,
      rings = this.#past === "host";
    const name = `mask ${window} ${repeats} ${perFrame}`;
    return this.#feed(name, "float32", [`queries ${name}`, `keys ${name}`], (start, positions) => {
      const n = at(positions), from = start * perFrame, width = rows + n, data = new Float32Array(repeats * n * width);
      for (let t = 0; t < n; t++) {
        const query = from + t;
        for (let j = 0; j < width; j++) {
          // Place j of a ring holds the newest position before this step that is j modulo its length.
          const key = j >= rows ? from + j - rows : rings ? from - 1 - modulo(from - 1 - j, rows) : from - rows + j;
          if (key < 0 || key > query || key <= query - window) data[t * width + j] = HIDDEN;
        }
      }
      for (let r = 1; r < repeats; r++) data.copyWithin(r * n * width, 0, n * width);
      return { data, shape: [repeats * n, width] };
    });
  }

  /** Positions of a whole frame. */
  #perFrame(at: Positions): number {
    return at(inputPositions(this.#network, 1));
  }

  async #quantize(quantizer: ResidualQuantizer, x: Value): Promise<void> {
    const { codebooks, size, dim, projected } = quantizer, graph = this.#graph;
    let rest = projected ? this.#gemm(x, await this.#read({ kind: "quantize", quantizers: [quantizer] }, 0), dim) : x;
    for (let i = 0; i < codebooks; i++) {
      const entries = await codebookEntries(this.#tensors, quantizer, i), half = new Float32Array(size);
      for (let e = 0; e < size; e++) {
        let squares = 0;
        for (let c = e * dim; c < (e + 1) * dim; c++) squares += entries[c] * entries[c];
        half[e] = -squares / 2;
      }
      // The nearest entry maximises x . c - |c|^2 / 2; the first one wins a tie.
      const book = graph.constant(entries, [size, dim]);
      const scores = graph.op("Gemm", [rest, book, graph.constant(half, [size])], { transB: 1 });
      const codes = graph.op("ArgMax", [scores], { axis: 1, keepdims: 0 });
      this.#codesOut.push(graph.output(codes, "int64", ["frames"]));
      if (i + 1 < codebooks) rest = graph.op("Sub", [rest, graph.op("Gather", [book, codes], { axis: 0 })]);
    }
  }

  async #dequantize(quantizer: ResidualQuantizer): Promise<Value> {
    const { name, codebooks, size, dim, channels, projected } = quantizer, graph = this.#graph;
    // One table of all entries, and a row of zeros for codebooks that a step does not have.
    const table = new Float32Array((codebooks * size + 1) * dim);
    for (let i = 0; i < codebooks; i++) table.set(await codebookEntries(this.#tensors, quantizer, i), i * size * dim);
    const input = graph.input(`entries of ${name}`, "int32", [codebooks, "frames"]);
    this.#codesIn.push({ name: input, codebooks, size });
    const entries = graph.op("Gather", [graph.constant(table, [codebooks * size + 1, dim]), input], { axis: 0 });
    const sum = graph.op("ReduceSum", [entries, graph.integers(0)], { keepdims: 0 });
    if (!projected) return sum;
    return this.#gemm(sum, await this.#read({ kind: "dequantize", quantizers: [quantizer] }, 0), channels);
  }
}

/** [outputs, inputs, kernel] to [outputs, kernel, inputs], as windows lie. */
function columns(weight: Float32Array, outputs: number, inputs: number, kernel: number): Float32Array {
  if (kernel === 1) return weight;
  const out = new Float32Array(weight.length);
  for (let o = 0; o < outputs; o++) {
    for (let c = 0; c < inputs; c++) {
      for (let j = 0; j < kernel; j++) out[(o * kernel + j) * inputs + c] = weight[(o * inputs + c) * kernel + j];
    }
  }
  return out;
}

function modulo(a: number, b: number): number {
  return ((a % b) + b) % b;
}
