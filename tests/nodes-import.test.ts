/** The nodes where there is no Web Audio: a server imports them, and makes none. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MimiModel, NotSupportedError } from "../mod.ts";
import { defineMimiNodes, MimiDecoderNode, MimiEncoderNode, registerMimi } from "../src/nodes/mod.ts";
import { testPath } from "./support/files.ts";

test("importing, extending and asking for the class do not throw; making a node does", () => {
  const context = {} as AudioContext;
  for (const Node of [MimiEncoderNode, MimiDecoderNode]) {
    assert.equal(typeof Node, "function");
    assert.equal({} instanceof Node, false);
    class Mine extends Node {}
    assert.throws(() => new Node(context), NotSupportedError);
    assert.throws(() => new Mine(context), NotSupportedError);
    assert.throws(() => (Node as unknown as (context: AudioContext) => void)(context), {
      code: "ERR_INVALID_ARGUMENT",
      message: /write new Mimi/,
    });
  }
  assert.throws(() => defineMimiNodes(undefined as never), NotSupportedError);
});

test("a context without audioWorklet, and one that was not registered", async () => {
  const model = await MimiModel.fromPretrained(testPath("models/tiny-hf"), { worker: true });
  await assert.rejects(registerMimi({ sampleRate: 24000 }, { model }), NotSupportedError);
  const addModule = () => Promise.resolve();
  for (const context of [null, 5, "x"]) {
    await assert.rejects(registerMimi(context as never, { model, addModule }), { code: "ERR_INVALID_ARGUMENT" });
  }
  model.close();
  await assert.rejects(registerMimi({ sampleRate: 24000 }, { model }), { code: "ERR_INVALID_STATE" });
  class Base extends EventTarget {
    declare port: MessagePort;
    declare context: AudioContext;
    declare parameters: unknown;
    connect(): void {}
    disconnect(): void {}
  }
  const nodes = defineMimiNodes(Base);
  for (const Node of [nodes.MimiEncoderNode, nodes.MimiDecoderNode]) {
    assert.throws(() => Reflect.construct(Node, [{ sampleRate: 24000 }]), { code: "ERR_INVALID_STATE" });
  }
});
