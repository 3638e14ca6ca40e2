/** Both ends of a call without a browser, over channels in memory and by a clock of their own. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { MimiModel } from "../mod.ts";
import {
  IncomingVoice,
  type MessageTransform,
  OutgoingVoice,
  transformChannel,
  type VoiceChannel,
  type VoiceLink,
} from "../src/call/mod.ts";
import { PlayClock } from "../src/call/clock.ts";
import { readWav } from "../src/file/wav.ts";
import { formatRefuse } from "../src/rtc/packets.ts";
import { assertHeard, assertLossTold, channelPair, levelOfFrame } from "./support/call.ts";
import { seconds } from "./support/wait.ts";
import { dropper } from "./support/drops.ts";
import { TESTS } from "./support/files.ts";
import { random } from "./support/random.ts";

/** Time passes when a test says so. */
let time = 0;
performance.now = () => 1000 * time;

const mini = await MimiModel.fromPretrained("mini"), { frameSize, samplingRate } = mini.config;

/** Frames of speech. */
async function speech(): Promise<Float32Array[]> {
  const bytes = new Uint8Array(await readFile(new URL("../models/mini/it-cannot-complete.wav", TESTS)));
  const { pieces } = await readWav([bytes]), all: number[] = [];
  for await (const [pcm] of pieces) all.push(...pcm);
  return Array.from(
    { length: Math.floor(all.length / frameSize) },
    (_, i) => Float32Array.from(all.slice(i * frameSize, (i + 1) * frameSize)),
  );
}

/** Speaks and listens for `n` frames. */
async function talk(
  outgoing: OutgoingVoice,
  incoming: IncomingVoice,
  n: number,
  heard: Float32Array[] = [],
): Promise<Float32Array[]> {
  const frames = await speech(), encoder = mini.createEncoderSync(), piece = frameSize / 4;
  for (let i = 0; i < n; i++) {
    const frame = frames[i % frames.length];
    if (outgoing.state !== "closed") {
      outgoing.send(encoder.encode(frame, { numQuantizers: outgoing.numQuantizers }), levelOfFrame(frame));
    }
    await seconds(0); // for the channel
    for (let k = 0; k < 4; k++, time += piece / samplingRate) {
      if (incoming.state !== "closed") heard.push(incoming.pull(piece));
    }
    await seconds(0);
  }
  encoder.close();
  return heard;
}

const statesOf = (link: VoiceLink<{ statechange: Event }>) => {
  const states: string[] = [];
  link.addEventListener("statechange", () => states.push(link.state));
  return states;
};

function join(parts: Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((n, { length }) => n + length, 0));
  for (let i = 0, at = 0; i < parts.length; at += parts[i++].length) out.set(parts[i], at);
  return out;
}

test("a voice goes over a channel that loses 30 %: what is heard is what came, and both ends tell", async () => {
  const [a, b] = channelPair(), rng = random("lossy call"), drops = dropper(0.3, () => rng.next());
  const outgoing = new OutgoingVoice(mini, transformChannel(a, { send: (m) => drops.send(m) }), {
    redundancy: 2,
    dtx: false,
  });
  const incoming = new IncomingVoice(mini, b), states = [statesOf(outgoing), statesOf(incoming)];
  const reports: number[] = [];
  outgoing.addEventListener("report", ({ detail }) => reports.push(detail.loss));
  const heard = await talk(outgoing, incoming, 80), { stats } = incoming;
  const result = await assertHeard(mini, join(heard), b.log, stats);
  assert.ok(result, JSON.stringify(stats)); // nothing was too slow: time stood still meanwhile
  console.log(`${result.found} of ${result.all} pieces bit for bit`);
  assertLossTold(stats, drops.dropped);
  assert.ok(stats.frames.recovered > 3, "redundancy is made use of");
  assert.ok(reports.length >= 2 && Math.max(...reports) > 0.15, `reports ${reports}`);
  assert.deepEqual(states, [["connected"], ["connected"]]);
  const { sentPackets, droppedPackets } = outgoing.traffic, { receivedPackets } = incoming.traffic;
  assert.deepEqual([sentPackets - drops.dropped.filter(Boolean).length, droppedPackets], [receivedPackets, 0]);
  outgoing.close();
  incoming.close();
  assert.equal(a.listeners + b.listeners, 0);
});

