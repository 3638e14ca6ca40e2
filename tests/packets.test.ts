/** Packets of voice: every byte of docs/packets.md, and what is not one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FormatError, isMimiError, MimiModel, NotSupportedError } from "../mod.ts";
import { type Packet, parsePacket, streamOf, voicePacketBytes, VoiceReceiver, VoiceSender } from "../src/rtc/mod.ts";
import {
  formatAccept,
  formatHello,
  formatNoise,
  formatRefuse,
  formatReport,
  formatVoice,
  VOICE_HEADER_BYTES,
} from "../src/rtc/packets.ts";
import { unwrap } from "../src/rtc/counter.ts";
import { random } from "./support/random.ts";
import { BITS, MIMI, mutate, numbered, SilentDecoder, STEP, storm, THIN } from "./support/voice.ts";

const SIZE = 2 ** BITS;
const parse = (bytes: Uint8Array) => parsePacket(bytes, SIZE, BITS);
const bytesOf = (hex: string) => Uint8Array.from(hex.match(/../g)!, (byte) => parseInt(byte, 16));
const hexOf = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** One packet of each type, byte by byte as the document says. */
const SAMPLES: [packet: Packet, bytes: Uint8Array, hex: string][] = [
  [
    {
      type: "hello",
      stream: 7,
      fingerprint: "00123456789abcde",
      samplingRate: 24000,
      frameSize: 1920,
      codebookSize: 2048,
      codebooks: 8,
    },
    formatHello({
      stream: 7,
      fingerprint: "00123456789abcde",
      samplingRate: 24000,
      frameSize: 1920,
      codebookSize: 2048,
      codebooks: 8,
    }),
    "1007" + "00123456789abcde" + "c05d0000" + "7f07" + "ff07" + "08" + "00",
  ],
  [{ type: "accept", stream: 7 }, formatAccept(7), "1107"],
  [
    { type: "refuse", stream: 7, reason: "model", version: 1, fingerprint: "ffffffffffffff00" },
    formatRefuse({ stream: 7, reason: "model", fingerprint: "ffffffffffffff00" }),
    "1207" + "01" + "01" + "ffffffffffffff00",
  ],
  [
    {
      type: "voice",
      stream: 7,
      frame: 0x1234,
      sequence: 0xfe,
      falling: false,
      frames: [Uint16Array.of(1, 2), Uint16Array.of(3, 2047)],
    },
    formatVoice(
      {
        stream: 7,
        frame: 0xa1234,
        sequence: 0xfe,
        falling: false,
        frames: [Uint16Array.of(1, 2), Uint16Array.of(3, 2047)],
      },
      BITS,
    ),
    // 1 + 2 * 2^11 + 3 * 2^22 + 2047 * 2^33
    "1307" + "3412" + "fe" + "21" + "0110c000fe0f",
  ],
  [
    {
      type: "noise",
      stream: 7,
      frame: 5,
      sequence: 3,
      falling: true,
      level: 62,
      silent: 2,
      frames: [Uint16Array.of(4, 5, 6), Uint16Array.of(7)],
    },
    formatNoise(
      {
        stream: 7,
        frame: 5,
        sequence: 3,
        falling: true,
        level: 62,
        silent: 2,
        frames: [Uint16Array.of(4, 5, 6), Uint16Array.of(7)],
      },
      BITS,
    ),
    // 4 + 5 * 2^11 + 6 * 2^22 + 7 * 2^33
    "1c07" + "0500" + "03" + "42" + "3e" + "02" + "042880010e00",
  ],
  [
    {
      type: "report",
      stream: 7,
      frame: 9,
      held: 0.012,
      loss: 0.2,
      burst: 1.5,
      concealed: 1,
      jitter: 0.5,
      delay: 1.234,
    },
    formatReport({
      stream: 7,
      frame: 9,
      held: 0.012,
      loss: 0.2,
      burst: 1.5,
      concealed: 1,
      jitter: 0.5,
      delay: 1.234,
    }),
    "1507" + "0900" + "0c00" + "33" + "0c" + "ff" + "f401" + "d204",
  ],
];

for (const [packet, bytes, hex] of SAMPLES) {
  test(`the bytes of a packet of type ${packet.type}`, () => {
    assert.equal(hexOf(bytes), hex);
    assert.deepEqual(parse(bytes), packet);
    assert.equal(streamOf(bytes), 7);
    // A view into something larger, too.
    assert.deepEqual(parse(Uint8Array.from([9, ...bytes, 9]).subarray(1, -1)), packet);
    for (let n = 0; n < bytes.length; n++) assert.throws(() => parse(bytes.subarray(0, n)), { code: "ERR_PACKET" });
    assert.throws(() => parse(Uint8Array.from([...bytes, 0])), { code: "ERR_PACKET" });
  });
}

test("packets of any shape come back as they were", () => {
  const rng = random("packets");
  for (let i = 0; i < 2000; i++) {
    const bits = rng.integer(1, 16),
      codebooks = rng.integer(1, 32),
      redundancy = rng.integer(0, 7),
      falling = rng.next() < 0.5;
    const frame = rng.integer(0, 65535), sequence = rng.integer(0, 255), stream = rng.integer(0, 255);
    const frames = Array.from({ length: redundancy + 1 }, (_, age) => {
      const length = falling ? Math.max(1, codebooks >> age) : codebooks;
      return Uint16Array.from({ length }, () => rng.integer(0, 2 ** bits - 1));
    });
    const head = { stream, frame, sequence, falling }, voice = formatVoice({ ...head, frames }, bits);
    assert.deepEqual(parsePacket(voice, 2 ** bits, bits), { type: "voice", ...head, frames });
    assert.equal(voice.length, voicePacketBytes(codebooks, bits, redundancy, falling));
    const noise = {
      ...head,
      level: rng.integer(0, 127),
      silent: rng.integer(1, 255),
      frames: frames.slice(0, redundancy),
    };
    assert.deepEqual(parsePacket(formatNoise(noise, bits), 2 ** bits, bits), { type: "noise", ...noise });
  }
});

