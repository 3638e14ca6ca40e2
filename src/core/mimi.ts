/**
 * Mimi, written once as layers, and the two layouts in which its weights are published.
 *
 * The order of layers is that of transformers' `models/mimi/modeling_mimi.py` (MimiEncoder, MimiDecoder,
 * MimiTransformerModel, MimiSplitResidualVectorQuantizer); names are those of its checkpoints.
 *
 * @module
 */
import type { Codec, Layout, Placement } from "./codec.ts";
import { MimiConfig } from "./config.ts";
import type { AttentionLayer, ConvLayer, Layer, Network, ResidualQuantizer } from "./network.ts";
import { networkTensors } from "./network.ts";

/** Audio to codes. `codebooks` limits how many are kept, semantic ones first; all by default. */
export function encoderNetwork(config: MimiConfig, codebooks: number = config.numQuantizers): Network {
  const c = config;
  const layers: Layer[] = [conv(c, "encoder.layers.0.conv", c.audioChannels, c.numFilters, c.kernelSize)];
  let index = 1, channels = c.numFilters;
  for (const ratio of [...c.upsamplingRatios].reverse()) {
    for (let j = 0; j < c.numResidualLayers; j++) {
      layers.push(residualBlock(c, `encoder.layers.${index++}`, channels, j));
    }
    index++; // the activation counts as a module
    layers.push({ kind: "elu" }, conv(c, `encoder.layers.${index++}.conv`, channels, channels * 2, ratio * 2, ratio));
    channels *= 2;
  }
  index++;
  layers.push({ kind: "elu" }, conv(c, `encoder.layers.${index}.conv`, channels, c.hiddenSize, c.lastKernelSize));
  layers.push(...transformer(c, "encoder_transformer"));
  if (c.latentStride > 1) {
    layers.push({
      kind: "conv",
      name: "downsample.conv",
      inChannels: c.hiddenSize,
      outChannels: c.hiddenSize,
      kernel: 2 * c.latentStride,
      stride: c.latentStride,
      dilation: 1,
      bias: false,
      padMode: "replicate",
    });
  }
  layers.push({ kind: "quantize", quantizers: quantizers(c, codebooks) });
  return { direction: "encode", frameSize: c.frameSize, layers };
}

/** Codes to audio. `codebooks` limits how many can be decoded. */
export function decoderNetwork(config: MimiConfig, codebooks: number = config.numQuantizers): Network {
  const c = config;
  const layers: Layer[] = [{ kind: "dequantize", quantizers: quantizers(c, codebooks) }];
  if (c.latentStride > 1) {
    layers.push({
      kind: "convTranspose",
      name: "upsample.conv",
      inChannels: c.hiddenSize,
      outChannels: c.hiddenSize,
      kernel: 2 * c.latentStride,
      stride: c.latentStride,
      groups: c.upsampleGroups,
      bias: false,
    });
  }
  layers.push(...transformer(c, "decoder_transformer"));
  let channels = c.numFilters * 2 ** c.upsamplingRatios.length;
  layers.push(conv(c, "decoder.layers.0.conv", c.hiddenSize, channels, c.kernelSize));
  let index = 1;
  for (const ratio of c.upsamplingRatios) {
    index++;
    layers.push({ kind: "elu" }, {
      kind: "convTranspose",
      name: `decoder.layers.${index++}.conv`,
      inChannels: channels,
      outChannels: channels / 2,
      kernel: ratio * 2,
      stride: ratio,
      groups: 1,
      bias: true,
    });
    channels /= 2;
    for (let j = 0; j < c.numResidualLayers; j++) {
      layers.push(residualBlock(c, `decoder.layers.${index++}`, channels, j));
    }
  }
  index++;
  layers.push({ kind: "elu" }, conv(c, `decoder.layers.${index}.conv`, channels, c.audioChannels, c.lastKernelSize));
  return { direction: "decode", frameSize: c.frameSize, layers };
}

