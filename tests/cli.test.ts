/** The command line with one file at a time: every command, every format, pipes, damage, wrong usage. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { inflateSync } from "node:zlib";
import { AudioCodes, MimiModel } from "../mod.ts";
import { equalCodes } from "../src/cli/agreement.ts";
import { encodePNG } from "../src/cli/png.ts";
import { Tally } from "../src/cli/progress.ts";
import { fft, spectrogram } from "../src/cli/spectrogram.ts";
import { writeWhole } from "../src/cli/files.ts";
import { parseCall, UsageError } from "../src/cli/usage.ts";
import { VERSION } from "../src/cli/version.ts";
import { formatBlock } from "../src/file/blocks.ts";
import { codesFromSafetensors } from "../src/file/codes-safetensors.ts";
import { checksumOf, formatHeader } from "../src/file/container-header.ts";
import { type ContainerHeader, ContainerWriter, readContainer } from "../src/file/container.ts";
import { codesFromJSONLines } from "../src/file/json-lines.ts";
import { codesFromNpy, codesToNpy } from "../src/file/npy.ts";
import { fromPCM16, toPCM16, wavHeader } from "../src/file/wav.ts";
import { fails, jsonLines, mimi, ROOT, SAMPLE, start, succeeds, textOf } from "./support/cli.ts";
import { testPath } from "./support/files.ts";
import { random } from "./support/random.ts";

const SAMPLES = 75240, FRAMES = 40;

let folder = "", model: MimiModel, codes: AudioCodes;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "mimi-cli-"));
  model = await MimiModel.fromPretrained("mini");
  const pcm = fromPCM16((await readFile(SAMPLE)).subarray(44));
  codes = (await model.encode(pcm, { numQuantizers: 8 })).audioCodes;
});
after(async () => {
  model.close();
  await rm(folder, { recursive: true, force: true });
});
const at = (name: string) => join(folder, name);
const bytesOf = async (path: string) => new Uint8Array(await readFile(path));

function headerOf(fields: Partial<ContainerHeader> = {}): ContainerHeader {
  const { config, fingerprint } = model;
  return { samplingRate: 24000, frameSize: config.frameSize, codebooks: 8, bits: 9, fingerprint, ...fields };
}

/** A file of the sample's codes. */
function container(
  fields: Partial<ContainerHeader> = {},
  { framesPerBlock, of = codes }: { framesPerBlock?: number; of?: AudioCodes } = {},
): Uint8Array {
  const writer = new ContainerWriter(headerOf(fields), { framesPerBlock });
  return Uint8Array.from([...writer.header(), ...writer.write(of), ...writer.finish(SAMPLES)]);
}

test("--precision: the codes and the audio of the library's", async () => {
  const pcm = fromPCM16((await readFile(SAMPLE)).subarray(44)), wav = at("int12.wav"), file = at("int8.mimi");
  using int8 = await MimiModel.fromPretrained("mini", { precision: "int8", part: "encoder", numQuantizers: 8 });
  using int12 = await MimiModel.fromPretrained("mini", { precision: "int12", part: "decoder" });
  await succeeds("encode", SAMPLE, file, "--precision", "int8");
  await succeeds("decode", file, wav, "--precision", "int12");
  const { audioCodes } = await int8.encode(pcm), { audioValues } = await int12.decode(audioCodes);
  assert.notDeepEqual(audioCodes.data, codes.data);
  assert.deepEqual(await bytesOf(file), container({}, { of: audioCodes }));
  assert.deepEqual((await bytesOf(wav)).subarray(44), toPCM16(audioValues.data.subarray(0, SAMPLES)));
});

