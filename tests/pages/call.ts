/** What tests ask of calls in a page. */
import {
  type ReceivedVoice,
  receiveVoice,
  sendVoice,
  transformChannel,
  type VoiceChannel,
} from "../../src/call/mod.ts";
import type { VoiceReport } from "../../src/rtc/mod.ts";
import { dropper } from "../support/drops.ts";
import { seconds, until } from "../support/wait.ts";
import { failure, liveContext, load, model, pack, Recording } from "./audio.ts";

export { load };

/** What came of one direction of a call. Audio and packets are packed. */
export interface Heard {
  track: string;
  packets: string[];
  stats: Awaited<ReturnType<ReceivedVoice["getStats"]>>;
}

const CHANNEL = { negotiated: true, id: 1, ordered: false, maxRetransmits: 0 };

function generator(seed: number): () => number {
  return () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}

/** Two connections of this page, with a channel that is open on both sides. */
async function connect(): Promise<{ a: RTCPeerConnection; b: RTCPeerConnection; channels: RTCDataChannel[] }> {
  const a = new RTCPeerConnection(), b = new RTCPeerConnection();
  const channels = [a, b].map((each) => each.createDataChannel("voice", CHANNEL));
  const opened = channels.map((channel) => new Promise((resolve) => channel.addEventListener("open", resolve)));
  a.onicecandidate = ({ candidate }) => candidate && void b.addIceCandidate(candidate);
  const late: RTCIceCandidate[] = [];
  b.onicecandidate = ({ candidate }) =>
    candidate && (a.remoteDescription ? void a.addIceCandidate(candidate) : late.push(candidate));
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription!);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription!);
  for (const candidate of late) await a.addIceCandidate(candidate);
  await Promise.all(opened);
  return { a, b, channels };
}

/** The embedded speech, over and over, as a track. */
async function speech(context: AudioContext): Promise<MediaStreamTrack> {
  const buffer = await context.decodeAudioData(await (await fetch("/mini/it-cannot-complete.wav")).arrayBuffer());
  const source = new AudioBufferSourceNode(context, { buffer, loop: true });
  const destination = context.createMediaStreamDestination();
  source.connect(destination);
  source.start();
  return destination.stream.getAudioTracks()[0];
}

function log(channel: VoiceChannel): string[] {
  const packets: string[] = [];
  channel.addEventListener("message", ({ data }) => packets.push(pack(new Uint8Array(data) as never)));
  return packets;
}

function statesOf(link: EventTarget & { state: string }): string[] {
  const states: string[] = [];
  link.addEventListener("statechange", () => states.push(link.state));
  return states;
}

/** A call between two connections of this page. */
export async function callHere(
  options: { sampleRate: number; seconds: number; loss?: number; redundancy?: number },
): Promise<Heard & { dropped: boolean[]; states: string[][]; reports: VoiceReport[]; kind: string }> {
  const context = await liveContext(options.sampleRate), { a, b, channels: [here, there] } = await connect();
  const { loss = 0, redundancy = 0 } = options, drops = dropper(loss, generator(7));
  const packets = log(there);
  const received = await receiveVoice(there, { model: model!, context });
  const recording = new Recording(context, [received.node]);
  const sent = await sendVoice(
    await speech(context),
    transformChannel(here, { send: (message) => drops.send(message) }),
    { model: model!, context, redundancy, dtx: false },
  );
  const states = [statesOf(sent), statesOf(received)], reports: VoiceReport[] = [];
  sent.addEventListener("report", ({ detail }) => reports.push(detail));
  await seconds(options.seconds);
  await until(async () => {
    if (loss === 0) return reports.length >= 2;
    const { frames } = await received.getStats();
    return reports.length >= 2 && reports.some((report) => report.loss > 0.15) && frames.recovered > 5;
  });
  const stats = await received.getStats(), { tracks: [track] } = await recording.stop(); // whatever is counted is recorded
  const { kind } = received.track, said = states.map((each) => [...each]);
  sent.close();
  received.close();
  for (const each of [a, b]) each.close();
  await context.close();
  return { track: pack(track), packets: [...packets], stats, dropped: drops.dropped, states: said, reports, kind };
}

let peer: RTCPeerConnection | undefined, opened: Promise<RTCDataChannel> | undefined;

/** Answers somebody elsewhere; candidates go by the function `candidate` of the page. */
export async function answer(offer: RTCSessionDescriptionInit): Promise<RTCSessionDescriptionInit> {
  peer = new RTCPeerConnection();
  const channel = peer.createDataChannel("voice", CHANNEL);
  opened = new Promise((resolve) => channel.addEventListener("open", () => resolve(channel)));
  peer.onicecandidate = ({ candidate }) =>
    candidate && (globalThis as never as { candidate(c: unknown): void }).candidate(candidate.toJSON());
  await peer.setRemoteDescription(offer);
  await peer.setLocalDescription();
  return peer.localDescription!.toJSON();
}