function conv(
  c: MimiConfig,
  name: string,
  inChannels: number,
  outChannels: number,
  kernel: number,
  stride: number = 1,
  dilation: number = 1,
): ConvLayer {
  return { kind: "conv", name, inChannels, outChannels, kernel, stride, dilation, bias: true, padMode: c.padMode };
}

function residualBlock(c: MimiConfig, name: string, channels: number, j: number): Layer {
  const hidden = Math.floor(channels / c.compress);
  return {
    kind: "residual",
    branch: [
      { kind: "elu" },
      conv(c, `${name}.block.1.conv`, channels, hidden, c.residualKernelSize, 1, c.dilationGrowthRate ** j),
      { kind: "elu" },
      conv(c, `${name}.block.3.conv`, hidden, channels, 1),
    ],
    shortcut: c.useConvShortcut ? [conv(c, `${name}.shortcut.conv`, channels, channels, 1)] : [],
  };
}

function transformer(c: MimiConfig, name: string): Layer[] {
  return Array.from({ length: c.numHiddenLayers }, (_, i): Layer[] => {
    const at = `${name}.layers.${i}`;
    const norm = (part: string): Layer => (
      { kind: "layerNorm", name: `${at}.${part}`, channels: c.hiddenSize, eps: c.normEps }
    );
    const scale = (part: string): Layer => ({ kind: "scale", name: `${at}.${part}`, channels: c.hiddenSize });
    const linear = (part: string, inChannels: number, outChannels: number): Layer => (
      { kind: "linear", name: `${at}.${part}`, inChannels, outChannels, bias: false }
    );
    const attention: AttentionLayer = {
      kind: "attention",
      name: `${at}.self_attn`,
      channels: c.hiddenSize,
      heads: c.numAttentionHeads,
      keyValueHeads: c.numKeyValueHeads,
      headDim: c.headDim,
      window: c.slidingWindow,
      ropeTheta: c.ropeTheta,
      bias: c.attentionBias,
    };
    const branches: Layer[][] = [
      [norm("input_layernorm"), attention, scale("self_attn_layer_scale")],
      [
        norm("post_attention_layernorm"),
        linear("mlp.fc1", c.hiddenSize, c.intermediateSize),
        { kind: "gelu" },
        linear("mlp.fc2", c.intermediateSize, c.hiddenSize),
        scale("mlp_layer_scale"),
      ],
    ];
    return branches.map((branch) => ({ kind: "residual", branch, shortcut: [] }));
  }).flat();
}

function quantizers(c: MimiConfig, codebooks: number): ResidualQuantizer[] {
  const quantizer = (kind: string, count: number): ResidualQuantizer => ({
    name: `quantizer.${kind}_residual_vector_quantizer`,
    codebooks: count,
    size: c.codebookSize,
    dim: c.codebookDim,
    channels: c.hiddenSize,
    projected: c.vectorQuantizationHiddenDimension !== c.hiddenSize,
  });
  const semantic = Math.min(codebooks, c.numSemanticQuantizers);
  const all = [quantizer("semantic", semantic), quantizer("acoustic", codebooks - semantic)];
  return all.filter((q) => q.codebooks > 0);
}

// Kyutai's name of a tensor, from its name in the transformers layout. Applied in order, all that match.
const KYUTAI_NAMES: [RegExp, string][] = [
  [/^(encoder|decoder)\.layers\.(\d+)\.(conv|shortcut\.conv|block\.\d+\.conv)\.(\w+)$/, "$1.model.$2.$3.conv.$4"],
  [/^(\w+_transformer)\.layers\./, "$1.transformer.layers."],
  [/\.self_attn\.o_proj\./, ".self_attn.out_proj."],
  [/\.mlp\.fc(\d)\./, ".linear$1."],
  [/\.input_layernorm\./, ".norm1."],
  [/\.post_attention_layernorm\./, ".norm2."],
  [/\.self_attn_layer_scale\./, ".layer_scale_1."],
  [/\.mlp_layer_scale\./, ".layer_scale_2."],
  [/^downsample\.conv\./, "downsample.conv.conv.conv."],
  [/^upsample\.conv\./, "upsample.convtr.convtr.convtr."],
  [/^quantizer\.semantic_residual_vector_quantizer\./, "quantizer.rvq_first."],
  [/^quantizer\.acoustic_residual_vector_quantizer\./, "quantizer.rvq_rest."],
  [/\.layers\.(\d+)\.codebook\.cluster_usage$/, ".vq.layers.$1._codebook.cluster_usage"],
  [/\.layers\.(\d+)\.codebook\.embed_sum$/, ".vq.layers.$1._codebook.embedding_sum"],
];

