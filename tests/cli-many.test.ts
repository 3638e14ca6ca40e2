/** The command line with many files: workers, broken files, kills and resuming, manifests and reports, names of outputs. */
import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { after, before, test } from "node:test";
import { readContainer } from "../src/file/container.ts";
import { wavHeader } from "../src/file/wav.ts";
import { fails, jsonLines, mimi, SAMPLE, start, succeeds, textOf } from "./support/cli.ts";
import { testPath } from "./support/files.ts";

const FILES = 200, BROKEN = ["005.wav", "b/150.flac", "b/c/190.mp3"];

let folder = "", corpus = "", reference: Map<string, Uint8Array>;
const at = (name: string) => join(folder, name);

/** 200 files in three folders: stretches of the sample, and some of every other format; three are broken. */
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "mimi-many-"));
  corpus = at("corpus");
  await mkdir(join(corpus, "b/c"), { recursive: true });
  const pcm = (await readFile(SAMPLE)).subarray(44);
  const fixtures = ["speech.flac", "stereo.mp3", "speech.ogg", "stereo.opus", "speech.m4a"];
  for (let i = 0; i < FILES; i++) {
    const place = join(corpus, i < 100 ? "" : i < 180 ? "b" : "b/c", String(i).padStart(3, "0"));
    const fixture = i % 20 === 0 ? fixtures[i / 20 % fixtures.length] : undefined;
    if (fixture) await cp(testPath(`fixtures/${fixture}`), place + fixture.slice(fixture.indexOf(".")));
    else {
      const samples = 5000 + 11 * i, from = 2 * 250 * i;
      await writeFile(`${place}.wav`, [wavHeader(24000, samples), pcm.subarray(from, from + 2 * samples)]);
    }
  }
  await rm(join(corpus, "b/150.wav"));
  await rm(join(corpus, "b/c/190.wav"));
  await writeFile(join(corpus, "005.wav"), (await readFile(SAMPLE)).subarray(0, 3000));
  await writeFile(join(corpus, "b/150.flac"), "");
  await writeFile(join(corpus, "b/c/190.mp3"), "<html>404</html>");
  await writeFile(join(corpus, "README.txt"), "not audio, and not named like it");
  await writeFile(join(corpus, ".hidden.wav"), "nor this");
});
after(async () => await rm(folder, { recursive: true, force: true }));

/** All files below a folder. */
async function filesIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile())
    .map((entry) => relative(path, join(entry.parentPath ?? entry.path, entry.name))).sort();
}

async function contents(path: string): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const name of await filesIn(path)) files.set(name, new Uint8Array(await readFile(join(path, name))));
  return files;
}

const lastLine = (text: string) => text.trimEnd().split("\n").at(-1);

test("200 files, 3 of them broken: 197 outputs, 3 named errors, exit code 1; two jobs make what one makes", async () => {
  const ended = await start(["encode", corpus, "-o", at("two"), "--jobs", "2", "--json", "--report", at("two.jsonl")])
    .ended;
  assert.equal(ended.code, 1);
  const lines = ended.stderr.trimEnd().split("\n");
  assert.equal(lines.length, 4);
  for (const name of BROKEN) assert.ok(lines.some((line) => line.startsWith(`mimi: ${join(corpus, name)}: `)), name);
  assert.equal(lines.at(-1), "mimi: 3 of 200 files failed");

  reference = await contents(at("two"));
  assert.equal(reference.size, FILES - BROKEN.length);
  const inputs = (await filesIn(corpus)).filter((name) => /\.(?!txt)\w+$/.test(name) && !name.startsWith("."));
  assert.deepEqual(
    [...reference.keys()],
    inputs.filter((name) => !BROKEN.includes(name)).map((name) => name.replace(/\.\w+$/, ".mimi")).sort(),
  );
  const report = jsonLines(textOf(ended));
  assert.deepEqual(jsonLines(await readFile(at("two.jsonl"), "utf8")), report);
  assert.deepEqual(report.map(({ input }) => input).sort(), inputs.map((name) => join(corpus, name)).sort());
  for (const line of report) {
    if (line.error) {
      assert.ok(BROKEN.includes(relative(corpus, line.input as string)));
      assert.match((line.error as { code: string }).code, /^ERR_(WAV|AUDIO)$/);
      continue;
    }
    const bytes = reference.get(relative(at("two"), line.output as string))!;
    const { header, blocks } = await readContainer(bytes), found = blocks();
    let end = await found.next();
    while (!end.done) end = await found.next();
    const { samples, frames } = end.value, { codebooks, fingerprint } = header;
    const { input, output } = line,
      common = { seconds: samples / 24000, bytes: bytes.length, warnings: [], resumed: false };
    assert.deepEqual(line, { input, output, samples, frames, codebooks, fingerprint, ...common });
  }

  const one = await mimi("encode", corpus, "-o", at("one"), "--jobs", "1");
  assert.equal(one.code, 1);
  assert.deepEqual(one.stderr.split("\n").sort(), ended.stderr.split("\n").sort());
  assert.deepEqual(await contents(at("one")), reference);
});

