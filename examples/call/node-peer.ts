/** A peer in Node: a connection by node-datachannel, speech that is said, and what is heard as samples. */
import { createReadStream } from "node:fs";
import type { MimiModel } from "mimi-audio";
import type { IncomingVoice, OutgoingVoice, VoiceChannel } from "mimi-audio/call";
import { ROOT } from "../../scripts/bundle.ts";
import { readWav } from "../../src/file/wav.ts";

/** Both sides make the channel, so that none has to wait for the other's. */
export const CHANNEL: RTCDataChannelInit = { negotiated: true, id: 1, ordered: false, maxRetransmits: 0 };

/** A connection on its way. */
export interface Peer {
  /** The channel, once it is open. */
  opened: Promise<VoiceChannel>;
  offer(): Promise<RTCSessionDescriptionInit>;
  answer(offer: RTCSessionDescriptionInit): Promise<RTCSessionDescriptionInit>;
  /** Takes the other side's answer. */
  accept(answer: RTCSessionDescriptionInit): Promise<void>;
  /** This side's candidates, all of them. */
  candidates(): Promise<RTCIceCandidateInit[]>;
  addCandidate(candidate: RTCIceCandidateInit): Promise<void>;
  close(): void;
}

/** @param options.local only addresses of this machine, for tests. */
export async function openPeer({ local = false }: { local?: boolean } = {}): Promise<Peer> {
  const { RTCPeerConnection } = await import("node-datachannel/polyfill");
  const connection = new RTCPeerConnection({ iceServers: [], ...(local && { bindAddress: "127.0.0.1" }) });
  const channel = connection.createDataChannel("voice", CHANNEL), found: RTCIceCandidateInit[] = [];
  const allowed = ({ candidate }: RTCIceCandidateInit) => !local || candidate?.includes(" 127.0.0.1 ");
  const gathered = new Promise<void>((resolve) => {
    connection.onicecandidate = ({ candidate }) => {
      if (!candidate?.candidate) return resolve();
      const { sdpMid, sdpMLineIndex } = candidate;
      found.push({
        candidate: candidate.candidate.replace(/^a=/, ""),
        sdpMid: sdpMid ?? "0",
        sdpMLineIndex: sdpMLineIndex ?? 0,
      });
    };
    connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve();
  });
  return {
    opened: new Promise((resolve) => channel.addEventListener("open", () => resolve(channel as VoiceChannel))),
    async offer() {
      await connection.setLocalDescription(await connection.createOffer());
      return described(connection.localDescription!);
    },
    async answer(offer) {
      await connection.setRemoteDescription(offer as never);
      await connection.setLocalDescription(await connection.createAnswer());
      return described(connection.localDescription!);
    },
    accept: (answer) => connection.setRemoteDescription(answer as never),
    async candidates() {
      await gathered;
      return found.filter(allowed);
    },
    async addCandidate(candidate) {
      if (allowed(candidate)) await connection.addIceCandidate(candidate as never);
    },
    close: () => connection.close(),
  };
}

/** Candidates go on their own. */
function described({ type, sdp }: { type: string; sdp: string }): RTCSessionDescriptionInit {
  const lines = sdp.split("\r\n").filter((line) => !line.startsWith("a=candidate"));
  return { type: type as RTCSdpType, sdp: lines.join("\r\n") };
}

/** Ends the threads of node-datachannel, which keep a program from ending. */
export async function releasePeers(): Promise<void> {
  const { cleanup } = await import("node-datachannel");
  cleanup();
}

/** The embedded speech, at 24 kHz. */
export async function readSpeech(): Promise<Float32Array> {
  const { pieces } = await readWav(createReadStream(`${ROOT}models/mini/it-cannot-complete.wav`)), parts: number[] = [];
  for await (const [pcm] of pieces) parts.push(...pcm);
  return Float32Array.from(parts);
}

/** Calls something every so many seconds, with how often it is due in all. */
function pace(seconds: number, step: () => void): () => void {
  const start = performance.now();
  let done = 0;
  const timer = setInterval(() => {
    for (const due = (performance.now() - start) / 1000 / seconds; done + 1 <= due; done++) step();
  }, 10);
  return () => clearInterval(timer);
}

/** Says speech over and over, at its pace. */
export function speak(outgoing: OutgoingVoice, model: MimiModel, pcm: Float32Array): { stop(): void } {
  const { frameSize, samplingRate } = model.config, encoder = model.createEncoderSync();
  let at = 0;
  const stop = pace(frameSize / samplingRate, () => {
    const frame = Float32Array.from({ length: frameSize }, (_, i) => pcm[(at + i) % pcm.length]);
    at += frameSize;
    const power = frame.reduce((sum, v) => sum + v * v, 0) / frameSize;
    outgoing.send(encoder.encode(frame, { numQuantizers: outgoing.numQuantizers }), 10 * Math.log10(power));
  });
  return {
    stop() {
      stop();
      encoder.close();
    },
  };
}

/** Listens, at the pace of listening; gives what was heard. */
export function record(incoming: IncomingVoice, model: MimiModel): { stop(): Float32Array } {
  const { samplingRate } = model.config, parts: Float32Array[] = [], start = performance.now() / 1000;
  const size = Math.round(0.02 * samplingRate), piece = size / samplingRate;
  const stop = pace(piece, () => parts.push(incoming.pull(size, start + parts.length * piece)));
  return {
    stop() {
      stop();
      const all = new Float32Array(parts.length * size);
      parts.forEach((part, i) => all.set(part, i * size));
      return all;
    },
  };
}
