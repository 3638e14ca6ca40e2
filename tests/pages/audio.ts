/** What pages that test the nodes have in common. */
import { MimiModel, type WorkerOptions } from "../../mod.ts";
import { registerMimi, type RegisterOptions } from "../../src/nodes/mod.ts";

/** Float32Array or Uint16Array as text, for the way to the test. */
export function pack(values: Float32Array | Uint16Array): string {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength), parts: string[] = [];
  for (let i = 0; i < bytes.length; i += 32768) parts.push(String.fromCharCode(...bytes.subarray(i, i + 32768)));
  return btoa(parts.join(""));
}

/** Samples of a frame. */
export const FRAME = 1920;

export interface NodeEvent {
  type: string;
  timestamp: number;
  duration?: number;
}

/** Records several nodes side by side. */
export class Recording {
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

/** The channels of a node's output, each of them as a node. */
export function sidesOf(context: BaseAudioContext, node: AudioNode, n: number): AudioNode[] {
  const splitter = new ChannelSplitterNode(context, { numberOfOutputs: n });
  node.connect(splitter);
  return Array.from({ length: n }, (_, c) => {
    const side = new GainNode(context);
    splitter.connect(side, c);
    return side;
  });
}

/** Of all nodes of a test. */
export let model: MimiModel | undefined;
export async function load(source: string, worker: boolean | WorkerOptions = true): Promise<string> {
  model = await MimiModel.fromPretrained(source, { worker });
  return model.fingerprint;
}

export async function liveContext(sampleRate: number, options?: Partial<RegisterOptions>): Promise<AudioContext> {
  const context = new AudioContext({ sampleRate, sinkId: { type: "none" } } as AudioContextOptions);
  await context.resume();
  await context.audioWorklet.addModule("/recorder.js");
  await registerMimi(context, { model: model!, ...options });
  return context;
}

export function logEvents(node: EventTarget): NodeEvent[] {
  const events: NodeEvent[] = [];
  for (const type of ["playing", "underrun", "overflow", "ended"]) {
    node.addEventListener(type, (event) => events.push({ type, ...(event as CustomEvent).detail }));
  }
  node.addEventListener("error", (event) => console.error(String((event as ErrorEvent).error)));
  return events;
}

/** Collects everything a node says of errors. */
export function errorsOf(node: EventTarget): string[] {
  const errors: string[] = [];
  node.addEventListener("error", (event) => {
    const { name, code, message } = (event as ErrorEvent).error;
    errors.push(`${name} ${code}: ${message}`);
  });
  return errors;
}

/** What a call throws or rejects with. */
export async function failure(call: () => unknown): Promise<string> {
  try {
    await call();
    return "nothing";
  } catch (error) {
    const { name, code } = error as Error & { code?: string };
    return `${name} ${code}`;
  }
}

/** A tone through a context, with its recording. */
export function tone(context: AudioContext): OscillatorNode {
  const oscillator = new OscillatorNode(context, { frequency: 300 });
  oscillator.start();
  return oscillator;
}

export const peak = (samples: Float32Array): number => samples.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
