/** Models in workers: the same API with the same results, errors of the same class, and what happens when a worker dies. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { after, test } from "node:test";
import { promisify } from "node:util";
import {
  type AudioCodes,
  EngineError,
  FormatError,
  InvalidStateError,
  LoadError,
  MimiDecoderStream,
  MimiEncoderStream,
  MimiModel,
  MimiRangeError,
  MimiTypeError,
  NotSupportedError,
  type Progress,
  wasm,
} from "../mod.ts";
import { testPath } from "./support/files.ts";
import { random } from "./support/random.ts";

const TINY = testPath("models/tiny-hf"), FRAME = 1920;
const rng = random("engine"), pcm = rng.floats(20 * FRAME + 77, 0.5);
const here = await MimiModel.fromPretrained(TINY), there = await MimiModel.fromPretrained(TINY, { worker: true });
const whole = (await here.encode(pcm)).audioCodes, audio = (await here.decode(whole)).audioValues;
after(() => there.close());

test("the model is described as it is here", () => {
  assert.deepEqual(there.config, here.config);
  assert.equal(there.fingerprint, here.fingerprint);
  assert.equal(there.numQuantizers, here.numQuantizers);
  assert.equal(there.backend, "wasm");
  assert.deepEqual(there.memory.encoder?.weights, here.memory.encoder?.weights);
});

test("encode, decode and forward give the same codes and audio, and leave their arguments alone", async () => {
  const input = pcm.slice(), codes: AudioCodes = { data: whole.data.slice(), shape: whole.shape };
  assert.deepEqual((await there.encode(input)).audioCodes, whole);
  assert.deepEqual((await there.decode(codes)).audioValues, audio);
  assert.deepEqual([input, codes.data], [pcm, whole.data]);
  assert.deepEqual(await there.forward(pcm, { numQuantizers: 3 }), await here.forward(pcm, { numQuantizers: 3 }));
  const batch = { data: rng.floats(3 * 5000), shape: [3, 1, 5000] };
  const paddingMask = [5000, 4000, 1].map((n) => Array.from({ length: 5000 }, (_, i) => i < n));
  assert.deepEqual(await there.encode(batch, { paddingMask }), await here.encode(batch, { paddingMask }));
});

test("streams: random cuts not awaited, snapshots that move between threads", async () => {
  for (let round = 0; round < 4; round++) {
    const parts: Promise<AudioCodes>[] = [];
    let encoder = there.createEncoder();
    for (let at = 0; at < pcm.length;) {
      const end = Math.min(pcm.length, at + rng.integer(1, 9000));
      parts.push(encoder.encode(pcm.subarray(at, end)));
      if (rng.next() < 0.3) {
        const snapshot = await encoder.snapshot();
        encoder.close();
        encoder = rng.pick([here, there]).createEncoder();
        await encoder.restore(snapshot);
      }
      at = end;
    }
    parts.push(encoder.finish());
    const frames = (await Promise.all(parts)).flatMap(({ data, shape: [, k, n] }) =>
      Array.from({ length: n }, (_, t) => Array.from({ length: k }, (_, q) => data[q * n + t]))
    );
    const [, codebooks, n] = whole.shape;
    assert.deepEqual(
      frames,
      Array.from({ length: n }, (_, t) => Array.from({ length: codebooks }, (_, q) => whole.data[q * n + t])),
    );
    encoder.close();
  }
});

test("TransformStreams and pools", async () => {
  const out: Float32Array[] = [];
  await new ReadableStream<Float32Array>({
    start(controller) {
      controller.enqueue(pcm);
      controller.close();
    },
  }).pipeThrough(new MimiEncoderStream(there)).pipeThrough(new MimiDecoderStream(there)).pipeTo(
    new WritableStream({ write: (piece) => void out.push(piece) }),
  );
  assert.deepEqual(Float32Array.from(out.flatMap((piece) => [...piece])), audio.data);
  const pool = there.createPool({ maxStreams: 3 }), encoders = [1, 2, 3].map(() => pool.createEncoder());
  const results = await Promise.all(encoders.map((encoder) => encoder.encode(pcm.subarray(0, 4 * FRAME))));
  const expected = (await here.encode(pcm.subarray(0, 4 * FRAME))).audioCodes;
  for (const result of results) assert.deepEqual(result, expected);
  for (const encoder of encoders) encoder.close();
});

test("this thread goes on while the worker works, and short pieces overtake long ones", async () => {
  const long = rng.floats(400 * FRAME), order: string[] = [];
  let turns = 0;
  const turn = setInterval(() => turns++, 0);
  const encoder = there.createEncoder();
  await Promise.all([
    there.encode(long).then(() => order.push("long")),
    encoder.encode(long.subarray(0, FRAME)).then(() => order.push("short")),
  ]);
  clearInterval(turn);
  encoder.close();
  assert.deepEqual(order, ["short", "long"]);
  assert.ok(turns > 0, "no timer ran while the worker was busy");
});

test("errors keep class, code and message", async () => {
  const load = (source: string, options: Parameters<typeof MimiModel.fromPretrained>[1] = {}) =>
    Promise.all(
      [{}, { worker: true }].map((where) =>
        MimiModel.fromPretrained(source, { ...options, ...where }).then(() => assert.fail("it loaded"), (e) => e)
      ),
    );
  for (
    const [pair, Kind] of [
      [await load("./no-such-folder"), LoadError],
      [await load(testPath("goldens/tiny_one.safetensors")), FormatError],
      [await load(TINY, { config: { hiddenSize: 1000 } }), FormatError],
      [await load(TINY, { numQuantizers: 99 }), MimiRangeError],
      [await load(TINY, { part: "half" as "both" }), MimiTypeError],
      [await load(TINY, { precision: "int4" as "int8" }), NotSupportedError],
    ] as const
  ) {
    const [ours, theirs] = pair;
    assert.ok(ours instanceof Kind, String(ours));
    assert.ok(theirs instanceof Kind, String(theirs));
    assert.deepEqual([theirs.code, theirs.message, theirs.name], [ours.code, ours.message, ours.name]);
  }
  await assert.rejects(there.decode([[1, 70000]]), { code: "ERR_CODE_OUT_OF_RANGE" });
  assert.throws(() => there.createEncoderSync(), NotSupportedError);
});

test("options that cannot be", async () => {
  const wrong = (options: unknown, code: string) =>
    assert.rejects(MimiModel.fromPretrained(TINY, options as { worker: true }), { name: "MimiTypeError", code });
  await wrong({ worker: "yes" }, "ERR_INVALID_ARGUMENT");
  await wrong({ worker: { file: "x" } }, "ERR_INVALID_ARGUMENT");
  await wrong({ worker: { url: "http://" } }, "ERR_INVALID_ARGUMENT");
  await wrong({ worker: { url: 5 } }, "ERR_INVALID_ARGUMENT");
  await wrong({ worker: { blob: "no" } }, "ERR_INVALID_ARGUMENT");
  await wrong({ worker: true, backend: wasm() }, "ERR_INVALID_ARGUMENT");
});

test("a worker that does not start", async () => {
  const url = new URL("./no-such-worker.js", import.meta.url);
  await assert.rejects(MimiModel.fromPretrained(TINY, { worker: { url } }), (error: EngineError) => {
    assert.ok(error instanceof EngineError);
    assert.equal(error.code, "ERR_WORKER");
    assert.match(error.message, /^the worker did not start: file:.*no-such-worker\.js: /);
    return true;
  });
});

test("a worker that dies: what waits fails, what comes later too, and it says why", async () => {
  const url = new URL("./support/dying-worker.mjs", import.meta.url);
  const model = await MimiModel.fromPretrained(TINY, { worker: { url } });
  const decoder = model.createDecoder(), frames = (n: number) => Array.from({ length: 4 }, () => Array(n).fill(1));
  assert.equal((await decoder.decode(frames(2))).audioValues.shape[2], 2 * FRAME);
  const dead = (error: EngineError) => {
    assert.ok(error instanceof EngineError, String(error));
    assert.equal(error.code, "ERR_WORKER");
    assert.match(error.message, /^the worker ended: .*dying-worker\.mjs: .*thirteen is too many/);
    return true;
  };
  const waits = [decoder.decode(frames(13)), model.encode(pcm)];
  for (const wait of waits) await assert.rejects(wait, dead);
  await assert.rejects(decoder.decode(frames(1)), dead);
  await assert.rejects(model.encode(pcm), dead);
  decoder.close();
  model.close();
  await assert.rejects(model.encode(pcm), InvalidStateError);
});

test("closing ends the worker: what waits fails", async () => {
  const model = await MimiModel.fromPretrained(TINY, { worker: true }), waits = model.encode(rng.floats(200 * FRAME));
  const rejected = assert.rejects(waits, { code: "ERR_INVALID_STATE", message: "encode: the model is closed." });
  model.close();
  model.close();
  await rejected;
  await assert.rejects(model.encode(pcm), { code: "ERR_INVALID_STATE" });
  assert.throws(() => model.createEncoder(), { code: "ERR_INVALID_STATE" });
});

test("progress, and a load that is aborted", async () => {
  const controller = new AbortController(), seen: Progress[] = [];
  const server = createServer((request, response) => {
    if (request.url!.endsWith("config.json")) response.end(JSON.stringify(here.config.toJSON()));
    else response.writeHead(200, { "content-length": 1e6 }).write(Buffer.alloc(1000)); // and no more
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model/`;
  const loading = MimiModel.fromPretrained(address, {
    worker: true,
    signal: controller.signal,
    onProgress(progress) {
      seen.push(progress);
      if (progress.file.endsWith(".safetensors")) controller.abort(new Error("enough"));
    },
  });
  await assert.rejects(loading, { message: "enough" });
  const { length } = JSON.stringify(here.config.toJSON());
  assert.deepEqual(seen.at(-1), { file: "model.safetensors", loaded: length + 1000, total: length + 1e6 });
  await assert.rejects(
    MimiModel.fromPretrained(TINY, { worker: true, signal: AbortSignal.abort() }),
    { name: "AbortError" },
  );
  const mine = new Error("mine");
  for (const worker of [false, true]) {
    const failing = MimiModel.fromPretrained(address, {
      worker,
      onProgress() {
        throw mine;
      },
    });
    await assert.rejects(failing, (error) => error === mine, "what the callback throws ends the load");
  }
  server.closeAllConnections();
  server.close();
});

test("a start that is aborted: of a worker that says nothing, and at any moment", async () => {
  const silent = new URL("data:text/javascript,setInterval(() => {}, 1000)"), reason = new Error("enough");
  for (const [milliseconds, worker] of [[100, { url: silent }], [0, true], [1, true], [10, true]] as const) {
    const controller = new AbortController();
    const loading = MimiModel.fromPretrained(TINY, { worker, signal: controller.signal });
    setTimeout(() => controller.abort(reason), milliseconds);
    await assert.rejects(loading, (error) => error === reason, `${milliseconds} ms`);
  }
});

// Deno and Bun start scripts in other ways; that their threads do not hold a program is seen by this file's end.
const node = !process.versions.bun && !(process.versions as { deno?: string }).deno;
test(
  `a program that forgets to close ends all the same${node ? "" : " (skipped: Node only)"}`,
  { skip: !node },
  async () => {
    const script = `
    import { MimiModel } from ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};
    const model = await MimiModel.fromPretrained(${JSON.stringify(TINY)}, { worker: true });
    const { audioCodes } = await model.encode(new Float32Array(5000));
    console.log(audioCodes.shape.join());`;
    const { stdout } = await promisify(execFile)(process.execPath, [
      "--import",
      "tsx",
      "--input-type=module",
      "--eval",
      script,
    ], { timeout: 60000 });
    assert.equal(stdout.trim(), "1,4,3");
  },
);
