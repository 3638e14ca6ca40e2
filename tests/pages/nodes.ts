/** What tests ask of the nodes in a page. */
import { AudioCodes, MimiModel } from "../../mod.ts";
import {
  type DecoderStats,
  type EncodedFrame,
  type EncoderStats,
  MimiDecoderNode,
  MimiEncoderNode,
  registerMimi,
} from "../../src/nodes/mod.ts";

/** Float32Array or Uint16Array as text, for the way to the test. */
function pack(values: Float32Array | Uint16Array): string {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength), parts: string[] = [];
  for (let i = 0; i < bytes.length; i += 32768) parts.push(String.fromCharCode(...bytes.subarray(i, i + 32768)));
  return btoa(parts.join(""));
}

export interface NodeEvent {
  type: string;
  timestamp: number;
  duration?: number;
}

/** Records several nodes side by side. */
class Recording {
  readonly #node: AudioWorkletNode;
  constructor(context: AudioContext, nodes: AudioNode[]) {
    this.#node = new AudioWorkletNode(context, "recorder", { numberOfInputs: nodes.length, numberOfOutputs: 1 });
    nodes.forEach((node, i) => node.connect(this.#node, 0, i));
    this.#node.connect(context.destination);
  }
  /** First sample, as the context counts, and the samples of each node. */
  async stop(): Promise<{ from: number; tracks: Float32Array[] }> {
    const { from, parts } = await new Promise<{ from: number; parts: Float32Array[][] }>((resolve) => {
      this.#node.port.onmessage = ({ data }) => resolve(data);
      this.#node.port.postMessage("stop");
    });
    const tracks = parts[0].map((_, i) => {
      const out = new Float32Array(parts.length * 128);
      parts.forEach((part, at) => out.set(part[i], at * 128));
      return out;
    });
    return { from, tracks };
  }
}

const seconds = (n: number) => new Promise((resolve) => setTimeout(resolve, n * 1000));

let model: MimiModel | undefined;
export async function load(source: string): Promise<string> {
  model = await MimiModel.fromPretrained(source, { worker: true });
  return model.fingerprint;
}

export async function liveContext(sampleRate: number): Promise<AudioContext> {
  const context = new AudioContext({ sampleRate, sinkId: { type: "none" } } as AudioContextOptions);
  await context.resume();
  await context.audioWorklet.addModule("/recorder.js");
  await registerMimi(context, { model: model! });
  return context;
}

function logEvents(node: EventTarget): NodeEvent[] {
  const events: NodeEvent[] = [];
  for (const type of ["playing", "underrun", "overflow", "ended"]) {
    node.addEventListener(type, (event) => events.push({ type, ...(event as CustomEvent).detail }));
  }
  node.addEventListener("error", (event) => console.error(String((event as ErrorEvent).error)));
  return events;
}

/** What came of a microphone's session. Audio and codes are packed. */
export interface Session {
  isolated: boolean;
  sampleRate: number;
  /** First sample of the recording, as the context counts. */
  from: number;
  /** Of the encoder and of the decoder. */
  tracks: string[];
  frames: { index: number; timestamp: number; duration: number; codes: string }[];
  events: NodeEvent[];
  encoderStats: EncoderStats;
  decoderStats: DecoderStats;
}

/** Microphone -> encoder -> decoder for a while; `block` seconds of it this thread does nothing else. */
export async function microphone(options: { sampleRate: number; seconds: number; block?: number }): Promise<Session> {
  const context = await liveContext(options.sampleRate);
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const source = context.createMediaStreamSource(stream);
  const encoder = new MimiEncoderNode(context), decoder = new MimiDecoderNode(context), events = logEvents(decoder);
  logEvents(encoder);
  const recording = new Recording(context, [encoder, decoder]);
  source.connect(encoder).connect(decoder);
  const frames: { index: number; timestamp: number; duration: number; codes: string }[] = [];
  const reader = encoder.readable.getReader();
  const reading = (async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      frames.push({ ...value as EncodedFrame, codes: pack((value as EncodedFrame).codes.data) });
    }
  })();
  await seconds(options.seconds / 2);
  const end = Date.now() + (options.block ?? 0) * 1000;
  while (Date.now() < end);
  await seconds(options.seconds / 2);
  const { from, tracks } = await recording.stop();
  await seconds(0.2);
  const encoderStats = await encoder.getStats(), decoderStats = decoder.stats;
  encoder.close();
  decoder.close();
  await reading;
  for (const track of stream.getTracks()) track.stop();
  await context.close();
  return {
    isolated: crossOriginIsolated,
    sampleRate: context.sampleRate,
    from,
    tracks: tracks.map(pack),
    frames,
    events,
    encoderStats,
    decoderStats,
  };
}