test("another model: both ends fail with a reason, and go on over a channel to somebody who has it", async () => {
  const [a, b] = channelPair(), other = await MimiModel.fromPretrained(new URL("models/tiny-hf/", TESTS).href);
  const outgoing = new OutgoingVoice(mini, a), incoming = new IncomingVoice(other, b);
  const outgoingStates = statesOf(outgoing), incomingStates = statesOf(incoming);
  await talk(outgoing, incoming, 3);
  for (const end of [outgoing, incoming]) {
    assert.equal(end.state, "failed");
    assert.equal((end.error as Error & { code: string }).code, "ERR_WRONG_MODEL");
  }
  const [c, d] = channelPair(), friend = new IncomingVoice(mini, d);
  outgoing.replaceChannel(c);
  assert.equal(outgoing.error, undefined);
  await talk(outgoing, friend, 3);
  assert.deepEqual(outgoingStates, ["failed", "connecting", "connected"]);
  assert.deepEqual([incomingStates, friend.state], [["failed"], "connected"]);
  for (const end of [outgoing, incoming, friend]) end.close();
  other.close();
});

test("more codebooks than are loaded, a newer version: both ends say that it is not supported", async () => {
  const few = await MimiModel.fromPretrained("mini", { numQuantizers: 4 });
  const newer: MessageTransform = (packet) => Uint8Array.of(packet[0] & 15 | 2 << 4, ...packet.subarray(1));
  for (const [model, send, why] of [[few, undefined, /4 are loaded/], [mini, newer, /version 2/]] as const) {
    const [a, b] = channelPair();
    const outgoing = new OutgoingVoice(mini, transformChannel(a, { send })), incoming = new IncomingVoice(model, b);
    await talk(outgoing, incoming, 2);
    for (const { state, error } of [outgoing, incoming]) {
      assert.deepEqual([state, (error as { code?: string })?.code], ["failed", "ERR_NOT_SUPPORTED"]);
    }
    assert.match(incoming.error!.message, why);
    outgoing.close();
    incoming.close();
  }
  few.close();
});

test("an end that failed is not brought back by what was said before", async () => {
  const [a, b] = channelPair(), outgoing = new OutgoingVoice(mini, a), incoming = new IncomingVoice(mini, b);
  await talk(outgoing, incoming, 14);
  const reports = a.log.filter(([type]) => (type & 7) === 5);
  assert.ok(reports.length > 0, "the other side has reported");
  const refusal = formatRefuse({ stream: reports[0][1], reason: "model", fingerprint: "0123456789abcdef" });
  for (const bytes of [refusal, ...reports]) {
    a.dispatchEvent(new MessageEvent("message", { data: bytes }));
    assert.deepEqual([outgoing.state, (outgoing.error as { code?: string })?.code], ["failed", "ERR_WRONG_MODEL"]);
  }
  await talk(outgoing, incoming, 1); // sending is no error
  outgoing.close();
  incoming.close();
});

test("a peer that vanishes, comes back, and another that takes its place", async () => {
  const [a, b] = channelPair(), outgoing = new OutgoingVoice(mini, a, { timeout: 1.5 });
  let incoming = new IncomingVoice(mini, b, { timeout: 1.5 });
  const states = statesOf(outgoing), incomingStates = statesOf(incoming);
  await talk(outgoing, incoming, 4);
  b.other = a.other = undefined;
  await talk(outgoing, incoming, 26);
  assert.deepEqual([states, incomingStates], [["connected", "disconnected"], ["connected", "disconnected"]]);
  [a.other, b.other] = [b, a];
  await talk(outgoing, incoming, 15);
  assert.deepEqual([outgoing.state, incoming.state], ["connected", "connected"]);
  // Another end listens at the same channel, which never heard a hello.
  incoming.close();
  incoming = new IncomingVoice(mini, b);
  await talk(outgoing, incoming, 38);
  assert.equal(incoming.state, "connected");
  b.close();
  a.close();
  assert.deepEqual([outgoing.state, incoming.state], ["disconnected", "disconnected"]);
  outgoing.send({ data: new Uint16Array(8), shape: [1, 8, 1] }, -20);
  assert.ok(outgoing.traffic.droppedPackets > 0, "nothing is sent over a closed channel");
  outgoing.close();
  incoming.close();
  assert.throws(() => incoming.pull(1), { code: "ERR_INVALID_STATE" });
  assert.throws(() => outgoing.replaceChannel(a), { code: "ERR_INVALID_STATE" });
});

test("answers that are lost: the other side counts as gone, and the voice goes on as it was", async () => {
  const [a, b] = channelPair(),
    outgoing = new OutgoingVoice(mini, a, { dtx: false }),
    incoming = new IncomingVoice(mini, b);
  const states = statesOf(outgoing);
  await talk(outgoing, incoming, 4);
  b.other = undefined;
  await talk(outgoing, incoming, 70);
  assert.deepEqual(states, ["connected", "disconnected"]);
  b.other = a;
  await talk(outgoing, incoming, 26);
  assert.deepEqual([states.at(-1), incoming.state], ["connected", "connected"]);
  assert.deepEqual([incoming.stats.packets.foreign, incoming.stats.frames.concealed], [0, 0]);
  outgoing.close();
  incoming.close();
});

