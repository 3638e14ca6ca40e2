/**
 * A WAV file through a high-pass filter, the codec and a compressor, faster than it plays. Runs in Node, Deno and Bun:
 *
 *   npm run example:render -- in.wav out.wav 4          (codebooks, 8 by default; Node 22 and later)
 *   deno run -A examples/render/render.ts in.wav out.wav
 *   bun examples/render/render.ts in.wav out.wav
 */
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { MimiModel } from "mimi-audio";
import { readWav, toPCM16, wavHeader } from "mimi-audio/file";
import { defineMimiNodes, registerMimi } from "mimi-audio/nodes";
import {
  AudioBuffer,
  AudioBufferSourceNode,
  AudioWorkletNode,
  BiquadFilterNode,
  DynamicsCompressorNode,
  OfflineAudioContext,
} from "node-web-audio-api";

const { MimiCodecNode } = defineMimiNodes(AudioWorkletNode);

/** All of a file, one array a channel. */
async function read(path: string): Promise<AudioBuffer> {
  const { samplingRate, channels, pieces } = await readWav(await readFile(path), { name: path });
  const parts: Float32Array[][] = [];
  for await (const piece of pieces) parts.push(piece);
  const length = parts.reduce((sum, [first]) => sum + first.length, 0);
  const buffer = new AudioBuffer({ numberOfChannels: channels, length, sampleRate: samplingRate });
  let at = 0;
  for (const part of parts) {
    part.forEach((samples, c) => buffer.copyToChannel(Float32Array.from(samples), c, at));
    at += part[0].length;
  }
  return buffer;
}

const [input, output, codebooks = "8"] = process.argv.slice(2);
if (!output) {
  console.error("usage: render.ts in.wav out.wav [codebooks]");
  process.exit(2);
}
const buffer = await read(input), { sampleRate } = buffer;
const model = await MimiModel.fromPretrained("mini");

// A little longer than the file: the codec is late by a frame of 80 ms, and by what resampling takes.
const context = new OfflineAudioContext(1, buffer.length + Math.ceil(0.1 * sampleRate), sampleRate);
await registerMimi(context, { model });
const source = new AudioBufferSourceNode(context, { buffer });
const codec = new MimiCodecNode(context, { numQuantizers: Number(codebooks) });
let failure: Error | undefined;
codec.addEventListener("error", (event) => failure = (event as ErrorEvent).error);
source
  .connect(new BiquadFilterNode(context, { type: "highpass", frequency: 120 }))
  .connect(codec)
  .connect(new DynamicsCompressorNode(context, { threshold: -20, ratio: 4 }))
  .connect(context.destination);
source.start();
const rendered = (await context.startRendering()).getChannelData(0);
if (failure) throw failure;

const late = Math.round(codec.latency * sampleRate), samples = rendered.subarray(late, late + buffer.length);
await writeFile(output, [wavHeader(sampleRate, samples.length), toPCM16(samples)]);
console.log(`${output}: ${(samples.length / sampleRate).toFixed(2)} s at ${sampleRate} Hz, ${codebooks} codebooks`);