/** Collects everything a node says of errors. */
function errorsOf(node: EventTarget): string[] {
  const errors: string[] = [];
  node.addEventListener("error", (event) => {
    const { name, code, message } = (event as ErrorEvent).error;
    errors.push(`${name} ${code}: ${message}`);
  });
  return errors;
}

/** What a call throws or rejects with. */
async function failure(call: () => unknown): Promise<string> {
  try {
    await call();
    return "nothing";
  } catch (error) {
    const { name, code } = error as Error & { code?: string };
    return `${name} ${code}`;
  }
}

/** A tone through a context, with its recording. */
function tone(context: AudioContext): OscillatorNode {
  const oscillator = new OscillatorNode(context, { frequency: 300 });
  oscillator.start();
  return oscillator;
}

const peak = (samples: Float32Array) => samples.reduce((a, b) => Math.max(a, Math.abs(b)), 0);

/** Nothing happens before the first read; then 2 s are kept. */
export async function reading(): Promise<unknown> {
  const context = await liveContext(24000), encoder = new MimiEncoderNode(context);
  tone(context).connect(encoder).connect(context.destination);
  await seconds(0.5);
  const before = (await encoder.getStats()).frames, reader = encoder.readable.getReader();
  const first = await reader.read(), started = context.currentTime;
  await seconds(3);
  const stats = await encoder.getStats(), rest: EncodedFrame[] = [];
  for (let i = 0; i < stats.queuedFrames; i++) rest.push((await reader.read()).value!);
  await reader.cancel();
  await seconds(0.3);
  const cancelled = (await encoder.getStats()).frames;
  await seconds(0.5);
  const later = (await encoder.getStats()).frames;
  encoder.close();
  await context.close();
  return {
    before,
    first: { index: first.value!.index, late: started - first.value!.timestamp / 1e6, shape: first.value!.codes.shape },
    stats,
    indices: rest.map(({ index }) => index),
    times: rest.map(({ timestamp, duration }) => [timestamp, duration]),
    idleAfterCancel: later === cancelled,
  };
}

/** Codebooks of frames while the parameter changes at a set time. */
export async function automation(sampleRate: number): Promise<{ change: number; frames: [number, number][] }> {
  const context = await liveContext(sampleRate), encoder = new MimiEncoderNode(context, { numQuantizers: 2 });
  const reader = encoder.readable.getReader();
  tone(context).connect(encoder).connect(context.destination);
  await reader.read();
  const change = context.currentTime + 0.35;
  encoder.numQuantizers.setValueAtTime(7, change);
  const frames: [number, number][] = [];
  while (frames.length < 10) {
    const { codes, timestamp } = (await reader.read()).value!;
    frames.push([timestamp, codes.shape[1]]);
  }
  encoder.close();
  await context.close();
  return { change, frames };
}

/** Codes of frames played through a decoder in playback mode; several streams in a row. */
export async function playback(streams: number[][][], how: "enqueue" | "writable"): Promise<unknown> {
  const context = await liveContext(24000), decoder = new MimiDecoderNode(context, { mode: "playback" });
  const events = logEvents(decoder), recording = new Recording(context, [decoder]);
  let held = 0;
  for (const frames of streams) {
    if (how === "enqueue") decoder.enqueue(AudioCodes.fromFrames(frames));
    else {
      const writer = decoder.writable.getWriter();
      for (const frame of frames) {
        if (writer.desiredSize! <= 0) held++;
        await writer.ready;
        void writer.write(AudioCodes.fromFrames([frame]));
      }
      await writer.ready;
      writer.releaseLock();
    }
    await decoder.end();
  }
  const { from, tracks: [track] } = await recording.stop();
  await seconds(0.2);
  const { stats, playedFrames, bufferedFrames } = decoder;
  decoder.close();
  await context.close();
  return { from, track: pack(track), events, stats, playedFrames, bufferedFrames, held };
}

/** Cleared while it speaks, then something else is said. */
export async function bargeIn(first: number[][], second: number[][]): Promise<unknown> {
  const context = await liveContext(24000), decoder = new MimiDecoderNode(context, { mode: "playback" });
  const events = logEvents(decoder), recording = new Recording(context, [decoder]);
  decoder.enqueue(AudioCodes.fromFrames(first));
  const cut = decoder.end();
  await seconds(0.8);
  const bufferedBefore = decoder.bufferedFrames;
  decoder.clear({ fade: 0.02 });
  await cut;
  await seconds(0.4);
  const playedFrames = decoder.playedFrames, bufferedFrames = decoder.bufferedFrames;
  decoder.enqueue(AudioCodes.fromFrames(second));
  await decoder.end();
  const { from, tracks: [track] } = await recording.stop();
  decoder.close();
  await context.close();
  return { from, track: pack(track), events, bufferedBefore, playedFrames, bufferedFrames };
}