export async function addCandidate(candidate: RTCIceCandidateInit): Promise<void> {
  await peer!.addIceCandidate(candidate);
}

/** Talks with whoever was answered. */
export async function talk(n: number): Promise<Heard & { states: string[][]; report: VoiceReport | undefined }> {
  const context = await liveContext(24000), channel = await opened!, packets = log(channel);
  const received = await receiveVoice(channel, { model: model!, context });
  const heard = statesOf(received), recording = new Recording(context, [received.node]);
  const sent = await sendVoice(await speech(context), channel, { model: model!, context, dtx: false });
  const states = [statesOf(sent), heard];
  await seconds(n);
  const stats = await received.getStats(), { tracks: [track] } = await recording.stop(), { report } = sent;
  const said = states.map((each) => [...each]);
  sent.close();
  received.close();
  peer!.close();
  await context.close();
  return { track: pack(track), packets, stats, states: said, report };
}

/** Mute, another device, a context that sleeps, a track that ends, another connection, the other side gone. */
export async function life(): Promise<Record<string, unknown>> {
  const context = await liveContext(48000), ear = await liveContext(48000), first = await connect();
  const [here, there] = first.channels, track = await speech(context);
  const sent = await sendVoice(track, here, { model: model!, context, timeout: 2 });
  const received = await receiveVoice(there, { model: model!, context: ear, timeout: 2 });
  const events: string[] = [], states = [statesOf(sent), statesOf(received)];
  for (const type of ["mute", "unmute", "trackended"] as const) sent.addEventListener(type, () => events.push(type));
  const muter = new AnalyserNode(ear, { fftSize: 4096 });
  received.node.connect(muter);
  const loudness = () => {
    const samples = new Float32Array(4096);
    muter.getFloatTimeDomainData(samples);
    return Math.max(...samples.map(Math.abs));
  };
  let loud = 0;
  await until(() => (loud = Math.max(loud, loudness())) > 0.02 && sent.state === "connected");
  track.enabled = false;
  await until(() => sent.muted);
  await seconds(0.6);
  let hushed = 1;
  await until(() => (hushed = loudness()) < 0.005); // what was said before is heard
  const bytes = sent.traffic.sentBytes;
  for (let i = 0; i < 10; i++) {
    await seconds(0.1);
    hushed = Math.max(hushed, loudness());
  }
  const mutedBytes = sent.traffic.sentBytes - bytes, mutedState = sent.state;
  track.enabled = true;
  await until(() => !sent.muted);
  // Another device.
  const other = await speech(context);
  sent.replaceTrack(other);
  await seconds(0.3);
  const before = sent.traffic.sentPackets;
  // The listener's context sleeps: the call goes on.
  await ear.suspend();
  let slept = 0;
  await until(async () => (slept = (await received.getStats()).unheardSamples) > 24000);
  await ear.resume();
  await seconds(0.4);
  const afterSleep = await received.getStats(),
    asleepState = received.state,
    sentMeanwhile = sent.traffic.sentPackets - before;
  other.dispatchEvent(new Event("ended")); // as when its device is unplugged
  // Another connection takes over.
  const second = await connect();
  for (const each of [first.a, first.b]) each.close();
  await until(() => sent.state === "disconnected");
  sent.replaceChannel(second.channels[0]);
  received.replaceChannel(second.channels[1]);
  await until(() => sent.state === "connected" && received.state === "connected");
  // The other side is gone without a word.
  received.close();
  await until(() => sent.state === "disconnected");
  const closed = await failure(() => received.getStats());
  sent.close();
  for (const each of [second.a, second.b]) each.close();
  await context.close();
  await ear.close();
  return {
    events,
    states,
    loud,
    hushed,
    mutedBytes,
    mutedState,
    slept,
    delayAfterSleep: afterSleep.delay,
    asleepState,
    sentMeanwhile,
    closed,
  };
}

