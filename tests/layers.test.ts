/** Every layer of the wasm backend against transformers' stages. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { MimiConfig } from "../mod.ts";
import { lower } from "../src/backends/wasm/lower.ts";
import { Memory } from "../src/backends/wasm/memory.ts";
import type { FormatOf } from "../src/backends/wasm/precision.ts";
import type { Ports, TensorSource } from "../src/core/backend.ts";
import { openCheckpoint } from "../src/core/checkpoint.ts";
import { cosSin } from "../src/core/math.ts";
import { decoderNetwork, encoderNetwork, mimi } from "../src/core/mimi.ts";
import { type Layer, positionsAfter } from "../src/core/network.ts";
import { bytesInMemory, Safetensors } from "../src/core/safetensors.ts";
import { concatFloats } from "../src/core/tensor.ts";
import { assertClose } from "./support/compare.ts";
import { openGolden, testJSON, testPath } from "./support/files.ts";
import { snr } from "./support/quality.ts";
import { random, randomWeights } from "./support/random.ts";
import { SMALL, VARIANTS } from "./support/variants.ts";
import { deterministicWeights } from "./support/weights.ts";

const NO_PORTS: Ports = { audio: [], codes: [], codebooks: 0 };

/** Runs layers of a fresh stream in wasm: rows x channels in, rows x channels out. */
async function runLayers(
  layers: Layer[],
  tensors: TensorSource,
  input: Float32Array,
  positions: number,
  ports: Ports = NO_PORTS,
): Promise<Float32Array> {
  const memory = await Memory.create();
  // With frameSize 1 a position of the input is a frame, so one pass covers them all; buffers hold whole frames of Mimi.
  const lowered = await lower(
    { direction: "encode", frameSize: 1, layers },
    tensors,
    memory,
    Math.ceil(positions / 1920) * 1920,
  );
  const at = memory.store(input),
    state = memory.allocate(lowered.stateSize),
    out = lowered.run(positions, { streams: [{ at: state, frames: 0 }], ports, row: 0, frame: 0 }, at);
  const rows = layers.reduce((n, layer) => positionsAfter(layer, n), positions);
  return memory.view(out, memory.total / 4 - out / 4).slice(0, rows * channelsOf(layers));
}

function channelsOf(layers: Layer[]): number {
  const last = [...layers].reverse().map((l) => l.kind === "residual" ? l.branch[l.branch.length - 1] : l)
    .find((l) => l.kind !== "elu" && l.kind !== "gelu" && l.kind !== "quantize")!;
  return "outChannels" in last
    ? last.outChannels
    : "channels" in last
    ? last.channels
    : last.kind === "dequantize"
    ? last.quantizers[0].channels
    : 0;
}

/** [1, channels, positions] -> [positions, channels] */
function channelsLast(values: Float32Array, [, channels, positions]: number[]): Float32Array {
  const out = new Float32Array(values.length);
  for (let c = 0; c < channels; c++) {
    for (let t = 0; t < positions; t++) out[t * channels + c] = values[c * positions + t];
  }
  return out;
}

test("every layer of the tiny model against transformers", async () => {
  const golden = await openGolden("tiny_layers"), { config, tensors } = await modelOf("tiny_layers");
  const encoder = encoderNetwork(config), decoder = decoderNetwork(config);
  const rowsOf = async (name: string) => {
    const shape = golden.shape(name), values = await golden.f32(name);
    return shape[2] === undefined || name.includes("_tr") ? values : channelsLast(values, shape);
  };
  // The goldens number the modules of the SEANets: the activations count, as they do in `layers`.
  const seanet = encoder.layers.findIndex((l) => l.kind === "residual" && l.branch[0].kind === "layerNorm");
  const input = await golden.f32("input");
  let seen = 0;
  for (let i = 0; i < seanet; i++) {
    const actual = await runLayers(encoder.layers.slice(0, i + 1), tensors, input, input.length);
    assertClose(`enc.${i}`, actual, await rowsOf(`enc.${i}`), 1e-4, true);
    seen++;
  }
  const hidden = await rowsOf(`enc.${seanet - 1}`), positions = golden.shape(`enc.${seanet - 1}`)[2];
  const transformer = encoder.layers.slice(seanet).filter((l) => l.kind === "residual");
  for (let i = 0; 2 * i < transformer.length; i++) {
    const actual = await runLayers(transformer.slice(0, 2 * i + 2), tensors, hidden, positions);
    assertClose(`enc_tr.${i}`, actual, await golden.f32(`enc_tr.${i}`), 1e-4, true);
    seen++;
  }
  const from = decoder.layers.findIndex((l) => l.kind === "conv"),
    decIn = await rowsOf("dec_in"),
    length = golden.shape("dec_in")[2];
  for (let i = 0; from + i < decoder.layers.length; i++) {
    const actual = await runLayers(decoder.layers.slice(from, from + i + 1), tensors, decIn, length);
    assertClose(`dec.${i}`, actual, await rowsOf(`dec.${i}`), 1e-4, true);
    seen++;
  }
  assert.equal(seen, 15 + 2 + 15);
});

/** The stages that goldens may hold, in their order, with the layers after which each is taken. */
function stagesOf(layers: Layer[]): [names: string[], end: number][] {
  const isTransformer = (l: Layer) => l.kind === "residual" && l.branch[0].kind === "layerNorm";
  const first = layers.findIndex(isTransformer), last = layers.findLastIndex(isTransformer) + 1;
  const quantize = layers.findIndex((l) => l.kind === "quantize");
  return quantize >= 0
    ? [[["seanet_encoder"], first], [["encoder_transformer"], last], [["downsample", "latent"], quantize]]
    : [[["rvq_decode"], 1], [["upsample"], first], [["decoder_transformer"], last]];
}

