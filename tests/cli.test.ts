/** The command line as a process of its own, in the runtime that runs the test. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { inflateSync } from "node:zlib";
import { MimiModel } from "../mod.ts";
import { encodePNG } from "../src/cli/png.ts";
import { fft, spectrogram } from "../src/cli/spectrogram.ts";
import { VERSION } from "../src/cli/version.ts";
import { formatHeader } from "../src/file/container-header.ts";
import { openContainer, readContainer } from "../src/file/container.ts";
import { fromPCM16, toPCM16, wavHeader } from "../src/file/wav.ts";
import { testPath } from "./support/files.ts";
import { random } from "./support/random.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const SAMPLE = join(ROOT, "models/mini/it-cannot-complete.wav");
const RUNTIME = "Deno" in globalThis ? ["run", "-A"] : "Bun" in globalThis ? [] : ["--import", "tsx"];

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "mimi-cli-"));
});
after(async () => await rm(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

function mimi(...args: string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...RUNTIME, "src/cli/main.ts", ...args], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const ended: Ended = { code: null, stdout: "", stderr: "" };
    child.stdout.on("data", (text) => ended.stdout += text);
    child.stderr.on("data", (text) => ended.stderr += text);
    child.on("error", reject);
    child.on("close", (code) => resolve({ ...ended, code }));
  });
}

async function succeeds(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await mimi(...args);
  assert.equal(code, 0, stderr);
  assert.equal(stderr, "");
  return stdout;
}

/** Ends with this exit code and one line on stderr that matches. */
async function fails(code: number, message: RegExp, ...args: string[]): Promise<void> {
  const ended = await mimi(...args);
  assert.match(ended.stderr, message);
  assert.match(ended.stderr, /^mimi: [^\n]+\n$/);
  assert.equal(ended.code, code);
  assert.equal(ended.stdout, "");
}

test("encode and decode: a round trip of the sample, the same as the library's", async () => {
  assert.equal(await succeeds("encode", SAMPLE, at("speech.mimi")), "");
  assert.equal(await succeeds("decode", at("speech.mimi"), at("speech.wav")), "");

  const original = await readFile(SAMPLE), pcm = fromPCM16(original.subarray(44));
  const model = await MimiModel.fromPretrained("mini"), { audioCodes } = await model.encode(pcm, { numQuantizers: 8 });
  const container = await readContainer(await readFile(at("speech.mimi"))), { config, fingerprint } = model;
  assert.deepEqual(container.header, {
    samplingRate: 24000,
    frameSize: config.frameSize,
    codebooks: 8,
    bits: 9,
    fingerprint,
  });
  for await (const block of container.blocks()) {
    assert.deepEqual(block, { first: 0, codes: audioCodes, samples: 75240, last: true });
  }

  const decoded = new Uint8Array(await readFile(at("speech.wav"))), { audioValues } = await model.decode(audioCodes);
  assert.deepEqual(decoded.subarray(0, 44), wavHeader(24000, 75240));
  assert.deepEqual(decoded.subarray(44), toPCM16(audioValues.data.subarray(0, 75240)));
  model.close();
});

test("encode: --codebooks; an existing file is replaced; an empty recording has no frames", async () => {
  await writeFile(at("two.mimi"), "old");
  await succeeds("encode", SAMPLE, at("two.mimi"), "--codebooks", "2", "--model", "mini");
  const { header, frames } = await openContainer(await readFile(at("two.mimi")));
  assert.equal(header.codebooks, 2);
  assert.equal(frames, 40);
  assert.match(
    await succeeds("info", at("two.mimi")),
    /duration +3\.13 s .*\n.*frames +40 .*\n.*codebooks +2, 9 bits.*\n.*bitrate +225 bps/,
  );

  await writeFile(at("empty.wav"), wavHeader(24000, 0));
  await succeeds("encode", at("empty.wav"), at("empty.mimi"));
  await succeeds("decode", at("empty.mimi"), at("empty2.wav"));
  assert.deepEqual(new Uint8Array(await readFile(at("empty2.wav"))), wavHeader(24000, 0));
});

