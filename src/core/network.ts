/**
 * The vocabulary in which a codec network is written, as plain data, and everything that follows from it: how many
 * positions each layer sees, what a stream has to remember, which tensors a layer needs. Backends lower these layers;
 * they derive nothing themselves.
 *
 * Every layer maps a sequence of positions to a sequence of positions and is causal. A position is a vector of
 * channels.
 *
 * @module
 */

/** What lies outside the sequence: zeros, or the nearest position repeated. */
export type PadMode = "constant" | "replicate";

/**
 * `y[t] = bias + sum_j W[:, :, j] x[t * stride + j * dilation - padLeft]` with
 * `padLeft = (kernel - 1) * dilation + 1 - stride`. Tensor `weight` is [outChannels, inChannels / groups, kernel].
 */
export interface ConvLayer {
  /** What tells it from other layers. */
  kind: "conv";
  /** Its tensors are `<name>.weight`, and `<name>.bias` where it has one. */
  name: string;
  /** Channels that come in. */
  inChannels: number;
  /** Channels that go out. */
  outChannels: number;
  /** Taps. */
  kernel: number;
  /** Positions in for one that goes out. */
  stride: number;
  /** Positions from one tap to the next. */
  dilation: number;
  /** Whether there is a tensor `bias`, [outChannels]. */
  bias: boolean;
  /** What lies before the first position: zeros, or the first one again. */
  padMode: PadMode;
}

/**
 * The transpose of a strided convolution, trimmed on the right, so that `stride` positions come out for each one in:
 * `y[t * stride + i] = bias + sum_j W[:, :, j * stride + i] x[t - j]`. Tensor `weight` is
 * [inChannels, outChannels / groups, kernel].
 */
export interface ConvTransposeLayer {
  /** What tells it from other layers. */
  kind: "convTranspose";
  /** Its tensors are `<name>.weight`, and `<name>.bias` where it has one. */
  name: string;
  /** Channels that come in. */
  inChannels: number;
  /** Channels that go out. */
  outChannels: number;
  /** Taps. */
  kernel: number;
  /** Positions out for one that comes in. */
  stride: number;
  /** Parts of the channels that do not mix; divides both numbers of channels. */
  groups: number;
  /** Whether there is a tensor `bias`, [outChannels]. */
  bias: boolean;
}

/** `y = W x + bias`. Tensor `weight` is [outChannels, inChannels]. */
export interface LinearLayer {
  /** What tells it from other layers. */
  kind: "linear";
  /** Its tensors are `<name>.weight`, and `<name>.bias` where it has one. */
  name: string;
  /** Channels that come in. */
  inChannels: number;
  /** Channels that go out. */
  outChannels: number;
  /** Whether there is a tensor `bias`, [outChannels]. */
  bias: boolean;
}

/** `y = (x - mean) / sqrt(variance + eps) * weight + bias` over the channels of a position. */
export interface LayerNormLayer {
  /** What tells it from other layers. */
  kind: "layerNorm";
  /** Its tensors are `<name>.weight` and `<name>.bias`, [channels]. */
  name: string;
  /** Channels of a position, in and out. */
  channels: number;
  /** Added to the variance. */
  eps: number;
}

/** `y = x * scale` per channel. Tensor `scale` is [channels]. */
export interface ScaleLayer {
  /** What tells it from other layers. */
  kind: "scale";
  /** Its tensor is `<name>.scale`. */
  name: string;
  /** Channels of a position, in and out. */
  channels: number;
}

/**
 * Causal self-attention over the last `window` positions (the query's own included) with rotary position embedding
 * (halves rotated, positions counted from the start of the stream). Its tensors are those of four linear layers, whose
 * names are its own and `.q_proj`, `.k_proj`, `.v_proj` or `.o_proj`.
 */
