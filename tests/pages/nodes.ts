/** What tests ask of the nodes in a page. */
import { MimiModel } from "../../mod.ts";
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