test("encode and decode: a round trip of the sample, the same as the library's", async () => {
  assert.equal(await succeeds("encode", SAMPLE, at("speech.mimi")), "");
  assert.equal(await succeeds("decode", at("speech.mimi"), at("speech.wav")), "");
  assert.deepEqual(await bytesOf(at("speech.mimi")), container());
  const decoded = await bytesOf(at("speech.wav")), { audioValues } = await model.decode(codes);
  assert.deepEqual(decoded.subarray(0, 44), wavHeader(24000, SAMPLES));
  assert.deepEqual(decoded.subarray(44), toPCM16(audioValues.data.subarray(0, SAMPLES)));
});

test("as a process: exit codes, stdout and stderr", async () => {
  const ended = async (...args: string[]) => {
    const end = await start(args).ended;
    return [end.code, textOf(end), end.stderr];
  };
  assert.deepEqual(await ended("--version"), [0, `${VERSION}\n`, ""]);
  assert.deepEqual(await ended("explode").then(([code, out]) => [code, out]), [2, ""]);
  assert.match(
    String((await ended("encode", at("gone.wav"), at("no.mimi")))[2]),
    /^mimi: [^\n]*gone\.wav: cannot be read[^\n]*\n$/,
  );
  // A decoder that prints keeps quiet.
  const noise = random("mp3"), mp3 = await bytesOf(testPath("fixtures/mono.mp3"));
  await writeFile(at("noise.mp3"), mp3.map((v, i) => i < 64 ? v : noise.integer(0, 254)));
  assert.match(String((await ended("info", at("noise.mp3")))[2]), /^(mimi: [^\n]+\n)?$/);
});

test("encode: --codebooks; an existing file that is named is replaced; an empty recording has no frames", async () => {
  await writeFile(at("two.mimi"), "old");
  await succeeds("encode", SAMPLE, "-o", at("two.mimi"), "--codebooks", "2", "--model", "mini");
  const { header } = await readContainer(await bytesOf(at("two.mimi")));
  assert.deepEqual(header, headerOf({ codebooks: 2 }));
  assert.match(
    await succeeds("info", at("two.mimi")),
    /codes, mimi\)\nduration +3\.13 s .*\nframes +40 .*\ncodebooks +2, 9 bits.*\nbitrate +225 bps\n/,
  );

  await writeFile(at("empty.wav"), wavHeader(24000, 0));
  await succeeds("encode", at("empty.wav"), at("empty.mimi"));
  await succeeds("decode", at("empty.mimi"), at("empty2.wav"));
  assert.deepEqual(await bytesOf(at("empty2.wav")), wavHeader(24000, 0));
});

test("every format of codes: there, back, and as a pipe", async () => {
  const read = {
    npy: async (bytes: Uint8Array) => codesFromNpy(bytes),
    safetensors: async (bytes: Uint8Array) => {
      const { audioCodes, info } = await codesFromSafetensors(bytes);
      assert.deepEqual(info, { ...headerOf(), samples: SAMPLES });
      return audioCodes;
    },
    jsonl: async (bytes: Uint8Array) => {
      const frames: number[][] = [];
      for await (const { data, shape: [, k, n] } of codesFromJSONLines([bytes])) {
        for (let t = 0; t < n; t++) frames.push(Array.from({ length: k }, (_, i) => data[i * n + t]));
      }
      return AudioCodes.fromFrames(frames);
    },
  };
  await writeFile(at("codes.mimi"), container());
  await succeeds("decode", at("codes.mimi"), at("codes.wav"));
  const wav = await bytesOf(at("codes.wav"));
  await Promise.all(
    Object.entries(read).map(async ([format, parse]) => {
      const path = at(`codes.${format}`);
      await succeeds("encode", SAMPLE, path);
      const bytes = await bytesOf(path);
      assert.deepEqual(await parse(bytes), codes);
      await writeFile(at(`${format}.bin`), bytes); // the format is found in the bytes
      await succeeds("decode", at(`${format}.bin`), at(`${format}.wav`));
      const decoded = await bytesOf(at(`${format}.wav`));
      assert.deepEqual(decoded.subarray(44, wav.length), wav.subarray(44));
      // .npy and .jsonl do not know that the last frame is not full.
      assert.equal(decoded.length, 44 + 2 * (format === "safetensors" ? SAMPLES : FRAMES * 1920));
    }),
  );
  const piped = await start(["encode", "-", "--format", "npy"], await bytesOf(SAMPLE)).ended;
  assert.deepEqual([piped.stdout, piped.stderr, piped.code], [await bytesOf(at("codes.npy")), "", 0]);
});

