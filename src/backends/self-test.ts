/**
 * Whether a backend computes rightly on this device: a small known network against stored sums, and a loaded model against
 * the wasm backend, whose bits are the same everywhere.
 *
 * Results are compared layer by layer: what a stream remembers is the input of every convolution and the keys and values of
 * every attention layer.
 *
 * @module
 */
import type { Backend, Program, TensorSource } from "../core/backend.ts";
import { MimiConfig, type MimiConfigFields } from "../core/config.ts";
import { NotSupportedError } from "../core/errors.ts";
import { decoderNetwork, encoderNetwork } from "../core/mimi.ts";
import { type Network, networkState, type ResidualQuantizer, sizeOf } from "../core/network.ts";

/** Frames of the steps of a test: one as in a live stream, then several. */
const STEPS: readonly number[] = [1, 15];
const FRAMES = STEPS.reduce((a, b) => a + b);
/** Largest difference of two backends, over the largest value of the layer. */
const MOST_DIFFERENT = 3e-4;
/** Frames of a quantizer whose codes may be others for a near tie: a rounding error changes about one code of 10,000. */
const MOST_TIES = 1;
/** Largest difference from a stored sum; they are of the order of 1. */
const MOST_OFF = 1e-4;

/** The known network: every kind of layer, small. */
const KNOWN: Partial<MimiConfigFields> = {
  samplingRate: 1200,
  frameRate: 100,
  upsamplingRatios: [3, 2],
  numFilters: 4,
  hiddenSize: 12,
  numHiddenLayers: 1,
  numAttentionHeads: 2,
  numKeyValueHeads: 1,
  headDim: 6,
  intermediateSize: 20,
  slidingWindow: 5,
  codebookSize: 16,
  codebookDim: 8,
  vectorQuantizationHiddenDimension: 8,
  numQuantizers: 3,
  upsampleGroups: 12,
};

/** What the known network gives in float64; `tests/self-test.test.ts` computes it anew. */
const KNOWN_SUMS: Record<string, number> = {
  "encoder.layers.0.conv": 0.168729,
  "encoder.layers.1.block.1.conv": 0.147229,
  "encoder.layers.3.conv": 0.212494,
  "encoder.layers.4.block.1.conv": 0.016856,
  "encoder.layers.6.conv": 0.533134,
  "encoder.layers.8.conv": -0.004951,
  "encoder_transformer.layers.0.self_attn.keys": -0.368783,
  "encoder_transformer.layers.0.self_attn.values": 0.700147,
  "downsample.conv": -0.098855,
  "upsample.conv": -0.091092,
  "decoder_transformer.layers.0.self_attn.keys": -0.042502,
  "decoder_transformer.layers.0.self_attn.values": 0.135888,
  "decoder.layers.0.conv": -0.103141,
  "decoder.layers.2.conv": 0.054250,
  "decoder.layers.3.block.1.conv": -0.014688,
  "decoder.layers.5.conv": 0.219952,
  "decoder.layers.6.block.1.conv": -0.072717,
  "decoder.layers.8.conv": -0.211821,
  "audio": -0.079967,
};
const KNOWN_CODES: readonly number[] = [
  8,
  5,
  8,
  11,
  3,
  8,
  11,
  5,
  11,
  3,
  11,
  8,
  3,
  11,
  3,
  5,
  1,
  1,
  4,
  1,
  4,
  4,
  4,
  1,
  4,
  1,
  4,
  4,
  1,
  4,
  3,
  1,
  12,
  12,
  13,
  13,
  15,
  13,
  11,
  13,
  11,
  15,
  13,
  11,
  13,
  13,
  13,
  13,
];

/** What a network gave: tensors by name, and codes. */
interface Results {
  tensors: { name: string; values: Float32Array }[];
  /** [codebooks, FRAMES], of an encoder. */
  codes?: Uint16Array;
}

/** Values from -1 to 1 that depend on a name and an index alone. */
function noise(name: string, length: number, scale: number = 1): Float32Array {
  let seed = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) seed = Math.imul(seed ^ name.charCodeAt(i), 0x01000193);
  return Float32Array.from({ length }, (_, i) => {
    let x = Math.imul(i + 1, 0x9e3779b1) + seed;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    return (((x ^ (x >>> 16)) >>> 8) / 8388608 - 1) * scale;
  });
}

/** Weights of the known network. */
const knownWeights: TensorSource = {
  async read({ name, shape }) {
    const n = sizeOf(shape);
    if (name.endsWith("cluster_usage")) return new Float32Array(n).fill(1);
    if (/norm\.weight$/.test(name)) return noise(name, n, 0.1).map((v) => 1 + v);
    if (name.endsWith("embed_sum")) return noise(name, n, 0.2);
    return noise(name, n, shape.length > 1 ? 1.6 / Math.sqrt(sizeOf(shape.slice(1))) : 0.3);
  },
};

