/** Networks that are none, as a codec from outside may have them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Layer, mimi, MimiConfig, type Network } from "../mod.ts";
import { checkNetwork } from "../src/core/check-network.ts";
import { testJSON } from "./support/files.ts";

const config = MimiConfig.fromJSON(await testJSON("models/tiny-hf/config.json"));
const encoder = mimi.encoder!(config), decoder = mimi.decoder(config);

/** The network with the first layer that has this name, or this kind, changed. */
function changed(network: Network, which: string, fields: object): Network {
  let found = false;
  const change = (layers: Layer[]): Layer[] =>
    layers.map((layer) => {
      if (!found && (layer.kind === which || ("name" in layer && layer.name === which))) {
        found = true;
        return { ...layer, ...fields } as Layer;
      }
      return layer.kind === "residual" ? { ...layer, branch: change(layer.branch) } : layer;
    });
  const layers = change(network.layers);
  assert.ok(found, which);
  return { ...network, layers };
}

const without = (network: Network, kind: string): Network => ({
  ...network,
  layers: network.layers.filter((layer) => layer.kind !== kind),
});

test("Mimi's networks are networks, also as latents", () => {
  for (const network of [encoder, decoder, without(encoder, "quantize"), without(decoder, "dequantize")]) {
    checkNetwork("here", network);
  }
});

test("what is wrong is named", () => {
  const wrong: [Network, RegExp][] = [
    [{ ...encoder, frameSize: 0 }, /frameSize must be an integer from 1, got 0/],
    [{ ...encoder, layers: [] }, /must not be empty/],
    [{ ...encoder, frameSize: 1919 }, /must make frames of frameSize samples \(1919\)/],
    [{ ...decoder, frameSize: 1921 }, /must make frames of frameSize samples \(1921\)/],
    [{ ...encoder, direction: "decode" }, /quantize: to decode it must be a dequantize layer, and the first/],
    [{ ...encoder, layers: [...encoder.layers, { kind: "elu" }] }, /must be a quantize layer, and the last/],
    [changed(encoder, "encoder.layers.0.conv", { outChannels: 5 }), /takes 4 channels, 5 come in/],
    [
      changed(encoder, "encoder.layers.0.conv", { kernel: NaN }),
      /conv encoder\.layers\.0\.conv: kernel must be an integer/,
    ],
    [changed(encoder, "encoder.layers.3.conv", { stride: 99 }), /stride 99 is longer than the kernel reaches/],
    [changed(encoder, "encoder.layers.1.block.1.conv", { stride: 2 }), /inside a residual the stride must be 1, got 2/],
    [
      changed(encoder, "encoder.layers.1.block.3.conv", { outChannels: 9 }),
      /the branch gives 9 channels, the shortcut 4/,
    ],
    [changed(encoder, "attention", { headDim: 7 }), /headDim must be even/],
    [changed(encoder, "layerNorm", { eps: -1 }), /eps must be a number above 0, got -1/],
    [changed(encoder, "quantize", { quantizers: [{ ...quantizer(), codebooks: 0 }] }), /codebooks must be an integer/],
    [changed(decoder, "upsample.conv", { groups: 3 }), /groups must divide/],
    [{ ...decoder, layers: decoder.layers.slice(0, -1) }, /audio must have 1 channel, got 4/],
  ];
  for (const [network, message] of wrong) {
    assert.throws(() => checkNetwork("here", network), { code: "ERR_INVALID_ARGUMENT", message });
  }
});

function quantizer() {
  const layer = encoder.layers.at(-1)!;
  assert.ok(layer.kind === "quantize");
  return layer.quantizers[0];
}
