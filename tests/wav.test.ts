/** WAV files: exact round trips; every malformed file is a typed error, never a hang. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { FormatError, type MimiErrorCode } from "../mod.ts";
import { fromPCM16, readWav, toPCM16, wavHeader } from "../src/file/wav.ts";
import { inPieces, join } from "./support/pieces.ts";
import { random } from "./support/random.ts";

const SAMPLE = new URL("../models/mini/it-cannot-complete.wav", import.meta.url);

/** Fails with a FormatError of this code, whose message matches. */
async function refused(task: () => Promise<unknown>, code: MimiErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(task, (error) => {
    assert.ok(error instanceof FormatError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

const u16 = (n: number) => [n & 255, n >>> 8 & 255], u32 = (n: number) => [...u16(n), ...u16(n >>> 16)];
const ascii = (word: string) => [...word].map((c) => c.charCodeAt(0));
const chunk = (
  id: string,
  body: number[],
  size = body.length,
) => [...ascii(id), ...u32(size), ...body, ...(body.length % 2 ? [0] : [])];
const fmt = ({ tag = 1, channels = 1, rate = 24000, align = 2, bits = 16, more = [] as number[] } = {}) =>
  chunk("fmt ", [
    ...u16(tag),
    ...u16(channels),
    ...u32(rate),
    ...u32(rate * align),
    ...u16(align),
    ...u16(bits),
    ...more,
  ]);
const riff = (...chunks: number[][]) =>
  Uint8Array.from([...ascii("RIFF"), ...u32(4 + chunks.flat().length), ...ascii("WAVE"), ...chunks.flat()]);
const AUDIO = [1, 0, 255, 127, 0, 128, 254, 255], SAMPLES = [1, 32767, -32768, -2].map((v) => v / 32768);

async function wavSamples(bytes: Uint8Array | AsyncIterable<Uint8Array>): Promise<number[]> {
  const out: number[] = [];
  for await (const piece of (await readWav(bytes instanceof Uint8Array ? [bytes] : bytes)).samples) out.push(...piece);
  return out;
}

test("wav: a round trip of the sample is bit exact, also in small pieces", async () => {
  const file = new Uint8Array(await readFile(SAMPLE)),
    wav = await readWav(inPieces(file, random("wav pieces"))),
    out: Uint8Array[] = [];
  assert.equal(wav.length, 75240);
  assert.equal(wav.samplingRate, 24000);
  for await (const piece of wav.samples) out.push(toPCM16(piece));
  assert.deepEqual(join(wavHeader(24000, 75240), ...out), file);
});

test("wav: all 65536 values survive", () => {
  const all = new Uint8Array(131072);
  for (let i = 0; i < 65536; i++) all.set(u16(i), 2 * i);
  assert.deepEqual(toPCM16(fromPCM16(all)), all);
});

test("wav: writing rounds and clamps", () => {
  const bytes = toPCM16(Float32Array.of(0, 1, -1, 2, -2, Infinity, 0.6 / 32768, -0.6 / 32768, 0.4 / 32768));
  assert.deepEqual([...new Int16Array(bytes.buffer)], [0, 32767, -32768, 32767, -32768, 32767, 1, -1, 0]);
  assert.throws(() => wavHeader(24000, 2 ** 31), { code: "ERR_OUT_OF_RANGE" });
  assert.throws(() => wavHeader(24000, -1), { code: "ERR_OUT_OF_RANGE" });
  assert.throws(() => wavHeader(24000, 0.5), { code: "ERR_OUT_OF_RANGE" });
});

test("wav: other chunks, odd sizes, the extensible form", async () => {
  const data = chunk("data", AUDIO);
  assert.deepEqual(await wavSamples(riff(fmt(), data)), SAMPLES);
  assert.deepEqual(
    await wavSamples(
      riff(chunk("LIST", [1, 2, 3]), fmt({ more: [0, 0] }), chunk("odd ", [1]), data, chunk("tail", [1])),
    ),
    SAMPLES,
  );
  assert.deepEqual(
    await wavSamples(
      riff(fmt({ tag: 0xfffe, more: [...u16(22), ...u16(16), ...u32(4), ...u16(1), ...Array(14).fill(0)] }), data),
    ),
    SAMPLES,
  );
  assert.deepEqual(await wavSamples(riff(fmt({ more: [7] }), data)), SAMPLES); // an odd fmt is padded
});

test("wav: sizes that a pipe left open", async () => {
  for (const size of [0, 0xffffffff, 0x7ffff000]) {
    const file = riff(fmt(), chunk("data", AUDIO, size));
    assert.equal((await readWav([file])).length, undefined);
    assert.deepEqual(await wavSamples(file), SAMPLES);
    await refused(() => wavSamples(file.slice(0, -1)), "ERR_WAV", /inside its last sample/);
  }
  assert.deepEqual(await wavSamples(riff(fmt(), chunk("data", []))), []);
});

const MALFORMED: [string, Uint8Array, RegExp][] = [
  ["empty", new Uint8Array(0), /empty/],
  ["one byte", Uint8Array.of(82), /starts with "R"/],
  ["only RIFF", Uint8Array.from(ascii("RIFF")), /cut off: it has 4 bytes/],
  ["flac", Uint8Array.from(ascii("fLaC            ")), /starts with "fLaC", expected "RIFF"/],
  ["big-endian", Uint8Array.from(ascii("RIFX....WAVE")), /starts with "RIFX"/],
  ["avi", Uint8Array.from(ascii("RIFF....AVI ")), /RIFF type is "AVI ", expected "WAVE"/],
  ["no chunks", riff(), /no "fmt " chunk/],
  ["no data", riff(fmt()), /no "data" chunk/],
  ["data first", riff(chunk("data", AUDIO), fmt()), /"data" chunk comes before/],
  ["two formats", riff(fmt(), fmt(), chunk("data", AUDIO)), /two "fmt "/],
  ["short format", riff(chunk("fmt ", [1, 0, 1, 0])), /"fmt " chunk has 4 bytes/],
  ["huge format", riff(chunk("fmt ", [1, 0], 0xfffffff0)), /"fmt " chunk has 4294967280 bytes/],
  ["format cut off", riff(fmt()).subarray(0, 30), /"fmt " chunk has 10 of 16 bytes/],
  ["chunk header cut off", riff(fmt()).subarray(0, 16), /inside a chunk's header/],
  ["chunk cut off", riff(chunk("LIST", [1, 2], 1000)), /"LIST" chunk has 2 of 1000 bytes/],
  [
    "stereo",
    riff(fmt({ channels: 2, align: 4 })),
    /2 channels, 24000 Hz, 16 bit PCM; this version reads mono 16-bit PCM at 24000 Hz/,
  ],
  [
    "float",
    riff(fmt({ tag: 3, channels: 2, rate: 44100, align: 6, bits: 24 })),
    /2 channels, 44100 Hz, 24 bit float; this version reads mono/,
  ],
  ["A-law", riff(fmt({ tag: 6, align: 1, bits: 8 })), /mono, 24000 Hz, 8 bit format 6/],
  ["8 bit", riff(fmt({ align: 1, bits: 8 })), /mono, 24000 Hz, 8 bit PCM/],
  ["44.1 kHz", riff(fmt({ rate: 44100 })), /mono, 44100 Hz, 16 bit PCM/],
  ["no channels", riff(fmt({ channels: 0 })), /0 channels/],
  ["short extensible", riff(fmt({ tag: 0xfffe })), /format 65534/],
  ["odd alignment", riff(fmt({ align: 4 })), /4 bytes a sample/],
  ["odd data", riff(fmt(), chunk("data", [1, 2, 3])), /3 bytes, not a whole number/],
  ["data cut off", riff(fmt(), chunk("data", AUDIO, 100)), /8 of 100 bytes/],
  ["data cut off inside a sample", riff(fmt(), chunk("data", AUDIO)).slice(0, -1), /7 of 8 bytes/],
];
for (const [name, file, message] of MALFORMED) {
  test(`wav: ${name} is refused`, async () => await refused(() => wavSamples(file), "ERR_WAV", message));
}

test("wav: a source is closed after an error and after the last sample", async () => {
  for (const file of [riff(), riff(fmt(), chunk("data", AUDIO), chunk("tail", [1]))]) {
    let closed = 0;
    const source = (async function* () {
      try {
        for (const byte of file) yield Uint8Array.of(byte);
        yield new Uint8Array(9);
      } finally {
        closed++;
      }
    })();
    await wavSamples(source).catch(() => {});
    assert.equal(closed, 1);
  }
});
