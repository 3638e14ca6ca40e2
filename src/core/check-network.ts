/**
 * Whether a network is one: what a codec from outside gets wrong is said before a backend works with it.
 *
 * @module
 */
import { describe, MimiTypeError } from "./errors.ts";
import {
  channelsAfter,
  channelsBefore,
  inputPositions,
  latentChannels,
  type Layer,
  type Network,
  padLeft,
  positionsAfter,
} from "./network.ts";

/** Fields that are no sizes: any number above 0. */
const REAL = ["eps", "ropeTheta"];

/**
 * Checks that sizes are sizes, that each layer takes the channels that the one before it gives, and that a frame goes in
 * and `frameSize` samples of one channel come out, or the other way round.
 *
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` naming the layer, what was expected and what came.
 */
export function checkNetwork(where: string, network: Network): void {
  const { direction, frameSize, layers } = network;
  const fail = (what: string): never => {
    throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: ${what}.`);
  };
  if (!Number.isSafeInteger(frameSize) || frameSize < 1) {
    fail(`frameSize must be an integer from 1, got ${describe(frameSize)}`);
  }
  if (layers.length === 0) fail("layers must not be empty");
  const quantizer = direction === "encode" ? "quantize" : "dequantize", end = direction === "encode" ? -1 : 0;
  const place = direction === "encode" ? "last" : "first";

  /** Channels that leave `list` when `channels` enter. */
  const chain = (list: readonly Layer[], channels: number | undefined, inside: boolean): number | undefined => {
    for (const layer of list) {
      const name = "name" in layer ? `${layer.kind} ${layer.name}` : layer.kind;
      checkSizes(layer, (what) => fail(`${name}: ${what}`));
      if (layer.kind === "residual") {
        const branch = chain(layer.branch, channels, true), shortcut = chain(layer.shortcut, channels, true);
        if (branch !== shortcut) fail(`residual: the branch gives ${branch} channels, the shortcut ${shortcut}`);
        channels = branch;
        continue;
      }
      if (inside && positionsAfter(layer, 1 << 20) !== 1 << 20) {
        fail(`${name}: inside a residual the stride must be 1, got ${(layer as { stride: number }).stride}`);
      }
      if (layer.kind === "quantize" || layer.kind === "dequantize") {
        if (layer.kind !== quantizer || layer !== layers.at(end)) {
          fail(`${name}: to ${direction} it must be a ${quantizer} layer, and the ${place}`);
        }
      }
      const takes = channelsBefore([layer]);
      if (takes !== undefined && channels !== undefined && takes !== channels) {
        fail(`${name} takes ${takes} channels, ${channels} come in`);
      }
      channels = channelsAfter([layer]) ?? channels;
    }
    return channels;
  };
  const latents = latentChannels(network), out = chain(layers, direction === "encode" ? 1 : latents, false);
  // So many frames that a stride which is off by one sample shows through the rounding.
  const frames = 2 * frameSize;
  let positions = inputPositions(network, frames);
  for (const layer of layers) positions = positionsAfter(layer, positions);
  if (positions !== (direction === "encode" ? frames : frames * frameSize)) {
    fail(`the strides of the layers must make frames of frameSize samples (${frameSize})`);
  }
  if (direction === "decode" && out !== 1) fail(`audio must have 1 channel, got ${out}`);
}

function checkSizes(layer: Layer, fail: (what: string) => void): void {
  const fields = layer.kind === "quantize" || layer.kind === "dequantize" ? layer.quantizers : [layer];
  for (const [field, value] of fields.flatMap((f) => Object.entries(f))) {
    if (typeof value !== "number") continue;
    const real = REAL.includes(field);
    if (!(value > 0 && (real ? Number.isFinite(value) : Number.isSafeInteger(value)))) {
      fail(`${field} must be ${real ? "a number above 0" : "an integer from 1"}, got ${describe(value)}`);
    }
  }
  if (layer.kind === "conv" && padLeft(layer) < 0) fail(`stride ${layer.stride} is longer than the kernel reaches`);
  if (layer.kind === "convTranspose" && (layer.inChannels % layer.groups || layer.outChannels % layer.groups)) {
    fail(`groups must divide ${layer.inChannels} and ${layer.outChannels} channels, got ${layer.groups}`);
  }
  if (layer.kind === "attention" && (layer.headDim % 2 || layer.heads % layer.keyValueHeads)) {
    fail(`headDim must be even and keyValueHeads divide heads, got ${layer.headDim}, ${layer.keyValueHeads}`);
  }
}
