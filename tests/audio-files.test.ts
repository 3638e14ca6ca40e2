/** Audio files of every format, told by their bytes; each fixture holds the same half second of the sample. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { isMimiError, resample } from "../mod.ts";

import { type AudioFormat, readAudio, toMono } from "../src/file/audio.ts";
import { fromPCM16, wavHeader } from "../src/file/wav.ts";
import { testPath } from "./support/files.ts";
import { inPieces } from "./support/pieces.ts";
import { random } from "./support/random.ts";

const RATE = 24000, FROM = 0.2 * RATE, LENGTH = 0.5 * RATE;

const fixture = async (name: string) => new Uint8Array(await readFile(testPath(`fixtures/${name}`)));
const original = async () =>
  fromPCM16((await readFile(testPath("../models/mini/it-cannot-complete.wav"))).subarray(44)).slice(
    FROM,
    FROM + LENGTH,
  );

async function mono(bytes: AsyncIterable<Uint8Array> | Uint8Array, rate: number = RATE): Promise<Float32Array> {
  const pieces: Float32Array[] = [];
  for await (const pcm of toMono(await readAudio(bytes instanceof Uint8Array ? [bytes] : bytes), rate)) {
    pieces.push(pcm);
  }
  return Float32Array.from(pieces.flatMap((piece) => [...piece]));
}

/** Error of `audio` against `scale` times the original, in dB below it. */
function snr(audio: Float32Array, expected: Float32Array, scale: number): number {
  let signal = 0, noise = 0;
  expected.forEach((v, i) => {
    signal += (scale * v) ** 2;
    noise += (scale * v - audio[i]) ** 2;
  });
  return 10 * Math.log10(signal / noise);
}

/** Format, Hz, samples and level after mixing down, and the least agreement with the original in dB. */
const FILES: Record<string, [AudioFormat, number, number, number, number]> = {
  "speech.flac": ["flac", 24000, 12000, 1, Infinity],
  "speech.flac.ogg": ["flac", 24000, 12000, 1, Infinity],
  "speech.aiff": ["aiff", 24000, 12000, 1, Infinity],
  "mono.mp3": ["mp3", 32000, 12000, 1, 10],
  "stereo.mp3": ["mp3", 44100, 12000, 0.75, 10],
  "speech.ogg": ["vorbis", 44100, 12000, 1, 10],
  "stereo.opus": ["opus", 48000, 12000, 0.75, 10],
  "speech.webm": ["webm", 48000, 12000, 1, 10],
  "speech.m4a": ["m4a", 44100, 12000, 1, 10],
  "index-last.m4a": ["m4a", 44100, 12000, 1, 10],
  "speech.aac": ["aac", 44100, 12261, 1, -3], // it does not say that its first 1024 samples are the encoder's
};

/** Files of six channels, with the peak of each: left, right, centre, low frequencies, surround left and right. */
const SURROUND = ["surround.webm", "surround.opus"], PEAKS = [0.1, 0.2, 0.4, 0.02, 0.06, 0.8];

for (const name of SURROUND) {
  test(`${name}: channels in the order of Web Audio`, async () => {
    const peaks = PEAKS.map(() => 0);
    for await (const channels of (await readAudio([await fixture(name)])).pieces) {
      assert.equal(channels.length, 6);
      channels.forEach((channel, c) => peaks[c] = channel.reduce((a, b) => Math.max(a, Math.abs(b)), peaks[c]));
    }
    // Levels differ by a factor of 1.6 at least; the codec is lossy, and low frequencies are cut off above 120 Hz or so.
    peaks.forEach((peak, c) =>
      c === 3 ? assert.ok(peak < 0.04, `${peaks}`) : assert.ok(Math.abs(peak / PEAKS[c] - 1) < 0.25, `${peaks}`)
    );
  });
}

test("every fixture is named here", async () => {
  const names = (await readdir(testPath("fixtures"))).filter((name) => !/\.(md|sh)$/.test(name));
  assert.deepEqual(names.sort(), [...Object.keys(FILES), ...SURROUND].sort());
});

for (const [name, [format, rate, length, level, least]] of Object.entries(FILES)) {
  test(`${name}: the sample, in any pieces`, async () => {
    const bytes = await fixture(name), audio = await readAudio([bytes]);
    assert.deepEqual([audio.format, audio.samplingRate], [format, rate]);
    await audio.pieces.return();
    const whole = await mono(bytes);
    assert.equal(whole.length, length);
    const agreement = snr(whole, await original(), level);
    console.log(`${name}: ${agreement.toFixed(1)} dB`);
    assert.ok(agreement >= least, `${agreement} dB`);
    assert.deepEqual(await mono(inPieces(bytes, random(name), 3000)), whole);
  });
}

test("flac: a frame whose header comes in two pieces is not lost", async () => {
  const bytes = await fixture("speech.flac"), whole = await mono(bytes), cuts = new Set<number>();
  for (let at = 0; at + 1 < bytes.length; at++) {
    if (bytes[at] === 0xff && bytes[at + 1] >> 1 === 0x7c) { for (let i = -2; i < 20; i++) cuts.add(at + i); }
  }
  assert.ok(cuts.size >= 3 * 22, `${cuts.size} cuts`);
  for (const cut of cuts) {
    const pieces = (async function* () {
      yield* [bytes.subarray(0, cut), bytes.subarray(cut)];
    })();
    assert.deepEqual(await mono(pieces), whole, `cut at ${cut}`);
  }
});

