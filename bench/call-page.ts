/** What `bench/call.ts` does in the page. */
import { MimiModel } from "../mod.ts";
import { receiveVoice, sendVoice } from "../src/call/mod.ts";
import { median } from "./stats.ts";

export interface CallFigures {
  /** Milliseconds from a sample that goes in to the sound that it becomes: the median over windows, and how many there were. */
  latency: number;
  windows: number;
  /** Milliseconds that the jitter buffer waits. */
  delay: number;
  /** Packets a second, bytes of one, and bytes of all that the transport sent for each. */
  packets: number;
  bytes: number;
  wire: number;
  underruns: number;
  concealed: number;
}

const RATE = 24000, CHANNEL = { negotiated: true, id: 1, ordered: false, maxRetransmits: 0 };
/** Samples of a step of the envelopes; steps of a window, and of the longest latency. */
const STEP = 48, WINDOW = 1000, LONGEST = 600;

const wait = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function connect(): Promise<{ a: RTCPeerConnection; b: RTCPeerConnection; channels: RTCDataChannel[] }> {
  const a = new RTCPeerConnection(), b = new RTCPeerConnection();
  const channels = [a, b].map((each) => each.createDataChannel("voice", CHANNEL));
  const opened = channels.map((channel) => new Promise((resolve) => channel.addEventListener("open", resolve)));
  const gathered = (each: RTCPeerConnection) =>
    new Promise<void>((resolve) => each.onicecandidate = ({ candidate }) => candidate === null && resolve());
  const both = [gathered(a), gathered(b)];
  await a.setLocalDescription();
  await both[0];
  await b.setRemoteDescription(a.localDescription!);
  await b.setLocalDescription();
  await both[1];
  await a.setRemoteDescription(b.localDescription!);
  await Promise.all(opened);
  return { a, b, channels };
}

async function sentBytes(connection: RTCPeerConnection): Promise<number> {
  for (const each of (await connection.getStats()).values()) if (each.type === "transport") return each.bytesSent;
  return NaN;
}

/** One direction of a call, everything sent as speech, for a while. */
export async function call(
  options: { source: string; speech: string; seconds: number; redundancy: number },
): Promise<CallFigures> {
  const model = await MimiModel.fromPretrained(options.source, { worker: true, numQuantizers: 8 });
  const context = new AudioContext({ sampleRate: RATE, sinkId: { type: "none" } } as AudioContextOptions);
  await context.resume();
  await context.audioWorklet.addModule("/recorder.js");
  const buffer = await context.decodeAudioData(await (await fetch(options.speech)).arrayBuffer());
  const source = new AudioBufferSourceNode(context, { buffer, loop: true });
  const { a, b, channels: [here, there] } = await connect();
  const received = await receiveVoice(there, { model, context });
  const sent = await sendVoice(source, here, { model, context, dtx: false, redundancy: options.redundancy });
  const recorder = new AudioWorkletNode(context, "recorder", { numberOfInputs: 2 });
  source.connect(recorder, 0, 0);
  received.node.connect(recorder, 0, 1);
  recorder.connect(context.destination);
  source.start();
  await wait(2); // until both sides know each other
  const before = { ...sent.traffic, wire: await sentBytes(a), at: performance.now() };
  await wait(options.seconds);
  const after = { ...sent.traffic, wire: await sentBytes(a), at: performance.now() };
  const { parts } = await new Promise<{ parts: Float32Array[][] }>((resolve) => {
    recorder.port.onmessage = ({ data }) => resolve(data);
    recorder.port.postMessage("stop");
  });
  const [input, output] = [0, 1].map((i) => envelope(parts.map((part) => part[i])));
  const { delay, underruns, frames } = await received.getStats(), packets = after.sentPackets - before.sentPackets;
  for (const each of [a, b]) each.close();
  await context.close();
  model.close();
  const latencies = findLatencies(input, output);
  return {
    latency: median(latencies),
    windows: latencies.length,
    delay: delay * 1000,
    packets: packets / (after.at - before.at) * 1000,
    bytes: (after.sentBytes - before.sentBytes) / packets,
    wire: (after.wire - before.wire) / packets,
    underruns,
    concealed: frames.concealed,
  };
}

/** Loudness, step by step, without its mean. */
function envelope(parts: Float32Array[]): Float32Array {
  const samples = new Float32Array(parts.length * 128);
  parts.forEach((part, i) => samples.set(part, 128 * i));
  const out = new Float32Array(Math.floor(samples.length / STEP));
  for (let i = 0; i < out.length; i++) {
    let energy = 0;
    for (let k = i * STEP; k < (i + 1) * STEP; k++) energy += samples[k] ** 2;
    out[i] = Math.log10(energy / STEP + 1e-7);
  }
  return out;
}

/** Milliseconds by which windows of the output lag behind the input: where their envelopes are most alike. */
function findLatencies(input: Float32Array, output: Float32Array): number[] {
  const latencies: number[] = [];
  for (let at = WINDOW; at + WINDOW + LONGEST < output.length; at += WINDOW) {
    let best = 0, likeness = 0.6;
    for (let lag = 0; lag < LONGEST; lag++) {
      const alike = correlation(input.subarray(at, at + WINDOW), output.subarray(at + lag, at + lag + WINDOW));
      if (alike > likeness) [best, likeness] = [lag, alike];
    }
    if (best > 0) latencies.push(best * STEP / RATE * 1000);
  }
  return latencies;
}

function correlation(x: Float32Array, y: Float32Array): number {
  const mean = (v: Float32Array) => v.reduce((sum, one) => sum + one, 0) / v.length, [mx, my] = [mean(x), mean(y)];
  let xx = 0, yy = 0, xy = 0;
  for (let i = 0; i < x.length; i++) {
    xx += (x[i] - mx) ** 2;
    yy += (y[i] - my) ** 2;
    xy += (x[i] - mx) * (y[i] - my);
  }
  return xy / Math.sqrt(xx * yy + 1e-12);
}