test("pipes carry what files hold, and nothing else is on stdout", async () => {
  await succeeds("encode", SAMPLE, at("pipe.mimi"));
  const encoded = await bytesOf(at("pipe.mimi"));
  for (const args of [["encode", "-"], ["encode", SAMPLE, "-o", "-"]]) {
    const { stdout, stderr, code } = await start(args, await bytesOf(SAMPLE)).ended;
    assert.deepEqual([stdout, stderr, code], [encoded, "", 0]);
  }
  await succeeds("decode", at("pipe.mimi"), at("pipe.wav"));
  const { stdout, code } = await start(["decode", "-"], encoded).ended, wav = await bytesOf(at("pipe.wav"));
  assert.equal(code, 0);
  assert.deepEqual(stdout.subarray(0, 44), wavHeader(24000)); // of unknown length
  assert.deepEqual(stdout.subarray(44), wav.subarray(44));
  // and that is read again
  const again = await start(["encode", "-", at("again.mimi")], stdout).ended;
  assert.equal(again.code, 0, again.stderr);
  await succeeds("encode", at("pipe.wav"), at("again2.mimi"));
  assert.deepEqual(await bytesOf(at("again.mimi")), await bytesOf(at("again2.mimi")));
  const failed = await start(["decode", "-", at("no.wav")], new Uint8Array(9)).ended;
  assert.match(failed.stderr, /^mimi: stdin: no file of codes: [^\n]+\n$/);
});

test("audio of other formats", async () => {
  const bytes = await bytesOf(testPath("fixtures/speech.flac"));
  await succeeds("encode", testPath("fixtures/speech.flac"), at("flac.mimi"));
  const piped = await start(["encode", "-"], bytes).ended;
  assert.deepEqual(piped.stdout, await bytesOf(at("flac.mimi")));
  const pcm = (await bytesOf(SAMPLE)).subarray(44 + 9600, 44 + 33600);
  await writeFile(at("flac.wav"), Uint8Array.from([...wavHeader(24000, 12000), ...pcm]));
  await succeeds("encode", at("flac.wav"), at("wav.mimi"));
  assert.deepEqual(await bytesOf(at("wav.mimi")), piped.stdout);
  assert.match(
    await succeeds("info", testPath("fixtures/stereo.mp3")),
    /audio, mp3\)\nduration +0\.50 s .*\nchannels +2\n/,
  );
});

test("without an output: beside the input, and nothing is replaced", async () => {
  await mkdir(at("beside"));
  await writeFile(at("beside/a.wav"), await bytesOf(SAMPLE));
  await succeeds("encode", at("beside/a.wav"));
  await succeeds("decode", at("beside/a.mimi"));
  assert.deepEqual((await readdir(at("beside"))).sort(), ["a.decoded.wav", "a.mimi", "a.wav"]);
  assert.deepEqual(await bytesOf(at("beside/a.wav")), await bytesOf(SAMPLE));
  await fails(2, /a\.mimi is there already; --resume leaves it out/, "encode", at("beside/a.wav"));
  await fails(2, /a\.decoded\.wav is there already/, "decode", at("beside/a.mimi"));
  await succeeds("encode", at("beside/a.wav"), "--format", "npy");
  assert.deepEqual(codesFromNpy(await bytesOf(at("beside/a.npy"))), codes);
});

