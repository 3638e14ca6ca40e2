/**
 * Weights of a file, in any layout of their codec, as the tensors that a network asks for.
 *
 * @module
 */
import type { TensorSource } from "./backend.ts";
import type { Codec, CodecConfig, Placement } from "./codec.ts";
import { FormatError } from "./errors.ts";
import { type Network, networkTensors, sizeOf, type TensorSpec } from "./network.ts";
import type { TensorFile } from "./quantized.ts";
import { firstNotFinite } from "./tensor.ts";

/** Weights that fit a model. */
export interface Checkpoint extends TensorSource {
  layout: string;
  /** The tensors of the file that the networks are made of, by their names there. */
  names: string[];
}

const MOST_LISTED = 40;
const READABLE = ["F32", "F16", "BF16"];

/**
 * Matches a file against the networks that will read it: every tensor must be there with its shape, and nothing may be
 * there that the codec has no use for.
 *
 * @throws {FormatError} `ERR_CHECKPOINT` that lists everything missing, misshapen or unknown.
 */
export function openCheckpoint<C extends CodecConfig>(
  file: TensorFile,
  codec: Codec<C>,
  config: C,
  networks: Network[],
): Checkpoint {
  const names = [...file.tensors.keys()];
  const layout = codec.layouts.find((l) => names.some((name) => l.sign.test(name)));
  if (!layout) {
    const layouts = codec.layouts.map((l) => l.name).join(" or ");
    throw new FormatError(
      "ERR_CHECKPOINT",
      `${file.name}: not a checkpoint of ${codec.modelType}: no tensor is named as in the layout ${layouts} (first of ${names.length}: ${
        names[0] ?? "none"
      }).`,
    );
  }
  const problems: string[] = [];
  const needed = unique(networks.flatMap(networkTensors));
  for (const spec of needed) {
    const placement = layout.place(spec.name, config);
    const name = find(file, placement);
    if (name === undefined) {
      problems.push(`missing: ${placement.names[0]} ${JSON.stringify(shapeInFile(spec, placement))}`);
      continue;
    }
    const { shape, dtype } = file.tensors.get(name)!, expected = shapeInFile(spec, placement);
    if (shape.join() !== expected.join()) {
      problems.push(`misshapen: ${name} is ${JSON.stringify(shape)}, expected ${JSON.stringify(expected)}`);
    }
    if (!READABLE.includes(dtype)) problems.push(`unreadable: ${name} is ${dtype}, expected ${READABLE.join(", ")}`);
  }
  const whole = unique([codec.encoder?.(config), codec.decoder(config)].flatMap((n) => n ? networkTensors(n) : []));
  const known = new Set(whole.flatMap((spec) => layout.place(spec.name, config).names));
  for (const name of names) if (!known.has(name) && !layout.ignores(name)) problems.push(`unknown: ${name}`);
  if (problems.length) {
    // What is not there at all says most, so it comes first: missing, then unknown, unreadable, misshapen.
    const listed = [...new Set(problems)].sort((a, b) => rank(a) - rank(b)), rest = listed.length - MOST_LISTED;
    throw new FormatError(
      "ERR_CHECKPOINT",
      `${file.name}: the weights (${layout.name} layout) do not fit the configuration:\n  ` +
        listed.slice(0, MOST_LISTED).join("\n  ") + (rest > 0 ? `\n  and ${rest} more` : ""),
    );
  }
  return {
    layout: layout.name,
    names: [...new Set(needed.map((spec) => find(file, layout.place(spec.name, config))!))],
    async read(spec: TensorSpec): Promise<Float32Array> {
      const placement = layout.place(spec.name, config);
      const name = find(file, placement);
      if (name === undefined) throw new FormatError("ERR_CHECKPOINT", `${file.name}: missing: ${placement.names[0]}.`);
      const values = await file.read(name, placement.rows?.from, placement.rows?.count), bad = firstNotFinite(values);
      if (bad >= 0) {
        throw new FormatError("ERR_CHECKPOINT", `${file.name}: ${name} holds ${values[bad]}, expected finite numbers.`);
      }
      if (placement.interleavedHeads) {
        return toHalves(values, placement.interleavedHeads, sizeOf(spec.shape.slice(1)));
      }
      return values.byteLength === values.buffer.byteLength ? values : values.slice(); // it may be part of the file
    },
  };
}

function rank(problem: string): number {
  return ["missing", "unknown", "unreadable", "misshapen"].findIndex((kind) => problem.startsWith(kind));
}

function find(file: TensorFile, placement: Placement): string | undefined {
  return placement.names.find((name) => file.tensors.has(name));
}

function shapeInFile(spec: TensorSpec, placement: Placement): number[] {
  return placement.rows ? [placement.rows.of, ...spec.shape.slice(1)] : spec.shape;
}

function unique(specs: TensorSpec[]): TensorSpec[] {
  return [...new Map(specs.map((s) => [s.name, s])).values()];
}

/** Rows of a query or key projection from interleaved rotary pairs (2j, 2j + 1) to halves (j, j + headDim / 2). */
function toHalves(values: Float32Array, heads: number, columns: number): Float32Array {
  const headDim = values.length / columns / heads, half = headDim / 2;
  const out = new Float32Array(values.length);
  for (let head = 0; head < heads; head++) {
    for (let j = 0; j < half; j++) {
      for (let part = 0; part < 2; part++) {
        const from = (head * headDim + 2 * j + part) * columns;
        out.set(values.subarray(from, from + columns), (head * headDim + part * half + j) * columns);
      }
    }
  }
  return out;
}
