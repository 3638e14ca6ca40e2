/** WAV and .mimi files: exact round trips; every malformed file is a typed error, never a hang. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { type AudioCodes, FormatError, isMimiError, type MimiErrorCode } from "../mod.ts";
import {
  bitsOf,
  type Container,
  type ContainerHeader,
  containerHeader,
  framesOf,
  packFrames,
  readContainer,
} from "../src/file/container.ts";
import { fromPCM16, readWav, toPCM16, wavHeader } from "../src/file/wav.ts";
import { type Random, random } from "./support/random.ts";

const SAMPLE = new URL("../models/mini/it-cannot-complete.wav", import.meta.url);

function join(...parts: (Uint8Array | number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** Pieces of 1 to 9 bytes, empty ones among them, which do not last longer than until the next. */
async function* inPieces(bytes: Uint8Array, rng: Random): AsyncGenerator<Uint8Array> {
  const piece = new Uint8Array(9);
  for (let at = 0; at < bytes.length;) {
    const part = bytes.subarray(at, at + rng.integer(0, 9));
    piece.set(part);
    yield piece.subarray(0, part.length);
    at += part.length;
    piece.fill(255);
  }
}

/** Fails with a FormatError of this code, whose message matches. */
async function refused(task: () => Promise<unknown>, code: MimiErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(task, (error) => {
    assert.ok(error instanceof FormatError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

// WAV

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

// .mimi

const HEADER: ContainerHeader = {
  samplingRate: 24000,
  frameSize: 1920,
  codebooks: 8,
  bits: 9,
  fingerprint: "0123456789abcdef",
  samples: 3 * 1920 - 700,
};

function randomCodes(rng: Random, codebooks: number, bits: number, frames: number): AudioCodes {
  const data = Uint16Array.from({ length: codebooks * frames }, () => rng.integer(0, 2 ** bits - 1));
  return { data, shape: [1, codebooks, frames] };
}

/** All codes of a container in batches of 2 frames, frame by frame. */
async function collect({ frames }: Container): Promise<number[][]> {
  const out: number[][] = [];
  for await (const { data, shape: [batch, codebooks, n] } of frames(2)) {
    assert.equal(batch, 1);
    assert.ok(n >= 1 && n <= 2);
    assert.equal(data.length, codebooks * n);
    for (let t = 0; t < n; t++) out.push(Array.from({ length: codebooks }, (_, k) => data[k * n + t]));
  }
  return out;
}

const byFrame = ({ data, shape: [, codebooks, n] }: AudioCodes) =>
  Array.from({ length: n }, (_, t) => Array.from({ length: codebooks }, (_, k) => data[k * n + t]));
const read = async (bytes: Uint8Array) => await collect(await readContainer([bytes]));

test("container: round trips for 1 to 32 codebooks of 1 to 16 bits", async () => {
  const rng = random("container");
  for (let codebooks = 1; codebooks <= 32; codebooks++) {
    for (let bits = 1; bits <= 16; bits++) {
      const frames = rng.integer(0, 5),
        codes = randomCodes(rng, codebooks, bits, frames),
        header = { ...HEADER, codebooks, bits };
      header.samples = frames ? frames * 1920 - rng.integer(0, 1919) : 0;
      const bytes = join(containerHeader(header), packFrames(codes, header)),
        container = await readContainer(inPieces(bytes, rng));
      assert.equal(bytes.length, 40 + frames * Math.ceil(codebooks * bits / 8));
      assert.deepEqual(container.header, header);
      assert.equal(container.length, frames);
      assert.deepEqual(await collect(container), byFrame(codes));
    }
  }
});

test("container: the bytes are those of the description", () => {
  const header = { ...HEADER, codebooks: 3, samples: 1921 };
  assert.deepEqual([...containerHeader(header)], [
    ...[0x4d, 0x49, 0x4d, 0x49, 0, 0, 3, 0, 0xc0, 0x5d, 0, 0, 0x80, 7, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0],
    ...[0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x81, 7, 0, 0, 0, 0, 0, 0],
  ]);
  // Codes 511, 0, 1 of 9 bits: 111111111 000000000 100000000, least significant bit first.
  assert.deepEqual([...packFrames({ data: Uint16Array.of(511, 0, 1), shape: [1, 3, 1] }, header)], [255, 1, 4, 0]);
  assert.equal(framesOf(header), 2);
  assert.deepEqual([1, 2, 3, 512, 513, 2048, 65536].map(bitsOf), [1, 1, 2, 9, 10, 11, 16]);
});

test("container: what cannot be written is refused", () => {
  const bad = (fields: Partial<ContainerHeader>) =>
    assert.throws(() => containerHeader({ ...HEADER, ...fields }), { code: "ERR_CONTAINER" });
  for (const samplingRate of [0, -1, 1.5, 2 ** 32, NaN]) bad({ samplingRate });
  for (const frameSize of [0, -1, 0.5, 2 ** 32]) bad({ frameSize });
  for (const codebooks of [0, 257, 1.5]) bad({ codebooks });
  for (const bits of [0, 17, 2.5]) bad({ bits });
  for (const samples of [-1, 0.5, 2 ** 53]) bad({ samples });
  for (const fingerprint of ["", "0123", "0123456789ABCDEF", "0123456789abcdefg"]) bad({ fingerprint });
  const pack = (data: number[], shape: number[]) =>
    packFrames({ data: Uint16Array.from(data), shape }, { codebooks: 2, bits: 9 });
  assert.throws(() => pack([1, 512], [1, 2, 1]), {
    code: "ERR_CONTAINER",
    message: /code 512 at codebook 1, frame 0 does not fit in 9 bits/,
  });
  assert.throws(() => pack([1, 2, 3], [1, 3, 1]), { code: "ERR_CONTAINER" });
  assert.throws(() => pack([1, 2, 3, 4], [2, 2, 1]), { code: "ERR_CONTAINER" });
});

const rng = random("damaged containers"), good = randomCodes(rng, 8, 9, 3), layout = { ...HEADER, codebooks: 7 };
const small = join(containerHeader(HEADER), packFrames(good, HEADER));

test("container: every malformed field is refused", async () => {
  const set = (at: number, ...bytes: number[]) => {
    const copy = small.slice();
    copy.set(bytes, at);
    return copy;
  };
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(0), /empty/],
    [small.subarray(0, 3), /starts with "MIM"/],
    [small.subarray(0, 39), /cut off: it has 39 bytes/],
    [set(0, 82, 73, 70, 70), /starts with "RIFF", expected "MIMI"/],
    [set(4, 1), /version 1; .* reads version 0/],
    [set(6, 0), /codebooks must be from 1 to 256, got 0/],
    [set(6, 1, 1), /got 257/],
    [set(8, 0, 0, 0, 0), /sampling rate/],
    [set(12, 0, 0, 0, 0), /frame size/],
    [set(16, 0), /bits of a code/],
    [set(16, 17), /bits of a code/],
    [set(17, 1), /bytes 17 to 23/],
    [set(23, 1), /bytes 17 to 23/],
    [set(32, ...Array(8).fill(255)), /did not finish/],
    [join(containerHeader({ ...HEADER, samples: undefined }), packFrames(good, HEADER)), /did not finish/],
    [set(32, 0, 0, 0, 0, 0, 0, 32, 0), /number of samples must be/],
    [set(32, 0, 0, 1), /cut off: it has 3 frames, its 65536 samples need 35/],
    [set(32, 1, 0), /bytes follow its last frame/],
    [join(small, [0]), /bytes follow its last frame/],
    [small.subarray(0, -1), /cut off inside frame 2 of 3/],
    [small.subarray(0, -9), /cut off: it has 2 frames/],
    [small.subarray(0, 40), /cut off: it has 0 frames/],
  ];
  for (const [bytes, message] of cases) await refused(() => read(bytes), "ERR_CONTAINER", message);
  const filled = join(containerHeader(layout), packFrames(randomCodes(rng, 7, 9, 3), layout));
  filled[filled.length - 1] |= 0x80; // 63 bits in 8 bytes
  await refused(() => read(filled), "ERR_CONTAINER", /bits after the last code of frame 2/);
  await assert.rejects(() => readContainer([small]).then((c) => c.frames(0).next()), { code: "ERR_OUT_OF_RANGE" });
});

test("container: cut at every byte", async () => {
  for (let at = 0; at < small.length; at++) await refused(() => read(small.subarray(0, at)), "ERR_CONTAINER", /./);
});

test("container: every bit of every byte flipped", async () => {
  for (let at = 0; at < small.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const copy = small.slice();
      copy[at] ^= 1 << bit;
      try {
        const container = await readContainer([copy]), frames = await collect(container);
        assert.equal(frames.length, container.length);
      } catch (error) {
        assert.ok(isMimiError(error) && error.code === "ERR_CONTAINER", `byte ${at}, bit ${bit}: ${error}`);
      }
    }
  }
});
