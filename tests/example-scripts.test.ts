/** Scripts and servers among the examples, run by the runtime that runs this test: Node, Deno or Bun. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { MimiModel } from "../mod.ts";
import { fromPCM16, toPCM16 } from "../src/file/mod.ts";
import { TESTS } from "./support/files.ts";

const ROOT = fileURLToPath(new URL("../", TESTS)), SAMPLE = join(ROOT, "models/mini/it-cannot-complete.wav");
const flags = "Deno" in globalThis ? ["run", "-A"] : "Bun" in globalThis ? [] : ["--import", "tsx"];
const folder = await mkdtemp(join(tmpdir(), "mimi-examples-")), mini = await MimiModel.fromPretrained("mini");
const speech = fromPCM16((await readFile(SAMPLE)).subarray(44));
const { audioCodes } = await mini.encode(speech, { numQuantizers: 8 });
after(async () => {
  mini.close();
  await rm(folder, { recursive: true, force: true });
});

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}
const run = (script: string, ...args: string[]) =>
  new Promise<Ended>((resolve) =>
    execFile(
      process.execPath,
      [...flags, script, ...args],
      { cwd: ROOT },
      (error, stdout, stderr) => resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    )
  );

test("tokenize: a folder of recordings to tokens; one that is none does not stop the others", async () => {
  const from = await mkdtemp(join(folder, "in-")), to = join(folder, "tokens");
  await copyFile(SAMPLE, join(from, "b.wav"));
  await writeFile(join(from, "a.wav"), "no audio");
  await writeFile(join(from, "notes.txt"), "not asked for");
  const { code, stdout, stderr } = await run("examples/tokenize/tokenize.ts", from, to);
  assert.deepEqual([code, stdout], [1, "b.wav: 40 frames of 8 tokens\n"]);
  assert.match(stderr, /a\.wav: .*no audio file of a known format/);
  assert.deepEqual(await readdir(to), ["b.jsonl"]);
  const lines = (await readFile(join(to, "b.jsonl"), "utf8")).trimEnd().split("\n"),
    { data, shape: [, k, n] } = audioCodes;
  const frames = Array.from({ length: n }, (_, t) => Array.from({ length: k }, (_, i) => data[i * n + t]));
  assert.deepEqual(lines.map((line) => JSON.parse(line)), frames);
  assert.equal((await run("examples/tokenize/tokenize.ts", from)).code, 2);
});

test("voice messages: audio in, codes kept, audio out; what is none is refused", async () => {
  const server = spawn(process.execPath, [...flags, "examples/voice-messages/server.ts", join(folder, "messages")], {
    cwd: ROOT,
    env: { ...process.env, PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const [line] = await once(createInterface(server.stdout), "line"), address = /http:\S+/.exec(line)![0];
    const post = async (body: Uint8Array<ArrayBuffer> | string) => {
      const response = await fetch(address, { method: "POST", body });
      return { status: response.status, body: await response.json() };
    };
    const { status, body: { id, seconds, bytes } } = await post(new Uint8Array(await readFile(SAMPLE)));
    assert.deepEqual([status, seconds], [201, speech.length / 24000]);
    assert.ok(bytes < 450, `${bytes} bytes for ${seconds} s`);
    const response = await fetch(`${address}/${id}`), wav = new Uint8Array(await response.arrayBuffer());
    assert.deepEqual([response.status, response.headers.get("content-type")], [200, "audio/wav"]);
    const { audioValues } = await mini.decode(audioCodes);
    assert.deepEqual(wav.subarray(44), new Uint8Array(toPCM16(audioValues.data.subarray(0, speech.length))));
    assert.deepEqual((await post("no audio")).status, 400);
    assert.equal((await post("")).status, 400);
    for (const [path, status] of [["/x", 404], ["/../../etc/passwd", 404], ["", 405]] as const) {
      assert.equal((await fetch(`${address}${path}`)).status, status, path);
    }
    assert.deepEqual((await readdir(join(folder, "messages"))).length, 1, "nothing half-done stays");
  } finally {
    server.kill();
    await once(server, "exit");
  }
});
