/** Frames as streams, live bursts, clears, and what an encoder makes of channels and of stretches of audio. */
import assert from "node:assert/strict";
import { downmix, MimiModel, resample } from "../mod.ts";
import type { DecoderStats } from "../src/nodes/mod.ts";
import type { NodeEvent, PackedFrame } from "./pages/nodes-streams.ts";
import { inBrowser, type TestBrowser, type TestPage } from "./support/browser.ts";
import { nodesSite, unpack } from "./support/nodes-site.ts";
import { random } from "./support/random.ts";

type Page = TestPage<typeof import("./pages/nodes-streams.ts")>;
const test = inBrowser({ live: true }), FRAME = 1920;
const mini = await MimiModel.fromPretrained("mini");

async function open(browser: TestBrowser, isolated: boolean): Promise<Page> {
  const { url } = await browser.serve(await nodesSite("nodes-streams"), { isolated });
  const page: Page = await browser.open<typeof import("./pages/nodes-streams.ts")>(url);
  await page.call("load", "/mini/");
  return page;
}

const floats = (track: string) => new Float32Array(unpack(track));

/** Frames that follow each other are those of the audio from the first one's timestamp on. */
async function assertCodes(frames: PackedFrame[], audio: Float32Array, rate: number, from: number): Promise<void> {
  const start = Math.round(frames[0].timestamp * rate / 1e6) - from;
  const input = resample(audio.subarray(start), rate, 24000),
    codebooks = new Uint16Array(unpack(frames[0].codes)).length;
  const { audioCodes: { data } } = await mini.encode(input.subarray(0, frames.length * FRAME), {
    numQuantizers: codebooks,
  });
  frames.forEach(({ codes, index }, t) => {
    assert.equal(index, frames[0].index + t);
    const expected = Array.from({ length: codebooks }, (_, k) => data[k * frames.length + t]);
    assert.deepEqual([...new Uint16Array(unpack(codes))], expected, `frame ${t}`);
  });
}

for (const n of [2, 6]) {
  test(`${n} channels pass through as they are, and are coded as their mix`, async (browser) => {
    const page = await open(browser, n === 2), { seed } = random(`${n} channels`);
    const { from, tracks, frames } = await page.call("channels", n, seed), samples = tracks.map(floats);
    assert.ok(samples[0].some((v) => v !== 0));
    for (let c = 0; c < n; c++) assert.deepEqual(samples[n + c], samples[c], `channel ${c}`);
    await assertCodes(frames, downmix(samples.slice(n)), 24000, from);
  });
}

for (const [sampleRate, isolated] of [[24000, true], [24000, false], [44100, true], [48000, false]] as const) {
  test(`stretches at ${sampleRate} Hz, ${isolated ? "" : "not "}isolated: each begins anew, where it says`, async (browser) => {
    const page = await open(browser, isolated), { seed } = random("stretches");
    const { from, track, stretches } = await page.call("stretches", sampleRate, seed), audio = floats(track);
    for (const [i, frames] of stretches.entries()) {
      await assertCodes(frames.slice(0, -1), audio, sampleRate, from); // the last one's resampler looks ahead
      if (i) assert.ok(frames[0].index > stretches[i - 1].at(-1)!.index, "indices grow");
      if (i) assert.ok(frames[0].timestamp > stretches[i - 1].at(-1)!.timestamp + 80000, "no audio comes twice");
    }
  });
}

test("readers: none gets frames of the one before, and a node that is closed gives what waits", async (browser) => {
  const page = await open(browser, true), { at, first, waiting, rest } = await page.call("readers");
  assert.ok(first >= at - 1, `a frame of ${first}, asked for at ${at}`);
  assert.ok(waiting >= 8, `${waiting} frames wait`);
  assert.ok(rest.length >= waiting, `${rest.length} of ${waiting} frames`);
  rest.forEach((index, i) => assert.equal(index, rest[0] + i));
});

test("a writer that is held back is aborted at once", async (browser) => {
  const page = await open(browser, false), { before, after, bufferedFrames, reason } = await page.call("aborted");
  assert.ok(after < before + 6, `${after - before} of 100 frames were played after that`);
  assert.equal(bufferedFrames, 0);
  assert.equal(reason, "nothing", "the write was done");
});

