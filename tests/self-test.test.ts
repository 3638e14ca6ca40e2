/** The self-test of backends: what it holds right, and that no layer can be wrong unnoticed. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { type Backend, MimiConfig, MimiModel, registerBackend, wasm } from "../mod.ts";
import { checkKnown, checkProgram, knownResults } from "../src/backends/self-test.ts";
import type { TensorSource } from "../src/core/backend.ts";
import { openCheckpoint } from "../src/core/checkpoint.ts";
import { decoderNetwork, encoderNetwork, mimi } from "../src/core/mimi.ts";
import { type Network, networkTensors } from "../src/core/network.ts";
import { bytesInMemory, Safetensors } from "../src/core/safetensors.ts";
import { onEveryBackend } from "./support/backends.ts";
import { testJSON, testPath } from "./support/files.ts";
import { oracle } from "./support/oracle.ts";
import { type Random, random } from "./support/random.ts";

const TINY = "models/tiny-hf";
const config = MimiConfig.fromJSON(await testJSON(`${TINY}/config.json`));
const networks = [encoderNetwork(config), decoderNetwork(config)];
const file = await Safetensors.open(bytesInMemory(await readFile(testPath(`${TINY}/model.safetensors`))));
const weights = openCheckpoint(file, mimi, config, networks);
const F32 = { precision: "f32" } as const;

/** What a defect makes of the tensors of a layer. */
const DEFECTS: Record<string, (values: Float32Array, rng: Random) => Float32Array> = {
  zeros: (values) => new Float32Array(values.length),
  reversed: (values) => values.length > 1 ? values.toReversed() : values.map((v) => v + 1),
  negative: (values) => values.map((v) => -v),
  noise: (values, rng) => {
    const scale = values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    return values.map((v) => v + (rng.next() - 0.5) * scale);
  },
};

/** Layers with weights, by the names of their tensors: projections and codebooks are some of their own. */
function layersOf(network: Network): string[][] {
  const layers = new Map<string, string[]>();
  for (const { name } of networkTensors(network)) {
    const layer = name.replace(/\.\w+$/, "");
    layers.set(layer, [...layers.get(layer) ?? [], name]);
  }
  return [...layers.values()];
}

/** Wasm with one layer wrong, in a way of chance. */
function defective(layer: string[], rng: Random, only: (network: Network) => boolean = () => true): Backend {
  const good = wasm(), name = rng.pick(Object.keys(DEFECTS));
  const broken = (source: TensorSource): TensorSource => ({
    async read(spec) {
      const values = await source.read(spec);
      return layer.includes(spec.name) ? DEFECTS[name](values, rng) : values;
    },
  });
  return {
    ...good,
    name: `defective (${name})`,
    compile: (network, tensors, options) => good.compile(network, only(network) ? broken(tensors) : tensors, options),
  };
}

test("the stored sums are those of the float64 oracle", async () => {
  await checkKnown("test", oracle());
  const [exact, ours] = [await knownResults(oracle()), await knownResults(wasm())];
  assert.deepEqual(ours.codes, exact.codes);
  for (const [name, sum] of Object.entries(exact.sums)) assert.ok(Math.abs(sum - ours.sums[name]) < 1e-6, name);
});

onEveryBackend("passes the self-test", async (backend) => {
  await checkKnown("test", backend);
  for (const network of networks) {
    const [program, reference] = await Promise.all([backend, wasm()].map((b) => b.compile(network, weights, F32)));
    await checkProgram("test", backend, network, program, reference);
    program.close();
    reference.close();
  }
});

test("every layer of a model, wrong in its turn, is found", async () => {
  const rng = random("defects");
  for (const network of networks) {
    const reference = await wasm().compile(network, weights, F32);
    for (const layer of layersOf(network)) {
      const backend = defective(layer, rng), program = await backend.compile(network, weights, F32);
      await assert.rejects(checkProgram("test", backend, network, program, reference), (error: Error) => {
        assert.equal(error.name, "NotSupportedError");
        assert.match(error.message, /^test: the defective .* backend computes wrongly on this device: /);
        return true;
      }, `${layer[0]}, ${backend.name}`);
      program.close();
    }
    reference.close();
  }
});

test("every layer of the known network, wrong in its turn, is found", async () => {
  const rng = random("known"), layers: string[][] = [], good = wasm();
  const spy: Backend = {
    ...good,
    compile(network, tensors, options) {
      layers.push(...layersOf(network));
      return good.compile(network, tensors, options);
    },
  };
  await checkKnown("test", spy);
  assert.ok(layers.length > 40, `${layers.length} layers`);
  for (const layer of layers) {
    const backend = defective(layer, rng);
    await assert.rejects(checkKnown("test", backend), { name: "NotSupportedError" }, `${layer[0]}, ${backend.name}`);
  }
});

