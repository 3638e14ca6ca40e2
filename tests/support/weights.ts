/**
 * Deterministic weights of any size: every value is a function of its tensor's name and its index, so that goldens of a
 * full-size model need no file of 385 MB.
 *
 * A value is a 32-bit hash of its index, seeded with a hash of the name, mapped to [-1, 1) and scaled: `b + a * u`. The
 * sums of a codebook are scaled by the usage of their entry. goldens/README.md says how the reference was made with it.
 */
import type { TensorSource } from "../../src/core/backend.ts";
import type { TensorSpec } from "../../src/core/network.ts";
import { testJSON } from "./files.ts";

export interface Recipe {
  name: string;
  shape: number[];
  kind: "uniform" | "embed_sum" | "const";
  a?: number;
  b?: number;
  /** For `embed_sum`: the tensor of its entries' usage. */
  usage?: string;
}

/** FNV-1a, 32 bits. */
function seedOf(name: string): number {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) h = Math.imul(h ^ byte, 0x01000193);
  return h;
}

/** The finaliser of MurmurHash3. */
function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** What `models/<spec>.json` says. */
export async function recipesOf(spec: string): Promise<Recipe[]> {
  return (await testJSON(`models/${spec}.json`) as { tensors: Recipe[] }).tensors;
}

/** The tensors that `models/<spec>.json` describes, made when they are read. */
export async function deterministicWeights(spec: string): Promise<TensorSource> {
  const recipes = new Map((await recipesOf(spec)).map((t) => [t.name, t]));
  const make = (name: string): Float32Array => {
    const { shape, kind, a = 0, b = 0, usage } = recipes.get(name)!;
    const values = new Float32Array(shape.reduce((x, y) => x * y, 1)), seed = seedOf(name);
    const used = usage ? make(usage) : undefined, columns = shape[1];
    for (let i = 0; i < values.length; i++) {
      const u = (mix((Math.imul(i, 0x9e3779b1) + seed) | 0) >>> 8) / 8388608 - 1;
      if (kind === "const") values[i] = b;
      else if (kind === "uniform") values[i] = b + a * u;
      else values[i] = Math.fround(a * u) * used![Math.floor(i / columns)];
    }
    return values;
  };
  return { read: (tensor: TensorSpec) => Promise.resolve(make(tensor.name)) };
}
