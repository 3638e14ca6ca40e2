/** WAV files: every kind of samples, exact round trips; every malformed file is a typed error, never a hang. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { FormatError } from "../mod.ts";
import { fromPCM16, MOST_WAV_SAMPLES, readWav, toPCM16, wavHeader } from "../src/file/wav.ts";
import { inPieces } from "./support/pieces.ts";
import { random } from "./support/random.ts";

const SAMPLE = new URL("../models/mini/it-cannot-complete.wav", import.meta.url);

const u16 = (n: number) => [n & 255, n >>> 8 & 255], u32 = (n: number) => [...u16(n), ...u16(n >>> 16)];
const u64 = (n: number) => [...u32(n % 2 ** 32), ...u32(Math.floor(n / 2 ** 32))];
const ascii = (word: string) => [...word].map((c) => c.charCodeAt(0));
const chunk = (
  id: string,
  body: number[],
  size = body.length,
) => [...ascii(id), ...u32(size), ...body, ...(body.length % 2 ? [0] : [])];
const fmt = ({ tag = 1, channels = 1, rate = 24000, bits = 16, align = 0, more = [] as number[] } = {}) => {
  const stride = align || channels * Math.ceil(bits / 8);
  return chunk("fmt ", [
    ...u16(tag),
    ...u16(channels),
    ...u32(rate),
    ...u32(rate * stride),
    ...u16(stride),
    ...u16(bits),
    ...more,
  ]);
};
const GUID_TAIL = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
const extensible = (tag: number, bits: number, channels: number, tail = GUID_TAIL) =>
  fmt({ tag: 0xfffe, bits, channels, more: [...u16(22), ...u16(bits), ...u32(0), ...u16(tag), ...tail] });
const riff = (...chunks: number[][]) =>
  Uint8Array.from([...ascii("RIFF"), ...u32(4 + chunks.flat().length), ...ascii("WAVE"), ...chunks.flat()]);
const AUDIO = [1, 0, 255, 127, 0, 128, 254, 255], SAMPLES = [1, 32767, -32768, -2].map((v) => v / 32768);

/** All samples, channel by channel. */
async function channelsOf(bytes: Uint8Array | AsyncIterable<Uint8Array>): Promise<number[][]> {
  const wav = await readWav(bytes instanceof Uint8Array ? [bytes] : bytes);
  const out: number[][] = Array.from({ length: wav.channels }, () => []);
  for await (const piece of wav.pieces) {
    assert.equal(piece.length, wav.channels);
    piece.forEach((samples, c) => {
      for (const value of samples) out[c].push(value);
    });
  }
  if (wav.length !== undefined) assert.deepEqual(out.map((samples) => samples.length), out.map(() => wav.length));
  return out;
}

async function refused(file: Uint8Array, message: RegExp): Promise<void> {
  await assert.rejects(() => channelsOf(file), (error) => {
    assert.ok(error instanceof FormatError, String(error));
    assert.equal(error.code, "ERR_WAV");
    assert.match(error.message, message);
    return true;
  });
}

test("a round trip of the sample is bit exact, also in small pieces", async () => {
  const file = new Uint8Array(await readFile(SAMPLE)), wav = await readWav(inPieces(file, random("wav pieces")));
  assert.deepEqual([wav.length, wav.samplingRate, wav.channels], [75240, 24000, 1]);
  const out = [...wavHeader(24000, 75240)];
  for await (const [piece] of wav.pieces) out.push(...toPCM16(piece));
  assert.deepEqual(Uint8Array.from(out), file);
});

test("all 65536 values of 16 bits survive", async () => {
  const all = new Uint8Array(131072);
  for (let i = 0; i < 65536; i++) all.set(u16(i), 2 * i);
  assert.deepEqual(toPCM16(fromPCM16(all)), all);
  const [read] = await channelsOf(Uint8Array.from([...wavHeader(24000, 65536), ...all]));
  assert.deepEqual(toPCM16(Float32Array.from(read)), all);
});