test("8 codebooks of 11 bits: 6 bytes beyond the codes, 1.7 kbps", () => {
  const sender = new VoiceSender(MIMI, { stream: 0 }), sizes: number[] = [];
  sender.receive(formatAccept(0), 0);
  for (let frame = 0; frame < 1000; frame++) {
    sizes.push(...sender.send(numbered(frame), frame * STEP).map((p) => p.length));
  }
  assert.equal(VOICE_HEADER_BYTES, 6);
  assert.deepEqual(new Set(sizes), new Set([6 + 11]));
  const bitrate = 8 * sizes.reduce((a, b) => a + b) / (1000 * STEP);
  assert.ok(Math.abs(bitrate - 1700) < 1e-6 && bitrate <= 2000, `${bitrate} bps`);
});

test("what is no packet is refused by name, a newer version as such", () => {
  const voice = SAMPLES[3][1],
    changed = (bytes: Uint8Array, at: number, value: number) => {
      const out = bytes.slice();
      out[at] = value;
      return out;
    };
  const cases: [bytes: Uint8Array, message: RegExp][] = [
    [new Uint8Array(0), /0 bytes/],
    [bytesOf("0307"), /version 0/],
    [bytesOf("1607"), /no type 6/],
    [bytesOf("1907"), /has no redundancy/],
    [changed(SAMPLES[2][1], 2, 3), /no reason 3/],
    [changed(SAMPLES[4][1], 6, 128), /level .* got 128/],
    [changed(SAMPLES[4][1], 7, 0), /count of silent frames is 0/],
    [changed(SAMPLES[0][1], 18, 0), /codebooks must be from 1 to 32, got 0/],
    [changed(SAMPLES[0][1], 18, 33), /got 33/],
    [changed(SAMPLES[0][1], 19, 1), /last byte/],
    [changed(voice, 5, 0xff), /its fields say/],
    [changed(voice, 11, 0x1f), /bits behind the last code/],
  ];
  for (const [bytes, message] of cases) {
    assert.throws(() => parse(bytes), (error) => {
      assert.ok(error instanceof FormatError && error.code === "ERR_PACKET", `${hexOf(bytes)}: ${error}`);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.throws(() => parsePacket(voice, 2047, BITS), /code 2047 is not an integer from 0 to 2046/);
  assert.throws(() => parse(changed(voice, 0, 0x23)), (error) => {
    assert.ok(error instanceof NotSupportedError);
    assert.match(error.message, /version 2; this version of the library reads version 1/);
    return true;
  });
});

test("counters unwrap across their ends", () => {
  const rng = random("unwrap");
  for (let i = 0; i < 5000; i++) {
    const bits = rng.pick([8, 16]), near = rng.integer(-1e6, 1e6), half = 2 ** (bits - 1);
    const value = near + rng.integer(-half, half - 1);
    assert.equal(unwrap(((value % 2 ** bits) + 2 ** bits) % 2 ** bits, bits, near), value);
  }
});

test("200,000 packets, most of them broken, into the receiver", () => {
  const rng = random("broken packets"), receiver = new VoiceReceiver(THIN, { decoder: new SilentDecoder() });
  const { heard, loudest } = storm(rng, { packets: 200_000, model: THIN, receiver, codes: numbered });
  const { packets, samples } = receiver.stats;
  assert.ok(packets.malformed > 10_000 && packets.taken > 10_000 && packets.stray > 100, JSON.stringify(packets));
  const { waiting, removed, ...out } = samples;
  assert.equal(Object.values(out).reduce((a, b) => a + b) - removed - waiting, heard);
  assert.ok(loudest <= 1);
});

test("10,000 packets, most of them broken, with the embedded decoder: never louder than full scale", async () => {
  using model = await MimiModel.fromPretrained("mini", { part: "decoder", numQuantizers: 8 });
  const rng = random("broken packets, decoded"), decoder = model.createDecoderSync();
  const codes = () => ({ data: Uint16Array.from({ length: 8 }, () => rng.integer(0, 511)), shape: [1, 8, 1] });
  const receiver = new VoiceReceiver(model, { decoder });
  const { heard, loudest } = storm(rng, { packets: 10_000, model, receiver, codes });
  assert.ok(heard > 1_000_000 && receiver.stats.frames.received > 200);
  assert.ok(loudest > 0.01 && loudest <= 1, `${loudest}`);
});

test("the parser throws typed errors only", () => {
  const rng = random("broken packets, parsed"), all = SAMPLES.map(([, bytes]) => bytes);
  let read = 0;
  for (let i = 0; i < 50_000; i++) {
    const bytes = mutate(rng, rng.pick(all), all);
    try {
      parse(bytes);
      read++;
    } catch (error) {
      if (!isMimiError(error)) assert.fail(`${hexOf(bytes)}: ${error}`);
    }
  }
  assert.ok(read > 5000 && read < 45_000, `${read} read`);
});