test("decode: lost frames are silence, everything stays at its time, the exit code is 3", async () => {
  const whole = container({}, { framesPerBlock: 4 }), blocks = (n: number) => 28 + n * (14 + 36); // 4 frames of 72 bits are 36 bytes
  const damaged = whole.slice();
  damaged[blocks(2) + 20] ^= 1; // frames 8 to 11
  damaged.fill(0, blocks(5), blocks(7)); // frames 20 to 27
  await writeFile(at("damaged.mimi"), damaged);
  const ended = await mimi("decode", at("damaged.mimi"), at("damaged.wav"), "--report", at("damaged.jsonl"));
  assert.equal(ended.code, 3);
  assert.match(
    ended.stderr,
    /^mimi: warning: .*damaged\.mimi: frames 8 to 11 .*\nmimi: warning: .*frames 20 to 27 .*\n$/,
  );
  const audio = fromPCM16((await bytesOf(at("damaged.wav"))).subarray(44)), expected = new Float32Array(SAMPLES);
  for (const [from, to] of [[0, 8], [12, 20], [28, 40]]) {
    const part = new Uint16Array(8 * (to - from));
    for (let k = 0; k < 8; k++) part.set(codes.data.subarray(k * FRAMES + from, k * FRAMES + to), k * (to - from));
    const { audioValues } = await model.decode({ data: part, shape: [1, 8, to - from] });
    expected.set(fromPCM16(toPCM16(audioValues.data)).subarray(0, SAMPLES - from * 1920), from * 1920);
  }
  assert.deepEqual(audio, expected);
  const [{ warnings, samples, frames }] = jsonLines(await readFile(at("damaged.jsonl"), "utf8"));
  assert.deepEqual([samples, frames], [SAMPLES, FRAMES]);
  assert.deepEqual((warnings as { first: number; frames: number }[]).map((w) => [w.first, w.frames]), [[8, 4], [
    20,
    8,
  ]]);

  await writeFile(at("truncated.mimi"), whole.subarray(0, blocks(3) + 7));
  const truncated = await mimi("decode", at("truncated.mimi"), at("truncated.wav"));
  assert.equal(truncated.code, 3);
  assert.match(truncated.stderr, /truncated/);
  assert.equal((await stat(at("truncated.wav"))).size, 44 + 2 * 12 * 1920);

  // The end is there, what was before it is not; and lost frames at the very end.
  await writeFile(at("end.mimi"), Uint8Array.from([...whole.subarray(0, 28), ...whole.subarray(blocks(9))]));
  assert.equal((await mimi("decode", at("end.mimi"), at("end.wav"))).code, 3);
  assert.equal((await stat(at("end.wav"))).size, 44 + 2 * SAMPLES);
  assert.equal((await mimi("info", at("end.mimi"))).code, 0);
  assert.match(await succeeds("info", at("end.mimi")), /damage +1 finding; mimi verify tells them/);
});

test("decode: a few bytes cannot ask for days of silence", async () => {
  const header = formatHeader(headerOf()), last = { first: 2 ** 31, samples: 1920, last: true };
  const block = formatBlock(headerOf(), checksumOf(header), last, codes.data.slice(0, 8));
  await writeFile(at("far.mimi"), Uint8Array.from([...header, ...block]));
  await fails(1, /are lost, more than a WAV file can hold/, "decode", at("far.mimi"), at("far.wav"));
  assert.deepEqual((await readdir(folder)).filter((name) => name.includes("far.wav")), []);
});

