/** Seeded randomness. A test prints its seed; SEED in the environment repeats a run. */
import process from "node:process";
import type { TensorSource } from "../../src/core/backend.ts";
import { type Network, networkTensors, sizeOf } from "../../src/core/network.ts";

export interface Random {
  readonly seed: number;
  /** In [0, 1). */
  next(): number;
  /** From low to high, both included. */
  integer(low: number, high: number): number;
  pick<T>(values: readonly T[]): T;
  /** Uniform in [-scale, scale). */
  floats(n: number, scale?: number): Float32Array;
}

/** One for all of a process, so that a test that is tried again meets the same numbers. */
const SEED = Number(process.env.SEED) || Date.now() % 1e9;

/** mulberry32 */
export function random(name: string, seed: number = SEED): Random {
  console.log(`${name}: seed ${seed}`);
  let s = seed | 0;
  const next = () => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const integer = (low: number, high: number) => low + Math.floor(next() * (high - low + 1));
  return {
    seed,
    next,
    integer,
    pick: (values) => values[integer(0, values.length - 1)],
    floats: (n, scale = 1) => Float32Array.from({ length: n }, () => (next() * 2 - 1) * scale),
  };
}

/** Random weights whose activations neither vanish nor explode. */
export function randomWeights(rng: Random, networks: Network[]): TensorSource & { tensors: Map<string, Float32Array> } {
  const tensors = new Map<string, Float32Array>();
  for (const { name, shape } of networks.flatMap(networkTensors)) {
    if (tensors.has(name)) continue;
    const n = sizeOf(shape), isGain = /norm\.weight$/.test(name);
    const scale = name.endsWith("embed_sum")
      ? 1.5
      : name.endsWith("scale")
      ? 0.3
      : shape.length > 1
      ? 1.6 / Math.sqrt(sizeOf(shape.slice(1)))
      : 0.1;
    const values = rng.floats(n, scale);
    if (isGain) values.forEach((v, i) => values[i] = 1 + v);
    if (name.endsWith("cluster_usage")) values.forEach((_, i) => values[i] = 0.5 + rng.next());
    tensors.set(name, values);
  }
  return { tensors, read: (spec) => Promise.resolve(tensors.get(spec.name)!) };
}
