/**
 * Lowers a network to operations on WebAssembly memory.
 *
 * Weights become {@link Matmul}s: a convolution is one over the rows `[past | new]` of its input, a transposed one a
 * convolution with `stride` times the outputs, LayerScale is folded into the rows before it. An activation in front of a
 * convolution happens while its input is copied next to the past, so most layers pass over their data once.
 *
 * Layers with few positions a frame take all frames of a pass at once, since their weights are large; those with many take
 * them frame by frame, since their data is.
 *
 * @module
 */
import type { Ports, TensorSource } from "../../core/backend.ts";
import { NotSupportedError } from "../../core/errors.ts";
import { cosSin, ropeAngle, ropeFrequencies } from "../../core/math.ts";
import {
  type AttentionLayer,
  channelsAfter,
  type ConvLayer,
  type ConvTransposeLayer,
  inputPositions,
  latentChannels,
  type Layer,
  type LayerNormLayer,
  type LinearLayer,
  type Network,
  padLeft,
  padRight,
  positionsAfter,
  projections,
  type ResidualLayer,
  type ResidualQuantizer,
  taps,
  tensorsOf,
} from "../../core/network.ts";
import { rowsOf, type WeightFormat } from "../../core/packing.ts";
import { concatFloats } from "../../core/tensor.ts";
import { codebookEntries, scaled } from "../../core/weights.ts";
import { Codebook } from "./codebook.ts";
import { type Matmul, matmul, type Reach, type Scratch, type Weights } from "./matmul.ts";
import type { Memory } from "./memory.ts";
import { type FormatOf, FORMATS, weightLayers } from "./precision.ts";

const F32 = 4;

/** What a pass hands to every operation. */
export interface Pass {
  /** Streams that go together, with as many positions each. */
  streams: PassStream[];
  ports: Ports;
  /** Row of the ports that the first stream is, and first frame of this pass in it. */
  row: number;
  frame: number;
}

export interface PassStream {
  /** Where the stream's memory starts. */
  at: number;
  /** Frames that went through before. */
  frames: number;
}

/**
 * One lowered layer: `positions` rows at `x` become rows at `y`, added to what is there with `accumulate`. The positions
 * of a pass's streams lie one stream after the other.
 */
interface Op {
  run(x: number, positions: number, y: number, pass: Pass, accumulate: boolean): void;
  /** Works on `x` itself and leaves `y` alone. */
  inPlace?: boolean;
  /** What is at `x` afterwards is something else. */
  spoils?: boolean;
  canAccumulate?: boolean;
  /** Has read all of `x` before it writes to `y`, so that the two may be one. */
  readsFirst?: boolean;
}

/** How a layer's memory lies in a stream's block, and how it is brought into the canonical layout and back. */
export interface StateSlot {
  /** Tensors of `networkState` that it stands for. */
  count: number;
  save(state: number, frames: number): Float32Array[];
  load(state: number, frames: number, tensors: Float32Array[]): void;
}

export interface Lowered {
  /** Runs `positions` positions that lie at `from` (by default `input`); the result lies at the returned pointer. */
  run(positions: number, pass: Pass, from?: number): number;
  /** Where what enters the first layer goes: samples, or latents. */
  input: number;
  slots: StateSlot[];
  /** Values of a stream's block. */
  stateSize: number;
  /** Bytes of packed weights. */
  weights: number;
}

/** From so many positions a frame on, going in and out, layers work frame by frame. */
const MANY_POSITIONS = 64;

/**
 * Lowers `network` for passes of at most `frames` frames, those of all streams together.
 *
 * @param formatOf how the weights of each layer are kept.
 */
export async function lower(
  network: Network,
  tensors: TensorSource,
  memory: Memory,
  frames: number,
  formatOf: FormatOf = FORMATS.f32,
): Promise<Lowered> {
  const context = new Lowering(memory, tensors, network, formatOf);
  const before = memory.used;
  const parts: { op: Op; layers: Layer[]; output: Scratch }[] = [];
  const width = network.direction === "decode" && latentChannels(network) || 1; // samples are mono
  let perFrame = inputPositions(network, 1), channels = width;
  for (const { layers, sliced } of partsOf(network)) {
    const op = await context.chain(layers, { frames: sliced ? 1 : frames, perFrame, channels }, 0);
    const from = { perFrame, row: channels * F32 };
    channels = channelsAfter(layers) ?? channels;
    perFrame = after(layers, perFrame);
    const output = context.shared(`part ${parts.length}`, frames * perFrame * channels * F32);
    parts.push({ op: sliced ? frameByFrame(op, layers, from, channels * F32) : op, layers, output });
  }
  const weights = memory.used - before;
  const input = context.shared("input", inputPositions(network, frames) * width * F32);
  context.allocateScratch();
  return {
    input: input.at,
    slots: context.slots,
    stateSize: context.stateSize,
    weights,
    run(n, pass, from = input.at) {
      for (const { op, layers, output } of parts) {
        op.run(from, n, output.at, pass, false);
        from = output.at;
        n = after(layers, n);
      }
      return from;
    },
  };
}

