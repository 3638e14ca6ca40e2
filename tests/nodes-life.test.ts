/** What happens to nodes: reading, automation, playback, interruption, wiring, wrong calls, and death. */
import assert from "node:assert/strict";
import { AudioCodes, MimiModel } from "../mod.ts";
import type { NodeEvent } from "./pages/nodes.ts";
import { inBrowser, type TestBrowser, type TestPage } from "./support/browser.ts";
import { nodesSite, unpack } from "./support/nodes-site.ts";
import { type Random, random } from "./support/random.ts";

type Page = TestPage<typeof import("./pages/nodes.ts")>;
const test = inBrowser({ live: true }), FRAME = 1920, FADE = 121;
const mini = await MimiModel.fromPretrained("mini");

async function page(
  browser: TestBrowser,
  isolated: boolean,
  expected: RegExp[] = [],
): Promise<{ url: string; page: Page }> {
  const { url } = await browser.serve(await nodesSite(), { isolated });
  const page: Page = await browser.open<typeof import("./pages/nodes.ts")>(url, { expected });
  await page.call("load", `${url}/mini/`);
  return { url, page };
}

function frames(rng: Random, n: number): number[][] {
  return Array.from({ length: n }, () => Array.from({ length: 8 }, () => rng.integer(0, 511)));
}

async function decoded(codes: number[][]): Promise<Float32Array> {
  return (await mini.decode(AudioCodes.fromFrames(codes))).audioValues.data;
}

test("readable: nothing before the first read, 2 s at most, nothing after it is cancelled", async (browser) => {
  const { page: p } = await page(browser, true),
    r = await p.call("reading") as {
      before: number;
      first: { index: number; late: number; shape: number[] };
      stats: { frames: number; droppedFrames: number; queuedFrames: number };
      indices: number[];
      times: [number, number][];
      idleAfterCancel: boolean;
    };
  assert.equal(r.before, 0);
  assert.deepEqual(r.first.shape, [1, 8, 1]);
  assert.ok(r.first.late > 0, "a frame comes after its first sample");
  assert.equal(r.stats.queuedFrames, 25);
  assert.ok(r.stats.droppedFrames >= 5);
  assert.equal(r.stats.frames, 1 + r.stats.droppedFrames + r.stats.queuedFrames);
  r.indices.forEach((index, i) => assert.equal(index, 1 + r.stats.droppedFrames + i));
  r.times.forEach(([timestamp, duration], i) => {
    assert.ok(Math.abs(duration - 80000) <= 1);
    if (i) assert.equal(timestamp, r.times[i - 1][0] + r.times[i - 1][1], "frames follow each other");
  });
  assert.ok(r.idleAfterCancel);
});

test("two channels pass through as they are; what is no number is coded as 0 and counted", async (browser) => {
  const { page: p } = await page(browser, true), { tracks, nonFinite } = await p.call("passThrough");
  const [left, right, ...out] = tracks.map((track) => new Float32Array(unpack(track)));
  assert.ok(left.some((v) => Math.abs(v) > 0.4), "the source is heard");
  assert.deepEqual(out, [left, right]);
  // A source may start between two samples; what it plays is interpolated then, and a NaN may be in two samples.
  const nans = right.filter(Number.isNaN).length;
  assert.ok(nans >= 6 && nans <= 12, `${nans} samples are no numbers`);
  assert.equal(nonFinite, nans);
});

for (const sampleRate of [24000, 44100, 48000]) {
  test(`numQuantizers at ${sampleRate} Hz: the value at a frame's first quantum counts`, async (browser) => {
    const { page: p } = await page(browser, sampleRate !== 48000);
    const { change, frames } = await p.call("automation", sampleRate), quantum = 128e6 / sampleRate;
    for (const [timestamp, codebooks] of frames) {
      // A k-rate value is that of the quantum's start.
      const from = Math.floor((timestamp + 1) / quantum) * quantum;
      if (Math.abs(from - change * 1e6) > 1) {
        assert.equal(codebooks, from > change * 1e6 ? 7 : 2, `at ${timestamp} of ${change}`);
      }
    }
    assert.deepEqual(new Set(frames.map(([, codebooks]) => codebooks)), new Set([2, 7]));
  });
}