test("writing rounds and clamps", () => {
  const bytes = toPCM16(Float32Array.of(0, 1, -1, 2, -2, Infinity, 0.6 / 32768, -0.6 / 32768, 0.4 / 32768));
  assert.deepEqual([...new Int16Array(bytes.buffer)], [0, 32767, -32768, 32767, -32768, 32767, 1, -1, 0]);
  for (const samples of [MOST_WAV_SAMPLES + 1, -1, 0.5, NaN]) {
    assert.throws(() => wavHeader(24000, samples), { code: "ERR_OUT_OF_RANGE" });
  }
  const view = new DataView(wavHeader(24000, MOST_WAV_SAMPLES).buffer);
  assert.equal(view.getUint32(4, true) - 36, view.getUint32(40, true));
});

/** By hand: a kind of samples, bytes of some of them, and what they are. */
const KINDS: [string, number, number, number[], number[]][] = [
  ["8 bit", 1, 8, [0, 64, 128, 255], [-1, -0.5, 0, 127 / 128]],
  ["16 bit", 1, 16, AUDIO, SAMPLES],
  ["12 bit in 16", 1, 12, [0x10, 0, 0xf0, 0x7f, 0, 0x80], [16 / 32768, 32752 / 32768, -1]],
  [
    "24 bit",
    1,
    24,
    [1, 0, 0, 255, 255, 127, 0, 0, 128, 254, 255, 255, 0x56, 0x34, 0x12],
    [1, 8388607, -8388608, -2, 0x123456].map((v) => v / 8388608),
  ],
  ["32 bit", 1, 32, [0, 0, 0, 128, 0, 0, 0, 64, 0, 1, 0, 0], [-1, 0.5, 256 / 2 ** 31]],
  ["32 bit float", 3, 32, [...float32(0.1), ...float32(-1.5)], [Math.fround(0.1), -1.5]],
  ["64 bit float", 3, 64, [...float64(0.1), ...float64(-1.5)], [Math.fround(0.1), -1.5]],
  // The ends and middles of the tables of ITU-T G.711.
  ["A-law", 6, 8, [0xd5, 0x55, 0xaa, 0x2a, 0x80], [8, -8, 32256, -32256, 5504].map((v) => v / 32768)],
  ["mu-law", 7, 8, [0xff, 0x80, 0x00, 0xf0, 0x8f], [0, 32124, -32124, 120, 16764].map((v) => v / 32768)],
];
function float32(value: number): number[] {
  return [...new Uint8Array(Float32Array.of(value).buffer)];
}
function float64(value: number): number[] {
  return [...new Uint8Array(Float64Array.of(value).buffer)];
}
for (const [name, tag, bits, bytes, samples] of KINDS) {
  test(`${name}: mono, stereo and three channels, plain and extensible, in any pieces`, async () => {
    const rng = random(name), size = Math.ceil(bits / 8), n = bytes.length / size;
    for (const channels of [1, 2, 3]) {
      // Channel c begins with sample c and goes on in a circle.
      const order = Array.from({ length: n * channels }, (_, i) => (Math.floor(i / channels) + i % channels) % n);
      const data = chunk("data", order.flatMap((s) => bytes.slice(s * size, (s + 1) * size)));
      const expected = Array.from(
        { length: channels },
        (_, c) => Array.from({ length: n }, (_, i) => Math.fround(samples[(i + c) % n])),
      );
      for (const format of [fmt({ tag, bits, channels }), extensible(tag, bits, channels)]) {
        const zero = (rows: number[][]) => rows.map((row) => row.map((v) => v + 0)); // -0 is 0
        assert.deepEqual(zero(await channelsOf(riff(format, data))), expected);
        assert.deepEqual(zero(await channelsOf(inPieces(riff(format, data), rng))), expected);
      }
    }
  });
}

test("many pieces: what is read at a time never splits a sample", async () => {
  const channels = 3, n = 50000, bytes = new Uint8Array(n * channels * 3);
  for (let i = 0; i < n * channels; i++) bytes.set(u32(i).slice(0, 3), 3 * i);
  const file = new Uint8Array(44 + bytes.length);
  file.set(riff(fmt({ bits: 24, channels }), [...ascii("data"), ...u32(bytes.length)]));
  file.set(bytes, 44);
  const read = await channelsOf(file);
  for (let c = 0; c < channels; c++) {
    assert.deepEqual(read[c], Array.from({ length: n }, (_, i) => (i * channels + c) / 8388608));
  }
});