test("verify: every damage is listed", async () => {
  const whole = container({}, { framesPerBlock: 4 }),
    cases: [string, Uint8Array, boolean, number][] = [
      ["whole", whole, true, 0],
      ["flipped", whole.map((v, i) => i === 100 ? v ^ 16 : v), false, 4],
      ["cut", whole.subarray(0, whole.length - 1), false, 0],
      ["more", Uint8Array.from([...whole, 0]), false, 0],
    ];
  for (const [name, bytes] of cases) await writeFile(at(`${name}.mimi`), bytes);
  const files = cases.map(([name]) => at(`${name}.mimi`)), ended = await mimi("verify", ...files, "--json");
  assert.equal(ended.code, 1);
  jsonLines(ended.stdout).forEach((line, i) => {
    const [, , whole, lost] = cases[i];
    assert.deepEqual([line.file, line.whole, line.lost], [files[i], whole, lost]);
    assert.equal((line.warnings as unknown[]).length > 0, !whole);
  });
  assert.match(await succeeds("verify", files[0]), /whole\.mimi: whole, 40 frames, 3\.13 s\n$/);
  const text = await mimi("verify", files[1], SAMPLE, at("gone.mimi"));
  assert.equal(text.code, 1);
  assert.match(
    text.stdout,
    /flipped\.mimi: frames 4 to 7 [^\n]+\n.*flipped\.mimi: damaged, 4 of 40 frames are lost, 3\.13 s in all\n$/,
  );
  assert.match(text.stderr, /^mimi: .*not a \.mimi file[^\n]+\nmimi: .*gone\.mimi: cannot be read[^\n]+\n$/);
  const failed = await mimi("verify", SAMPLE, "--json");
  assert.equal((jsonLines(failed.stdout)[0].error as { code: string }).code, "ERR_CONTAINER");
});

test("info: a model, files, JSON", async () => {
  const text = await succeeds("info");
  assert.match(text, /mini/);
  assert.match(text, /512 entries, 9 bits/);
  assert.match(text, /0\.9 kbps with 8 codebooks/);
  assert.match(text, /fingerprint +[0-9a-f]{16}\n/);
  await writeFile(at("info.mimi"), container());
  const lines = jsonLines(
    await succeeds("info", "--json", at("info.mimi"), SAMPLE, testPath("models/tiny-hf/model.safetensors")),
  );
  assert.deepEqual(lines[0], {
    file: at("info.mimi"),
    kind: "codes",
    format: "mimi",
    samples: SAMPLES,
    seconds: SAMPLES / 24000,
    frames: FRAMES,
    ...headerOf(),
    warnings: [],
  });
  assert.deepEqual([lines[1].kind, lines[1].format, lines[1].samples, lines[1].channels], ["audio", "wav", SAMPLES, 1]);
  assert.deepEqual([lines[2].kind, lines[2].codebooks], ["model", 4]);
  await writeFile(at("info.npy"), codesToNpy(codes));
  assert.match(await succeeds("info", at("info.npy")), /npy\)\nframes +40\ncodebooks +8\n$/);
  assert.match(textOf(await start(["info", "-"], container()).ended), /stdin \(codes, mimi\)/);
});

test("demo: writes its files and says where, offline", async () => {
  const text = await succeeds("demo", "--out", at("demo"));
  assert.deepEqual((await readdir(at("demo"))).sort(), ["decoded.wav", "original.wav", "picture.svg", "speech.mimi"]);
  assert.deepEqual(await readFile(at("demo/original.wav")), await readFile(SAMPLE));
  assert.deepEqual(await bytesOf(at("demo/speech.mimi")), container());
  assert.equal((await readFile(at("demo/decoded.wav"))).length, 44 + SAMPLES * 2);
  isPicture(
    await readFile(at("demo/picture.svg"), "utf8"),
    ["Original", "Decoded", "Codes", "semantic", "acoustic"],
    7,
  );
  assert.match(text, /picture\.svg/);
  assert.match(text, /0\.9 kbps/);
  assert.match(text, /times real time/);
});