/** Takes a fresh stream of a program through a few frames of noise. */
async function run(network: Network, program: Program): Promise<Results> {
  const encodes = network.direction === "encode", { frameSize } = network;
  const sizes = quantizersOf(network).flatMap(({ codebooks, size }) => Array<number>(codebooks).fill(size));
  const audio = encodes ? noise("audio", FRAMES * frameSize, 0.5) : new Float32Array(FRAMES * frameSize);
  const all = new Uint16Array(sizes.length * FRAMES), state = program.createState();
  if (!encodes) {
    noise("codes", all.length).forEach((v, i) => all[i] = Math.floor((v + 1) / 2 * sizes[Math.floor(i / FRAMES)]));
  }
  try {
    let from = 0;
    for (const count of STEPS) {
      const place = (i: number) => Math.floor(i / count) * FRAMES + from + i % count;
      const codes = Uint16Array.from({ length: sizes.length * count }, (_, i) => all[place(i)]);
      const samples = audio.subarray(from * frameSize, (from + count) * frameSize);
      await program.step([state], { audio: [samples], codes: [codes], codebooks: sizes.length }, count);
      codes.forEach((code, i) => all[place(i)] = code);
      from += count;
    }
    const saved = await program.save(state);
    const tensors = networkState(network).map(({ name }, i) => ({ name, values: saved.tensors[i] }));
    return encodes ? { tensors, codes: all } : { tensors: [...tensors, { name: "audio", values: audio }] };
  } finally {
    program.freeState(state);
  }
}

function quantizersOf(network: Network): ResidualQuantizer[] {
  return network.layers.flatMap((l) => l.kind === "quantize" || l.kind === "dequantize" ? l.quantizers : []);
}

/** A sum in which every value has a weight of its own, so that none can change, or change places, unnoticed. */
function sumOf({ values }: { values: Float32Array }): number {
  const factors = noise("sum", values.length, 1 / Math.sqrt(values.length || 1));
  return values.reduce((sum, v, i) => sum + v * factors[i], 0);
}

/** What the known network gives: sums of its tensors, and its codes. */
export async function knownResults(backend: Backend): Promise<{ sums: Record<string, number>; codes: number[] }> {
  const sums: Record<string, number> = {}, codes: number[] = [], config = new MimiConfig(KNOWN);
  for (const network of [encoderNetwork(config), decoderNetwork(config)]) {
    const program = await backend.compile(network, knownWeights, { precision: "f32" });
    try {
      const results = await run(network, program);
      for (const tensor of results.tensors) sums[tensor.name] = sumOf(tensor);
      codes.push(...results.codes ?? []);
    } finally {
      program.close();
    }
  }
  return { sums, codes };
}

/**
 * Checks a backend with the known network.
 *
 * @throws {NotSupportedError} where a sum is not the stored one.
 */
export async function checkKnown(where: string, backend: Backend): Promise<void> {
  const { sums, codes } = await knownResults(backend);
  for (const [name, expected] of Object.entries(KNOWN_SUMS)) {
    if (!(Math.abs(sums[name] - expected) <= MOST_OFF)) {
      refuse(where, backend, `${name} of a known network sums to ${sums[name]}, not ${expected}`);
    }
  }
  if (codes.join() !== KNOWN_CODES.join()) {
    refuse(where, backend, `the codes of a known network are ${codes.join()}, not ${KNOWN_CODES.join()}`);
  }
}

/**
 * Checks a loaded half of a model against another backend's.
 *
 * @throws {NotSupportedError} naming the first layer whose values differ.
 */
export async function checkProgram(
  where: string,
  backend: Backend,
  network: Network,
  program: Program,
  reference: Program,
): Promise<void> {
  const actual = await run(network, program), expected = await run(network, reference);
  for (const [i, { name, values }] of expected.tensors.entries()) {
    let worst = 0, scale = 0;
    values.forEach((v, at) => {
      const off = Math.abs(v - actual.tensors[i].values[at]);
      worst = off <= worst ? worst : off; // NaN is the worst of all
      scale = Math.max(scale, Math.abs(v));
    });
    if (!(worst <= MOST_DIFFERENT * scale)) {
      refuse(where, backend, `${name} is off by ${worst}, with values up to ${scale}`);
    }
  }
  if (expected.codes) {
    const wrong = firstDifferences(quantizersOf(network), actual.codes!, expected.codes);
    if (wrong.length > MOST_TIES) {
      refuse(where, backend, `in ${wrong.length} frames codes are others, from ${[...new Set(wrong)].join(", ")} on`);
    }
  }
}

/**
 * Where codes begin to be others, by codebook: for each frame and quantizer the first one that is. A near tie may go either
 * way, and changes the later codes of its quantizer in that frame.
 */
function firstDifferences(quantizers: ResidualQuantizer[], actual: Uint16Array, expected: Uint16Array): string[] {
  const found: string[] = [];
  let first = 0;
  for (const { name, codebooks } of quantizers) {
    for (let t = 0; t < FRAMES; t++) {
      const books = Array.from({ length: codebooks }, (_, k) => k), at = (k: number) => (first + k) * FRAMES + t;
      const k = books.find((k) => actual[at(k)] !== expected[at(k)]);
      if (k !== undefined) found.push(`${name}.layers.${k}`);
    }
    first += codebooks;
  }
  return found;
}

function refuse(where: string, { name }: Backend, what: string): never {
  throw new NotSupportedError(`${where}: the ${name} backend computes wrongly on this device: ${what}.`);
}