// Names that moshi's loader also accepts (modules/transformer.py, quantization/core_vq.py).
const KYUTAI_ALIASES: [RegExp, string][] = [
  [/\.in_proj_weight$/, ".in_proj.weight"],
  [/\.in_proj_weight$/, ".in_projs.0.weight"],
  [/\.out_proj\.weight$/, ".out_projs.0.weight"],
  [/\.cluster_usage$/, ".cluster_size"],
  [/\.embedding_sum$/, ".embed_avg"],
  [/\.embedding_sum$/, ".embed_sum"],
];

/** Hugging Face's `model.safetensors` and Kyutai's `tokenizer-*.safetensors`. */
const LAYOUTS: readonly Layout<MimiConfig>[] = [
  {
    name: "transformers",
    sign: /^(encoder|decoder)\.layers\.\d+\./,
    ignores: (name) => name.endsWith(".codebook.initialized"),
    place: (name) => ({ names: [name] }),
  },
  {
    name: "kyutai",
    sign: /^(encoder|decoder)\.model\.\d+\./,
    ignores: (name) => /\._codebook\.(_?initialized|inited)$/.test(name),
    place(name, config) {
      let file = name;
      for (const [from, to] of KYUTAI_NAMES) file = file.replace(from, to);
      if (transposed(config).has(name)) file = file.replace(/\.conv\.conv\.(\w+)$/, ".convtr.convtr.$1");
      const packed = /^(.*\.self_attn)\.([qkv])_proj\.(weight|bias)$/.exec(file);
      if (!packed) return withAliases(file, {});
      const [, at, part, kind] = packed;
      const query = config.numAttentionHeads * config.headDim, keyValue = config.numKeyValueHeads * config.headDim;
      const from = part === "q" ? 0 : part === "k" ? query : query + keyValue;
      return withAliases(`${at}.in_proj_${kind}`, {
        rows: { from, count: part === "q" ? query : keyValue, of: query + 2 * keyValue },
        interleavedHeads: part === "q" ? config.numAttentionHeads : part === "k" ? config.numKeyValueHeads : undefined,
      });
    },
  },
];

function withAliases(name: string, rest: Omit<Placement, "names">): Placement {
  const aliases = KYUTAI_ALIASES.filter(([from]) => from.test(name)).map(([from, to]) => name.replace(from, to));
  return { names: [name, ...aliases], ...rest };
}

/** Tensors of the decoder's transposed convolutions, which Kyutai's layout names apart. */
function transposed(config: MimiConfig): Set<string> {
  let names = transposedNames.get(config);
  if (!names) {
    const layers = decoderNetwork(config).layers.filter((l) => l.kind === "convTranspose");
    names = new Set(networkTensors({ direction: "decode", frameSize: 1, layers }).map((t) => t.name));
    transposedNames.set(config, names);
  }
  return names;
}
const transposedNames = new WeakMap<MimiConfig, Set<string>>();

/** Mimi as a {@link Codec}: what others of the family can be made from. */
export const mimi: Codec<MimiConfig> = {
  modelType: "mimi",
  tail: "transformers",
  parseConfig: MimiConfig.fromJSON,
  encoder: encoderNetwork,
  decoder: decoderNetwork,
  layouts: LAYOUTS,
};