export interface AttentionLayer {
  /** What tells it from other layers. */
  kind: "attention";
  /** What the names of its tensors begin with. */
  name: string;
  /** Channels of a position, in and out. */
  channels: number;
  /** Heads of the queries. */
  heads: number;
  /** Heads of keys and values; divides `heads`. */
  keyValueHeads: number;
  /** Channels of a head; even. */
  headDim: number;
  /** Positions that a query sees, its own included. */
  window: number;
  /** Base of the rotary position embedding. */
  ropeTheta: number;
  /** Whether the four linear layers have a bias. */
  bias: boolean;
}

/** `x > 0 ? x : exp(x) - 1`, or `x / 2 * (1 + erf(x / sqrt(2)))`. */
export interface ActivationLayer {
  /** What tells it from other layers. */
  kind: "elu" | "gelu";
}

/** `y = shortcut(x) + branch(x)`; an empty shortcut is the identity. Both keep the number of positions. */
export interface ResidualLayer {
  /** What tells it from other layers. */
  kind: "residual";
  /** What is added; not empty. */
  branch: Layer[];
  /** What it is added to; empty for the input itself. */
  shortcut: Layer[];
}

/**
 * One residual vector quantizer: `codebooks` codebooks of `size` entries of `dim` values. With `projected`, `channels`
 * are projected to `dim` before and back after. Where an entry is the nearest (squared Euclidean distance) of the
 * residual, the lowest index wins a tie.
 */
export interface ResidualQuantizer {
  /** What the names of its tensors begin with; see {@link codebookTensors}. */
  name: string;
  /** How many there are, each for what the one before left over. */
  codebooks: number;
  /** Entries of a codebook. */
  size: number;
  /** Values of an entry. */
  dim: number;
  /** Channels of the latent. */
  channels: number;
  /** Whether the latent is projected from `channels` to `dim` and back. */
  projected: boolean;
}

/** Latent to codes: every quantizer codes the same latent, its codes follow those of the one before it. */
export interface QuantizeLayer {
  /** What tells it from other layers. */
  kind: "quantize";
  /** In the order of their codes. */
  quantizers: ResidualQuantizer[];
}

/** Codes to latent: the sum over the quantizers. */
export interface DequantizeLayer {
  /** What tells it from other layers. */
  kind: "dequantize";
  /** In the order of their codes. */
  quantizers: ResidualQuantizer[];
}

/** A layer of a network. Backends know these and no others. */
export type Layer =
  | ConvLayer
  | ConvTransposeLayer
  | LinearLayer
  | LayerNormLayer
  | ScaleLayer
  | AttentionLayer
  | ActivationLayer
  | ResidualLayer
  | QuantizeLayer
  | DequantizeLayer;

/**
 * One direction of a codec: audio to frames, or frames to audio. Frames are codes where an encoder ends with a quantize
 * layer and a decoder begins with a dequantize layer; otherwise they are latents.
 */
export interface Network {
  /** Which way it goes. */
  direction: "encode" | "decode";
  /** Samples of audio per frame. */
  frameSize: number;
  /** From the input to the output. */
  layers: Layer[];
}

/** A tensor by the name it has in the reference layout, with the shape it must have. */
export interface TensorSpec {
  /** In the reference layout, that of transformers. */
  name: string;
  /** Its dimensions, the last one fastest. */
  shape: number[];
}

/** How far back a convolution looks: positions before the first that it must be given. */
export function padLeft(layer: ConvLayer): number {
  return (layer.kernel - 1) * layer.dilation + 1 - layer.stride;
}

/** Input positions that one output group of a transposed convolution mixes. */
export function taps(layer: ConvTransposeLayer): number {
  return Math.ceil(layer.kernel / layer.stride);
}

/** Positions that leave a layer when `positions` enter it. */
export function positionsAfter(layer: Layer, positions: number): number {
  if (layer.kind === "conv") return Math.ceil(positions / layer.stride);
  if (layer.kind === "convTranspose") return positions * layer.stride;
  return positions;
}

/**
 * Positions that a layer adds on the right so that a last, partial group becomes whole. In transformers this padding
 * happens in every layer, in the space of its activations (`MimiConv1d._get_extra_padding_for_conv1d`).
 */
