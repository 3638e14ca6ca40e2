/** What tests ask of streams of frames, and of the channels and stretches of an encoder's input, in a page. */
import { AudioCodes } from "../../mod.ts";
import { type EncodedFrame, MimiDecoderNode, MimiEncoderNode } from "../../src/nodes/mod.ts";
import { seconds, settled, until } from "../support/wait.ts";
import { failure, liveContext, load, logEvents, type NodeEvent, pack, Recording, sidesOf, tone } from "./audio.ts";

export { load, type NodeEvent };

/** A frame with its codes packed. */
export interface PackedFrame {
  index: number;
  timestamp: number;
  codes: string;
}

async function read(reader: ReadableStreamDefaultReader<EncodedFrame>, n: number): Promise<PackedFrame[]> {
  const frames: PackedFrame[] = [];
  while (frames.length < n) {
    const { index, timestamp, codes } = (await reader.read()).value!;
    frames.push({ index, timestamp, codes: pack(codes.data) });
  }
  return frames;
}

/** Noise of several channels in a loop. The seed is the test's. */
function noise(context: AudioContext, channels: number, seed: number): AudioBufferSourceNode {
  const { sampleRate } = context,
    buffer = new AudioBuffer({ sampleRate, numberOfChannels: channels, length: sampleRate });
  let state = seed >>> 0;
  for (let c = 0; c < channels; c++) {
    const samples = Float32Array.from({ length: sampleRate }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state / 2 ** 31 - 1) / 8;
    });
    buffer.copyToChannel(samples, c);
  }
  const source = new AudioBufferSourceNode(context, { buffer, loop: true });
  source.start();
  return source;
}

/** What passes through an encoder, channel by channel, before and after it, and its frames. */
export async function channels(
  n: number,
  seed: number,
): Promise<{ from: number; tracks: string[]; frames: PackedFrame[] }> {
  const context = await liveContext(24000), encoder = new MimiEncoderNode(context), source = noise(context, n, seed);
  const sides = [source, encoder].flatMap((node) => sidesOf(context, node, n));
  const recording = new Recording(context, sides);
  source.connect(encoder);
  await seconds(0.3);
  const frames = await read(encoder.readable.getReader(), 8), { from, tracks } = await recording.stop();
  encoder.close();
  await context.close();
  return { from, tracks: tracks.map(pack), frames };
}

/** Read, cancelled, read again, linked instead: each time a new stretch of audio. */
export async function stretches(
  sampleRate: number,
  seed: number,
): Promise<{ from: number; track: string; stretches: PackedFrame[][] }> {
  const context = await liveContext(sampleRate), encoder = new MimiEncoderNode(context);
  const source = noise(context, 1, seed),
    recording = new Recording(context, [encoder]),
    stretches: PackedFrame[][] = [];
  source.connect(encoder);
  await seconds(0.2);
  for (let i = 0; i < 4; i++) {
    const reader = encoder.readable.getReader();
    stretches.push(await read(reader, 4));
    await seconds(0.03 * i); // somewhere in a frame
    await reader.cancel();
    await seconds(0.05);
  }
  const { from, tracks: [track] } = await recording.stop();
  encoder.close();
  await context.close();
  return { from, track: pack(track), stretches };
}

/** A reader that is replaced while frames for it are under way, and one whose node is closed while frames wait. */
export async function readers(): Promise<{ at: number; first: number; waiting: number; rest: number[] }> {
  const context = await liveContext(24000), encoder = new MimiEncoderNode(context);
  tone(context).connect(encoder);
  const before = encoder.readable.getReader();
  await before.read();
  for (const end = Date.now() + 300; Date.now() < end;); // nothing arrives meanwhile
  void before.cancel();
  const at = context.currentTime * 1e6, reader = encoder.readable.getReader(), first = await reader.read();
  await until(async () => (await encoder.getStats()).queuedFrames >= 8);
  const { queuedFrames } = await encoder.getStats(), rest: number[] = [];
  encoder.close();
  for (let frame; !(frame = await reader.read()).done;) rest.push(frame.value.index);
  await context.close();
  return { at, first: first.value!.timestamp, waiting: queuedFrames, rest };
}

/** A writer that is held back, and aborted. */
export async function aborted(): Promise<{ before: number; after: number; bufferedFrames: number; reason: string }> {
  const context = await liveContext(24000), decoder = new MimiDecoderNode(context, { mode: "playback" });
  decoder.connect(context.destination);
  const writer = decoder.writable.getWriter();
  const write = failure(() => writer.write(Array.from({ length: 4 }, () => Array(100).fill(7))));
  await new Promise((resolve) => decoder.addEventListener("playing", resolve));
  await until(() => decoder.playedFrames > 2);
  const before = decoder.playedFrames;
  await writer.abort();
  const after = await settled(() => decoder.playedFrames), { bufferedFrames } = decoder;
  decoder.close();
  await context.close();
  return { before, after, bufferedFrames, reason: await write };
}

