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
import { WebSocket } from "ws";
import { type ToPage, type ToServer, unpackFrame } from "../examples/token-stream/protocol.ts";
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

/** Starts a server on any free port; `body` gets its address. */
async function withServer(script: string[], body: (address: string) => Promise<void>): Promise<void> {
  const server = spawn(process.execPath, [...flags, ...script], {
    cwd: ROOT,
    env: { ...process.env, PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const [line] = await once(createInterface(server.stdout), "line");
    await body(/http:\S+/.exec(line)![0]);
  } finally {
    server.kill();
    await once(server, "exit");
  }
}

test("voice messages: audio in, codes kept, audio out; what is none is refused", async () => {
  await withServer(["examples/voice-messages/server.ts", join(folder, "messages")], async (address) => {
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
  });
});

test("a server of tokens: frames of speech over a WebSocket, and silence when the listener interrupts", async () => {
  await withServer(["examples/token-stream/server.ts"], async (address) => {
    const socket = new WebSocket(`${address.replace(/^http/, "ws").replace(/\/$/, "")}/tokens`);
    socket.binaryType = "arraybuffer";
    const orders: ToPage[] = [], frames: { answer: number; codes: number[] }[] = [];
    let wanted = (_order: ToPage) => {};
    socket.on("message", (data: ArrayBuffer, binary: boolean) => {
      if (binary) return frames.push(unpackFrame(data));
      const order: ToPage = JSON.parse(new TextDecoder().decode(data));
      orders.push(order);
      wanted(order);
    });
    await once(socket, "open");
    const until = (type: string) =>
      new Promise<void>((resolve) => wanted = (order) => order.type === type ? resolve() : undefined);
    const say = (message: ToServer) => socket.send(JSON.stringify(message));
    say({ type: "play", answer: 1 });
    await until("begin");
    say({ type: "stop" });
    const ended = until("end");
    say({ type: "play", answer: 2 });
    await ended;
    assert.deepEqual(orders.map(({ type, answer }) => [type, answer]), [["begin", 1], ["begin", 2], ["end", 2]]);
    const { data, shape: [, k, n] } = audioCodes, heard = frames.filter(({ answer }) => answer === 2);
    assert.equal(heard.length, 3 * n);
    heard.forEach(({ codes }, t) => assert.deepEqual(codes, Array.from({ length: k }, (_, i) => data[i * n + t % n])));
    socket.send("no JSON");
    const [code] = await once(socket, "close");
    assert.equal(code, 1007);
  });
});