/** A call whose page stands still for a while. */
export async function stall(): Promise<Record<string, unknown>> {
  const context = await liveContext(24000), { a, b, channels: [here, there] } = await connect();
  const sent = await sendVoice(await speech(context), here, { model: model!, context, dtx: false, timeout: 2 });
  const received = await receiveVoice(there, { model: model!, context, timeout: 2 });
  await until(() => sent.state === "connected" && received.state === "connected");
  for (const start = performance.now(); performance.now() - start < 1500;);
  const { frames: before } = await received.getStats();
  let stats = await received.getStats();
  await until(async () => {
    stats = await received.getStats();
    return stats.frames.received >= before.received + 12 && stats.delay <= 0.7;
  });
  const states = [sent.state, received.state], heard = stats.frames.received - before.received;
  sent.close();
  received.close();
  for (const each of [a, b]) each.close();
  await context.close();
  return { states, heard, delay: stats.delay };
}

/** The worker dies in the middle of a call and is started again; then the context is closed. */
export async function death(): Promise<Record<string, unknown>> {
  const context = await liveContext(24000), { a, b, channels: [here, there] } = await connect();
  const sent = await sendVoice(await speech(context), here, { model: model!, context });
  const received = await receiveVoice(there, { model: model!, context });
  await until(() => sent.state === "connected" && received.state === "connected");
  await (globalThis as never as { kill(): Promise<void> }).kill();
  await until(() => sent.state === "failed" && received.state === "failed");
  const errors = [sent, received].map(({ state, error }) => [state, (error as { code?: string })?.code]);
  await Promise.all([sent.restart(), received.restart()]);
  await until(() => sent.state === "connected" && received.state === "connected");
  const again = [sent.state, received.state];
  let frames = 0;
  await until(async () => (frames = (await received.getStats()).frames.received) > 5);
  await context.close();
  await until(() => sent.state === "closed" && received.state === "closed");
  const closed = [sent.state, received.state];
  for (const each of [a, b]) each.close();
  return { errors, again, frames, closed };
}

/** Another model at the other side; things that must be refused. */
export async function refusals(otherSource: string): Promise<Record<string, unknown>> {
  const { MimiModel } = await import("../../mod.ts"),
    other = await MimiModel.fromPretrained(otherSource, { worker: true });
  const context = await liveContext(24000),
    elsewhere = new AudioContext(),
    { a, b, channels: [here, there] } = await connect();
  const track = await speech(context), sent = await sendVoice(track, here, { model: model!, context });
  const received = await receiveVoice(there, { model: other, context: elsewhere });
  await until(() => sent.state === "failed" && received.state === "failed");
  const codes = [sent, received].map(({ state, error }) => [state, error?.name, (error as { code?: string })?.code]);
  // A node that its owner has disconnected, or that is given again, is no error; a voice is closed all the same.
  const source = new GainNode(context), third = await sendVoice(source, here, { model: model!, context });
  source.disconnect();
  third.replaceTrack(source);
  source.disconnect();
  const disconnected = await failure(() => third.close());
  const results = {
    codes,
    disconnected: `${disconnected} ${third.state}`,
    channel: await failure(() => sendVoice(track, {} as VoiceChannel, { model: model!, context })),
    source: await failure(() => sendVoice({} as MediaStreamTrack, here, { model: model!, context })),
    silent: await failure(() => sendVoice(context.destination, here, { model: model!, context })),
    foreign: await failure(() => sendVoice(new GainNode(elsewhere), here, { model: model!, context })),
    option: await failure(() => sendVoice(track, here, { model: model!, context, loss: 1 } as never)),
    quantizers: await failure(() => sendVoice(track, here, { model: model!, context, numQuantizers: 99 })),
    buffer: await failure(() => receiveVoice(there, { model: model!, context, buffer: 5 })),
    late: await failure(() => receiveVoice(there, { model: model!, context, late: 2 })),
    timeout: await failure(() => receiveVoice(there, { model: model!, context, timeout: -1 })),
    replaced: await failure(() => sent.replaceTrack(undefined as never)),
  };
  sent.close();
  received.close();
  for (const each of [a, b]) each.close();
  other.close();
  await context.close();
  await elsewhere.close();
  return results;
}

const kept: WeakRef<object>[] = [];

/** Calls that come and go, over channels that stay; in each of them a frame is heard. */
export async function manyCalls(n: number): Promise<void> {
  const context = await liveContext(48000),
    { channels: [here, there] } = await connect(),
    track = await speech(context);
  for (let i = 0; i < n; i++) {
    const sent = await sendVoice(track, here, { model: model!, context });
    const received = await receiveVoice(there, { model: model!, context });
    await new Promise<void>((resolve) => received.addEventListener("frame", () => resolve()));
    for (const end of [sent, received]) {
      end.close();
      kept.push(new WeakRef(end), new WeakRef(end.node));
    }
  }
}

/** How many of the objects of {@link manyCalls} are still there. */
export function survivors(): number {
  return kept.filter((object) => object.deref()).length;
}