test("a wrong backend is refused when a model is loaded, by its name, and only where it is asked", async () => {
  const rng = random("loading"), isModel = ({ frameSize }: Network) => frameSize === config.frameSize;
  const backend = defective(["decoder.layers.2.conv.weight"], rng, isModel);
  await assert.rejects(MimiModel.fromPretrained(testPath(TINY), { backend }), {
    code: "ERR_NOT_SUPPORTED",
    message: /^fromPretrained: the defective .* computes wrongly on this device: decoder\.layers\.3\..* is off by/,
  });
  const trusted = await MimiModel.fromPretrained(testPath(TINY), { backend, selfTest: false });
  assert.equal(trusted.backend, backend.name);
});

test("weights are the backend's own: to hand on, and no way around the test to change", async () => {
  const good = wasm(),
    taking = (name: string, take: (values: Float32Array) => Float32Array): Backend => ({
      ...good,
      name,
      compile: (network, tensors, options) =>
        good.compile(network, { read: async (spec) => take(await tensors.read(spec)) }, options),
    });
  const handOn = taking("hands on", (values) => structuredClone(values, { transfer: [values.buffer] }));
  const tone = Float32Array.from({ length: 4000 }, (_, i) => Math.sin(i / 9));
  const { audioCodes } = await (await MimiModel.fromPretrained("mini")).encode(tone);
  for (const selfTest of [true, false]) {
    const model = await MimiModel.fromPretrained("mini", { backend: handOn, selfTest });
    assert.deepEqual((await model.encode(tone)).audioCodes, audioCodes);
  }
  const inPlace = taking("in place", (values) => values.length > 5000 ? values.fill(0) : values);
  await assert.rejects(MimiModel.fromPretrained("mini", { backend: inPlace }), {
    code: "ERR_NOT_SUPPORTED",
    message: /the in place backend computes wrongly/,
  });
});

test("names: registered, unknown, reserved", async () => {
  registerBackend("mine", () => ({ ...wasm(), name: "mine" }));
  assert.equal((await MimiModel.fromPretrained("mini", { backend: "mine" })).backend, "mine");
  await assert.rejects(MimiModel.fromPretrained("mini", { backend: "yours" }), {
    code: "ERR_INVALID_ARGUMENT",
    message: /no backend "yours" is registered; known names: auto, wasm,.* mine\./,
  });
  for (const name of ["auto", "wasm", "", 5]) {
    assert.throws(() => registerBackend(name as string, wasm), { code: "ERR_INVALID_ARGUMENT" });
  }
  assert.throws(() => registerBackend("x", 5 as never), { code: "ERR_INVALID_ARGUMENT" });
});

test("auto: what is registered for this runtime, and what it goes on without", async () => {
  // Names are those of the process, which Bun shares among test files: the command line's may be there already.
  const said: string[] = [], onWarning = (message: string) => void said.push(message);
  const auto = async () => (await MimiModel.fromPretrained("mini", { backend: "auto", onWarning })).backend;
  registerBackend("native", () => ({ ...wasm(), name: "native", available: async () => "it is Monday" }));
  assert.equal(await auto(), "wasm");
  assert.match(said[0], /^mimi-audio: backend "auto" goes on without native\. .*cannot run here: it is Monday\.$/);
  registerBackend("native", () => defective(["decoder.layers.0.conv.weight"], random("auto")));
  assert.equal(await auto(), "wasm");
  assert.match(said[1], /computes wrongly on this device/);
  const fails = () => {
    throw new Error("no driver");
  };
  const broken: [make: () => unknown, message: RegExp][] = [
    [fails, /the backend registered as "native" cannot be made: no driver$/],
    [async () => fails(), /cannot be made: no driver$/],
    [() => undefined, /what is registered as "native" makes undefined, no backend\.$/],
    [() => ({}), /makes .*, no backend\.$/],
    [() => ({ ...wasm(), name: "ours", available: fails }), /the ours backend cannot run here: no driver$/],
    [() => ({ ...wasm(), name: "ours", device: fails }), /the ours backend does not tell its device: no driver$/],
  ];
  for (const [make, message] of broken) {
    registerBackend("native", make as () => Backend);
    assert.equal(await auto(), "wasm");
    assert.match(said.at(-1)!, message);
    await assert.rejects(MimiModel.fromPretrained("mini", { backend: "native" }), {
      code: "ERR_NOT_SUPPORTED",
      message,
    });
  }
  const before = said.length;
  registerBackend("native", () => ({ ...wasm(), name: "native" }));
  assert.equal(await auto(), "native");
  assert.equal(said.length, before);
});
