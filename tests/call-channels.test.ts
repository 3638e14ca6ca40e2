/**
 * Channels of every kind carry a voice. A WebSocket is a real one, through a real server; the sessions of WebTransport, LiveKit and
 * mediasoup are fakes that pass on what the vendors' servers would, held against the types of the vendors' clients.
 */
import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { Room } from "livekit-client";
import type { types as mediasoup } from "mediasoup-client";
import { WebSocket, WebSocketServer } from "ws";
import { isMimiError, MimiModel } from "../mod.ts";
import {
  type AdaptedChannel,
  type DatagramTransport,
  IncomingVoice,
  liveKitChannel,
  type LiveKitRoom,
  mediasoupChannel,
  type MediasoupProducer,
  OutgoingVoice,
  type VoiceChannel,
  webTransportChannel,
} from "../src/call/mod.ts";
import { seconds, until } from "./support/wait.ts";

/** The vendors' own clients are what the adapters take; checked by the compiler. */
export const TYPES: [
  (transport: WebTransport) => AdaptedChannel,
  (room: Room) => AdaptedChannel,
  (producer: mediasoup.DataProducer, consumer: mediasoup.DataConsumer) => AdaptedChannel,
  (channel: RTCDataChannel) => VoiceChannel,
  (socket: globalThis.WebSocket) => VoiceChannel,
] = [
  (transport) => webTransportChannel(transport),
  (room) => liveKitChannel(room, { participant: "" }),
  mediasoupChannel,
  (channel) => channel,
  (socket) => socket,
];

const mini = await MimiModel.fromPretrained("mini");

/** A few frames go over a pair of channels, and the answers back; then one side closes. */
async function talkOver(here: VoiceChannel, there: VoiceChannel, close: () => void): Promise<void> {
  const outgoing = new OutgoingVoice(mini, here, { dtx: false }), incoming = new IncomingVoice(mini, there);
  const frames: number[][] = [];
  incoming.addEventListener("frame", ({ detail }) => frames.push([...detail.codes]));
  await until(() => here.readyState === 1 || here.readyState === "open");
  for (let i = 0; i < 6; i++) {
    outgoing.send({ data: Uint16Array.from({ length: 8 }, (_, k) => 10 * i + k), shape: [1, 8, 1] }, -20);
    await seconds(0.03);
  }
  await until(() => outgoing.state === "connected" && frames.length >= 6);
  assert.deepEqual([outgoing.state, incoming.state], ["connected", "connected"]);
  assert.deepEqual(frames, Array.from({ length: 6 }, (_, i) => Array.from({ length: 8 }, (_, k) => 10 * i + k)));
  assert.equal(here.bufferedAmount, 0);
  close();
  await until(() => outgoing.state === "disconnected");
  assert.equal(outgoing.state, "disconnected");
  outgoing.close();
  incoming.close();
}

test("WebSocket, through a server that passes messages on", async () => {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" }), { port } = server.address() as AddressInfo ?? {};
  server.on("connection", (socket) => {
    socket.on("message", (data) => {
      for (const other of server.clients) if (other !== socket) other.send(data);
    });
  });
  if (!port) await once(server, "listening");
  const address = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const [here, there] = [new WebSocket(address), new WebSocket(address)];
  await Promise.all([here, there].map((socket) => once(socket, "open")));
  await talkOver(here as VoiceChannel, there as VoiceChannel, () => here.close());
  for (const socket of [here, there]) socket.terminate();
  await new Promise((closed) => server.close(closed));
});

test("WebTransport datagrams (a fake session)", async () => {
  const [one, other] = [new TransformStream<Uint8Array>(), new TransformStream<Uint8Array>()];
  let close = () => {};
  const closed = new Promise<void>((resolve) => close = resolve), ready = seconds(0.02);
  const session = (datagrams: DatagramTransport["datagrams"]): DatagramTransport => ({ ready, closed, datagrams });
  // One side as the standard has it now, the other as browsers had it before.
  const here = webTransportChannel(session({ readable: one.readable, createWritable: () => other.writable }));
  const there = webTransportChannel(session({ readable: other.readable, writable: one.writable }));
  assert.equal(here.readyState, "connecting");
  await talkOver(here, there, close);
  for (const channel of [here, there]) channel.close();
  assert.ok(
    ![one, other].some(({ readable, writable }) => readable.locked || writable.locked),
    "streams are free again",
  );
  const writer = other.writable.getWriter(), reader = other.readable.getReader();
  void writer.write(Uint8Array.of(7));
  assert.deepEqual((await reader.read()).value, Uint8Array.of(7));
});