for (const signal of ["SIGKILL", "SIGINT"] as const) {
  test(`stopped half-way by ${signal} and resumed: nothing half-written, nothing redone`, async () => {
    const out = at(signal), { child, ended } = start(["encode", corpus, "-o", out, "--jobs", "2"]);
    const finished = async () => (await filesIn(out)).filter((name) => name.endsWith(".mimi"));
    let stopped = false;
    void ended.then(() => stopped = true);
    while ((await finished()).length < 40 && !stopped) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill(signal);
    const end = await ended;
    assert.equal(end.code, signal === "SIGINT" ? 130 : 137);

    const there = await finished(), before = new Map<string, unknown>();
    assert.ok(there.length >= 40 && there.length < reference.size, `${there.length} were done`);
    for (const name of there) {
      assert.deepEqual(new Uint8Array(await readFile(join(out, name))), reference.get(name), name);
      const { ino, mtimeMs } = await stat(join(out, name));
      before.set(name, [ino, mtimeMs]);
    }
    if (signal === "SIGINT") assert.deepEqual(await filesIn(out), there);

    const resumed = await start(["encode", corpus, "-o", out, "--jobs", "2", "--resume", "--json"]).ended;
    assert.equal(resumed.code, 1);
    assert.equal(lastLine(resumed.stderr), "mimi: 3 of 200 files failed");
    assert.deepEqual(await contents(out), reference); // and no temporary files
    for (const [name, identity] of before) {
      const { ino, mtimeMs } = await stat(join(out, name));
      assert.deepEqual([ino, mtimeMs], identity, `${name} was made again`);
    }
    const kept = jsonLines(textOf(resumed)).filter((line) => line.resumed).map(({ output }) =>
      relative(out, output as string)
    );
    assert.deepEqual(kept.sort(), there);
  });
}

test("--resume makes again what is older, cut off, or of other settings", async () => {
  const names = ["000", "001", "002", "003"],
    files = names.map((name) => join(corpus, name === "000" ? "000.flac" : `${name}.wav`));
  const out = at("again"), output = (name: string) => join(out, `${name}.mimi`);
  const resumed = async (...more: string[]) =>
    jsonLines(await succeeds("encode", ...files, "-o", out, "--jobs", "1", "--resume", "--json", ...more))
      .map((line) => line.resumed);
  assert.deepEqual(await resumed(), [false, false, false, false]);
  assert.deepEqual(await resumed(), [true, true, true, true]);
  await writeFile(output("001"), (await readFile(output("001"))).subarray(0, -1));
  await utimes(output("002"), new Date(0), new Date(0));
  await rm(output("003"));
  assert.deepEqual(await resumed(), [true, false, false, false]);
  assert.deepEqual(await resumed("--codebooks", "4"), [false, false, false, false]);
  assert.deepEqual(await resumed("--codebooks", "4", "--jobs", "3"), [true, true, true, true]);
  assert.deepEqual(await resumed("--codebooks", "4", "--format", "npy"), [false, false, false, false]);
  assert.deepEqual(await resumed("--codebooks", "4", "--format", "npy"), [true, true, true, true]);
  const other = testPath("models/tiny-hf");
  assert.deepEqual(await resumed("--codebooks", "4", "--model", other), [false, false, false, false]);
  assert.deepEqual(await resumed("--codebooks", "4"), [false, false, false, false]);

  const decode = async () =>
    jsonLines(await succeeds("decode", out, "-o", at("wavs"), "--resume", "--json", "--jobs", "1").catch(() => ""));
  await Promise.all(names.map((name) => rm(join(out, `${name}.npy`))));
  assert.deepEqual((await decode()).map((line) => line.resumed), [false, false, false, false]);
  assert.deepEqual((await decode()).map((line) => line.resumed), [true, true, true, true]);
  await writeFile(at("wavs/001.wav"), (await readFile(at("wavs/001.wav"))).subarray(0, -2));
  await writeFile(at("wavs/002.wav"), wavHeader(24000, 0));
  assert.deepEqual((await decode()).map((line) => line.resumed), [true, false, false, true]);
});

