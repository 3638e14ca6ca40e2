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
  for (const context of [null, undefined, 5, "x"]) {
    const invalid = { code: "ERR_INVALID_ARGUMENT", message: /context must be an audio context/ };
    await assert.rejects(registerMimi(context as never, { model }), invalid);
    await assert.rejects(registerMimi(context as never, { model, addModule }), invalid);
  }
  const closed = { sampleRate: 24000, state: "closed" }, closing = { sampleRate: 24000, state: "running" };
  const close = () => Promise.resolve(void (closing.state = "closed"));
  for (const [context, add] of [[closed, addModule], [closing, close]] as const) {
    await assert.rejects(registerMimi(context, { model, addModule: add }), { message: /the context is closed/ });
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
