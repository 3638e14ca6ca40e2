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
import { seconds, settled, until } from "../support/wait.ts";
import {
  errorsOf,
  failure,
  FRAME,
  liveContext,
  load,
  logEvents,
  model,
  type NodeEvent,
  pack,
  peak,
  Recording,
  sidesOf,
  tone,
} from "./audio.ts";

export { load, type NodeEvent };

/** What came of a microphone's session. Audio and codes are packed. */
export interface Session {
  isolated: boolean;
  sampleRate: number;
  /** First sample of the recording, as the context counts. */
  from: number;
  /** Of the encoder and of the decoder. The figures are from later, when everything was played. */
  tracks: string[];
  frames: { index: number; timestamp: number; duration: number; codes: string }[];
  events: NodeEvent[];
  encoderStats: EncoderStats;
  decoderStats: DecoderStats;
}

/**
 * Microphone -> encoder -> decoder for a while, `pairs` times. In the middle the context is suspended for some seconds, or
 * this thread does nothing else.
 */
export async function microphone(
  options: { sampleRate: number; seconds: number; block?: number; suspend?: number; pairs?: number },
): Promise<Session[]> {
  const context = await liveContext(options.sampleRate);
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const source = context.createMediaStreamSource(stream);
  const pairs = Array.from({ length: options.pairs ?? 1 }, () => {
    const encoder = new MimiEncoderNode(context), decoder = new MimiDecoderNode(context);
    logEvents(encoder);
    return { encoder, decoder, events: logEvents(decoder), frames: [] as Session["frames"] };
  });
  const recording = new Recording(context, pairs.flatMap(({ encoder, decoder }) => [encoder, decoder]));
  for (const { encoder, decoder } of pairs) source.connect(encoder).connect(decoder);
  const reading = pairs.map(async ({ encoder, frames }) => {
    const reader = encoder.readable.getReader();
    for (let frame; !(frame = await reader.read()).done;) {
      frames.push({ ...frame.value, codes: pack(frame.value.codes.data) });
    }
  });
  await seconds(options.seconds / 2);
  const end = Date.now() + (options.block ?? 0) * 1000;
  while (Date.now() < end);
  if (options.suspend) {
    await context.suspend();
    await seconds(options.suspend);
    await context.resume();
  }
  await seconds(options.seconds / 2);
  const { from, tracks } = await recording.stop();
  await seconds(0.2);
  const told = pairs.map(({ events }) => [...events]);
  for (const { encoder } of pairs) encoder.disconnect(); // what is under way is played to its end
  await seconds(1);
  const sessions = await Promise.all(pairs.map(async ({ encoder, decoder, frames }, i) => ({
    isolated: crossOriginIsolated,
    sampleRate: context.sampleRate,
    from,
    tracks: tracks.slice(2 * i, 2 * i + 2).map(pack),
    frames,
    events: told[i],
    encoderStats: await encoder.getStats(),
    decoderStats: decoder.stats,
  })));
  for (const { encoder, decoder } of pairs) {
    encoder.close();
    decoder.close();
  }
  await Promise.all(reading);
  for (const track of stream.getTracks()) track.stop();
  await context.close();
  return sessions;
}

