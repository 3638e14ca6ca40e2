/** What `bench/nodes.ts` does in the page. */
import { MimiModel, resample } from "../mod.ts";
import { MimiDecoderNode, MimiEncoderNode, registerMimi } from "../src/nodes/mod.ts";
import { signal } from "./signal.ts";
import { median, p95 } from "./stats.ts";

export interface Figures {
  isolated: boolean;
  /** Milliseconds from a sample that goes in to the sample that it becomes: the median, and of how many places. */
  latency: number;
  places: number;
  /** Milliseconds that audio waited in the buffer in the end. */
  buffer: number;
  underruns: number;
  /** Milliseconds of silence that they made, and of audio that was left out to make up for them. */
  silence: number;
  leftOut: number;
  /** Milliseconds to encode and to decode a frame. */
  encode: number;
  decode: number;
  p95: number;
}

export const RATE = 48000;
/** Seconds that are recorded, and samples that must be equal for a place to be found. */
const RECORDED = 12, MATCH = 2000;

const seconds = (n: number) => new Promise((resolve) => setTimeout(resolve, n * 1000));

/** Speech through an encoder and a decoder node with their default settings, for a while; then the codec alone. */
export async function live(options: { source: string; speech: string; seconds: number }): Promise<Figures> {
  const model = await MimiModel.fromPretrained(options.source, { worker: true, numQuantizers: 8 });
  const context = new AudioContext({ sampleRate: RATE, sinkId: { type: "none" } } as AudioContextOptions);
  await context.resume();
  await context.audioWorklet.addModule("/recorder.js");
  await registerMimi(context, { model });
  const buffer = await context.decodeAudioData(await (await fetch(options.speech)).arrayBuffer());
  const source = new AudioBufferSourceNode(context, { buffer, loop: true });
  const encoder = new MimiEncoderNode(context), decoder = new MimiDecoderNode(context);
  const recorder = new AudioWorkletNode(context, "recorder", { numberOfInputs: 2 });
  encoder.connect(recorder, 0, 0);
  decoder.connect(recorder, 0, 1);
  recorder.connect(context.destination);
  decoder.connect(context.destination);
  source.connect(encoder);
  source.start();
  encoder.connect(decoder);
  const { value: frame } = await encoder.readable.getReader().read();
  const origin = Math.round(frame!.timestamp * RATE / 1e6) - frame!.index * model.config.frameSize * RATE / 24000;

  await seconds(RECORDED);
  const { from, parts } = await new Promise<{ from: number; parts: Float32Array[][] }>((resolve) => {
    recorder.port.onmessage = ({ data }) => resolve(data);
    recorder.port.postMessage("stop");
  });
  const [input, output] = [0, 1].map((i) => {
    const track = new Float32Array(parts.length * 128);
    parts.forEach((part, at) => track.set(part[i], at * 128));
    return track;
  });
  await seconds(Math.max(0, options.seconds - RECORDED));
  const { underruns, underrunSamples, droppedSamples } = decoder.stats, buffered = decoder.latency;
  encoder.close();
  decoder.close();
  await context.close();

  const latencies = await findLatencies(model, input.subarray(origin - from), output.subarray(origin - from));
  const { encode, decode } = await timeCodec(model);
  model.close();
  return {
    isolated: crossOriginIsolated,
    latency: median(latencies),
    places: latencies.length,
    buffer: buffered * 1000,
    underruns,
    silence: underrunSamples / RATE * 1000,
    leftOut: droppedSamples / RATE * 1000,
    encode: median(encode),
    decode: median(decode),
    p95: p95(encode.map((time, i) => time + decode[i])),
  };
}

/**
 * Codes what went in once more, offline: sample `i` of the result stands for sample `i` of the input, and came out of the
 * decoder node where the recording has the very same samples.
 */
async function findLatencies(model: MimiModel, input: Float32Array, output: Float32Array): Promise<number[]> {
  const { samplingRate } = model.config;
  const { audioCodes } = await model.encode(resample(input, RATE, samplingRate));
  const decoded = resample((await model.decode(audioCodes)).audioValues.data, samplingRate, RATE), found: number[] = [];
  for (let place = RATE; place + RATE < output.length; place += RATE / 4) {
    const wanted = decoded.subarray(place, place + MATCH);
    if (wanted.every((v) => Math.abs(v) < 1e-3)) continue; // silence is everywhere
    for (let lag = 0; lag < RATE && place + lag + MATCH <= output.length; lag++) {
      let same = 0;
      while (same < MATCH && output[place + lag + same] === wanted[same]) same++;
      if (same < MATCH) continue;
      found.push(lag / RATE * 1000);
      break;
    }
  }
  if (found.length === 0) throw new Error("what came out is nothing of what went in");
  return found;
}

/** Milliseconds of single frames in the worker, there and back. */
async function timeCodec(model: MimiModel): Promise<{ encode: number[]; decode: number[] }> {
  const encoder = model.createEncoder(), decoder = model.createDecoder(), { frameSize } = model.config;
  const times = { encode: [] as number[], decode: [] as number[] };
  for (let t = -10; t < 100; t++) {
    const audio = signal((t + 10) * frameSize, frameSize), start = performance.now();
    const codes = await encoder.encode(audio), between = performance.now();
    await decoder.decode(codes);
    if (t < 0) continue; // to warm up
    times.encode.push(between - start);
    times.decode.push(performance.now() - between);
  }
  encoder.close();
  decoder.close();
  return times;
}