/** A writer that is aborted while its stream is played to its end. */
export async function abortedWhileClosing(): Promise<{ before: number; after: number; bufferedFrames: number }> {
  const context = await liveContext(24000), decoder = new MimiDecoderNode(context, { mode: "playback" });
  decoder.connect(context.destination);
  const writer = decoder.writable.getWriter();
  const playing = new Promise((resolve) => decoder.addEventListener("playing", resolve));
  await writer.write(Array.from({ length: 4 }, () => Array(36).fill(7)));
  const closed = writer.close();
  await playing;
  await until(() => decoder.playedFrames > 3);
  const before = decoder.playedFrames;
  await Promise.all([writer.abort(), closed]);
  const after = await settled(() => decoder.playedFrames), { bufferedFrames } = decoder;
  decoder.close();
  await context.close();
  return { before, after, bufferedFrames };
}

/** How many writes are taken while nothing is played, by a decoder that an encoder was connected to before; or by a new one. */
export async function heldBack(linked: number): Promise<{ written: number }> {
  const context = await liveContext(24000), decoder = new MimiDecoderNode(context, { mode: "playback" });
  const encoder = new MimiEncoderNode(context), frame = [Array(8).fill([7])];
  decoder.connect(context.destination);
  tone(context).connect(encoder).connect(decoder);
  await seconds(linked);
  encoder.disconnect(decoder);
  await context.suspend();
  decoder.clear();
  const writer = decoder.writable.getWriter();
  let written = 0;
  const writing = (async () => {
    for (; written < 200; written++) await writer.write(frame);
  })();
  await settled(() => written);
  const result = { written };
  decoder.close();
  await failure(() => writing);
  await context.close();
  return result;
}

/** encoder.readable -> every third frame is lost -> decoder.writable, until the encoder is closed. */
export async function piped(): Promise<Record<string, unknown>> {
  const context = await liveContext(24000),
    encoder = new MimiEncoderNode(context),
    decoder = new MimiDecoderNode(context);
  const events = logEvents(decoder);
  tone(context).connect(encoder).connect(context.destination);
  decoder.connect(context.destination);
  let sent = 0, lost = 0;
  const loss = new TransformStream<EncodedFrame, EncodedFrame>({
    transform(frame, controller) {
      if (frame.index % 3 === 2) lost++;
      else {
        sent++;
        controller.enqueue(frame);
      }
    },
  });
  const pipe = encoder.readable.pipeThrough(loss).pipeTo(decoder.writable);
  await until(() => sent > 12 && lost > 6);
  encoder.close();
  await pipe;
  await settled(() => decoder.stats.playedSamples);
  const { stats } = decoder, again = decoder.writable.getWriter();
  await again.write(AudioCodes.fromFrames([[1, 2, 3]]));
  await again.close();
  const refusedWriter = decoder.writable.getWriter();
  const refused = [
    await failure(() => refusedWriter.write([[-1]])),
    await failure(() => refusedWriter.write([[1]])),
    await failure(() => decoder.writable.getWriter().write([[1]])),
  ];
  decoder.close();
  await context.close();
  return { sent, lost, stats, ended: events.filter(({ type }) => type === "ended").length, refused };
}

/** A burst that is too much for a live decoder, then nothing for a while, then its end; ends that overtake nothing. */
export async function burst(frames: number[][]): Promise<Record<string, unknown>> {
  const context = await liveContext(24000), decoder = new MimiDecoderNode(context), events = logEvents(decoder);
  decoder.connect(context.destination);
  decoder.enqueue(AudioCodes.fromFrames(frames));
  await until(() => events.some(({ type }) => type === "underrun")); // told when it is given up
  decoder.enqueue(AudioCodes.fromFrames(frames.slice(0, 3)));
  await decoder.end();
  const order: number[] = [], ends: Promise<unknown>[] = [];
  for (let i = 0; i < 40; i++) {
    decoder.enqueue(AudioCodes.fromFrames(frames.slice(0, 1)));
    ends.push(decoder.end().then(() => order.push(i)));
  }
  await Promise.all(ends);
  await settled(() => decoder.stats.playedSamples);
  const { stats, bufferedFrames } = decoder;
  decoder.close();
  await context.close();
  return { stats, bufferedFrames, events, order };
}

/** Streams that are cleared in quick succession, at a rate that is resampled. */
export async function clears(sampleRate: number): Promise<Record<string, unknown>> {
  const context = await liveContext(sampleRate), decoder = new MimiDecoderNode(context, { mode: "playback" });
  const codes = (n: number) => AudioCodes.fromFrames(Array.from({ length: n }, () => [7, 7, 7, 7]));
  const events = logEvents(decoder);
  let ends = 0;
  decoder.connect(context.destination);
  for (let i = 0; i < 20; i++) {
    decoder.enqueue(codes(1 + i % 5));
    void decoder.end().then(() => ends++);
    if (i % 3) await seconds(0.01 * i);
    decoder.clear({ fade: i % 2 ? 0 : 0.02 });
  }
  await seconds(0);
  const early = ends;
  decoder.enqueue(codes(10));
  await decoder.end();
  await settled(() => decoder.stats.playedSamples);
  const { stats, playedFrames, bufferedFrames } = decoder,
    [ended] = events.filter(({ type }) => type === "ended").slice(-1);
  const [playing] = events.filter(({ type }) => type === "playing").slice(-1);
  decoder.close();
  await context.close();
  return { early, stats, playedFrames, bufferedFrames, last: ended.timestamp - playing.timestamp };
}