test("other chunks, odd sizes", async () => {
  const data = chunk("data", AUDIO);
  assert.deepEqual(await channelsOf(riff(fmt(), data)), [SAMPLES]);
  assert.deepEqual(
    await channelsOf(
      riff(chunk("LIST", [1, 2, 3]), fmt({ more: [0, 0] }), chunk("odd ", [1]), data, chunk("tail", [1])),
    ),
    [SAMPLES],
  );
  assert.deepEqual(await channelsOf(riff(fmt({ more: [7] }), data)), [SAMPLES]); // an odd fmt is padded
});

test("sizes that a pipe left open", async () => {
  for (const size of [0, 0xffffffff, 0x7ffff000]) {
    const file = riff(fmt(), chunk("data", AUDIO, size));
    assert.equal((await readWav([file])).length, undefined);
    assert.deepEqual(await channelsOf(file), [SAMPLES]);
    await refused(file.slice(0, -1), /inside its last sample/);
  }
  assert.deepEqual(await channelsOf(riff(fmt(), chunk("data", []))), [[]]);
  assert.deepEqual(await channelsOf(Uint8Array.from([...wavHeader(24000), ...AUDIO])), [SAMPLES]);
});

test("RF64 and BW64 say the size in a chunk of its own", async () => {
  const large = (word: string, size: number, dataSize = 0xffffffff, ds64 = true) => {
    const file = riff(
      ...(ds64 ? [chunk("ds64", [...u64(0), ...u64(size), ...u64(0), ...u32(0)])] : []),
      fmt(),
      chunk("data", [...AUDIO], dataSize),
      chunk("tail", [1, 2]),
    );
    file.set(ascii(word));
    return file;
  };
  for (const word of ["RF64", "BW64"]) {
    assert.deepEqual(await channelsOf(large(word, 8)), [SAMPLES]);
    assert.deepEqual(await channelsOf(large(word, 4, 8)), [SAMPLES]); // what "data" says counts where it says something
    assert.equal((await readWav([large(word, 2 ** 40)])).length, 2 ** 39);
    await refused(large(word, 2 ** 40), /cut off: its audio has \d+ of 1099511627776 bytes/);
    assert.equal((await readWav([large(word, 0)])).length, undefined);
    assert.equal((await readWav([large(word, 8, 0xffffffff, false)])).length, undefined);
  }
  // In a plain RIFF file it is a chunk like any other.
  assert.deepEqual(await channelsOf(riff(chunk("ds64", [1]), fmt(), chunk("data", AUDIO))), [SAMPLES]);
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
  ["short ds64", Uint8Array.from([...ascii("RF64....WAVE"), ...chunk("ds64", [1, 2])]), /"ds64" chunk has 2 bytes/],
  ["half float", riff(fmt({ tag: 3, bits: 16 })), /samples are 16 bit float; read are/],
  ["48 bit", riff(fmt({ bits: 48 })), /samples are 48 bit PCM/],
  ["no bits", riff(fmt({ bits: 0 })), /samples are 0 bit PCM/],
  ["ADPCM", riff(fmt({ tag: 2, bits: 4 })), /4 bit format 2/],
  ["no channels", riff(fmt({ channels: 0, align: 2 })), /has 0 channels/],
  ["many channels", riff(fmt({ channels: 257 })), /has 257 channels, expected 1 to 256/],
  ["no rate", riff(fmt({ rate: 0 })), /sampling rate is 0 Hz/],
  ["short extensible", riff(fmt({ tag: 0xfffe })), /format 65534/],
  ["extensible of another kind", riff(extensible(1, 16, 1, Array(14).fill(7))), /format 65534/],
  ["odd alignment", riff(fmt({ align: 4 })), /4 bytes a sample, 1 times 16 bits are 2/],
  ["odd data", riff(fmt(), chunk("data", [1, 2, 3])), /3 bytes, not a whole number of samples of 2 bytes/],
  ["a channel is missing", riff(fmt({ channels: 2 }), chunk("data", [1, 2, 3, 4, 5, 6])), /samples of 4 bytes/],
  ["data cut off", riff(fmt(), chunk("data", AUDIO, 100)), /8 of 100 bytes/],
  ["data cut off inside a sample", riff(fmt(), chunk("data", AUDIO)).slice(0, -1), /7 of 8 bytes/],
];
for (const [name, file, message] of MALFORMED) {
  test(`${name} is refused`, async () => await refused(file, message));
}

test("a source is closed after an error and after the last sample", async () => {
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
    await channelsOf(source).catch(() => {});
    assert.equal(closed, 1);
  }
});