/** A whole SVG file with these headings and embedded images, without references and without numbers that are none. */
function isPicture(svg: string, words: string[], images: number): void {
  assert.ok(svg.startsWith("<svg ") && svg.endsWith("</svg>\n"));
  assert.equal(svg.match(/ href="data:image\/png;base64,/g)?.length, images);
  const drawn = svg.replace(/ href="data:[^"]*"/g, "");
  assert.deepEqual(drawn.match(/NaN|Infinity|undefined|href/g), null);
  for (const word of words) assert.ok(drawn.includes(`>${word}</`), word);
}

test("plot: audio beside its codes, codes alone", async () => {
  await succeeds("plot", testPath("fixtures/stereo.mp3"), "-o", at("mp3.svg"));
  isPicture(await readFile(at("mp3.svg"), "utf8"), ["stereo.mp3", "Original", "Decoded", "Codes"], 7);
  await writeFile(at("plot.mimi"), container());
  await succeeds("plot", at("plot.mimi"), "-o", at("codes.svg"));
  const svg = await readFile(at("codes.svg"), "utf8");
  isPicture(svg, ["plot.mimi", "Decoded", "Codes"], 5);
  assert.ok(!svg.includes("Original"));
  await writeFile(at("nothing.wav"), wavHeader(24000, 0));
  await fails(1, /nothing\.wav: there is nothing in it to draw/, "plot", at("nothing.wav"), "-o", at("no.svg"));
  await fails(2, /plot takes FILE -o PICTURE\.svg, got -o a\.png/, "plot", SAMPLE, "-o", "a.png");
});

test("help and version", async () => {
  const help = await succeeds("--help");
  for (const name of ["encode", "decode", "info", "verify", "plot", "demo"]) {
    assert.match(help, new RegExp(`\n  mimi ${name} `));
  }
  for (const code of [0, 1, 2, 3, 130]) assert.match(help.slice(help.indexOf("Exit codes")), new RegExp(`\\b${code} `));
  assert.equal(await succeeds("encode", "-h"), help);
  assert.ok(help.split("\n").every((line) => line.length <= 128));
  assert.equal(await succeeds("--version"), `${VERSION}\n`);
  assert.equal(VERSION, JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")).version);
});

test("wrong usage: exit code 2 and a hint", async () => {
  await fails(2, /--json and the output cannot both go to stdout; take --report/, "encode", "-", "--json");
  await fails(2, /no command given; there are encode, .* and demo; see mimi --help\n$/);
  const calls: [RegExp, ...string[]][] = [
    [/unknown command "explode"; there are encode, decode, info, verify, pack, cache, plot and demo/, "explode"],
    [/unknown command "toString"/, "toString"],
    [/encode takes IN\.\.\. \[-o OUT\], got nothing/, "encode"],
    [/decode takes IN\.\.\. \[-o OUT\], got nothing/, "decode"],
    [/verify takes FILE\.mimi\.\.\., or MODEL AUDIO, got nothing/, "verify"],
    [/plot takes FILE/, "plot", "a", "b"],
    [/demo takes no arguments, got x/, "demo", "x"],
    [/demo has no option --model/, "demo", "--model", "mini"],
    [/decode has no option --codebooks/, "decode", "a", "--codebooks", "3"],
    [/--codebooks must be a number from 1, got "many"/, "encode", "a", "--codebooks", "many"],
    [/--codebooks must be a number/, "encode", "a", "--codebooks", "0"],
    [/--jobs must be a number from 1, got "-1"/, "encode", "a", "--jobs=-1"],
    [/--format must be one of mimi, npy, safetensors, jsonl, got "mp3"/, "encode", "a", "--format", "mp3"],
    [/--format is npy, the output is named x\.mimi/, "encode", "a", "x.mimi", "--format", "npy"],
    [/encode takes files or --manifest, got both/, "encode", "a", "--manifest", "b"],
    [/--precision must be one of f32, int12, int8, got "f16"/, "decode", "a", "--precision", "f16"],
    [/--precision must be one of f32, f16, bf16, int12, int8, got "int4"/, "pack", "a", "b", "--precision", "int4"],
    [/--loud/, "info", "--loud"],
  ];
  for (const [message, ...args] of calls) {
    assert.throws(() => parseCall(args), (error) => {
      assert.ok(error instanceof UsageError, args.join(" "));
      assert.match(error.message, message);
      return true;
    });
  }
});

test("the forms of a call", () => {
  const of = (...args: string[]) => {
    const call = parseCall(args);
    assert.ok(call.command === "encode" || call.command === "decode");
    return [call.inputs, call.out];
  };
  assert.deepEqual(of("encode", "a.wav", "b.mimi"), [["a.wav"], "b.mimi"]);
  assert.deepEqual(of("encode", "a.wav", "b.NPY"), [["a.wav"], "b.NPY"]);
  assert.deepEqual(of("encode", "a.wav", "b.wav"), [["a.wav", "b.wav"], undefined]);
  assert.deepEqual(of("encode", "a.wav", "b.mimi", "-o", "c"), [["a.wav", "b.mimi"], "c"]);
  assert.deepEqual(of("decode", "a.mimi", "b.wav"), [["a.mimi"], "b.wav"]);
  assert.deepEqual(of("decode", "a.mimi", "b.mimi"), [["a.mimi", "b.mimi"], undefined]);
  assert.deepEqual(of("decode", "-"), [["-"], "-"]);
  assert.deepEqual(of("encode", "-", "b.jsonl"), [["-"], "b.jsonl"]);
  assert.deepEqual(of("encode", "-", "-"), [["-"], "-"]);
});

test("missing files and models", async () => {
  await writeFile(at("file"), "");
  const calls: [RegExp, ...string[]][] = [
    [/gone\.wav: cannot be read \(ENOENT/, "encode", at("gone.wav"), at("no.mimi")],
    [/gone\.mimi: cannot be read/, "decode", at("gone.mimi"), at("no.wav")],
    [/gone\.mimi: cannot be read/, "info", at("gone.mimi")],
    [/gone\.flac: cannot be read/, "info", at("gone.flac")],
    [/cannot be written/, "encode", SAMPLE, at("file/below.mimi")],
    [/config\.json/, "encode", SAMPLE, at("no.mimi"), "--model", at("gone")],
    [/from 1 to 32, got 33/, "encode", SAMPLE, at("no.mimi"), "--codebooks", "33"],
    [/cannot be written/, "demo", "--out", join(SAMPLE, "below-a-file")],
    [/cannot be written/, "encode", SAMPLE, at("no.mimi"), "--report", join(SAMPLE, "below-a-file")],
  ];
  for (const [message, ...args] of calls) await fails(1, message, ...args);
  await assert.rejects(() => writeWhole(folder, () => Promise.resolve()), /it is there and no regular file/);
  await assert.rejects(readFile(at("no.mimi")));
});

test("decode: codes of another model are refused", async () => {
  await writeFile(at("mine.mimi"), container());
  await fails(1, /fingerprint/, "decode", at("mine.mimi"), at("no.wav"), "--model", testPath("models/tiny-hf"));
  const changed = async (fields: Partial<ContainerHeader>) => {
    const writer = new ContainerWriter(headerOf(fields));
    await writeFile(at("other.mimi"), Uint8Array.from([...writer.header(), ...writer.finish(0)]));
    return ["decode", at("other.mimi"), at("no.wav")];
  };
  await fails(
    1,
    /fingerprint 0000000000000000; this one has/,
    ...await changed({ fingerprint: "0000000000000000" }),
  );
  await fails(1, /frame size is 1919/, ...await changed({ frameSize: 1919 }));
  await fails(1, /33 codebooks/, ...await changed({ codebooks: 33 }));
  await writeFile(at("large.jsonl"), "[1, 2, 3]\n[1, 2, 512]\n");
  await fails(1, /large\.jsonl: .*code 512 at row 0, codebook 2/, "decode", at("large.jsonl"), at("no.wav"));
  await writeFile(at("batch.npy"), codesToNpy({ data: new Uint16Array(8), shape: [2, 2, 2] }));
  await fails(1, /batch\.npy: it holds a batch of 2/, "decode", at("batch.npy"), at("no.wav"));
  await assert.rejects(readFile(at("no.wav")));
});

test("outputs do not appear when their making fails half-way", async () => {
  const out = await mkdtemp(at("half-")), wav = await readFile(SAMPLE);
  await writeFile(at("cut.wav"), wav.subarray(0, 140000));
  await fails(1, /cut off: its audio has 139956 of 150480 bytes/, "encode", at("cut.wav"), join(out, "cut.mimi"));
  await writeFile(at("bad.jsonl"), "[1, 2]\n[3, 4]\n[5]\n");
  await fails(1, /bad\.jsonl: line 3: /, "decode", at("bad.jsonl"), join(out, "bad.wav"));
  const nan = Uint8Array.from([...wavHeader(24000, 3), 0, 0, 192, 127, 0, 0]);
  nan.set([3, 0, 1, 0, 192, 93, 0, 0, 0, 119, 1, 0, 4, 0, 32, 0], 20); // 32 bit float
  nan.set([4, 0, 0, 0], 40);
  await writeFile(at("nan.wav"), nan);
  await fails(1, /nan\.wav: .*sample 0 is NaN/, "encode", at("nan.wav"), join(out, "nan.mimi"));
  assert.deepEqual(await readdir(out), []);
});

test("a reader of stdout that goes away is an error of one line", async () => {
  const { child, ended } = start(["decode", "-"], container());
  child.stdout!.destroy();
  const { code, stderr } = await ended;
  assert.match(stderr, /^mimi: [^\n]*stdout: cannot be written[^\n]*\n$/);
  assert.equal(code, 1);
});

test("interrupted while stdin is silent: exit code 130 or 143, nothing is left", async () => {
  const out = await mkdtemp(at("stop-"));
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    const { child, ended } = start(["encode", "-", join(out, "a.mimi")], "open");
    child.stdin!.write((await readFile(SAMPLE)).subarray(0, 40000));
    while ((await readdir(out)).length === 0) await new Promise((resolve) => setTimeout(resolve, 10)); // it writes
    process.kill(child.pid!, signal); // child.kill() of Deno closes its stdin as well
    const end = await ended;
    assert.deepEqual([end.code, end.stderr], [code, ""]);
    assert.deepEqual(await readdir(out), []);
  }
});

test("progress: bytes weigh, what was there does not count as work", () => {
  const tally = new Tally("encode", [1000, 3000, 0], 5000);
  assert.equal(tally.line(5000), "encode [                              ] 0 %, 0 of 3 files");
  tally.update(0, { bytes: 500, seconds: 20 });
  assert.match(tally.line(7000), /^encode \[#{4} {26}\] 12 %, 0 of 3 files, 10\.0 x real time, 14\.00 s left$/);
  tally.end(0, 40);
  tally.update(1, { bytes: 1000, seconds: 40 });
  assert.match(tally.line(9000), /\] 50 %, 1 of 3 files, 20\.0 x real time, 4\.00 s left$/);
  tally.end(1, 0);
  assert.match(tally.line(9000), /\] 100 %, 2 of 3 files, 10\.0 x real time, 0\.00 s left$/);
  assert.equal(new Tally("encode", [0], 0).line(0), "encode 0.00 s");
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

test("--backend: the same codes from another backend, and what there is", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mimi-backend-"));
  try {
    for (const backend of ["wasm", "native"]) {
      await succeeds("encode", SAMPLE, "-o", join(folder, `${backend}.jsonl`), "--backend", backend);
    }
    const [ours, theirs] = await Promise.all(["wasm", "native"].map(async (b) => {
      const frames: unknown[] = jsonLines(await readFile(join(folder, `${b}.jsonl`), "utf8"));
      return AudioCodes.fromFrames(frames as number[][]);
    }));
    assert.deepEqual(ours.shape, theirs.shape);
    // Two entries that are nearly as near may change places: the margin rule of goldens.test.ts.
    assert.ok(equalCodes(ours, theirs) >= 0.99);
    await fails(
      2,
      /--backend must be one of wasm, native, onnx-wasm, auto, got "tpu"/,
      "encode",
      SAMPLE,
      "--backend",
      "tpu",
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
