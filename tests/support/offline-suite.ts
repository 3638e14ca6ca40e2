/** What every implementation of Web Audio must render, whoever renders it. */
import assert from "node:assert/strict";
import type { MimiModel } from "../../mod.ts";
import { chance } from "../../src/nodes/frames.ts";
import type { Random } from "./random.ts";
import { computed, delayed, lateness, lengthOf, type Render, type Rendered, type Stage } from "./renders.ts";

export type Renderer = (spec: Render) => Promise<Rendered>;

/** The first sample in which two recordings differ. */
export function assertSame(got: Float32Array, expected: Float32Array, what: string): void {
  assert.equal(got.length, expected.length, `${what}: samples`);
  const i = got.findIndex((v, i) => v !== expected[i]);
  if (i >= 0) assert.fail(`${what}: sample ${i} is ${got[i]}, expected ${expected[i]}`);
}

/** Pairs and codecs, in parallel and in series, against `model.encode` and `model.decode`. */
export async function exact(render: Renderer, model: MimiModel, spec: Render): Promise<Rendered> {
  const rendered = await render(spec), { rate, branches } = spec;
  assert.deepEqual(rendered.errors, []);
  assert.deepEqual(rendered.late, branches.map((stages) => stages.length * lateness(model, rate)));
  const expected = await computed(model, spec);
  expected.forEach((audio, b) => {
    const what = `${rate} Hz, ${branches[b].map(({ kind }) => kind).join(" -> ")}`;
    assert.ok(audio.some((v) => v !== 0), `${what}: something is to be heard`);
    assertSame(rendered.channels[b], audio, what);
  });
  return rendered;
}

/** Four branches of one to four stages. */
export function branchesOf(rng: Random): Stage[][] {
  return [1, 2, 3, 4].map((stages) =>
    Array.from({ length: stages }, () => ({ kind: rng.pick(["pair", "codec"] as const) }))
  );
}

/** Frames of 24 kHz one by one, each with its own codebooks. */
export function framewise(model: MimiModel, audio: Float32Array, codebooksOf: (frame: number) => number): Float32Array {
  const { frameSize } = model.config, encoder = model.createEncoderSync(), decoder = model.createDecoderSync();
  const frames = Math.ceil(audio.length / frameSize), out = new Float32Array(frames * frameSize);
  for (let t = 0; t < frames; t++) {
    const pcm = new Float32Array(frameSize);
    pcm.set(audio.subarray(t * frameSize, (t + 1) * frameSize));
    out.set(decoder.decode(encoder.encode(pcm, { numQuantizers: codebooksOf(t) })).audioValues.data, t * frameSize);
  }
  return out;
}

/** Codebooks change at set times, in the middle of frames: the next frame has them. */
export async function automation(render: Renderer, model: MimiModel, rng: Random): Promise<void> {
  const { frameSize } = model.config, rate = 24000, frame = frameSize / rate, frames = 4;
  const values = Array.from({ length: frames }, () => rng.integer(1, model.numQuantizers));
  // A little after a frame has begun: it is the next one that hears of it.
  const events = values.slice(1).map((value, t) => ({
    parameter: "numQuantizers" as const,
    at: (t + 0.2 + 0.7 * rng.next()) * frame,
    value,
  }));
  const options = { numQuantizers: values[0] };
  const spec: Render = {
    rate,
    source: [rng.floats(frames * frameSize, 0.5)],
    branches: [[{ kind: "pair", options, events }], [{ kind: "codec", options, events }]],
  };
  const { channels, errors } = await render(spec);
  assert.deepEqual(errors, []);
  const coded = framewise(model, spec.source[0], (t) => values[t] ?? values[frames - 1]);
  const expected = delayed(coded, lateness(model, rate), lengthOf(model, spec));
  channels.forEach((channel, b) => assertSame(channel, expected, `codebooks ${values}, ${spec.branches[b][0].kind}`));
}