test("a writer is aborted while its stream is played to its end: no more of it is heard", async (browser) => {
  const page = await open(browser, false), { before, after, bufferedFrames } = await page.call("abortedWhileClosing");
  assert.ok(after < before + 6, `${after - before} of ${36 - before} frames were played after that`);
  assert.equal(bufferedFrames, 0);
});

test("a writer is held back by what waits, whatever came over a connection before", async (browser) => {
  const page = await open(browser, false);
  const never = await page.call("heldBack", 0), before = await page.call("heldBack", 3);
  assert.ok(never.written > 10 && before.written > 10);
  assert.ok(
    before.written <= never.written + 12,
    `${before.written} frames were taken, ${never.written} by a new node`,
  );
});

test("readable.pipeThrough(loss).pipeTo(writable): what comes is played, the pipe ends with its stream", async (browser) => {
  const page = await open(browser, false),
    r = await page.call("piped") as {
      sent: number;
      lost: number;
      stats: DecoderStats;
      ended: number;
      refused: string[];
    };
  assert.ok(r.sent > 12 && r.lost > 6);
  assert.equal(r.stats.receivedFrames, r.sent);
  assert.equal(r.stats.decodedFrames + r.stats.droppedFrames, r.sent);
  assert.equal(r.stats.playedSamples + r.stats.droppedSamples, r.stats.decodedFrames * FRAME);
  assert.equal(r.ended, 2);
  const refused = "MimiRangeError ERR_CODE_OUT_OF_RANGE";
  assert.deepEqual(r.refused, [refused, refused, "nothing"], "a stream that was refused stays so, the next one works");
});

test("live: a burst is shed and told of, a pause is an underrun, every end is told of", async (browser) => {
  const rng = random("burst"), page = await open(browser, true);
  const frames = Array.from({ length: 60 }, () => Array.from({ length: 8 }, () => rng.integer(0, 511)));
  const { stats, bufferedFrames, events, order } = await page.call("burst", frames) as {
    stats: DecoderStats;
    bufferedFrames: number;
    events: NodeEvent[];
    order: number[];
  };
  const told = (type: string) => events.filter((event) => event.type === type);
  assert.equal(stats.receivedFrames, 60 + 3 + 40);
  assert.equal(stats.decodedFrames + stats.droppedFrames, stats.receivedFrames);
  assert.equal(stats.playedSamples + stats.droppedSamples, stats.decodedFrames * FRAME);
  assert.ok(stats.droppedFrames >= 60 - 26, "a live queue is 2 s long");
  const samples = told("overflow").reduce((sum, { duration }) => sum + Math.round(duration! * 24000 / 1e6), 0);
  assert.ok(samples > 0);
  assert.equal(samples, stats.droppedSamples);
  assert.ok(told("underrun").length >= 1);
  assert.equal(told("underrun").length, stats.underruns);
  assert.equal(
    told("underrun").reduce((sum, { duration }) => sum + Math.round(duration! * 24000 / 1e6), 0),
    stats.underrunSamples,
  );
  assert.deepEqual(order, Array.from({ length: 40 }, (_, i) => i));
  assert.equal(told("ended").length, 41);
  assert.equal(bufferedFrames, 0);
});

for (const [sampleRate, isolated] of [[24000, true], [44100, false], [48000, true]] as const) {
  test(`clears in quick succession at ${sampleRate} Hz: figures stay right, the last stream is whole`, async (browser) => {
    const page = await open(browser, isolated),
      r = await page.call("clears", sampleRate) as {
        early: number;
        stats: DecoderStats;
        playedFrames: number;
        bufferedFrames: number;
        last: number;
      };
    assert.equal(r.early, 20, "who waits for an end that is cleared does not wait");
    const { stats } = r, frame = FRAME * sampleRate / 24000;
    assert.equal(stats.receivedFrames, 4 * (1 + 2 + 3 + 4 + 5) + 10);
    assert.equal(stats.decodedFrames + stats.droppedFrames, stats.receivedFrames);
    assert.equal(stats.playedSamples + stats.droppedSamples, stats.decodedFrames * frame);
    assert.equal(r.bufferedFrames, 0);
    if (stats.underruns === 0) assert.ok(Math.abs(r.last - 800000) <= 1, `${r.last} microseconds`);
  });
}