test("a channel that opens late: the first frame over it is understood", async () => {
  for (const wait of [6, 14, 25]) {
    const [a, b] = channelPair();
    a.readyState = b.readyState = "connecting";
    const outgoing = new OutgoingVoice(mini, a, { dtx: false }), incoming = new IncomingVoice(mini, b);
    await talk(outgoing, incoming, wait);
    for (const channel of [a, b]) {
      channel.readyState = "open";
      channel.dispatchEvent(new Event("open"));
    }
    await talk(outgoing, incoming, 4);
    assert.deepEqual([incoming.stats.packets.unannounced, incoming.stats.packets.taken], [0, 4]);
    outgoing.close();
    incoming.close();
  }
});

test("a channel that is closed already is told as one", () => {
  const [a, b] = channelPair(), [open] = channelPair();
  a.readyState = b.readyState = "closed";
  const outgoing = new OutgoingVoice(mini, a), incoming = new IncomingVoice(mini, open), states = statesOf(incoming);
  incoming.replaceChannel(b);
  incoming.replaceChannel(open);
  assert.equal(outgoing.state, "disconnected");
  assert.deepEqual(states, ["disconnected", "connecting"]);
  outgoing.close();
  incoming.close();
});

test("a channel that is full, settings while it runs, and the bitrate that is kept", async () => {
  const [a, b] = channelPair(),
    outgoing = new OutgoingVoice(mini, a, { bitrate: 2000 }),
    incoming = new IncomingVoice(mini, b);
  assert.deepEqual([outgoing.numQuantizers, outgoing.redundancy], [8, 0]);
  a.bufferedAmount = 1e6;
  await talk(outgoing, incoming, 3);
  assert.ok(outgoing.traffic.droppedPackets >= 3, "nothing is sent over a full channel");
  assert.equal(outgoing.traffic.sentPackets, 0);
  a.bufferedAmount = 0;
  outgoing.numQuantizers = 3;
  await talk(outgoing, incoming, 3);
  const [voice] = b.log.filter(([type]) => (type & 7) === 3);
  assert.equal((voice[5] & 31) + 1, 3);
  for (const wrong of [0, 9, 1.5, "8"]) {
    assert.throws(() => outgoing.numQuantizers = wrong as number, { code: "ERR_NUM_QUANTIZERS" });
  }
  assert.throws(() => outgoing.redundancy = 8, { code: "ERR_OUT_OF_RANGE" });
  outgoing.close();
  incoming.close();
});

test("hostile bytes are nothing to either end", async () => {
  const [a, b] = channelPair(), rng = random("hostile call");
  const outgoing = new OutgoingVoice(mini, a), incoming = new IncomingVoice(mini, b);
  await talk(outgoing, incoming, 4);
  for (let i = 0; i < 2000; i++) {
    const bytes = Uint8Array.from({ length: rng.integer(0, 60) }, () => rng.integer(0, 255));
    if ((bytes[0] & 7) === 2) continue; // a refusal is believed
    for (const channel of [a, b]) channel.dispatchEvent(new MessageEvent("message", { data: bytes.buffer }));
  }
  for (const data of ["text", null, { codes: [1] }]) a.dispatchEvent(new MessageEvent("message", { data }));
  await talk(outgoing, incoming, 4);
  assert.deepEqual([outgoing.state, incoming.state], ["connected", "connected"]);
  outgoing.close();
  incoming.close();
});

test("options of the receiver, and a channel that closes under a transform", async () => {
  const [a, b] = channelPair();
  const incoming = new IncomingVoice(mini, b, { minDelay: 0.1, maxDelay: 0.5, startDelay: 0.1, late: 0.01, repair: 2 });
  a.send = () => {
    throw new Error("closed");
  };
  const same: MessageTransform[] = [(bytes) => bytes, (bytes) => Promise.resolve(bytes)];
  for (const send of same) {
    const channel = transformChannel(a, { send }), outgoing = new OutgoingVoice(mini, channel);
    outgoing.send({ data: new Uint16Array(8), shape: [1, 8, 1] }, -20);
    await seconds(0);
    assert.equal(channel.rejected, 0, "no transform has failed");
    outgoing.close();
  }
  incoming.close();
});

test("a transformed channel listens as long as somebody listens to it", () => {
  const [a] = channelPair(), channel = transformChannel(a, {}), heard: string[] = [];
  const listener = ({ type }: Event) => heard.push(type);
  for (const type of ["message", "close"] as const) channel.addEventListener(type, listener);
  channel.removeEventListener("message", listener);
  for (const type of ["message", "close"]) a.dispatchEvent(new MessageEvent(type, { data: new ArrayBuffer(1) }));
  channel.removeEventListener("close", listener);
  assert.deepEqual([heard, a.listeners], [["close"], 0]);
});