test("info: a model", async () => {
  const text = await succeeds("info");
  assert.match(text, /mini/);
  assert.match(text, /512 entries, 9 bits/);
  assert.match(text, /0\.9 kbps with 8 codebooks/);
  assert.match(text, /fingerprint +[0-9a-f]{16}\n/);
});

test("demo: writes its files and says where, offline", async () => {
  const text = await succeeds("demo", "--out", at("demo"));
  assert.deepEqual((await readdir(at("demo"))).sort(), ["decoded.wav", "original.wav", "picture.svg", "speech.mimi"]);
  assert.deepEqual(await readFile(at("demo/original.wav")), await readFile(SAMPLE));
  assert.equal((await readFile(at("demo/speech.mimi"))).length, 28 + 14 + 40 * 9);
  assert.equal((await readFile(at("demo/decoded.wav"))).length, 44 + 75240 * 2);
  const svg = await readFile(at("demo/picture.svg"), "utf8");
  assert.ok(svg.startsWith("<svg ") && svg.endsWith("</svg>\n"));
  assert.equal(svg.match(/ href="data:image\/png;base64,/g)?.length, 5);
  const drawn = svg.replace(/ href="data:[^"]*"/g, "");
  assert.deepEqual(drawn.match(/NaN|Infinity|undefined|href/g), null);
  assert.match(text, /picture\.svg/);
  assert.match(text, /0\.9 kbps/);
  assert.match(text, /times real time/);
});

test("help and version", async () => {
  assert.match(await succeeds("--help"), /mimi encode IN\.wav OUT\.mimi/);
  assert.match(await succeeds("encode", "-h"), /mimi decode/);
  assert.equal(await succeeds("--version"), `${VERSION}\n`);
  assert.equal(VERSION, JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")).version);
});

test("wrong usage: exit code 2 and a hint", async () => {
  const calls: [RegExp, ...string[]][] = [
    [/no command/],
    [/unknown command "explode"/, "explode"],
    [/unknown command "toString"/, "toString"],
    [/encode takes IN\.wav OUT\.mimi/, "encode", SAMPLE],
    [/decode takes IN\.mimi OUT\.wav/, "decode", "a", "b", "c"],
    [/demo has no option --model/, "demo", "--model", "mini"],
    [/--codebooks must be a number/, "encode", SAMPLE, at("no.mimi"), "--codebooks", "many"],
    [/--codebooks must be a number/, "encode", SAMPLE, at("no.mimi"), "--codebooks", "0"],
    [/--loud/, "info", "--loud"],
  ];
  await Promise.all(calls.map(async ([message, ...args]) => {
    await fails(2, message, ...args);
    await fails(2, /see mimi --help\n$/, ...args);
  }));
});

test("missing files and models", async () => {
  await fails(1, /gone\.wav: cannot be read \(ENOENT/, "encode", at("gone.wav"), at("no.mimi"));
  await fails(1, /gone\.mimi: cannot be read/, "decode", at("gone.mimi"), at("no.wav"));
  await fails(1, /gone\.mimi: cannot be read/, "info", at("gone.mimi"));
  await fails(1, /cannot be written/, "encode", SAMPLE, at("no/such/folder.mimi"));
  await fails(1, /no regular file/, "encode", SAMPLE, "/dev/null");
  await fails(1, /config\.json/, "encode", SAMPLE, at("no.mimi"), "--model", at("gone"));
  await fails(1, /from 1 to 32, got 33/, "encode", SAMPLE, at("no.mimi"), "--codebooks", "33");
  await fails(1, /cannot be written/, "demo", "--out", join(SAMPLE, "below-a-file"));
});

test("decode: codes of another model are refused", async () => {
  await succeeds("encode", SAMPLE, at("mine.mimi"));
  await fails(1, /fingerprint/, "decode", at("mine.mimi"), at("no.wav"), "--model", testPath("models/tiny-hf"));
  const bytes = await readFile(at("mine.mimi")), { header } = await readContainer(bytes);
  const changed = async (fields: Partial<typeof header>) => {
    bytes.set(formatHeader({ ...header, ...fields }));
    await writeFile(at("other.mimi"), bytes);
    return at("other.mimi");
  };
  await fails(
    1,
    /fingerprint 0000000000000000; this one has/,
    "decode",
    await changed({ fingerprint: "0000000000000000" }),
    at("no.wav"),
  );
  await fails(1, /frame size is 1919/, "decode", await changed({ frameSize: 1919 }), at("no.wav"));
  await fails(1, /33 codebooks/, "decode", await changed({ codebooks: 33 }), at("no.wav"));
  await assert.rejects(readFile(at("no.wav")));
});

test("outputs do not appear when their making fails half-way", async () => {
  const out = await mkdtemp(at("half-")), wav = await readFile(SAMPLE);
  await writeFile(at("cut.wav"), wav.subarray(0, 140000));
  await fails(1, /cut off: its audio has 139956 of 150480 bytes/, "encode", at("cut.wav"), join(out, "cut.mimi"));
  await succeeds("encode", SAMPLE, at("whole.mimi"));
  await writeFile(at("cut.mimi"), (await readFile(at("whole.mimi"))).subarray(0, 399));
  await fails(1, /truncated: it has no end block/, "decode", at("cut.mimi"), join(out, "cut.wav"));
  await writeFile(at("stereo.wav"), wav.map((byte, i) => i === 22 ? 2 : i === 32 ? 4 : byte));
  await fails(
    1,
    /2 channels at 24000 Hz; this model takes mono/,
    "encode",
    at("stereo.wav"),
    join(out, "stereo.mimi"),
  );
  assert.deepEqual(await readdir(out), []);
});

test("spectrogram: a sine is a line of its level at its place", () => {
  const audio = Float32Array.from({ length: 24000 }, (_, i) => 0.5 * Math.sin(2 * Math.PI * 3000 * i / 24000));
  const { rows, columns, levels } = spectrogram(audio, 24000, 10, 8000);
  assert.equal(levels.length, rows * columns);
  const column = Array.from({ length: rows }, (_, y) => levels[y * columns + 5]), loudest = Math.max(...column);
  assert.equal(column.indexOf(loudest), rows - 1 - 128);
  assert.ok(Math.abs(loudest - 20 * Math.log10(0.5)) < 0.1, String(loudest));
});

test("fft: equals the sum that it stands for", () => {
  const x = random("fft").floats(32), re = Float64Array.from(x), im = new Float64Array(32);
  fft(re, im);
  for (let k = 0; k < 32; k++) {
    const sum = (f: (a: number) => number) => x.reduce((s, v, i) => s + v * f(-2 * Math.PI * i * k / 32), 0);
    assert.ok(Math.abs(re[k] - sum(Math.cos)) < 1e-9 && Math.abs(im[k] - sum(Math.sin)) < 1e-9);
  }
});

test("png: chunks with their checksums, rows that inflate to the pixels", () => {
  const png = encodePNG(3, 2, Uint8Array.of(0, 1, 2, 2, 1, 0), [[0, 0, 0], [255, 0, 0], [0, 0, 255]]),
    view = new DataView(png.buffer);
  const chunks: Record<string, Uint8Array> = {};
  for (let at = 8; at < png.length;) {
    const length = view.getUint32(at), name = String.fromCharCode(...png.subarray(at + 4, at + 8));
    chunks[name] = png.subarray(at + 8, at + 8 + length);
    at += length + 12;
  }
  assert.deepEqual(Object.keys(chunks), ["IHDR", "PLTE", "IDAT", "IEND"]);
  assert.deepEqual([...inflateSync(chunks.IDAT)], [0, 0, 1, 2, 0, 2, 1, 0]);
  assert.equal(view.getUint32(png.length - 4), 0xae426082); // CRC-32 of "IEND"
});