/** Links undone and made again; suspended and resumed; several pairs on one worker. */
export async function wiring(): Promise<unknown> {
  const context = await liveContext(24000), source = tone(context);
  const pairs = Array.from({ length: 4 }, () => [new MimiEncoderNode(context), new MimiDecoderNode(context)] as const);
  const errors = pairs.flat().map(errorsOf), recording = new Recording(context, pairs.map(([, decoder]) => decoder));
  // The last pair is wired in the other order.
  for (const [encoder, decoder] of pairs.slice(0, 3)) source.connect(encoder).connect(decoder);
  pairs[3][0].connect(pairs[3][1]);
  source.connect(pairs[3][0]);
  await seconds(1.2);
  const [encoder, decoder] = pairs[0], played = () => decoder.stats.playedSamples;
  const linked = played();
  encoder.disconnect(decoder);
  await seconds(0.6);
  const undone = played();
  await seconds(0.3);
  const still = played() === undone;
  encoder.connect(decoder);
  await seconds(0.8);
  const again = played();
  encoder.disconnect();
  await seconds(0.6);
  const silent = played();
  await seconds(0.3);
  const stillSilent = played() === silent;
  await context.suspend();
  await seconds(0.3);
  const asleep = pairs[1][1].stats.playedSamples;
  await seconds(0.3);
  const slept = pairs[1][1].stats.playedSamples === asleep;
  await context.resume();
  await seconds(0.8);
  const awake = pairs[1][1].stats.playedSamples - asleep;
  const { tracks } = await recording.stop(), stats = pairs.map(([, decoder]) => decoder.stats);
  for (const node of pairs.flat()) node.close();
  await context.close();
  return {
    linked,
    undone,
    still,
    again,
    silent,
    stillSilent,
    slept,
    awake,
    stats,
    peaks: tracks.map(peak),
    errors: errors.flat(),
  };
}

/** Things that must be refused. */
export async function refusals(other: string): Promise<Record<string, string>> {
  const bare = new AudioContext({ sinkId: { type: "none" } } as AudioContextOptions);
  const context = await liveContext(24000), here = await MimiModel.fromPretrained(other);
  const elsewhere = await liveContext(24000), strange = await MimiModel.fromPretrained(other, { worker: true });
  await registerMimi(elsewhere, { model: strange });
  const encoder = new MimiEncoderNode(context), decoder = new MimiDecoderNode(context);
  const closed = new MimiDecoderNode(context), stranger = new MimiDecoderNode(elsewhere);
  closed.close();
  closed.close();
  const codes = AudioCodes.fromFrames([[1, 2, 3]]);
  const results = {
    unregistered: await failure(() => new MimiEncoderNode(bare)),
    modelHere: await failure(() => registerMimi(context, { model: here })),
    noModel: await failure(() => registerMimi(context, {} as never)),
    quantizers: await failure(() => new MimiEncoderNode(context, { numQuantizers: 99 })),
    option: await failure(() => new MimiDecoderNode(context, { delay: 3 } as never)),
    mode: await failure(() => new MimiDecoderNode(context, { mode: "loud" } as never)),
    code: await failure(() => decoder.enqueue([[70000]])),
    codebooks: await failure(() => decoder.enqueue(AudioCodes.fromFrames([Array(33).fill(1)]))),
    fingerprint: await failure(() =>
      decoder.enqueue({ codes, index: 0, timestamp: 0, duration: 0, fingerprint: strange.fingerprint })
    ),
    written: await failure(() => decoder.writable.getWriter().write([[70000]])),
    link: await failure(() => encoder.connect(stranger as unknown as AudioNode)),
    fade: await failure(() => decoder.clear({ fade: -1 })),
    closedEnqueue: await failure(() => closed.enqueue(codes)),
    closedEnd: await failure(() => closed.end()),
    closedRestart: await failure(() => closed.restart()),
    worklet404: await failure(() => registerMimi(bare, { model: model!, workletUrl: "/nowhere.js" })),
  };
  await registerMimi(bare, { model: model! });
  const lazy = new MimiEncoderNode(bare) instanceof MimiEncoderNode &&
    new MimiEncoderNode(bare) instanceof AudioWorkletNode;
  class Mine extends MimiDecoderNode {
    mine = true;
  }
  const mine = new Mine(bare);
  const extended = mine.mine && mine instanceof Mine && mine instanceof MimiDecoderNode && mine.bufferedFrames === 0;
  for (const c of [bare, context, elsewhere]) await c.close();
  strange.close();
  return { ...results, lazy: String(lazy), extended: String(extended) };
}

