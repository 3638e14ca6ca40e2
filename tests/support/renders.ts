/** Offline renders as data: one description is rendered by any implementation of Web Audio, and computed without any. */
import { type MimiModel, resample } from "../../mod.ts";
import { defineMimiNodes, type MimiNodes, registerMimi, type RegisterOptions } from "../../src/nodes/mod.ts";
import { timingOf } from "../../src/nodes/timing.ts";

/** What a render uses of an implementation, the browser's own or another. */
export interface WebAudio {
  // deno-lint-ignore no-explicit-any -- classes of three libraries, whose types do not meet
  OfflineAudioContext: new (options: any) => any;
  // deno-lint-ignore no-explicit-any
  AudioWorkletNode: new (...args: any[]) => any;
  // deno-lint-ignore no-explicit-any
  AudioBuffer: new (options: any) => any;
  // deno-lint-ignore no-explicit-any
  AudioBufferSourceNode: new (context: any, options: any) => any;
  // deno-lint-ignore no-explicit-any
  ChannelMergerNode: new (context: any, options: any) => any;
}

export interface Stage {
  kind: "pair" | "codec";
  /** Of the codec node, or of the pair's encoder. */
  options?: object;
  /** Values of its parameters from some second on, or ramps that end there. */
  events?: { parameter: "numQuantizers" | "bypass" | "loss"; at: number; value: number; ramp?: boolean }[];
}

export interface Render {
  /** Hz. */
  rate: number;
  /** What the source plays, by channel; then it is silent. */
  source: Float32Array[];
  /** Stages in series that the source goes through, each branch into a channel of the output. */
  branches: Stage[][];
  /** Codes and original of the first branch, whatever channels they have, in place of one channel a branch. */
  wide?: boolean;
  /** Makes and connects the last nodes first. */
  reversed?: boolean;
  /** Samples of a quantum, where that can be chosen. */
  quantum?: number;
}

export interface Rendered {
  channels: Float32Array[];
  /** Samples that each branch is late, as its nodes say. */
  late: number[];
  errors: string[];
  quantum: number;
}

export const lateness = (model: MimiModel, rate: number): number => {
  const { encoder, decoder } = timingOf(model.config, rate);
  return encoder + decoder;
};

/** Samples that a render takes until everything is heard. */
export function lengthOf(model: MimiModel, { rate, source, branches }: Render): number {
  return source[0].length + lateness(model, rate) * Math.max(...branches.map((stages) => stages.length));
}

/** Renders it. */
export async function render(
  audio: WebAudio,
  model: MimiModel,
  spec: Render,
  register?: Partial<RegisterOptions>,
): Promise<Rendered> {
  const { rate, source, branches, wide, reversed, quantum } = spec;
  const context = new audio.OfflineAudioContext({
    numberOfChannels: wide ? source.length : branches.length,
    length: lengthOf(model, spec),
    sampleRate: rate,
    ...(quantum && { renderSizeHint: quantum }),
  });
  const errors: string[] = [], late: number[] = [];
  // deno-lint-ignore no-explicit-any
  let rendered: any;
  try {
    await registerMimi(context, { model, ...register });
    const nodes = defineMimiNodes(audio.AudioWorkletNode);
    const { length } = source[0],
      buffer = new audio.AudioBuffer({ numberOfChannels: source.length, length, sampleRate: rate });
    source.forEach((samples, c) => buffer.copyToChannel(samples, c));
    const player = new audio.AudioBufferSourceNode(context, { buffer });
    const order = <T>(items: readonly T[]): T[] => reversed ? [...items].reverse() : [...items];
    const end = wide ? undefined : new audio.ChannelMergerNode(context, { numberOfInputs: branches.length });
    for (const [b, stages] of order([...branches.entries()])) {
      const made = order(stages).map((stage) => make(nodes, context, stage, errors, reversed));
      const chain = order(made), links: (() => void)[] = [() => player.connect(chain[0].input)];
      chain.forEach(({ inner, output }, s) => {
        links.push(...inner);
        const next = chain[s + 1];
        links.push(() => {
          if (next) output.connect(next.input);
          else if (end) output.connect(end, 0, b);
          else output.connect(context.destination);
        });
      });
      for (const link of order(links)) link();
      late[b] = Math.round(made.reduce((sum, { latency }) => sum + latency, 0) * rate);
    }
    end?.connect(context.destination);
    player.start(0);
  } finally {
    // Where that failed too: a program waits for the thread that a context of node-web-audio-api has until then.
    rendered = await context.startRendering();
  }
  const channels = Array.from({ length: rendered.numberOfChannels }, (_, c) => {
    const samples = new Float32Array(rendered.length);
    rendered.copyFromChannel(samples, c);
    return samples;
  });
  return { channels, late, errors, quantum: context.renderQuantumSize ?? 128 };
}

/** Nodes of a stage, and what joins them. */
function make(
  nodes: MimiNodes<WebAudio["AudioWorkletNode"]>,
  context: unknown,
  { kind, options = {}, events = [] }: Stage,
  errors: string[],
  reversed = false,
  // deno-lint-ignore no-explicit-any
): { input: any; output: any; inner: (() => void)[]; latency: number } {
  // deno-lint-ignore no-explicit-any
  const watched = (node: any) => {
    node.addEventListener("error", (event: ErrorEvent) => errors.push(event.error.message));
    return node;
  };
  // deno-lint-ignore no-explicit-any
  const automated = (node: any) => {
    for (const { parameter, at, value, ramp } of events) {
      if (ramp) node[parameter].linearRampToValueAtTime(value, at);
      else node[parameter].setValueAtTime(value, at);
    }
    return watched(node);
  };
  if (kind === "codec") {
    const codec = automated(new nodes.MimiCodecNode(context, options));
    return { input: codec, output: codec, inner: [], latency: codec.latency };
  }
  const decoderFirst = reversed ? watched(new nodes.MimiDecoderNode(context)) : undefined;
  const encoder = automated(new nodes.MimiEncoderNode(context, options));
  const decoder = decoderFirst ?? watched(new nodes.MimiDecoderNode(context));
  const inner = [() => encoder.connect(decoder)];
  return { input: encoder, output: decoder, inner, latency: encoder.latency + decoder.latency };
}

/** What {@link render} must give for stages without events: `model.encode` and `model.decode`, and `resample` before and after. */
export async function computed(model: MimiModel, spec: Render): Promise<Float32Array[]> {
  const { rate, source, branches } = spec, length = lengthOf(model, spec);
  return await Promise.all(branches.map(async (stages) => {
    let audio = new Float32Array(length);
    audio.set(source[0]);
    for (const _ of stages) audio = delayed(await coded(model, audio, rate), lateness(model, rate), length);
    return audio;
  }));
}

/** Audio at some rate through the codec; 8 codebooks, or what the model has if that is less. */
async function coded(model: MimiModel, audio: Float32Array, rate: number): Promise<Float32Array> {
  const { samplingRate } = model.config, silence = new Float32Array(audio.length + rate);
  silence.set(audio);
  const { audioCodes } = await model.encode(resample(silence, rate, samplingRate), {
    tail: "zeros",
    numQuantizers: Math.min(8, model.numQuantizers),
  });
  const { audioValues } = await model.decode(audioCodes);
  return resample(audioValues.data, samplingRate, rate);
}

/** Later by some samples, `length` in all. */
export function delayed(audio: Float32Array, samples: number, length: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(length);
  out.set(audio.subarray(0, length - samples), samples);
  return out;
}