/** Nothing happens before the first read; then 2 s are kept. */
export async function reading(): Promise<unknown> {
  const context = await liveContext(24000), encoder = new MimiEncoderNode(context);
  tone(context).connect(encoder).connect(context.destination);
  await seconds(0.5);
  const before = (await encoder.getStats()).frames, reader = encoder.readable.getReader();
  const first = await reader.read(), started = context.currentTime;
  await until(async () => (await encoder.getStats()).droppedFrames >= 5);
  const coded = async () => (await encoder.getStats()).frames;
  await context.suspend(); // no frame more, while these are read
  await settled(coded);
  const stats = await encoder.getStats(), rest: EncodedFrame[] = [];
  for (let i = 0; i < stats.queuedFrames; i++) rest.push((await reader.read()).value!);
  await context.resume();
  await reader.cancel();
  const cancelled = await settled(coded);
  await seconds(0.5);
  const later = await coded();
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
  while (frames.length < 100 && (frames.length < 10 || frames[frames.length - 1][1] !== 7)) {
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
  await settled(() => decoder.stats.playedSamples);
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
  await until(() => decoder.playedFrames > 6);
  const bufferedBefore = decoder.bufferedFrames;
  decoder.clear({ fade: 0.02 });
  await cut;
  const playedFrames = await settled(() => decoder.playedFrames), bufferedFrames = decoder.bufferedFrames;
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
  const [encoder, decoder] = pairs[0];
  const played = (i = 0) => pairs[i][1].stats.playedSamples;
  await until(() => pairs.every((_, i) => played(i) > 4 * FRAME));
  const linked = played();
  encoder.disconnect(decoder);
  const undone = await settled(() => played());
  await seconds(0.3);
  const still = played() === undone;
  encoder.connect(decoder);
  await until(() => played() > undone + FRAME);
  const again = played();
  encoder.disconnect();
  const silent = await settled(() => played());
  await seconds(0.3);
  const stillSilent = played() === silent;
  await context.suspend();
  const asleep = await settled(() => played(1));
  await seconds(0.3);
  const slept = played(1) === asleep;
  await context.resume();
  await until(() => played(1) > asleep + FRAME);
  const awake = played(1) - asleep;
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
  const decoderOnly = await MimiModel.fromPretrained(other, { worker: true, part: "decoder" });
  const encoderOnly = await MimiModel.fromPretrained(other, { worker: true, part: "encoder" });
  const closed = new MimiDecoderNode(context), stranger = new MimiDecoderNode(elsewhere);
  closed.close();
  closed.close();
  const codes = AudioCodes.fromFrames([[1, 2, 3]]);
  const results = {
    unregistered: await failure(() => new MimiEncoderNode(bare)),
    modelHere: await failure(() => registerMimi(context, { model: here })),
    workletUrl: await failure(() => registerMimi(context, { model: model!, workletUrl: "http://" })),
    blob: await failure(() => registerMimi(context, { model: model!, blob: "no" as never })),
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
    second: await failure(() => {
      encoder.connect(decoder);
      new MimiEncoderNode(context).connect(decoder);
    }),
    instead: await failure(() => {
      encoder.disconnect(decoder);
      new MimiEncoderNode(context).connect(decoder);
    }),
    buffer: await failure(() => new MimiDecoderNode(context, { buffer: 0.3, maxBuffer: 0.2 })),
    noEncoder: await failure(async () => {
      await registerMimi(elsewhere, { model: decoderOnly });
      new MimiEncoderNode(elsewhere);
    }),
    noDecoder: await failure(async () => {
      await registerMimi(elsewhere, { model: encoderOnly });
      new MimiDecoderNode(elsewhere);
    }),
    fade: await failure(() => decoder.clear({ fade: -1 })),
    closedEnqueue: await failure(() => closed.enqueue(codes)),
    closedEnd: await failure(() => closed.end()),
    closedRestart: await failure(() => closed.restart()),
    closedAbort: await failure(() => closed.writable.abort()),
    worklet404: await failure(() => registerMimi(bare, { model: model!, workletUrl: "/nowhere.js" })),
  };
  await registerMimi(bare, { model: model! });
  const lazy = new MimiEncoderNode(bare) instanceof MimiEncoderNode &&
    new MimiEncoderNode(bare) instanceof AudioWorkletNode;
  class Mine extends MimiDecoderNode {
    mine = true;
  }
  const mine = new Mine(bare);
  const mono = new MimiEncoderNode(bare, { channelCount: 1, channelCountMode: "explicit" }).channelCount;
  const latencies = [{}, { buffer: 0.9 }, { maxBuffer: 0.02 }].map((options) =>
    new MimiDecoderNode(bare, options).latency
  );
  const extended = mine.mine && mine instanceof Mine && mine instanceof MimiDecoderNode && mine.bufferedFrames === 0;
  for (const c of [bare, context, elsewhere]) await c.close();
  for (const each of [strange, decoderOnly, encoderOnly]) each.close();
  return {
    ...results,
    lazy: String(lazy),
    extended: String(extended),
    mono: String(mono),
    latencies: latencies.join(),
  };
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
  const played = () => decoder.stats.playedSamples;
  await until(() => played() > 4 * FRAME);
  const before = played();
  await kill();
  await until(() => [...errors, otherErrors].every((each) => each.length > 0));
  const refused = [
    await failure(() => decoder.enqueue([[1]])),
    await failure(() => model!.encode(new Float32Array(9))),
  ];
  const dead = await settled(played);
  await Promise.all([encoder.restart(), decoder.restart(), other.restart()]);
  await until(() => played() > dead + 4 * FRAME);
  const after = played(), { tracks: [, track] } = await recording.stop();
  const encoded = (await model!.encode(new Float32Array(5000))).audioCodes.shape;
  for (const node of [encoder, decoder, other]) node.close();
  await context.close();
  return { before, dead, after, errors, otherErrors, refused, peak: peak(track), encoded };
}

/** Two channels through an encoder, one with samples that are no numbers: what went in, what came out, and the encoder's count. */
export async function passThrough(): Promise<{ tracks: string[]; nonFinite: number }> {
  const context = await liveContext(24000), encoder = new MimiEncoderNode(context), n = 24000;
  const buffer = new AudioBuffer({ sampleRate: 24000, numberOfChannels: 2, length: n });
  buffer.copyToChannel(Float32Array.from({ length: n }, (_, i) => Math.sin(i / 17) / 2), 0);
  buffer.copyToChannel(Float32Array.from({ length: n }, (_, i) => i % 4000 === 999 ? NaN : Math.sin(i / 29) / 4), 1);
  const source = new AudioBufferSourceNode(context, { buffer });
  const sides = [source, encoder].flatMap((node) => sidesOf(context, node, 2));
  const recording = new Recording(context, sides), reader = encoder.readable.getReader();
  source.connect(encoder);
  await Promise.race([reader.read(), seconds(0.3)]);
  const ended = new Promise((resolve) => source.onended = resolve);
  source.start();
  await ended;
  const nonFinite = await settled(async () => (await encoder.getStats()).nonFiniteSamples);
  const { tracks } = await recording.stop();
  encoder.close();
  await context.close();
  return { tracks: tracks.map(pack), nonFinite };
}