/** The network in parts that take the frames of a pass one by one, or all at once. */
function partsOf({ layers, ...network }: Network): { layers: Layer[]; sliced: boolean }[] {
  const parts: { layers: Layer[]; sliced: boolean }[] = [];
  let positions = inputPositions({ layers, ...network }, 1), waiting: Layer[] = [];
  for (const layer of layers) {
    const after = positionsAfter(layer, positions), sliced = Math.min(positions, after) >= MANY_POSITIONS;
    positions = after;
    waiting.push(layer);
    if (layer.kind === "elu") continue; // stays with the convolution behind it
    const last = parts[parts.length - 1];
    if (last?.sliced === sliced) last.layers.push(...waiting);
    else parts.push({ layers: waiting, sliced });
    waiting = [];
  }
  if (waiting.length > 0) parts.push({ layers: waiting, sliced: false });
  return parts;
}

/** Positions that leave layers in a row. */
function after(layers: readonly Layer[], positions: number): number {
  return layers.reduce((n, layer) => positionsAfter(layer, n), positions);
}

/** Runs layers on one frame of one stream after the other. Rows are in bytes. */
function frameByFrame(op: Op, layers: Layer[], from: { perFrame: number; row: number }, rowTo: number): Op {
  return {
    run(x, positions, y, pass, accumulate) {
      const n = positions / pass.streams.length;
      for (const { at, frames } of pass.streams) {
        for (let done = 0; done < n; done += from.perFrame) {
          const some = Math.min(from.perFrame, n - done);
          op.run(x, some, y, { ...pass, streams: [{ at, frames: frames + done / from.perFrame }] }, accumulate);
          x += some * from.row;
          y += after(layers, some) * rowTo;
        }
      }
    },
  };
}

/** What enters a layer at once: at most so many frames, with so many positions each, of so many channels. */
interface Extent {
  frames: number;
  perFrame: number;
  channels: number;
}

class Lowering {
  readonly slots: StateSlot[] = [];
  stateSize = 0;
  readonly #memory: Memory;
  readonly #tensors: TensorSource;
  /** How the weights of each layer are kept, by its name. */
  readonly #formats: ReadonlyMap<string, WeightFormat>;
  readonly #scratch = new Map<string, Scratch & { bytes: number }>();

  constructor(memory: Memory, tensors: TensorSource, network: Network, formatOf: FormatOf) {
    this.#memory = memory;
    this.#tensors = tensors;
    this.#formats = new Map([...weightLayers(network)].map((layer) => [layer.name, formatOf(layer)]));
  }

  /** A buffer shared by everything that names it, as large as the largest need; its users do not overlap in time. */
  readonly shared = (name: string, bytes: number): Scratch => {
    let scratch = this.#scratch.get(name);
    if (!scratch) this.#scratch.set(name, scratch = { at: 0, bytes });
    scratch.bytes = Math.max(scratch.bytes, bytes);
    return scratch;
  };

  allocateScratch(): void {
    for (const scratch of this.#scratch.values()) scratch.at = this.#memory.allocate(Math.ceil(scratch.bytes / F32));
  }

  /** A product with the weights of a layer. */
  #matmul(name: string, weights: Weights, reach: Reach): Matmul {
    return matmul(this.#memory, weights, this.#formats.get(name)!, reach, this.shared);
  }

  /** Room in a stream's block; returns its byte offset. */
  #state(values: number): number {
    const offset = this.stateSize * F32;
    this.stateSize += Math.ceil(values / 16) * 16;
    return offset;
  }

