/** The nodes in node-web-audio-api: offline renders sample for sample, what is refused, and a live context. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MimiModel, NotSupportedError } from "../mod.ts";
import { defineMimiNodes, registerMimi } from "../src/nodes/mod.ts";
import { threadsReadTypeScript } from "../src/worker-file.ts";
import { testPath } from "./support/files.ts";
import { api, inContext, nodeWebAudio } from "./support/node-web-audio.ts";
import { automation, bypass, exact, loss, type Renderer } from "./support/offline-suite.ts";
import { random } from "./support/random.ts";
import { render, type Stage } from "./support/renders.ts";

const rng = random("renders of node-web-audio-api");
const TINY = testPath("models/tiny-hf"), tiny = await MimiModel.fromPretrained(TINY);
const renderer = (model: MimiModel): Renderer => (spec) => render(nodeWebAudio, model, spec);

// Each node's quantum takes this implementation some milliseconds on a busy machine, so these are short.
for (
  const { rate, branches } of [
    { rate: 8000, branches: [["pair"], ["codec", "pair"]] },
    { rate: 24000, branches: [["pair", "codec"], ["codec"]] },
    { rate: 44100, branches: [["pair"], ["codec"]] },
    { rate: 48000, branches: [["codec"]] },
  ] satisfies { rate: number; branches: Stage["kind"][][] }[]
) {
  test(`nodes in parallel and in series: ${rate} Hz`, async () => {
    const source = [rng.floats(rng.integer(1, Math.round(0.05 * rate)), 0.5)], reversed = rng.next() < 0.5;
    const stages = branches.map((kinds) => kinds.map((kind) => ({ kind })));
    await exact(renderer(tiny), tiny, { rate, source, branches: stages, reversed });
  });
}

test("a model in a worker; the embedded one", async () => {
  const mini = await MimiModel.fromPretrained("mini"),
    worker = await MimiModel.fromPretrained("mini", { worker: true });
  const source = [rng.floats(1000, 0.5)], branches: Stage[][] = [[{ kind: "pair" }], [{ kind: "codec" }]];
  try {
    await exact(renderer(worker), mini, { rate: 24000, source, branches });
  } finally {
    worker.close();
  }
});

test("parameters", async () => {
  await automation(renderer(tiny), tiny, rng);
  await bypass(renderer(tiny), tiny, rng, 24000);
  await loss(renderer(tiny), tiny, rng);
});

test("what an offline context refuses", () =>
  inContext(async (context) => {
    const { MimiEncoderNode, MimiDecoderNode, MimiCodecNode } = defineMimiNodes(api.AudioWorkletNode);
    assert.throws(() => new MimiCodecNode(context), { code: "ERR_INVALID_STATE" });
    await registerMimi(context, { model: tiny });
    const encoder = new MimiEncoderNode(context), other = new MimiEncoderNode(context);
    const decoder = new MimiDecoderNode(context), codec = new MimiCodecNode(context);
    const members: (() => unknown)[] = [
      () => encoder.readable,
      () => decoder.writable,
      () => decoder.stats,
      () => decoder.playedFrames,
      () => decoder.bufferedFrames,
      () => decoder.enqueue([[[0]]]),
      () => decoder.clear(),
      () => codec.stats,
    ];
    for (const member of members) assert.throws(member, NotSupportedError);
    for (const node of [encoder, decoder, codec]) await assert.rejects(node.restart(), NotSupportedError);
    await assert.rejects(encoder.getStats(), NotSupportedError);
    await assert.rejects(decoder.end(), NotSupportedError);

    encoder.connect(decoder);
    assert.throws(() => other.connect(decoder), NotSupportedError);
    encoder.disconnect(decoder);
    other.connect(decoder);
    other.disconnect();
    encoder.connect(decoder);
    decoder.close();
    assert.throws(() => encoder.connect(decoder), { code: "ERR_INVALID_STATE" });

    for (
      const [options, code] of [
        [{ seed: 1.5 }, "ERR_OUT_OF_RANGE"],
        [{ seed: -1 }, "ERR_OUT_OF_RANGE"],
        [{ loss: 1.1 }, "ERR_OUT_OF_RANGE"],
        [{ bypass: true }, "ERR_OUT_OF_RANGE"],
        [{ channelCount: 3 }, "ERR_OUT_OF_RANGE"],
        [{ buffer: NaN }, "ERR_OUT_OF_RANGE"],
        [{ numQuantizers: 99 }, "ERR_NUM_QUANTIZERS"],
        [{ quality: 1 }, "ERR_INVALID_ARGUMENT"],
      ] as const
    ) {
      assert.throws(() => new MimiCodecNode(context, options as object), { code });
    }

    const half = await MimiModel.fromPretrained(TINY, { part: "decoder" });
    await registerMimi(context, { model: half });
    for (const Node of [MimiEncoderNode, MimiCodecNode]) {
      assert.throws(() => new Node(context), {
        code: "ERR_INVALID_STATE",
        message: /encoder is not loaded/,
      });
    }
    new MimiDecoderNode(context);
    half.close();
    assert.throws(() => new MimiDecoderNode(context), { code: "ERR_INVALID_STATE" });
    await assert.rejects(registerMimi(context, { model: half }), { code: "ERR_INVALID_STATE" });
    await assert.rejects(registerMimi(context, { model: tiny, addModule: 1 as never }), {
      code: "ERR_INVALID_ARGUMENT",
    });
  }));

test("the worklet of live contexts in an offline one", () =>
  inContext(async (context) => {
    const { MimiCodecNode } = defineMimiNodes(api.AudioWorkletNode);
    const [live, offline] = ["worklet", "worklet-offline"].map((name) =>
      new URL(`../src/nodes/${name}${threadsReadTypeScript() ? ".ts" : "-tsx.mjs"}`, import.meta.url)
    );
    await registerMimi(context, { model: tiny, workletUrl: live });
    assert.throws(() => new MimiCodecNode(context), { code: "ERR_WORKLET", message: /worklet-offline\.js/ });
    await registerMimi(context, { model: tiny, workletUrl: offline });
    new MimiCodecNode(context);
  }));

test("a node that is closed is silent", () =>
  inContext(async (context) => {
    const { MimiEncoderNode, MimiCodecNode } = defineMimiNodes(api.AudioWorkletNode);
    await registerMimi(context, { model: tiny });
    const source = new api.ConstantSourceNode(context);
    source.start();
    const encoder = new MimiEncoderNode(context), codec = new MimiCodecNode(context, { bypass: 1 });
    for (const node of [encoder, codec]) source.connect(node).connect(context.destination);
    for (const node of [encoder, codec]) node.close();
    assert.ok((await context.startRendering()).getChannelData(0).every((v) => v === 0));
  }, 3000));

test("a live context: codes come, and a codec node plays", async () => {
  const { AudioContext, AudioWorkletNode, OscillatorNode } = api;
  const { MimiEncoderNode, MimiDecoderNode, MimiCodecNode } = defineMimiNodes(AudioWorkletNode);
  const model = await MimiModel.fromPretrained(TINY, { worker: true });
  const context = new AudioContext({ sampleRate: 24000, sinkId: { type: "none" } } as AudioContextOptions);
  const errors: unknown[] = [];
  let closing: Promise<void> | undefined;
  const close = () => closing ??= context.close(); // ends what waits below
  const tooLong = setTimeout(close, 60_000);
  try {
    await registerMimi(context, { model });
    const tone = new OscillatorNode(context), encoder = new MimiEncoderNode(context);
    const decoder = new MimiDecoderNode(context), codec = new MimiCodecNode(context);
    for (const node of [encoder, decoder, codec]) {
      node.addEventListener("error", (event) => {
        errors.push((event as ErrorEvent).error);
        void close();
      });
    }
    tone.connect(encoder).connect(decoder).connect(context.destination);
    tone.connect(codec).connect(context.destination);
    tone.start();
    const reader = encoder.readable.getReader();
    for (const index of [0, 1]) {
      const { value } = await reader.read();
      assert.deepEqual(errors, []);
      assert.deepEqual([value?.index, value?.codes.shape], [index, [1, tiny.numQuantizers, 1]]);
    }
    while (!closing && codec.stats.frames < 1) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(errors, []);
    assert.ok(codec.stats.frames >= 1, "the codec node had a frame within a minute");
    await close();
    while (!(await reader.read()).done); // its end is the context's; frames may have waited
  } finally {
    clearTimeout(tooLong);
    await close();
    model.close();
  }
});

const bun = "Bun" in globalThis && "Bun cannot send the error of the thread that node-web-audio-api starts";
test(
  `a module that cannot be loaded${bun ? ` (skipped: ${bun})` : ""}`,
  { skip: bun },
  () =>
    inContext(async (context) => {
      const missing = registerMimi(context, { model: tiny, workletUrl: testPath("no-such-worklet.js") });
      await assert.rejects(missing, {
        code: "ERR_WORKLET",
        message: /no-such-worklet\.js cannot be loaded .* workletUrl/,
      });
    }),
);