export function padRight(layer: Layer, positions: number): number {
  return layer.kind === "conv" ? positionsAfter(layer, positions) * layer.stride - positions : 0;
}

/** All layers, depth first, each with the positions that enter it when `positions` enter the first. */
export function* walk(layers: readonly Layer[], positions: number): Generator<{ layer: Layer; positions: number }> {
  for (const layer of layers) {
    yield { layer, positions };
    if (layer.kind === "residual") {
      yield* walk(layer.branch, positions);
      yield* walk(layer.shortcut, positions);
    }
    positions = positionsAfter(layer, positions);
  }
}

/** Channels that leave layers, as the last one with a say in it has it; undefined where none has. */
export function channelsAfter(layers: readonly Layer[]): number | undefined {
  for (const layer of [...layers].reverse()) {
    switch (layer.kind) {
      case "conv":
      case "convTranspose":
      case "linear":
        return layer.outChannels;
      case "layerNorm":
      case "scale":
      case "attention":
        return layer.channels;
      case "dequantize":
        return layer.quantizers[0].channels;
      case "residual": {
        const channels = channelsAfter(layer.branch);
        if (channels !== undefined) return channels;
      }
    }
  }
  return undefined;
}

/** Channels that enter layers, as the first one with a say in it has it; undefined where none has. */
export function channelsBefore(layers: readonly Layer[]): number | undefined {
  for (const layer of layers) {
    switch (layer.kind) {
      case "conv":
      case "convTranspose":
      case "linear":
        return layer.inChannels;
      case "layerNorm":
      case "scale":
      case "attention":
        return layer.channels;
      case "quantize":
        return layer.quantizers[0].channels;
      case "residual": {
        const channels = channelsBefore(layer.branch) ?? channelsBefore(layer.shortcut);
        if (channels !== undefined) return channels;
      }
    }
  }
  return undefined;
}

/** Values of a frame where frames are latents; undefined where they are codes. */
export function latentChannels({ direction, layers }: Network): number | undefined {
  const quantized = layers.some(({ kind }) => kind === "quantize" || kind === "dequantize");
  if (quantized) return undefined;
  return direction === "encode" ? channelsAfter(layers) : channelsBefore(layers);
}

/** Positions that enter a network with `frames` frames: samples when encoding, frames when decoding. */
export function inputPositions(network: Network, frames: number): number {
  return network.direction === "encode" ? frames * network.frameSize : frames;
}

/** The four projections of an attention layer. */
export function projections(
  layer: AttentionLayer,
): { query: LinearLayer; key: LinearLayer; value: LinearLayer; output: LinearLayer } {
  const inner = layer.heads * layer.headDim, innerKeyValue = layer.keyValueHeads * layer.headDim;
  const linear = (part: string, inChannels: number, outChannels: number): LinearLayer => (
    { kind: "linear", name: `${layer.name}.${part}`, inChannels, outChannels, bias: layer.bias }
  );
  return {
    query: linear("q_proj", layer.channels, inner),
    key: linear("k_proj", layer.channels, innerKeyValue),
    value: linear("v_proj", layer.channels, innerKeyValue),
    output: linear("o_proj", inner, layer.channels),
  };
}

/** The tensors of codebook `index` of a quantizer. An entry is `embed_sum / max(cluster_usage, 1e-5)`, in f32. */
export function codebookTensors(quantizer: ResidualQuantizer, index: number): { sum: TensorSpec; usage: TensorSpec } {
  const name = `${quantizer.name}.layers.${index}.codebook`;
  return {
    sum: { name: `${name}.embed_sum`, shape: [quantizer.size, quantizer.dim] },
    usage: { name: `${name}.cluster_usage`, shape: [quantizer.size] },
  };
}