test("wav: mixed down and resampled as the library does it", async () => {
  const audio = await original(), left = audio.map((v) => v / 2), stereo = new Uint8Array(44 + audio.length * 8);
  stereo.set(wavHeader(48000, audio.length));
  const view = new DataView(stereo.buffer);
  view.setUint16(20, 3, true); // float
  view.setUint16(22, 2, true); // channels
  view.setUint16(32, 8, true);
  view.setUint16(34, 32, true);
  view.setUint32(40, audio.length * 8, true);
  audio.forEach((v, i) => [left[i], v].forEach((w, c) => view.setFloat32(44 + 8 * i + 4 * c, w, true)));
  const expected = resample(left.map((v, i) => 0.5 * (v + audio[i])), 48000, RATE);
  assert.deepEqual(await mono(stereo), expected);
  assert.deepEqual(await mono(inPieces(stereo, random("wav"), 3000)), expected);
  assert.deepEqual(await mono(await fixture("speech.flac"), 8000), resample(audio, RATE, 8000));
});

test("an ID3 tag is skipped, whatever its size", async () => {
  const tag = (size: number) => [0x49, 0x44, 0x33, 4, 0, 0, 0, 0, size >> 7, size & 127, ...Array(size).fill(255)];
  for (const name of ["mono.mp3", "speech.flac", "speech.aac"]) {
    const bytes = await fixture(name), plain = await mono(bytes);
    assert.deepEqual(await mono(Uint8Array.from([...tag(300), ...bytes])), plain);
    assert.deepEqual(await mono(Uint8Array.from([...tag(5), ...tag(1000), ...bytes])), plain);
  }
});

async function refused(bytes: Uint8Array, message: RegExp): Promise<void> {
  await assert.rejects(() => mono(bytes), (error) => {
    assert.ok(isMimiError(error), String(error));
    assert.equal(error.code, "ERR_AUDIO");
    assert.match(error.message, /^audio file: /);
    assert.match(error.message, message);
    return true;
  });
}

test("what is no audio is refused by name", async () => {
  await refused(new Uint8Array(0), /empty/);
  await refused(Uint8Array.of(1), /starts with "\\u0001"/);
  await refused(new TextEncoder().encode("<html><body>"), /no audio file of a known format: it starts with "<htm"/);
  await refused(new TextEncoder().encode("MIMI and more"), /starts with "MIMI"/);
  await refused(new TextEncoder().encode("OggS, but nothing of what follows is known......"), /starts with "OggS"/);
  await refused(new TextEncoder().encode("ID3"), /starts with "ID3"/);
});

test("a beginning with noise behind it, or nothing, is refused", async () => {
  const takesAnything = ["mono.mp3", "stereo.mp3", "speech.aiff", "speech.aac"];
  for (const name of Object.keys(FILES)) {
    const bytes = await fixture(name), noise = random(name);
    if (name !== "speech.aiff") await refused(bytes.subarray(0, 64), /./);
    if (!takesAnything.includes(name)) await refused(bytes.map((v, i) => i < 64 ? v : noise.integer(0, 254)), /./);
  }
});

test("a file that is cut off is refused where its format tells", async () => {
  const telling: Record<string, RegExp> = {
    "speech.flac": /cut off or damaged: \d+ of its 12000 samples|no audio could be found/,
    "speech.flac.ogg": /cut off inside its last page/,
    "speech.ogg": /cut off inside its last page/,
    "stereo.opus": /cut off inside its last page/,
    "speech.m4a": /cut off: \d+ bytes of its "mdat" box are missing/,
    "index-last.m4a": /cut off: \d+ bytes of its "(mdat|moov)" box are missing/,
  };
  for (const [name, message] of Object.entries(telling)) {
    const bytes = await fixture(name);
    for (const share of [0.6, 0.95]) await refused(bytes.subarray(0, bytes.length * share), message);
  }
});

test("a source is closed in the end, after an error, and when the reader stops early", async () => {
  for (const name of ["speech.flac", "mono.mp3", "speech.m4a", "stereo.opus"]) {
    const bytes = await fixture(name);
    const read = async (end: number, stop: boolean) => {
      let closed = 0;
      const source = (async function* () {
        try {
          for (let at = 0; at < end; at += 500) yield bytes.subarray(at, Math.min(end, at + 500));
        } finally {
          closed++;
        }
      })();
      try {
        for await (const _ of toMono(await readAudio(source), RATE)) if (stop) break;
      } catch (error) {
        assert.ok(isMimiError(error));
      }
      assert.equal(closed, 1, name);
    };
    await read(bytes.length, false);
    await read(bytes.length, true);
    await read(200, false);
  }
});

test("errors of the source come through as they are", async () => {
  const bytes = await fixture("speech.flac"), failure = new Error("unplugged");
  const source = (async function* () {
    yield bytes.subarray(0, 5000);
    throw failure;
  })();
  await assert.rejects(() => mono(source), (error) => (error as Error).cause === failure || error === failure);
});