for (const how of ["enqueue", "writable"] as const) {
  test(`playback by ${how}: all of it, bit for bit, stream after stream`, async (browser) => {
    const rng = random(`playback ${how}`), streams = [frames(rng, 21), frames(rng, 1), frames(rng, 17)];
    const { page: p } = await page(browser, how === "enqueue");
    const r = await p.call("playback", streams, how) as {
      from: number;
      track: string;
      events: NodeEvent[];
      stats: {
        playedSamples: number;
        underruns: number;
        droppedSamples: number;
        receivedFrames: number;
        decodedFrames: number;
      };
      playedFrames: number;
      bufferedFrames: number;
      held: number;
    };
    const track = new Float32Array(unpack(r.track)),
      at = (e: NodeEvent) => Math.round(e.timestamp * 24e3 / 1e6) - r.from;
    const starts = r.events.filter((e) => e.type === "playing").map(at),
      ends = r.events.filter((e) => e.type === "ended").map(at);
    if (r.stats.underruns === 0) {
      assert.deepEqual([starts.length, ends.length], [3, 3]);
      for (const [i, stream] of streams.entries()) {
        const expected = await decoded(stream);
        assert.equal(ends[i] - starts[i], stream.length * FRAME);
        assert.deepEqual(
          track.subarray(starts[i] + FADE, ends[i] - FADE),
          expected.subarray(FADE, expected.length - FADE),
        );
      }
    } else console.log(`${how}: ${r.stats.underruns} underruns, only counted`);
    assert.equal(r.stats.playedSamples, 39 * FRAME);
    assert.deepEqual([r.stats.droppedSamples, r.stats.receivedFrames, r.stats.decodedFrames], [0, 39, 39]);
    assert.deepEqual([r.playedFrames, r.bufferedFrames], [39, 0]);
    if (how === "writable") assert.ok(r.held > 0, "a writer that is ahead is held back");
  });
}

test("clear: silence after the fade, the figures are right, and what follows begins clean", async (browser) => {
  const rng = random("barge-in"),
    first = frames(rng, 40),
    second = frames(rng, 6),
    { page: p } = await page(browser, true);
  const r = await p.call("bargeIn", first, second) as {
    from: number;
    track: string;
    events: NodeEvent[];
    bufferedBefore: number;
    playedFrames: number;
    bufferedFrames: number;
  };
  const track = new Float32Array(unpack(r.track)), at = (e: NodeEvent) => Math.round(e.timestamp * 24e3 / 1e6) - r.from;
  assert.ok(r.bufferedBefore > 20 && r.bufferedBefore < 40, `${r.bufferedBefore} frames waited`);
  assert.equal(r.bufferedFrames, 0);
  assert.ok(r.playedFrames > 5 && r.playedFrames < 20, `${r.playedFrames} frames were heard`);
  const starts = r.events.filter((e) => e.type === "playing").map(at),
    [end] = r.events.filter((e) => e.type === "ended").map(at);
  assert.equal(starts.length, 2);
  const heard = Math.round(r.playedFrames * FRAME),
    [expectedFirst, expectedSecond] = [await decoded(first), await decoded(second)];
  const clearFade = 480 + 1;
  assert.deepEqual(
    track.subarray(starts[0] + FADE, starts[0] + heard - clearFade),
    expectedFirst.subarray(FADE, heard - clearFade),
  );
  assert.ok(track.subarray(starts[0] + heard, starts[1]).every((v) => v === 0));
  assert.equal(end - starts[1], 6 * FRAME);
  assert.deepEqual(track.subarray(starts[1] + FADE, end - FADE), expectedSecond.subarray(FADE, 6 * FRAME - FADE));
});

test("wiring: four pairs on one worker, links undone and made again, suspended and resumed", async (browser) => {
  const { page: p } = await page(browser, true),
    r = await p.call("wiring") as {
      linked: number;
      undone: number;
      still: boolean;
      again: number;
      silent: number;
      stillSilent: boolean;
      slept: boolean;
      awake: number;
      peaks: number[];
      errors: string[];
      stats: { receivedFrames: number; decodedFrames: number; droppedFrames: number }[];
    };
  assert.deepEqual(r.errors, []);
  assert.ok(r.linked > 4 * FRAME, "the linked pair plays");
  assert.ok(r.still, "nothing more is played after the link is undone");
  assert.ok(r.again > r.undone + FRAME, "it plays again");
  assert.ok(r.stillSilent);
  assert.ok(r.slept, "a suspended context plays nothing");
  assert.ok(r.awake > FRAME, "it goes on after that");
  r.peaks.forEach((peak, i) => assert.ok(peak > 0.01, `pair ${i} is heard`));
  for (const { receivedFrames, decodedFrames, droppedFrames } of r.stats) {
    assert.ok(receivedFrames - decodedFrames - droppedFrames <= 2);
  }
});