test("a transform that takes its time: its bytes count as buffered, so that packets are dropped instead", async () => {
  const [a] = channelPair(), held: ((bytes: undefined) => void)[] = [];
  const channel = transformChannel(a, { send: () => new Promise((resolve) => held.push(resolve)) });
  const outgoing = new OutgoingVoice(mini, channel, { dtx: false });
  for (let i = 0; i < 1000; i++) outgoing.send({ data: new Uint16Array(8), shape: [1, 8, 1] }, -20);
  assert.ok(channel.bufferedAmount > 4000 && channel.bufferedAmount < 5000, `${channel.bufferedAmount}`);
  assert.ok(outgoing.traffic.droppedPackets > 500);
  for (const release of held) release(undefined);
  await seconds(0);
  assert.equal(channel.bufferedAmount, 0);
  outgoing.close();
});

test("wrong calls", () => {
  const [a] = channelPair(), no = undefined as unknown as VoiceChannel;
  assert.throws(() => new OutgoingVoice(mini, no), { code: "ERR_INVALID_ARGUMENT", message: /channel must be/ });
  assert.throws(() => new IncomingVoice(mini, {} as VoiceChannel), { code: "ERR_INVALID_ARGUMENT" });
  assert.throws(() => new OutgoingVoice(mini, a, { redundancy: 9 }), { code: "ERR_OUT_OF_RANGE" });
  assert.throws(() => new OutgoingVoice(mini, a, { codebooks: 3 } as object), { code: "ERR_INVALID_ARGUMENT" });
  assert.throws(() => new OutgoingVoice(mini, a, { numQuantizers: 64 }), { code: "ERR_NUM_QUANTIZERS" });
  assert.throws(() => new IncomingVoice(mini, a, { timeout: 0 }), { code: "ERR_OUT_OF_RANGE" });
  assert.throws(() => new IncomingVoice(mini, a, { late: 2 }), { code: "ERR_OUT_OF_RANGE" });
  assert.throws(() => transformChannel(a, { send: 3 } as object), { code: "ERR_INVALID_ARGUMENT" });
  for (const model of [undefined, {}]) {
    assert.throws(() => new OutgoingVoice(model as never, a), {
      code: "ERR_INVALID_ARGUMENT",
      message: /model must be/,
    });
    assert.throws(() => new IncomingVoice(model as never, a), {
      code: "ERR_INVALID_ARGUMENT",
      message: /model must be/,
    });
  }
  assert.throws(
    () => new IncomingVoice({ ...mini, config: mini.config, fingerprint: "", numQuantizers: 8 } as never, a),
    {
      code: "ERR_INVALID_ARGUMENT",
    },
  );
  assert.equal(a.listeners, 0, "what was refused does not listen");
});

test("AES-GCM by WebCrypto: the other side understands, a forged or foreign message is lost", async () => {
  const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 128 }, false, ["encrypt", "decrypt"]);
  const seal = async (message: Uint8Array<ArrayBuffer>) => {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, message));
    return Uint8Array.of(...iv, ...sealed);
  };
  const open = async (bytes: Uint8Array<ArrayBuffer>) => {
    const parameters = { name: "AES-GCM", iv: bytes.subarray(0, 12) };
    return new Uint8Array(await crypto.subtle.decrypt(parameters, key, bytes.subarray(12)));
  };
  const [a, b] = channelPair(), [here, there] = [a, b].map((c) => transformChannel(c, { send: seal, receive: open }));
  const outgoing = new OutgoingVoice(mini, here), incoming = new IncomingVoice(mini, there);
  a.send(Uint8Array.of(1, 2, 3));
  await talk(outgoing, incoming, 6);
  for (let i = 0; i < 200 && (outgoing.state !== "connected" || incoming.stats.packets.taken < 4); i++) {
    await seconds(0.01);
  }
  assert.deepEqual([outgoing.state, incoming.state], ["connected", "connected"]);
  assert.equal(there.rejected, 1);
  assert.ok(incoming.stats.packets.taken >= 4, "packets were understood");
  outgoing.close();
  incoming.close();
  assert.equal(a.listeners + b.listeners, 0);
});

test("the clock of playing: smooth over late messages, and after a jump", () => {
  const clock = new PlayClock(), rng = random("play clock");
  for (let i = 0; i < 2000; i++) {
    const position = i * 0.02, time = clock.at(position, 100 + position + 0.02 * rng.next());
    if (i > 300) assert.ok(Math.abs(time - 100.01 - position) < 0.005, `${time - position}`);
  }
  assert.ok(Math.abs(clock.at(40, 145) - 145) < 1e-9, "it follows a jump at once");
});
