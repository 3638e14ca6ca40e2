/**
 * How the tensors of a bundle are stored.
 *
 * @module
 */
import { FORMATS, weightLayers } from "../backends/wasm/precision.ts";
import { MimiRangeError } from "../core/errors.ts";
import { type Network, sizeOf, type TensorSpec } from "../core/network.ts";
import { quantize, type QuantizedTensor, scalesOf, STORED } from "../core/quantized.ts";
import type { Storage } from "../hub/bundle.ts";

/** What becomes of a tensor of the source: one of the bundle, or one of integers and one of their scales. */
export interface StoredTensor {
  quantized?: QuantizedTensor;
  /** As the header of the file says; sizes in bytes. */
  tensors: { name: string; dtype: string; shape: number[]; size: number }[];
  /** Their bytes. @throws {MimiRangeError} `ERR_OUT_OF_RANGE` for a value that is too large for f16. */
  bytesOf(values: Float32Array): Uint8Array[];
}

/** How a bundle of a precision stores the tensors of networks. */
export function storages(precision: Storage, networks: Network[]): (spec: TensorSpec) => StoredTensor {
  if (precision !== "int12" && precision !== "int8") {
    // Vectors are a thousandth of the weights, and what they scale is sensitive.
    return (spec) => plain(spec, spec.shape.length > 1 ? precision : "f32");
  }
  const formatOf = FORMATS[precision];
  const layers = new Map(networks.flatMap((network) => [...weightLayers(network)]).map((l) => [`${l.name}.weight`, l]));
  return (spec) => {
    const layer = layers.get(spec.name), format = layer && formatOf(layer);
    // The integers of the wasm backend, so that it makes the same of them as of the source.
    if (layer?.scales && (format === "int12" || format === "int8")) return integers(spec, format, layer.scales);
    return plain(spec, spec.shape.length === 1 ? "f32" : spec.name.endsWith(".embed_sum") ? "bf16" : "f16");
  };
}

function plain({ name, shape }: TensorSpec, as: keyof typeof NARROW): StoredTensor {
  const { dtype, size, of } = NARROW[as];
  return {
    tensors: [{ name, dtype, shape, size: size * sizeOf(shape) }],
    bytesOf(values) {
      const large = as === "f16" ? values.find((value) => Math.abs(value) >= 65520) : undefined;
      if (large === undefined) return [of(values)];
      throw new MimiRangeError("ERR_OUT_OF_RANGE", `pack: ${name} holds ${large}, too large for f16; use bf16.`);
    },
  };
}

function integers({ name, shape }: TensorSpec, as: keyof typeof STORED, scales: number[]): StoredTensor {
  const quantized = { as, shape }, { dtype, shape: of } = STORED[as], stored = of(shape);
  return {
    quantized,
    tensors: [
      { name, dtype, shape: stored, size: sizeOf(stored) },
      { name: scalesOf(name), dtype: "F32", shape: scales, size: 4 * sizeOf(scales) },
    ],
    bytesOf(values) {
      const { integers, scales: steps } = quantize(values, quantized, scales);
      return [integers, NARROW.f32.of(steps)];
    },
  };
}

/** f32 values in fewer bits, rounded to the nearest, ties to even; by their name in safetensors. */
export const NARROW: Record<
  "f32" | "f16" | "bf16",
  { dtype: string; size: number; of(values: Float32Array): Uint8Array }
> = {
  f32: {
    dtype: "F32",
    size: 4,
    of: ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
  },
  f16: { dtype: "F16", size: 2, of: (values) => words(values, toHalf) },
  bf16: { dtype: "BF16", size: 2, of: (values) => words(values, toBrain) },
};

function words(values: Float32Array, convert: (bits: number) => number): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return new Uint8Array(Uint16Array.from(bits, convert).buffer);
}

/** The upper half of the bits, after adding what rounds. */
function toBrain(bits: number): number {
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** IEEE 754 binary16. What is too large becomes infinite. */
function toHalf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000, exponent = (bits >>> 23) & 255, fraction = bits & 0x7fffff;
  if (exponent === 255) return sign | 0x7c00 | (fraction ? 0x200 : 0);
  // Normal halves have exponents from -14 on; below that the leading one is part of the fraction.
  const shift = Math.max(0, 113 - exponent), significand = exponent === 0 ? fraction : fraction | 0x800000;
  if (shift > 12) return sign;
  const dropped = 13 + shift, half = 2 ** (dropped - 1), rest = significand % 2 ** dropped;
  let kept = Math.floor(significand / 2 ** dropped);
  if (rest > half || rest === half && kept % 2 === 1) kept++;
  // A carry out of the fraction goes into the exponent, as it should.
  const value = shift > 0 ? kept : ((exponent - 112) << 10) + (kept - 0x400);
  return sign | Math.min(value, 0x7c00);
}