test("wrong calls, and classes that are made late", async (browser) => {
  const { url, page: p } = await page(browser, false, [/404/]);
  assert.deepEqual(await p.call("refusals", `${url}/tiny/`), {
    unregistered: "InvalidStateError ERR_INVALID_STATE",
    modelHere: "InvalidStateError ERR_INVALID_STATE",
    workletUrl: "MimiTypeError ERR_INVALID_ARGUMENT",
    blob: "MimiTypeError ERR_INVALID_ARGUMENT",
    noModel: "MimiTypeError ERR_INVALID_ARGUMENT",
    quantizers: "MimiRangeError ERR_NUM_QUANTIZERS",
    option: "MimiTypeError ERR_INVALID_ARGUMENT",
    mode: "MimiRangeError ERR_INVALID_ARGUMENT",
    code: "MimiRangeError ERR_CODE_OUT_OF_RANGE",
    codebooks: "MimiRangeError ERR_NUM_QUANTIZERS",
    fingerprint: "InvalidStateError ERR_WRONG_MODEL",
    written: "MimiRangeError ERR_CODE_OUT_OF_RANGE",
    link: "InvalidStateError ERR_WRONG_MODEL",
    second: "InvalidStateError ERR_INVALID_STATE",
    instead: "nothing",
    buffer: "MimiRangeError ERR_OUT_OF_RANGE",
    noEncoder: "InvalidStateError ERR_INVALID_STATE",
    noDecoder: "InvalidStateError ERR_INVALID_STATE",
    fade: "MimiRangeError ERR_OUT_OF_RANGE",
    closedEnqueue: "InvalidStateError ERR_INVALID_STATE",
    closedEnd: "InvalidStateError ERR_INVALID_STATE",
    closedRestart: "InvalidStateError ERR_INVALID_STATE",
    closedAbort: "nothing",
    worklet404: "EngineError ERR_WORKLET",
    lazy: "true",
    extended: "true",
    mono: "1",
    latencies: "0.06,0.9,0.02",
  });
});

for (const isolated of [true, false]) {
  test(`a worker that dies, ${isolated ? "" : "not "}isolated: every node says so, and restart() goes on`, async (browser) => {
    const { page: p } = await page(browser, isolated);
    await p.page.exposeFunction("kill", async () => {
      const [worker] = p.page.workers();
      await worker.evaluate(() => close()).catch(() => {}); // it does not live to answer
    });
    const r = await p.call("death") as {
      before: number;
      dead: number;
      after: number;
      errors: string[][];
      otherErrors: string[];
      refused: string[];
      peak: number;
      encoded: number[];
    };
    for (const errors of [...r.errors, r.otherErrors]) {
      assert.equal(errors.length, 1);
      assert.match(errors[0], /^EngineError ERR_WORKER: the worker ended: .*worker\.js: it was ended\.$/);
    }
    assert.deepEqual(r.refused, ["InvalidStateError ERR_INVALID_STATE", "EngineError ERR_WORKER"]);
    assert.ok(r.before > 4 * FRAME);
    assert.ok(r.after > r.dead + 4 * FRAME, "it plays again");
    assert.ok(r.peak < 1, "no noise");
    assert.deepEqual(r.encoded, [1, mini.numQuantizers, 3]);
    assert.equal(p.page.workers().length, 1, "one worker for all");
  });
}

test("without wasm-unsafe-eval a model in a worker is refused with the reason", async (browser) => {
  const { url } = await browser.serve(await nodesSite(), { csp: "no-wasm" });
  const p: Page = await browser.open<typeof import("./pages/nodes.ts")>(url, {
    expected: [/Content Security Policy|wasm/i],
  });
  await assert.rejects(p.call("load", `${url}/mini/`), { name: "NotSupportedError", message: /wasm-unsafe-eval/ });
});