/** Configuration and weights that a golden was made with. */
async function modelOf(golden: string): Promise<{ config: MimiConfig; tensors: TensorSource }> {
  if (golden.startsWith("full_")) return { config: new MimiConfig(), tensors: await deterministicWeights("full-spec") };
  const folder = golden.startsWith("tiny_") ? "models/tiny-hf" : `models/variants/${golden.slice("variant_".length)}`;
  const config = MimiConfig.fromJSON(await testJSON(`${folder}/config.json`));
  const file = await Safetensors.open(bytesInMemory(await readFile(testPath(`${folder}/model.safetensors`))));
  return { config, tensors: openCheckpoint(file, mimi, config, [encoderNetwork(config), decoderNetwork(config)]) };
}

/** Every stage that any golden holds. */
const STAGES = 54;
let stagesSeen = 0;

const goldens = (await readdir(testPath("goldens"))).filter((name) =>
  /^(tiny|full|variant)_.*\.safetensors$/.test(name)
)
  .map((name) => name.replace(".safetensors", ""));
for (const name of goldens) {
  test(`stages of ${name} against transformers`, async () => {
    const golden = await openGolden(name), { config, tensors } = await modelOf(name);
    for (const { direction, layers } of [encoderNetwork(config), decoderNetwork(config)]) {
      const stages = stagesOf(layers), held = stages.map(([names]) => names.filter((stage) => golden.has(stage)));
      if (held.every((names) => names.length === 0)) continue;
      const [, codebooks, frames] = golden.shape("codes");
      let rows = direction === "encode" ? await golden.f32("input") : new Float32Array(frames), done = 0;
      let positions = rows.length;
      const ports = { audio: [], codes: [Uint16Array.from(await golden.i32("codes"))], codebooks };
      for (const [i, [, end]] of stages.entries()) {
        const some = layers.slice(done, end);
        if (some.length) rows = await runLayers(some, tensors, rows, positions, ports);
        positions = some.reduce((n, layer) => positionsAfter(layer, n), positions);
        done = end;
        for (const stage of held[i]) {
          assertClose(stage, rows, channelsLast(await golden.f32(stage), golden.shape(stage)), 1e-4, true);
          stagesSeen++;
        }
      }
    }
  });
}

test("every stage of every golden was compared", () => assert.equal(stagesSeen, STAGES));

test("rotary angles are exact up to the last position of a stream", () => {
  const rng = random("angles");
  for (let i = 0; i < 20000; i++) {
    const angle = i === 0 ? 2 ** 24 : Math.fround((rng.next() * 2 - 1) * 2 ** rng.integer(0, 24));
    const [cos, sin] = cosSin(angle),
      error = Math.max(Math.abs(cos - Math.cos(angle)), Math.abs(sin - Math.sin(angle)));
    assert.ok(error < 1e-15, `off by ${error} at ${angle}`);
  }
});

const WIDE = { ...SMALL, ...VARIANTS["panels: widths of 16"] };
const LEAST_SNR = { int16: 55, int12: 40, int8: 15 };

for (
  const name of [
    "panels: widths of 16",
    "three residual layers, dilated, with shortcuts",
    "replicate padding",
    "grouped keys and values, bias, another theta",
    "16 positions a frame, depthwise",
    "stride 4, one group",
    "no transformer",
  ]
) {
  test(`integer weights in every layer: ${name}`, async () => {
    const rng = random(name), config = new MimiConfig({ ...WIDE, ...VARIANTS[name] });
    const weights = randomWeights(rng, [encoderNetwork(config), decoderNetwork(config)]), frames = rng.integer(5, 9);
    const encoder = encoderNetwork(config), latent = { ...encoder, layers: encoder.layers.slice(0, -1) };
    const pcm = rng.floats(frames * config.frameSize),
      codes = Uint16Array.from(
        { length: frames * config.numQuantizers },
        () => rng.integer(0, config.codebookSize - 1),
      );
    for (const network of [latent, decoderNetwork(config)]) {
      const { direction } = network, perFrame = direction === "encode" ? config.frameSize : 1;
      const channels = direction === "encode" ? config.hiddenSize : 1;
      const run = async (formatOf: FormatOf, cuts: number[]) => {
        const memory = await Memory.create(), lowered = await lower(network, weights, memory, frames, formatOf);
        const at = memory.allocate(lowered.stateSize), out: Float32Array[] = [];
        cuts.forEach((from, i) => {
          const n = (cuts[i + 1] ?? frames) - from;
          if (direction === "encode") {
            const samples = pcm.subarray(from * perFrame, (from + n) * perFrame);
            memory.view(lowered.input, samples.length).set(samples);
          }
          const ports = { audio: [], codes: [codes], codebooks: config.numQuantizers };
          const y = lowered.run(n * perFrame, { streams: [{ at, frames: from }], ports, row: 0, frame: from });
          const rows = network.layers.reduce((rows, layer) => positionsAfter(layer, rows), n * perFrame);
          out.push(memory.view(y, rows * channels).slice());
        });
        return concatFloats(out);
      };
      const exact = await run(() => "f32", [0]), one = Array.from({ length: frames }, (_, t) => t);
      for (const format of ["int16", "int12", "int8"] as const) {
        const whole = await run(() => format, [0]), dB = snr(whole, exact);
        assert.ok(dB >= LEAST_SNR[format] && dB < Infinity, `${format}, ${direction}: ${dB} dB`);
        for (const cuts of [one, [0, rng.integer(1, frames - 1)]]) {
          assert.deepEqual(await run(() => format, cuts), whole, `${format}, ${direction}, cut at ${cuts}`);
        }
      }
    }
  });
}
