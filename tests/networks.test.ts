/** Random networks of every kind of layer in any order: what the wasm backend makes of them, against the oracle. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Codec, type CodecConfig, type Layer, type Network, wasm } from "../mod.ts";
import type { Backend, Precision, TensorSource } from "../src/core/backend.ts";
import { checkNetwork } from "../src/core/check-network.ts";
import { LatentModel } from "../src/core/latent-model.ts";
import { assertClose } from "./support/compare.ts";
import { oracle } from "./support/oracle.ts";
import { type Random, random, randomWeights } from "./support/random.ts";

/** Layers in a row, from `channels` on; `name` counts. */
class Builder {
  readonly layers: Layer[] = [];
  readonly #rng: Random;
  readonly #prefix: string;
  #channels: number;

  constructor(rng: Random, prefix: string, channels: number) {
    this.#rng = rng;
    this.#prefix = prefix;
    this.#channels = channels;
  }

  get #name(): string {
    return `${this.#prefix}.${this.layers.length}`;
  }

  activations(): this {
    for (let n = this.#rng.pick([0, 0, 1, 1, 2]); n > 0; n--) {
      this.layers.push({ kind: this.#rng.pick(["elu", "gelu"]) });
    }
    return this;
  }

  conv(stride: number, outChannels: number): this {
    const rng = this.#rng,
      kernel = stride + rng.integer(0, 2 * stride),
      dilation = stride === 1 ? rng.integer(1, 3) : 1;
    const padMode = rng.pick(["constant", "replicate"] as const), bias = rng.next() < 0.7, inChannels = this.#channels;
    this.layers.push({
      kind: "conv",
      name: this.#name,
      inChannels,
      outChannels,
      kernel,
      stride,
      dilation,
      bias,
      padMode,
    });
    this.#channels = outChannels;
    return this;
  }

  convTranspose(stride: number, outChannels: number): this {
    const rng = this.#rng, inChannels = this.#channels, kernel = stride + rng.integer(0, 2 * stride);
    const groups = rng.pick([1, inChannels, 2, 3].filter((n) => inChannels % n === 0 && outChannels % n === 0));
    const bias = rng.next() < 0.7;
    this.layers.push({
      kind: "convTranspose",
      name: this.#name,
      inChannels,
      outChannels,
      kernel,
      stride,
      groups,
      bias,
    });
    this.#channels = outChannels;
    return this;
  }

  linear(outChannels: number = this.#channels): this {
    const inChannels = this.#channels, bias = this.#rng.next() < 0.7;
    this.layers.push({ kind: "linear", name: this.#name, inChannels, outChannels, bias });
    this.#channels = outChannels;
    return this;
  }

  #attention(): this {
    const rng = this.#rng, keyValueHeads = rng.integer(1, 2), heads = keyValueHeads * rng.integer(1, 3);
    const headDim = 2 * rng.integer(1, 10), window = rng.integer(1, 24), channels = this.#channels;
    const bias = rng.next() < 0.5;
    this.layers.push(
      { kind: "attention", name: this.#name, channels, heads, keyValueHeads, headDim, window, ropeTheta: 100, bias },
    );
    return this;
  }

  #scale(): this {
    if (this.#rng.next() < 0.5) this.layers.push({ kind: "scale", name: this.#name, channels: this.#channels });
    return this;
  }

  /** Ends with a layer that a backend can add to something. */
  #addable(outChannels: number): this {
    const kind = this.#rng.pick(["linear", "conv", outChannels === this.#channels ? "attention" : "linear"]);
    if (kind === "conv") return this.conv(1, outChannels);
    return (kind === "linear" ? this.linear(outChannels) : this.#attention()).#scale();
  }

  #residual(): this {
    const rng = this.#rng, outChannels = rng.pick([this.#channels, this.#channels, rng.integer(1, 20)]);
    const inner = (part: string) => new Builder(rng, `${this.#name}.${part}`, this.#channels);
    const branch = inner("branch").some(rng.integer(0, 2)).activations().#addable(outChannels).layers;
    const empty = outChannels === this.#channels && rng.next() < 0.6;
    const shortcut = empty ? [] : inner("shortcut").activations().#addable(outChannels).layers;
    this.layers.push({ kind: "residual", branch, shortcut });
    this.#channels = outChannels;
    return this;
  }

  /** Layers that keep the rate. */
  some(count: number): this {
    for (; count > 0; count--) {
      const kind = this.#rng.pick(["activations", "linear", "conv", "layerNorm", "attention", "residual", "residual"]);
      if (kind === "activations") this.activations();
      else if (kind === "linear") this.linear(this.#rng.integer(1, 20)).#scale();
      else if (kind === "conv") this.conv(1, this.#rng.integer(1, 20));
      else if (kind === "attention") this.#attention().#scale();
      else if (kind === "residual") this.#residual();
      else this.layers.push({ kind: "layerNorm", name: this.#name, channels: this.#channels, eps: 1e-5 });
    }
    return this;
  }
}

function randomCodec(rng: Random): Codec<CodecConfig> {
  const strides = Array.from({ length: rng.integer(1, 3) }, () => rng.integer(1, 6)), latent = rng.integer(1, 18);
  const frameSize = strides.reduce((a, b) => a * b), width = () => rng.pick([1, 16, rng.integer(2, 20)]);
  const encoder = new Builder(rng, "encoder", 1).activations(), decoder = new Builder(rng, "decoder", latent);
  for (const stride of strides) encoder.conv(stride, width()).some(rng.integer(0, 2)).activations();
  encoder.linear(latent).activations();
  decoder.linear().some(rng.integer(0, 2));
  for (const stride of strides) decoder.activations().convTranspose(stride, width()).some(rng.integer(0, 2));
  decoder.conv(1, 1).activations();
  const networks: Record<"encode" | "decode", Network> = {
    encode: { direction: "encode", frameSize, layers: encoder.layers },
    decode: { direction: "decode", frameSize, layers: decoder.layers },
  };
  return {
    modelType: "random",
    tail: "transformers",
    parseConfig: () => ({ samplingRate: 8000 }),
    encoder: () => networks.encode,
    decoder: () => networks.decode,
    layouts: [],
  };
}

/**
 * About what f32 loses in a sum, relative. Some networks make much of little (LayerNorm of a few values that are nearly equal):
 * how much, weights that are off by it show.
 */
const ROUNDING = 1e-6;

test("networks of any layers: the oracle's values, and the same bits however a stream is cut", async () => {
  const rng = random("networks of any layers");
  for (let round = 0; round < 40; round++) await check(rng, randomCodec(rng));
});

async function check(rng: Random, codec: Codec<CodecConfig>): Promise<void> {
  const config = codec.parseConfig({}), networks = [codec.encoder!(config), codec.decoder(config)];
  for (const network of networks) checkNetwork("here", network);
  const weights = randomWeights(rng, networks), { frameSize } = networks[0];
  const load = async (backend: Backend, tensors: TensorSource, precision: Precision = "f32") => {
    const [encoder, decoder] = await Promise.all(
      networks.map((network) => backend.compile(network, tensors, { precision })),
    );
    return new LatentModel(codec, { config, backend, encoder, decoder, fingerprint: "0", precision });
  };
  const fast = await load(wasm(), weights), slow = await load(oracle(), weights);
  const shaken = await load(oracle(), {
    read: async (spec) => (await weights.read(spec)).map((v) => v * (1 + ROUNDING * (2 * rng.next() - 1))),
  });
  const told = `layers ${JSON.stringify(networks.map(({ layers }) => layers))}`, frames = 20;
  const input = rng.floats(frames * frameSize + rng.integer(0, frameSize - 1));
  const { latents } = await fast.encode(input), { data } = latents;
  const audio = (await fast.decode(latents)).audioValues.data;
  const close = async (what: string, ours: Float32Array, by: (model: typeof slow) => Promise<Float32Array>) => {
    const theirs = await by(slow), others = await by(shaken);
    const sensitivity = theirs.reduce((most, v, i) => Math.max(most, Math.abs(v - others[i])), 0);
    assertClose(`${what} of ${told}`, ours, theirs, 1e-5 + 20 * sensitivity);
  };
  await close("latents", data, async (model) => (await model.encode(input)).latents.data);
  await close("audio", audio, async (model) => (await model.decode(latents)).audioValues.data);

  for (const model of [fast, await load(wasm(), weights, rng.pick(["int12", "int8"]))]) {
    await cut(rng, model, input, frameSize, `${model.precision}, ${told}`);
    model.close();
  }
}

/** Any cut of a stream has the bits of the whole. */
async function cut(
  rng: Random,
  model: LatentModel<CodecConfig>,
  input: Float32Array,
  frameSize: number,
  told: string,
): Promise<void> {
  const { latents } = await model.encode(input), { data, shape: [, n, channels] } = latents;
  const audio = (await model.decode(latents)).audioValues.data;
  const encoder = model.createEncoder(), decoder = model.createDecoder();
  const encoded: number[] = [], decoded = new Float32Array(audio.length);
  for (let at = 0; at < input.length;) {
    const end = Math.min(input.length, at + rng.integer(1, 5 * frameSize));
    encoded.push(...(await encoder.encode(input.subarray(at, end))).data);
    at = end;
  }
  encoded.push(...(await encoder.finish()).data);
  assert.deepEqual(Float32Array.from(encoded), data, told);
  for (let at = 0; at < n;) {
    const end = Math.min(n, at + rng.integer(1, 20)), part = data.slice(at * channels, end * channels);
    const { audioValues } = await decoder.decode({ data: part, shape: [1, end - at, channels] });
    decoded.set(audioValues.data, at * frameSize);
    at = end;
  }
  assert.deepEqual(decoded, audio, told);
}
