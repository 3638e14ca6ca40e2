/**
 * What each precision does to each layer. `docs/performance.md` says what was measured.
 *
 * @module
 */
import type { Precision } from "../../core/backend.ts";
import type { WeightFormat } from "../../core/packing.ts";

/** A matrix of weights, to have its format chosen. */
export interface WeightLayer {
  /** The layer's, as in network.ts; of an attention layer also its output projection's. */
  name: string;
  outputs: number;
  inputs: number;
  /** Rows that come out for a frame. */
  perFrame: number;
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