  /** Layers in a row. Between them data goes back and forth between two buffers of this depth. */
  async chain(layers: readonly Layer[], extent: Extent, depth: number): Promise<Op> {
    const steps: { op: Op; layer: Layer; to?: Scratch }[] = [];
    const { kernels } = this.#memory;
    let moves = 0;
    for (let i = 0; i < layers.length; i++) {
      let layer = layers[i], activation: "elu" | undefined, scale: Float32Array | undefined;
      const next = layers[i + 1];
      if (layer.kind === "elu" && (next?.kind === "conv" || next?.kind === "convTranspose")) {
        activation = "elu";
        layer = layers[++i];
      } else if ((layer.kind === "linear" || layer.kind === "attention") && next?.kind === "scale") {
        scale = await this.#tensors.read(tensorsOf(next)[0]);
        i++;
      }
      const op = await this.#op(layer, extent, depth, activation, scale);
      extent = {
        frames: extent.frames,
        perFrame: positionsAfter(layer, extent.perFrame),
        channels: channelsAfter([layer]) ?? extent.channels,
      };
      const to = op.inPlace || i === layers.length - 1
        ? undefined
        : this.shared(`depth ${depth}, ${moves++ % 2}`, extent.frames * extent.perFrame * extent.channels * F32);
      steps.push({ op, layer, to });
    }
    const last = steps.length - 1, [first] = steps;
    const endsInPlace = steps[last].op.inPlace, { channels } = extent;
    return {
      canAccumulate: steps[last].op.canAccumulate,
      spoils: first.op.spoils,
      readsFirst: !first.op.spoils && (last > 0 || first.op.readsFirst),
      run(x, n, y, pass, accumulate) {
        for (let i = 0; i <= last; i++) {
          const { op, layer, to } = steps[i];
          const target = op.inPlace ? x : to?.at ?? y;
          op.run(x, n, target, pass, accumulate && i === last);
          x = target;
          n = positionsAfter(layer, n);
        }
        if (endsInPlace) kernels.move(y, x, n * channels * F32);
      },
    };
  }

