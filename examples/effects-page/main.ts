/** Filter -> codec -> reverb with standardized-audio-context, live and rendered to a file by the same function. */
import { MimiModel } from "mimi-audio";
import { toPCM16, wavHeader } from "mimi-audio/file";
import { defineMimiNodes, registerMimi } from "mimi-audio/nodes";
import {
  AnalyserNode,
  AudioBuffer,
  AudioBufferSourceNode,
  AudioContext,
  AudioWorkletNode,
  BiquadFilterNode,
  ConvolverNode,
  GainNode,
  type IAudioContext,
  type IAudioNode,
  type IOfflineAudioContext,
  OfflineAudioContext,
} from "standardized-audio-context";
import { refusal } from "../shared/explain.ts";
import { askedModel, complain, element, onPress, show } from "../shared/page.ts";

type Context = IAudioContext | IOfflineAudioContext;

const { MimiCodecNode } = defineMimiNodes(AudioWorkletNode!);
type Codec = InstanceType<typeof MimiCodecNode>;

/** What the page's controls say. */
const control = (id: string) => Number(element<HTMLInputElement>(id).value);
const bypassed = () => element<HTMLInputElement>("bypass").checked;

interface Chain {
  filter: BiquadFilterNode<Context>;
  codec: Codec;
  reverb: GainNode<Context>;
  source: AudioBufferSourceNode<Context>;
}

let model: MimiModel | undefined, live: { context: IAudioContext; chain: Chain } | undefined;

/** The same for a live and for an offline context. */
async function build(
  context: Context,
  buffer: AudioBuffer,
  loop: boolean,
): Promise<Chain & { end: IAudioNode<Context> }> {
  await registerMimi(context, { model: model! });
  const source = new AudioBufferSourceNode<Context>(context, { buffer, loop });
  const filter = new BiquadFilterNode<Context>(context, { type: "lowpass", frequency: control("cutoff") });
  const codec = new MimiCodecNode(context, {
    numQuantizers: control("quality"),
    loss: control("loss") / 100,
    bypass: bypassed() ? 1 : 0,
  });
  codec.addEventListener("error", (event) => complain((event as ErrorEvent).error));
  const room = new ConvolverNode<Context>(context, { buffer: impulse(context.sampleRate) });
  const reverb = new GainNode<Context>(context, { gain: control("reverb") / 100 }),
    end = new GainNode<Context>(context);
  source.connect(filter).connect(codec).connect(end);
  codec.connect(room).connect(reverb).connect(end).connect(context.destination);
  return { source, filter, codec, reverb, end };
}

/** Noise that dies away within a second: the answer of a room. */
function impulse(sampleRate: number): AudioBuffer {
  const buffer = new AudioBuffer({ numberOfChannels: 2, length: sampleRate, sampleRate });
  for (const c of [0, 1]) {
    const samples = Float32Array.from(
      { length: sampleRate },
      (_, i) => (2 * Math.random() - 1) * Math.exp(-6 * i / sampleRate),
    );
    buffer.copyToChannel(samples, c);
  }
  return buffer;
}

async function prepare(context: Context): Promise<AudioBuffer> {
  show("status", "Loading the model …");
  model ??= await MimiModel.fromPretrained(askedModel(), { worker: true });
  const response = await fetch("it-cannot-complete.wav");
  return await context.decodeAudioData(await response.arrayBuffer());
}

function showValues(): void {
  for (const id of ["cutoff", "quality", "loss", "reverb"]) show(`${id}-value`, element<HTMLInputElement>(id).value);
}

function change(): void {
  showValues();
  if (!live) return;
  const { context: { currentTime }, chain: { filter, codec, reverb } } = live;
  filter.frequency.setTargetAtTime(control("cutoff"), currentTime, 0.02);
  reverb.gain.setTargetAtTime(control("reverb") / 100, currentTime, 0.02);
  codec.numQuantizers.setValueAtTime(control("quality"), currentTime);
  codec.loss.setValueAtTime(control("loss") / 100, currentTime);
  // From where it is, so that it is a cross-fade and no click.
  codec.bypass.setTargetAtTime(bypassed() ? 1 : 0, currentTime, 0.01);
}

async function stop(): Promise<void> {
  const { context } = live ?? {};
  live = undefined;
  await context?.close();
  element("play").hidden = false;
  element("stop").hidden = true;
  show("status", "Stopped.");
}

onPress("play", async () => {
  const why = refusal();
  if (why) return complain(why);
  const context = new AudioContext();
  try {
    await context.resume();
    const chain = await build(context, await prepare(context) as AudioBuffer, true);
    const meter = new AnalyserNode<Context>(context), samples = new Float32Array(meter.fftSize);
    chain.end.connect(meter);
    chain.source.start();
    live = { context, chain };
    const draw = () => {
      if (live?.context !== context) return void (element<HTMLMeterElement>("out").value = 0);
      meter.getFloatTimeDomainData(samples);
      element<HTMLMeterElement>("out").value = samples.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
      requestAnimationFrame(draw);
    };
    draw();
    element("play").hidden = true;
    element("stop").hidden = false;
    show("status", "Playing.");
  } catch (error) {
    await context.close();
    show("status", "Not playing.");
    throw error;
  }
});
onPress("stop", stop);

onPress("render", async () => {
  const sampleRate = 48000, buffer = await prepare(new OfflineAudioContext({ length: 1, sampleRate }));
  show("status", "Rendering …");
  const length = buffer.length + sampleRate; // and what the room adds
  const context = new OfflineAudioContext({ numberOfChannels: 1, length, sampleRate });
  const { source } = await build(context, buffer as AudioBuffer, false);
  source.start();
  const samples = (await context.startRendering()).getChannelData(0);
  const link = element<HTMLAnchorElement>("file"), bytes = [wavHeader(sampleRate, length), toPCM16(samples)];
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob(bytes as BlobPart[], { type: "audio/wav" }));
  link.download = "rendered.wav";
  link.hidden = false;
  show("status", `Rendered ${(length / sampleRate).toFixed(1)} s.`);
});

for (const id of ["cutoff", "quality", "loss", "reverb", "bypass"]) element(id).addEventListener("input", change);
showValues();
complain(refusal());