/** The tensors that a layer reads, in the reference layout. */
export function tensorsOf(layer: Layer): TensorSpec[] {
  switch (layer.kind) {
    case "conv":
      return weightAndBias(layer, [layer.outChannels, layer.inChannels, layer.kernel]);
    case "convTranspose":
      return weightAndBias(layer, [layer.inChannels, layer.outChannels / layer.groups, layer.kernel]);
    case "linear":
      return weightAndBias(layer, [layer.outChannels, layer.inChannels]);
    case "layerNorm":
      return ["weight", "bias"].map((part) => ({ name: `${layer.name}.${part}`, shape: [layer.channels] }));
    case "scale":
      return [{ name: `${layer.name}.scale`, shape: [layer.channels] }];
    case "attention":
      return Object.values(projections(layer)).flatMap(tensorsOf);
    case "quantize":
    case "dequantize":
      return layer.quantizers.flatMap((q) => {
        const books = Array.from({ length: q.codebooks }, (_, i) => Object.values(codebookTensors(q, i))).flat();
        if (!q.projected) return books;
        const projection: TensorSpec = layer.kind === "quantize"
          ? { name: `${q.name}.input_proj.weight`, shape: [q.dim, q.channels, 1] }
          : { name: `${q.name}.output_proj.weight`, shape: [q.channels, q.dim, 1] };
        return [projection, ...books];
      });
    case "residual":
    case "elu":
    case "gelu":
      return [];
  }
}

function weightAndBias(layer: { name: string; bias: boolean; outChannels: number }, shape: number[]): TensorSpec[] {
  const weight = { name: `${layer.name}.weight`, shape };
  return layer.bias ? [weight, { name: `${layer.name}.bias`, shape: [layer.outChannels] }] : [weight];
}

/** All tensors of a network. */
export function networkTensors(network: Network): TensorSpec[] {
  return [...walk(network.layers, 0)].flatMap(({ layer }) => tensorsOf(layer));
}

/**
 * What a stream remembers of one layer, in the layout that all backends save and load: rows of earlier positions,
 * oldest first, right-aligned and zero where the stream has not been yet. `fill` says what a new stream starts from.
 */
export interface StateSpec {
  /** The layer that it belongs to, and which of its tensors it is. */
  name: string;
  /** [positions, channels], or [heads, positions, channels] for an attention layer's keys and values. */
  shape: number[];
  /** What it is at the beginning of a stream: zeros, or copies of the first position that comes. */
  fill: "zeros" | "replicate";
}

/** The memory of one layer; empty for layers without any. Keys are stored after their rotary embedding. */
export function stateOf(layer: Layer): StateSpec[] {
  switch (layer.kind) {
    case "conv": {
      const rows = padLeft(layer);
      if (rows === 0) return [];
      return [{
        name: layer.name,
        shape: [rows, layer.inChannels],
        fill: layer.padMode === "replicate" ? "replicate" : "zeros",
      }];
    }
    case "convTranspose": {
      const rows = taps(layer) - 1;
      return rows === 0 ? [] : [{ name: layer.name, shape: [rows, layer.inChannels], fill: "zeros" }];
    }
    case "attention": {
      const shape = [layer.keyValueHeads, layer.window - 1, layer.headDim];
      return ["keys", "values"].map((part) => ({ name: `${layer.name}.${part}`, shape, fill: "zeros" as const }));
    }
    default:
      return [];
  }
}

/** The memory of a stream through a network, in the order in which it is saved. */
export function networkState(network: Network): StateSpec[] {
  return [...walk(network.layers, 0)].flatMap(({ layer }) => stateOf(layer));
}

/** Positions that attention can tell apart: rotary angles are formed in f32, which holds every integer up to here. */
const MOST_POSITIONS = 2 ** 24;

/** Frames that a stream may last: as long as every attention layer can tell its positions apart. */
export function mostFrames(network: Network): number {
  const perFrame = [...walk(network.layers, inputPositions(network, 1))]
    .filter(({ layer }) => layer.kind === "attention").map(({ positions }) => positions);
  return Math.floor(MOST_POSITIONS / Math.max(1, ...perFrame));
}

/** Number of values of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}