/** The worker dies in the middle of a stream, and is started again. */
export async function death(
  kill: () => Promise<void> = () => (globalThis as never as { kill(): Promise<void> }).kill(),
): Promise<unknown> {
  const context = await liveContext(24000), source = tone(context);
  const encoder = new MimiEncoderNode(context),
    decoder = new MimiDecoderNode(context),
    errors = [encoder, decoder].map(errorsOf);
  const other = new MimiDecoderNode(context), otherErrors = errorsOf(other);
  source.connect(encoder).connect(decoder);
  const recording = new Recording(context, [encoder, decoder]);
  await seconds(1);
  const before = decoder.stats.playedSamples;
  await kill();
  for (let i = 0; i < 50 && errors[0].length === 0; i++) await seconds(0.1);
  const refused = [
    await failure(() => decoder.enqueue([[1]])),
    await failure(() => model!.encode(new Float32Array(9))),
  ];
  await seconds(0.5);
  const dead = decoder.stats.playedSamples;
  await Promise.all([encoder.restart(), decoder.restart(), other.restart()]);
  await seconds(1.5);
  const after = decoder.stats.playedSamples, { tracks: [, track] } = await recording.stop();
  const encoded = (await model!.encode(new Float32Array(5000))).audioCodes.shape;
  for (const node of [encoder, decoder, other]) node.close();
  await context.close();
  return { before, dead, after, errors, otherErrors, refused, peak: peak(track), encoded };
}

/** A context that is closed under its nodes. */
export async function closedContext(): Promise<unknown> {
  const context = await liveContext(24000),
    encoder = new MimiEncoderNode(context),
    decoder = new MimiDecoderNode(context);
  const reader = encoder.readable.getReader();
  tone(context).connect(encoder).connect(context.destination);
  await reader.read();
  const end = decoder.end();
  await context.close();
  const drained = await (async () => {
    for (;;) if ((await reader.read()).done) return true;
  })();
  await end;
  return {
    drained,
    enqueue: await failure(() => decoder.enqueue([[1]])),
    stats: await failure(() => encoder.getStats()),
  };
}

/** Many nodes made and closed; returns the worker's memory before and after. */
export async function rounds(n: number): Promise<number[]> {
  const context = await liveContext(24000), source = tone(context), memory: number[] = [];
  for (let i = 0; i < n; i++) {
    const encoder = new MimiEncoderNode(context), decoder = new MimiDecoderNode(context);
    source.connect(encoder).connect(decoder).connect(context.destination);
    if (i % 10 === 0) await seconds(0.1);
    source.disconnect(encoder);
    encoder.disconnect();
    decoder.disconnect();
    encoder.close();
    decoder.close();
    if (i % 10 === 9) {
      await seconds(0.2);
      const probe = model!.createEncoder();
      await probe.encode(new Float32Array(1));
      probe.close();
      memory.push(model!.memory.total);
    }
  }
  await context.close();
  return memory;
}

/** Two channels through an encoder, one with samples that are no numbers. */
export async function passThrough(): Promise<{ out: string[]; nonFinite: number }> {
  const context = await liveContext(24000), encoder = new MimiEncoderNode(context), n = 24000;
  const buffer = new AudioBuffer({ sampleRate: 24000, numberOfChannels: 2, length: n });
  buffer.copyToChannel(Float32Array.from({ length: n }, (_, i) => Math.sin(i / 17) / 2), 0);
  buffer.copyToChannel(Float32Array.from({ length: n }, (_, i) => i % 4000 === 999 ? NaN : Math.sin(i / 29) / 4), 1);
  const source = new AudioBufferSourceNode(context, { buffer }), splitter = new ChannelSplitterNode(context);
  const sides = [0, 1].map(() => new GainNode(context));
  const recording = new Recording(context, sides), reader = encoder.readable.getReader();
  source.connect(encoder).connect(splitter);
  sides.forEach((side, i) => splitter.connect(side, i));
  await Promise.race([reader.read(), seconds(0.3)]);
  source.start();
  await seconds(1.6);
  const { tracks } = await recording.stop(), { nonFiniteSamples } = await encoder.getStats();
  encoder.close();
  await context.close();
  return { out: tracks.map(pack), nonFinite: nonFiniteSamples };
}