test("many files decode, with workers too; a damaged one is a warning", async () => {
  const codes = at("codes");
  await mkdir(codes);
  for (const name of ["006", "007", "008", "009"]) {
    await writeFile(join(codes, `${name}.mimi`), reference.get(`${name}.mimi`)!);
  }
  const damaged = new Uint8Array(await readFile(join(codes, "008.mimi")));
  damaged[40] ^= 1;
  await writeFile(join(codes, "008.mimi"), damaged);
  const ended = await start(["decode", codes, "-o", at("audio"), "--jobs", "2"]).ended;
  assert.match(ended.stderr, /^mimi: warning: [^\n]*008\.mimi: [^\n]*\n(mimi: warning: [^\n]*008\.mimi: [^\n]*\n)*$/);
  assert.equal(ended.code, 3);
  assert.deepEqual(await filesIn(at("audio")), ["006.wav", "007.wav", "008.wav", "009.wav"]);
  await succeeds("decode", join(codes, "009.mimi"), at("009.wav"));
  assert.deepEqual(await readFile(at("audio/009.wav")), await readFile(at("009.wav")));
});

test("manifests: outputs where they say, folders made as needed", async () => {
  const inputs = ["001.wav", "b/101.wav", "005.wav"].map((name) => join(corpus, name));
  const lines = inputs.map((input, i) => JSON.stringify({ input, output: at(`made/${i}/x.mimi`), speaker: i }));
  await writeFile(at("in.jsonl"), lines.join("\n\n") + "\n");
  const ended = await mimi("encode", "--manifest", at("in.jsonl"), "--report", at("out.jsonl"), "--jobs", "1");
  assert.equal(ended.code, 1);
  assert.equal(lastLine(ended.stderr), "mimi: 1 of 3 files failed");
  const report = jsonLines(await readFile(at("out.jsonl"), "utf8"));
  assert.deepEqual(report.map(({ output }) => output), [0, 1, 2].map((i) => at(`made/${i}/x.mimi`)));
  assert.deepEqual(new Uint8Array(await readFile(at("made/1/x.mimi"))), reference.get("b/101.mimi"));
  assert.deepEqual(await filesIn(at("made")), ["0/x.mimi", "1/x.mimi"]);

  // The report of encoding names what decoding needs; without outputs, -o says where.
  const done = report.filter((line) => !line.error).map(({ output }, i) =>
    JSON.stringify({ input: output, output: i ? undefined : at("made/back.wav") })
  );
  const piped = await start(
    ["decode", "--manifest", "-", "-o", at("made/rest")],
    new TextEncoder().encode(done.join("\n")),
  ).ended;
  assert.deepEqual([piped.code, piped.stderr], [0, ""]);
  assert.deepEqual((await filesIn(at("made"))).filter((name) => name.endsWith(".wav")), ["back.wav", "rest/x.wav"]);

  const bad: [string, RegExp][] = [
    ["", /the manifest names no files/],
    ['{"input": "a.wav"}\n{"input": 3}', /bad\.jsonl: line 2: expected \{"input"/],
    ["[]", /line 1: expected/],
    ["null", /line 1: expected/],
    ["{", /line 1: not JSON/],
    ['{"input": "a.wav", "output": ""}', /line 1: output is no path/],
    ['{"input": "a.wav", "output": "a.mp3"}', /a\.mp3: the name of an output of encode ends in \.mimi, \.npy/],
    [
      '{"input": "a.wav", "output": "c.mimi"}\n{"input": "b.wav", "output": "./c.mimi"}',
      /a\.wav and b\.wav would both become/,
    ],
  ];
  for (const [text, message] of bad) {
    await writeFile(at("bad.jsonl"), text);
    await fails(2, message, "encode", "--manifest", at("bad.jsonl"), "-o", at("no"));
  }
  await fails(1, /gone\.jsonl: cannot be read/, "encode", "--manifest", at("gone.jsonl"));
});

test("outputs never take each other's place", async () => {
  await mkdir(at("p/q"), { recursive: true });
  for (const name of ["p/x.wav", "p/q/x.wav", "p/x.flac"]) {
    await writeFile(at(name), await readFile(join(corpus, "001.wav")));
  }
  await fails(
    2,
    /p\/x\.wav and .*p\/q\/x\.wav would both become .*x\.mimi; write them to two folders/,
    "encode",
    at("p/x.wav"),
    at("p/q/x.wav"),
    "-o",
    at("no"),
  );
  await fails(2, /p\/x\.flac and .*p\/x\.wav would both become/, "encode", at("p"), "-o", at("no"));
  await fails(2, /2 files cannot become one/, "encode", at("p/x.wav"), at("p/q/x.wav"), "-o", at("no.mimi"));
  await fails(2, /there is nothing to decode in/, "decode", at("p"), "-o", at("no"));
  await fails(2, /what comes from stdin needs the name of a file/, "encode", "-", at("p/x.wav"), "-o", at("no"));
  await writeFile(at("std.jsonl"), '{"input": "a.wav", "output": "-"}\n{"input": "-", "output": "b.mimi"}');
  await fails(
    2,
    /- stands for stdin or stdout, so it cannot be one of several/,
    "encode",
    "--manifest",
    at("std.jsonl"),
  );
  await writeFile(at("p/q/y.mimi"), await readFile(join(corpus, "001.wav"))); // audio by another name
  await fails(2, /would be written over an input/, "encode", at("p/q/y.mimi"), "-o", at("p/q/"));
  const before = await readFile(at("p/x.wav"));
  await fails(
    2,
    /the report .*x\.wav would be written over an input/,
    "encode",
    at("p/x.wav"),
    "-o",
    at("no"),
    "--report",
    at("p/x.wav"),
  );
  assert.deepEqual(await readFile(at("p/x.wav")), before);
  await fails(
    2,
    /the report and .*x\.wav would both become/,
    "encode",
    at("p/x.wav"),
    "-o",
    at("no.mimi"),
    "--report",
    at("no.mimi"),
  );
  const list = JSON.stringify({ input: at("p/x.wav"), output: at("no.mimi") });
  await writeFile(at("list.jsonl"), list);
  await fails(
    2,
    /the report .* would be written over an input/,
    "encode",
    "--manifest",
    at("list.jsonl"),
    "--report",
    at("list.jsonl"),
  );
  assert.equal(await readFile(at("list.jsonl"), "utf8"), list);
  assert.equal(await stat(at("no")).catch(() => undefined), undefined);
  await rm(at("p/x.flac"));
  await succeeds("encode", at("p"), "-o", at("kept"), "--jobs", "1");
  assert.deepEqual(await filesIn(at("kept")), ["q/x.mimi", "x.mimi"]);
});

test("a model that is not there is one error, whatever the number of files and jobs", async () => {
  for (const jobs of ["1", "2"]) {
    const { code, stderr } = await mimi("encode", corpus, "-o", at("no"), "--jobs", jobs, "--model", dirname(corpus));
    assert.match(stderr, /^mimi: [^\n]*config\.json[^\n]*\n$/);
    assert.equal(code, 1);
  }
  assert.equal(await stat(at("no")).catch(() => undefined), undefined);
});