  async #op(layer: Layer, extent: Extent, depth: number, activation?: "elu", scale?: Float32Array): Promise<Op> {
    const { kernels } = this.#memory;
    switch (layer.kind) {
      case "conv":
        return this.#conv(layer, extent, activation);
      case "convTranspose":
        return this.#convTranspose(layer, extent, activation);
      case "linear":
        return this.#linear(layer, extent, scale);
      case "attention":
        return this.#attention(layer, extent, scale);
      case "layerNorm":
        return this.#layerNorm(layer);
      case "residual":
        return this.#residual(layer, extent, depth);
      case "quantize":
        return this.#quantize(layer.quantizers, extent);
      case "dequantize":
        return this.#dequantize(layer.quantizers, extent);
      case "gelu":
      case "elu": {
        const kernel = kernels[layer.kind];
        return { run: (x, n, y) => kernel(x, y, n * extent.channels) };
      }
      case "scale":
        throw new NotSupportedError(
          `The wasm backend cannot scale (${layer.name}) other than after a linear or attention layer.`,
        );
    }
  }

  /** Bias of a layer in memory; zeros where it has none. */
  async #bias(
    layer: { bias: boolean; outChannels: number } & Layer,
    map: (bias: Float32Array) => Float32Array = (b) => b,
  ): Promise<number> {
    const bias = layer.bias ? await this.#tensors.read(tensorsOf(layer)[1]) : new Float32Array(layer.outChannels);
    return this.#memory.store(map(bias));
  }

  /**
   * The buffers `[past | new | right padding]` in front of a convolution, one after the other for the streams of a pass:
   * fills them from the streams' memory and from x, and afterwards remembers the newest `past` rows.
   */
  #history(layer: ConvLayer | ConvTransposeLayer, past: number, extent: Extent, activation?: "elu"): {
    /** Where the first buffer starts, the bytes from one to the next, and the new positions in each. */
    fill(x: number, positions: number, pass: Pass): { from: number; size: number; n: number };
    keep(positions: number, pass: Pass): void;
  } {
    const { kernels } = this.#memory, row = layer.inChannels * F32;
    const replicate = layer.kind === "conv" && layer.padMode === "replicate";
    const buffer = this.shared("history", extent.frames * (past + extent.perFrame) * row);
    const length = (n: number) => (past + n + padRight(layer, n)) * row;
    const offset = past ? this.#state(past * layer.inChannels) : 0;
    if (past) {
      const size = past * layer.inChannels;
      this.slots.push({
        count: 1,
        save: (state) => [this.#memory.view(state + offset, size).slice()],
        load: (state, _frames, [values]) => this.#memory.view(state + offset, size).set(values),
      });
    }
    return {
      fill(x, positions, { streams }) {
        const n = positions / streams.length, size = length(n), right = padRight(layer, n);
        streams.forEach((stream, i) => {
          const from = buffer.at + i * size, fresh = from + past * row, end = fresh + n * row;
          if (activation) kernels.elu(x + i * n * row, fresh, n * layer.inChannels);
          else kernels.move(fresh, x + i * n * row, n * row);
          if (replicate && stream.frames === 0) {
            for (let i = 0; i < past; i++) kernels.move(from + i * row, fresh, row);
          } else kernels.move(from, stream.at + offset, past * row);
          if (replicate) { for (let i = 0; i < right; i++) kernels.move(end + i * row, end - row, row); }
          else kernels.zero(end, right * row);
        });
        return { from: buffer.at, size, n };
      },
      keep(positions, { streams }) {
        const n = positions / streams.length, size = length(n);
        streams.forEach((stream, i) => kernels.move(stream.at + offset, buffer.at + i * size + n * row, past * row));
      },
    };
  }

  async #conv(layer: ConvLayer, extent: Extent, activation?: "elu"): Promise<Op> {
    const { inChannels, outChannels, kernel, stride, dilation } = layer, memory = this.#memory;
    const weight = await this.#tensors.read(tensorsOf(layer)[0]), bias = await this.#bias(layer);
    const history = this.#history(layer, padLeft(layer), extent, activation);
    // Taps that lie side by side make one product; with a dilation each tap is one of its own.
    const joined = dilation === 1 ? kernel : 1;
    const products: Matmul[] = [], zeros = dilation === 1 ? 0 : memory.allocate(outChannels);
    for (let tap = 0; tap < kernel; tap += joined) {
      const weights = {
        rows: (o: number, row: Float32Array) => {
          for (let c = 0, from = o * inChannels * kernel + tap; c < inChannels; c++, from += kernel) {
            for (let j = 0; j < joined; j++) row[j * inChannels + c] = weight[from + j];
          }
        },
        outputs: outChannels,
        inputs: joined * inChannels,
        bias: tap === 0 ? bias : zeros,
      };
      const perFrame = positionsAfter(layer, extent.perFrame);
      products.push(this.#matmul(layer.name, weights, { frames: extent.frames, perFrame, taps: joined, stride }));
    }
    return {
      canAccumulate: true,
      readsFirst: true,
      run(x, positions, y, pass, accumulate) {
        const { from, size, n } = history.fill(x, positions, pass);
        products.forEach((product, tap) =>
          product.run(
            from + tap * dilation * inChannels * F32,
            stride * inChannels * F32,
            y,
            outChannels * F32,
            positionsAfter(layer, n),
            accumulate || tap > 0,
            pass.streams.length,
            size,
          )
        );
        history.keep(positions, pass);
      },
    };
  }

  async #convTranspose(layer: ConvTransposeLayer, extent: Extent, activation?: "elu"): Promise<Op> {
    const { inChannels, outChannels, kernel, stride, groups } = layer, memory = this.#memory;
    const weight = await this.#tensors.read(tensorsOf(layer)[0]), past = taps(layer) - 1;
    const history = this.#history(layer, past, extent, activation), row = inChannels * F32;
    if (groups === inChannels && groups === outChannels) {
      const rows = new Float32Array(taps(layer) * stride * inChannels);
      for (let c = 0; c < inChannels; c++) {
        for (let j = 0; j < kernel; j++) rows[j * inChannels + c] = weight[c * kernel + j];
      }
      const w = memory.store(rows), bias = await this.#bias(layer);
      return {
        run(x, positions, y, pass) {
          const { from, size, n } = history.fill(x, positions, pass);
          for (let i = 0; i < pass.streams.length; i++) {
            const first = from + i * size + past * row, to = y + i * n * stride * row;
            memory.kernels.depthwise_transpose(first, w, bias, to, inChannels, stride, past + 1, n);
          }
          history.keep(positions, pass);
        },
      };
    }
    // Output i of a group of `stride` is a product over the last inputs, so the group is one product of stride * outChannels rows.
    const perGroup = outChannels / groups, inGroup = inChannels / groups, inputs = (past + 1) * inChannels;
    const rows = (m: number, row: Float32Array) => {
      const o = m % outChannels, i = (m - o) / outChannels, first = Math.floor(o / perGroup) * inGroup;
      row.fill(0);
      for (let c = first; c < first + inGroup; c++) {
        const from = (c * perGroup + o % perGroup) * kernel;
        for (let j = 0, k = i; k < kernel; j++, k += stride) row[(past - j) * inChannels + c] = weight[from + k]; // of x[t - j]
      }
    };
    const bias = await this.#bias(
      layer,
      (b) => Float32Array.from({ length: stride * outChannels }, (_, i) => b[i % outChannels]),
    );
    const product = this.#matmul(
      layer.name,
      { rows, outputs: stride * outChannels, inputs, bias },
      { ...extent, taps: past + 1, stride: 1 },
    );
    return {
      canAccumulate: true,
      readsFirst: true,
      run(x, positions, y, pass, accumulate) {
        const { from, size, n } = history.fill(x, positions, pass);
        product.run(from, row, y, stride * outChannels * F32, n, accumulate, pass.streams.length, size);
        history.keep(positions, pass);
      },
    };
  }

  async #linear(layer: LinearLayer, extent: Extent, scale?: Float32Array): Promise<Op> {
    const { inChannels, outChannels } = layer, values = await this.#tensors.read(tensorsOf(layer)[0]);
    const bias = await this.#bias(layer, (b) => scaled(b, scale));
    const rows = rowsOf(values, inChannels);
    const weights = { rows, outputs: outChannels, inputs: inChannels, bias, factors: scale };
    const product = this.#matmul(layer.name, weights, { ...extent, taps: 1, stride: 1 });
    return {
      canAccumulate: true,
      run: (x, n, y, _pass, accumulate) => product.run(x, inChannels * F32, y, outChannels * F32, n, accumulate),
    };
  }

  async #layerNorm(layer: LayerNormLayer): Promise<Op> {
    const [gain, bias] = await Promise.all(tensorsOf(layer).map((t) => this.#tensors.read(t)));
    const gainAt = this.#memory.store(gain), biasAt = this.#memory.store(bias), { kernels } = this.#memory;
    return { run: (x, n, y) => kernels.layer_norm(x, gainAt, biasAt, y, layer.channels, n, layer.eps) };
  }

  async #residual(layer: ResidualLayer, extent: Extent, depth: number): Promise<Op> {
    const { kernels } = this.#memory;
    const branch = await this.chain(layer.branch, extent, depth + 1);
    if (!branch.canAccumulate) {
      throw new NotSupportedError("The wasm backend cannot add the last layer of a residual branch to its input.");
    }
    if (layer.shortcut.length === 0 && branch.readsFirst) {
      return { inPlace: true, spoils: true, run: (x, n, _y, pass) => branch.run(x, n, x, pass, true) };
    }
    const { channels } = extent;
    const copy: Op = { run: (x, n, y) => kernels.move(y, x, n * channels * F32) };
    const shortcut = layer.shortcut.length > 0 ? await this.chain(layer.shortcut, extent, depth + 1) : copy;
    if (shortcut.spoils) {
      throw new NotSupportedError("The wasm backend cannot begin a residual shortcut with a residual layer.");
    }
    return {
      spoils: branch.spoils,
      run(x, n, y, pass) {
        shortcut.run(x, n, y, pass, false);
        branch.run(x, n, y, pass, true);
      },
    };
  }

  async #attention(layer: AttentionLayer, extent: Extent, scale?: Float32Array): Promise<Op> {
    const { channels, heads, keyValueHeads, headDim, window, ropeTheta } = layer,
      memory = this.#memory,
      { kernels } = memory;
    const padded = Math.ceil(headDim / 16) * 16, ring = Math.ceil((window + 1) / 16) * 16;
    const parts = projections(layer);
    // Heads are padded to whole panels with rows (and, for the output, columns) of zeros.
    const rows: Float32Array[] = [], biases: Float32Array[] = [];
    for (
      const [part, count, factor] of [[parts.query, heads, 1 / Math.sqrt(headDim)], [parts.key, keyValueHeads, 1], [
        parts.value,
        keyValueHeads,
        1,
      ]] as const
    ) {
      const weight = await this.#tensors.read(tensorsOf(part)[0]);
      const bias = part.bias ? await this.#tensors.read(tensorsOf(part)[1]) : new Float32Array(part.outChannels);
      rows.push(padHeads(weight, count, headDim * channels, padded * channels).map((v) => v * factor));
      biases.push(padHeads(bias, count, headDim, padded).map((v) => v * factor));
    }
    const inner = (heads + 2 * keyValueHeads) * padded;
    const reach = { ...extent, taps: 1, stride: 1 };
    const qkv = this.#matmul(
      parts.query.name,
      {
        rows: rowsOf(concatFloats(rows), channels),
        outputs: inner,
        inputs: channels,
        bias: memory.store(concatFloats(biases)),
      },
      reach,
    );
    const outWeight = await this.#tensors.read(tensorsOf(parts.output)[0]);
    const output = this.#matmul(parts.output.name, {
      rows: rowsOf(padHeads(outWeight, channels * heads, headDim, padded), heads * padded),
      outputs: channels,
      inputs: heads * padded,
      bias: await this.#bias(parts.output, (b) => scaled(b, scale)),
      factors: scale,
    }, reach);
    const frequencies = ropeFrequencies(ropeTheta, headDim), half = headDim / 2;
    const { perFrame } = extent, positions = extent.frames * perFrame, block = ring - window + 1;
    const qkvAt = this.shared("qkv", positions * inner * F32),
      attended = this.shared("attended", positions * heads * padded * F32);
    const tables = this.shared("rotary", positions * headDim * F32),
      scores = this.shared("scores", block * ring * F32);
    const zeros = this.shared("zeros", Math.max(ring, padded) * F32); // never written
    const size = keyValueHeads * ring * padded, keysAt = this.#state(size), valuesAt = this.#state(size);
    this.slots.push(ringSlot(memory, [keysAt, valuesAt], { keyValueHeads, ring, padded, headDim, window, perFrame }));
    return {
      canAccumulate: true,
      readsFirst: true,
      run(x, positions, y, pass, accumulate) {
        const { streams } = pass, n = positions / streams.length;
        qkv.run(x, channels * F32, qkvAt.at, inner * F32, positions, false);
        streams.forEach((stream, i) => {
          const start = stream.frames * perFrame, table = memory.view(tables.at, n * headDim);
          for (let t = 0; t < n; t++) {
            for (let j = 0; j < half; j++) {
              const [cos, sin] = cosSin(ropeAngle(start + t, frequencies[j]));
              table[t * headDim + j] = cos;
              table[t * headDim + half + j] = sin;
            }
          }
          kernels.attention(
            qkvAt.at + i * n * inner * F32,
            n,
            start,
            tables.at,
            stream.at + keysAt,
            stream.at + valuesAt,
            ring,
            window,
            heads,
            keyValueHeads,
            headDim,
            padded,
            scores.at,
            zeros.at,
            attended.at + i * n * heads * padded * F32,
          );
        });
        output.run(attended.at, heads * padded * F32, y, channels * F32, positions, accumulate);
      },
    };
  }

  async #quantize(quantizers: ResidualQuantizer[], { frames, perFrame }: Extent): Promise<Op> {
    const memory = this.#memory, { kernels } = memory, branches: ((x: number, n: number, pass: Pass) => void)[] = [];
    const most = frames * perFrame;
    let first = 0;
    for (const quantizer of quantizers) {
      const { size, dim, channels, projected } = quantizer, base = first;
      const projection = projected && await this.#projection(quantizer, "quantize", dim, channels, frames, perFrame);
      const residual = this.shared("residual", most * dim * F32), found = this.shared("found", most * 4);
      const books: Codebook[] = [];
      for (let i = 0; i < quantizer.codebooks; i++) {
        books.push(
          new Codebook(memory, await codebookEntries(this.#tensors, quantizer, i), size, dim, most, this.shared),
        );
      }
      branches.push((x, n, pass) => {
        if (projection) projection.run(x, channels * F32, residual.at, dim * F32, n, false);
        else kernels.move(residual.at, x, n * dim * F32);
        const { codebooks } = pass.ports;
        for (let i = 0; i < books.length && base + i < codebooks; i++) {
          books[i].search(residual.at, n, found.at);
          const numbers = memory.integers(found.at, n);
          for (let t = 0; t < n; t++) {
            const [codes, at] = codeOf(pass, n, base + i, t);
            codes[at] = numbers[t];
          }
        }
      });
      first += quantizer.codebooks;
    }
    return { run: (x, n, _y, pass) => branches.forEach((branch) => branch(x, n, pass)) };
  }

  /** The projection of a quantizer, from `inputs` to `outputs` values. */
  async #projection(
    quantizer: ResidualQuantizer,
    kind: "quantize" | "dequantize",
    outputs: number,
    inputs: number,
    frames: number,
    perFrame: number,
  ): Promise<Matmul> {
    const [{ name, ...spec }] = tensorsOf({ kind, quantizers: [quantizer] });
    const values = await this.#tensors.read({ name, ...spec }), bias = this.#memory.allocate(outputs);
    const reach = { frames, perFrame, taps: 1, stride: 1 };
    return this.#matmul(name.replace(/\.weight$/, ""), { rows: rowsOf(values, inputs), outputs, inputs, bias }, reach);
  }

  async #dequantize(quantizers: ResidualQuantizer[], { frames, perFrame }: Extent): Promise<Op> {
    const memory = this.#memory, { kernels } = memory;
    const branches: ((n: number, y: number, pass: Pass, accumulate: boolean) => void)[] = [];
    let first = 0;
    for (const quantizer of quantizers) {
      const { dim, channels, projected } = quantizer, base = first;
      const projection = projected && await this.#projection(quantizer, "dequantize", channels, dim, frames, perFrame);
      const sums = this.shared("residual", frames * perFrame * dim * F32), books: number[] = [];
      for (let i = 0; i < quantizer.codebooks; i++) {
        books.push(memory.store(await codebookEntries(this.#tensors, quantizer, i)));
      }
      branches.push((n, y, pass, accumulate) => {
        const { codebooks } = pass.ports;
        if (base >= codebooks) return;
        kernels.zero(sums.at, n * dim * F32);
        for (let i = 0; i < books.length && base + i < codebooks; i++) {
          for (let t = 0; t < n; t++) {
            const [codes, at] = codeOf(pass, n, base + i, t);
            kernels.add(sums.at + t * dim * F32, books[i] + codes[at] * dim * F32, dim);
          }
        }
        if (projection) projection.run(sums.at, dim * F32, y, channels * F32, n, accumulate);
        else if (accumulate) kernels.add(y, sums.at, n * dim);
        else kernels.move(y, sums.at, n * dim * F32);
      });
      first += quantizer.codebooks;
    }
    return { run: (_x, n, y, pass) => branches.forEach((branch, i) => branch(n, y, pass, i > 0)) };
  }
}

/** Where the ports hold the code of `codebook` for position t of the n of a pass: the array, and the place in it. */
function codeOf({ ports, streams, row, frame }: Pass, n: number, codebook: number, t: number): [Uint16Array, number] {
  const each = n / streams.length,
    codes = ports.codes[row + Math.floor(t / each)],
    frames = codes.length / ports.codebooks;
  return [codes, codebook * frames + frame + t % each];
}

/** Keys and values: rings of padded rows in a stream's block, the last `window - 1` rows of headDim values outside. */
function ringSlot(
  memory: Memory,
  offsets: number[],
  shape: { keyValueHeads: number; ring: number; padded: number; headDim: number; window: number; perFrame: number },
): StateSlot {
  const { keyValueHeads, ring, padded, headDim, window, perFrame } = shape, kept = window - 1;
  const each = (
    state: number,
    frames: number,
    visit: (inRing: Float32Array, part: number, outside: number) => void,
  ) => {
    const end = frames * perFrame;
    offsets.forEach((offset, part) => {
      for (let head = 0; head < keyValueHeads; head++) {
        for (let back = 1; back <= Math.min(kept, end); back++) {
          const row = (head * ring + (end - back) % ring) * padded;
          visit(memory.view(state + offset + row * F32, headDim), part, (head * kept + kept - back) * headDim);
        }
      }
    });
  };
  return {
    count: offsets.length,
    save(state, frames) {
      const out = offsets.map(() => new Float32Array(keyValueHeads * kept * headDim));
      each(state, frames, (row, part, at) => out[part].set(row, at));
      return out;
    },
    load(state, frames, tensors) {
      each(state, frames, (row, part, at) => row.set(tensors[part].subarray(at, at + headDim)));
    },
  };
}

/** `count` blocks of `from` values become blocks of `to`, filled up with zeros. */
function padHeads(values: Float32Array, count: number, from: number, to: number): Float32Array {
  const out = new Float32Array(count * to);
  for (let i = 0; i < count; i++) out.set(values.subarray(i * from, (i + 1) * from), i * to);
  return out;
}