/** A codec that is bypassed is a delay: the original, later by its latency, cancels it. */
export async function bypass(render: Renderer, model: MimiModel, rng: Random, rate: number): Promise<void> {
  const samples = Math.round(rate * 0.15) + rng.integer(0, 200), late = lateness(model, rate);
  const spec: Render = {
    rate,
    source: [rng.floats(samples, 0.9), rng.floats(samples, 0.9)],
    branches: [[{ kind: "codec", options: { bypass: 1 } }]],
    wide: true,
  };
  const { channels, errors } = await render(spec);
  assert.deepEqual(errors, []);
  channels.forEach((channel, c) => {
    const original = delayed(spec.source[c], late, lengthOf(model, spec));
    assert.equal(Math.max(...channel.map((v, i) => Math.abs(v - original[i]))), 0, `channel ${c} is cancelled`);
  });
}

/** The parameter at work: coded audio before, the original after, nothing else. */
export async function bypassSwitched(render: Renderer, model: MimiModel, rng: Random): Promise<void> {
  const rate = 24000, samples = 5 * model.config.frameSize, late = lateness(model, rate);
  const [on, off] = [0.15, 0.25].map((seconds) => Math.round(seconds * rate));
  const spec = (events: Stage["events"]): Render => ({
    rate,
    source: [rng.floats(samples, 0.9)],
    branches: [[{ kind: "codec", events }]],
  });
  const switched = spec([
    { parameter: "bypass", at: (on - 0.5) / rate, value: 1 },
    { parameter: "bypass", at: (off - 0.5) / rate, value: 0 },
  ]);
  const { channels: [heard], errors } = await render(switched), [coded] = await computed(model, switched);
  assert.deepEqual(errors, []);
  const original = delayed(switched.source[0], late, heard.length);
  const expected = coded.map((v, i) => i >= on && i < off ? original[i] : v);
  // Whether a value that is set between two samples counts from the first or from the second, implementations differ.
  for (const i of [on - 1, off - 1]) if (heard[i] === (i < on ? original : coded)[i]) expected[i] = heard[i];
  assertSame(heard, expected, "bypass from one sample to another");

  const ramp = spec([{ parameter: "bypass", at: 0, value: 0 }, { parameter: "bypass", at: 0.2, value: 1, ramp: true }]);
  const { channels: [mixed] } = await render(ramp), [wet] = await computed(model, ramp);
  const dry = delayed(ramp.source[0], late, mixed.length);
  mixed.forEach((v, i) => {
    const share = Math.min(1, i / (0.2 * rate)), expected = wet[i] + (dry[i] - wet[i]) * share;
    assert.ok(Math.abs(v - expected) < 1e-3, `sample ${i} of a cross-fade is ${v}, expected about ${expected}`);
  });
}

/** One seed loses the same frames each time; before the first of them everything is as without loss. */
export async function loss(render: Renderer, model: MimiModel, rng: Random): Promise<void> {
  const { frameSize } = model.config, rate = 24000, frames = 4, seed = rng.integer(0, 2 ** 32 - 1);
  const source = [rng.floats(frames * frameSize, 0.5)], late = lateness(model, rate);
  const codec = (loss: number, seed: number): Stage[] => [{ kind: "codec", options: { loss, seed } }];
  const spec: Render = { rate, source, branches: [codec(0, seed), codec(0.4, seed), codec(0.4, seed), codec(1, seed)] };
  const { channels: [clean, lossy, again, nothing], errors } = await render(spec);
  assert.deepEqual(errors, []);
  assertSame(clean, (await computed(model, spec))[0], "loss of 0");
  assertSame(again, lossy, `seed ${seed} again`);
  assert.ok(nothing.every((v) => v === 0), "loss of 1 is silence, as nothing was ever there to be repeated");
  const lost = Array.from({ length: frames }, (_, t) => chance(seed, t) < 0.4), first = lost.indexOf(true);
  const until = first < 0 ? clean.length : late + first * frameSize;
  assertSame(lossy.subarray(0, until), clean.subarray(0, until), `seed ${seed}, before the first loss`);
  if (first >= 0) {
    assert.notDeepEqual(lossy.subarray(until, until + frameSize), clean.subarray(until, until + frameSize));
  }
}
