/**
 * What each precision does to each layer. `docs/performance.md` says what was measured.
 *
 * @module
 */
import type { Precision } from "../../core/backend.ts";
import {
  inputPositions,
  type Layer,
  type Network,
  positionsAfter,
  projections,
  taps,
  walk,
} from "../../core/network.ts";
import type { WeightFormat } from "../../core/packing.ts";

/** A matrix of weights, to have its format chosen. */
export interface WeightLayer {
  /** That of the layer, as in network.ts, or of its part: its tensor is `${name}.weight`. */
  name: string;
  /** Of a product with it. */
  inputs: number;
  /** Rows that come out for a frame. */
  perFrame: number;
  /**
   * Scales of its rows along each axis of the tensor, where its rows are found there: one for each index, one for all, or for
   * a transposed convolution's taps one for each output of a group, over and over.
   */
  scales?: number[];
}

export type FormatOf = (layer: WeightLayer) => WeightFormat;

/** What leaves or enters the codebooks, and the samples' own convolution: little to gain, and errors here go everywhere. */
const isEdge = ({ name, inputs }: WeightLayer) => name.startsWith("quantizer.") || inputs < 32;

/** With two rows a frame the way of the weights from memory takes the time, so their bits count. */
const fewRows = ({ perFrame }: WeightLayer) => perFrame <= 2;

/** The half of a transformer's weights that stands 8 bits best. */
const isFeedForward = ({ name }: WeightLayer) => name.includes("_transformer.") && name.includes(".mlp.");

const int12: FormatOf = (layer) => isEdge(layer) ? "f32" : fewRows(layer) ? "int12" : "int16";

export const FORMATS: Record<Precision, FormatOf> = {
  f32: () => "f32",
  int12,
  int8: (layer) => fewRows(layer) && isFeedForward(layer) ? "int8" : int12(layer),
};

/** The matrices of a network's layers, those of the codebooks left out. */
export function* weightLayers(network: Network): Generator<WeightLayer> {
  for (const { layer, positions } of walk(network.layers, inputPositions(network, 1))) {
    yield* matricesOf(layer, positions);
  }
}

function matricesOf(layer: Layer, positions: number): WeightLayer[] {
  const linear = (name: string, inputs: number, scales?: number[]) => [{ name, inputs, perFrame: positions, scales }];
  switch (layer.kind) {
    case "conv": {
      const { name, inChannels, outChannels, kernel, dilation } = layer;
      const perFrame = positionsAfter(layer, positions);
      // With a dilation each tap is a product of its own.
      return dilation === 1
        ? [{ name, inputs: inChannels * kernel, perFrame, scales: [outChannels, 1, 1] }]
        : [{ name, inputs: inChannels, perFrame }];
    }
    case "convTranspose": {
      const { name, inChannels, outChannels, groups, stride } = layer;
      if (groups === inChannels && groups === outChannels) return []; // depthwise: no product
      return linear(name, taps(layer) * inChannels, groups === 1 ? [1, outChannels, stride] : undefined);
    }
    case "linear":
      return linear(layer.name, layer.inChannels, [layer.outChannels, 1]);
    case "attention":
      return Object.values(projections(layer)).flatMap((part) => matricesOf(part, positions));
    case "quantize":
    case "dequantize":
      return layer.quantizers.filter(({ projected }) => projected).flatMap(({ name, channels, dim }) =>
        layer.kind === "quantize" ? linear(`${name}.input_proj`, channels) : linear(`${name}.output_proj`, dim)
      );
    default:
      return [];
  }
}