test("LiveKit data messages (a fake room)", async () => {
  class FakeRoom extends EventEmitter implements LiveKitRoom {
    state = "connected";
    others: FakeRoom[] = [];
    readonly #identity: string;
    constructor(identity: string) {
      super();
      this.#identity = identity;
    }
    localParticipant: LiveKitRoom["localParticipant"] = {
      publishData: (data, { reliable, topic, destinationIdentities }) => {
        assert.equal(reliable, false, "what is late is of no use");
        for (const other of this.others) {
          if (!destinationIdentities?.includes(other.#identity)) continue;
          setTimeout(() => {
            other.emit("dataReceived", data, { identity: this.#identity }, 1, topic);
            other.emit("dataReceived", data, { identity: "stranger" }, 1, topic);
            other.emit("dataReceived", data, { identity: this.#identity }, 1, "chat");
          });
        }
        return Promise.resolve();
      },
    };
  }
  const [a, b] = [new FakeRoom("anna"), new FakeRoom("ben")];
  a.others = [b];
  b.others = [a];
  const here = liveKitChannel(a, { participant: "ben" }), there = liveKitChannel(b, { participant: "anna" });
  await talkOver(here, there, () => a.emit("disconnected"));
  there.close();
  assert.equal(a.listenerCount("dataReceived") + b.listenerCount("dataReceived"), 0);
});

test("mediasoup data producers and consumers (a fake router)", async () => {
  class FakeProducer extends EventEmitter implements MediasoupProducer {
    readyState = "connecting";
    bufferedAmount = 0;
    readonly consumer = Object.assign(new EventEmitter(), { binaryType: "blob" });
    send(data: Uint8Array<ArrayBuffer>): void {
      const { buffer } = data.slice(), { consumer } = this;
      setTimeout(() => consumer.emit("message", consumer.binaryType === "blob" ? new Blob([buffer]) : buffer));
    }
  }
  const [a, b] = [new FakeProducer(), new FakeProducer()];
  const here = mediasoupChannel(a, b.consumer), there = mediasoupChannel(b, a.consumer);
  for (const producer of [a, b]) producer.emit("open");
  await talkOver(here, there, () => a.emit("transportclose"));
  there.close();
  assert.equal(b.consumer.listenerCount("message"), 0);
});

test("wrong calls of adapters", () => {
  const room = Object.assign(new EventEmitter(), {
    state: "connected",
    localParticipant: { publishData: async () => {} },
  });
  const locked = new TransformStream<Uint8Array>();
  locked.readable.getReader();
  const pending = new Promise(() => {});
  const calls: [call: () => unknown, message: RegExp][] = [
    [() => webTransportChannel(undefined as never), /transport must have ready, closed, datagrams, got undefined/],
    [
      () => webTransportChannel({ ready: pending, closed: pending, datagrams: {} } as never),
      /datagrams must have readable/,
    ],
    [
      () => webTransportChannel({ ready: pending, closed: pending, datagrams: locked }),
      /the datagrams of the transport have a reader/,
    ],
    [
      () => liveKitChannel(undefined as never, { participant: "a" }),
      /room must have on\(\), off\(\), localParticipant/,
    ],
    [() => liveKitChannel(room as never, undefined as never), /options.participant must be a string, got undefined/],
    [() => liveKitChannel(room as never, { identity: "a" } as never), /unknown option "identity"/],
    [
      () => liveKitChannel(room as never, { participant: "a", topic: 3 as never }),
      /options.topic must be a string, got 3/,
    ],
    [() => mediasoupChannel(undefined as never, undefined as never), /producer must have send\(\), on\(\), off\(\)/],
    [
      () => mediasoupChannel(Object.assign(room, { send() {} }) as never, {} as never),
      /consumer must have on\(\), off\(\)/,
    ],
  ];
  for (const [call, message] of calls) {
    assert.throws(call, (error) => isMimiError(error) && message.test(error.message), String(message));
  }
  assert.deepEqual(room.eventNames(), [], "what was refused does not listen");
});
