/** The resampler: what it does to frequencies, exact lengths and times, the same bits for every cut and in every runtime. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { isMimiError, resample, Resampler, type ResamplerOptions, ResamplerStream } from "../mod.ts";
import { libsamplerateConverter } from "./support/libsamplerate.ts";
import { type Random, random } from "./support/random.ts";
import { type Convert, dB, gcd, impulseResponse, type Response, sineResponse } from "./support/response.ts";

/** What is promised. */
const MOST_RIPPLE = 0.1, LEAST_REJECTION = 95;
/** Samples of the lower rate in which the answer to an impulse dies away: ours, and libsamplerate's with room. */
const WIDTH = 130, PEER_WIDTH = 400;

const MODEL_RATE = 24000, RATES = [8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000];
const PAIRS: [from: number, to: number][] = RATES.flatMap((rate) => [[rate, MODEL_RATE], [MODEL_RATE, rate]]);
/** Ratios without a small whole-number form, whose phases are interpolated; some are no whole numbers of Hz. */
const ODD_PAIRS: [from: number, to: number][] = [
  [44101, 24000],
  [24000, 44101],
  [44100 / 1.001, 24000],
  [24000, 96001.5],
  [192000, 23999],
];

const ours = (from: number, to: number): Convert => (pcm) => resample(pcm, from, to);
const show = ({ ripple, rejection }: Omit<Response, "gain">) =>
  `ripple ${ripple.toFixed(5)} dB, aliases and images ${(-rejection).toFixed(1)} dB`;

test("impulses: ripple, aliases and images", () => {
  for (const [from, to] of PAIRS) {
    const response = impulseResponse(ours(from, to), from, to, WIDTH), name = `${from} -> ${to}`;
    console.log(`${name}: ${show(response)}`);
    assert.ok(Math.abs(response.gain - 1) < 1e-6, `${name}: gain ${response.gain}`);
    assert.ok(response.ripple <= MOST_RIPPLE, `${name}: ${show(response)}`);
    assert.ok(response.rejection >= LEAST_REJECTION, `${name}: ${show(response)}`);
  }
});

test("the same measurement of libsamplerate, for comparison", async () => {
  for (const [from, to] of [[48000, 24000], [44100, 24000], [24000, 48000], [16000, 24000]]) {
    for (const quality of ["best", "medium"] as const) {
      const response = impulseResponse(await libsamplerateConverter(from, to, quality), from, to, PEER_WIDTH);
      console.log(`${from} -> ${to}, libsamplerate ${quality}: ${show(response)}`);
      // Of the peer only what shows that the measurement sees it at all.
      assert.ok(Math.abs(response.gain - 1) < 1e-4 && response.rejection > 60, show(response));
    }
  }
});

test("sines: ripple, aliases and images, also between phases", () => {
  const rng = random("frequencies");
  for (const [from, to] of [[48000, 24000] as const, [24000, 44100] as const, ...ODD_PAIRS]) {
    const low = Math.min(from, to), beyond = from / low;
    const passed = [0.01, 0.9, ...Array.from({ length: 5 }, () => 0.02 + 0.88 * rng.next())];
    const stopped = beyond > 1 ? [1.0001, ...Array.from({ length: 4 }, () => 1 + (beyond - 1) * rng.next())] : [];
    const response = sineResponse(ours(from, to), from, to, [...passed, ...stopped], WIDTH / low);
    const name = `${from} -> ${to}`;
    console.log(`${name}: ${show(response)}`);
    assert.ok(response.ripple <= MOST_RIPPLE, `${name}: ${show(response)}`);
    assert.ok(response.rejection >= LEAST_REJECTION, `${name}: ${show(response)}`);
  }
});

test("interpolated phases are those of the exact table within -110 dB", () => {
  const rng = random("noise"), noise = rng.floats(6000);
  for (const [from, to] of [[44100, 24000], [24000, 44100], [16000, 24000], [192000, 24000]]) {
    // So little faster that the times of the samples are the same, yet no ratio of small numbers.
    const exact = resample(noise, from, to), between = resample(noise, from, to + 2 ** -20);
    const level = dB(distance(between, exact) / distance(exact));
    console.log(`${from} -> ${to}: ${level.toFixed(1)} dB`);
    assert.ok(level < -110, `${from} -> ${to}: ${level} dB`);
    assert.notDeepEqual(between, exact, "the second one was to be interpolated");
  }
});

test("a band-limited signal comes out as libsamplerate's", async () => {
  const rng = random("tones");
  for (const [from, to] of [[48000, 24000], [44100, 24000], [24000, 48000], [16000, 24000]]) {
    const tones = Array.from(
      { length: 20 },
      () => [0.85 * rng.next() * Math.PI * Math.min(from, to) / from, rng.next()],
    );
    const pcm = Float32Array.from(
      { length: 20000 },
      (_, n) => tones.reduce((sum, [omega, phase]) => sum + 0.04 * Math.sin(omega * n + 2 * Math.PI * phase), 0),
    );
    const mine = resample(pcm, from, to), theirs = (await libsamplerateConverter(from, to, "best"))(pcm);
    // Its first output sample lies at time 0 as well, so nothing is to be shifted; the ends differ by their filters.
    const edge = Math.ceil(PEER_WIDTH * to / Math.min(from, to)),
      inner = (a: Float32Array) => a.subarray(edge, mine.length - edge);
    const level = dB(distance(inner(mine), inner(theirs)) / distance(inner(theirs)));
    console.log(`${from} -> ${to}: the difference is at ${level.toFixed(1)} dB`);
    assert.ok(Math.abs(theirs.length - mine.length) <= 1);
    assert.ok(level < -95, `${from} -> ${to}: ${level} dB`);
  }
});

test("lengths are exact for any n and rates", () => {
  const rng = random("lengths");
  for (let round = 0; round < 300; round++) {
    const { from, to } = anyRates(rng), n = rng.integer(0, 1500);
    assert.equal(resample(rng.floats(n), from, to).length, outputs(n, from, to), `${n} samples, ${from} -> ${to}`);
  }
});

test("any cut gives the samples of the whole, and delay says when", () => {
  const rng = random("cuts");
  for (let round = 0; round < 60; round++) {
    const { from, to } = anyRates(rng), pcm = rng.floats(rng.integer(0, 9000)), whole = resample(pcm, from, to);
    const resampler = new Resampler({ from, to }),
      out = new Float32Array(whole.length),
      most = rng.pick([1, 40, 700, 6000]);
    let at = 0, done = 0;
    const take = (part: Float32Array) => {
      out.set(part, done);
      done += part.length;
    };
    while (at < pcm.length) {
      const end = Math.min(pcm.length, at + rng.integer(0, most)), piece = pcm.slice(at, end);
      take(resampler.process(piece));
      piece.fill(9);
      at = end;
      assert.equal(done, outputs(Math.max(0, at - resampler.delay), from, to), `${at} samples, ${from} -> ${to}`);
    }
    take(resampler.finish());
    assert.deepEqual(out, whole, `${from} -> ${to}, pieces up to ${most}`);
    assert.equal(done, whole.length);
  }
});

test("finish and reset begin a new stream", () => {
  const rng = random("again"), pcm = rng.floats(3000);
  for (const [from, to] of [[48000, 24000], [24000, 44100], [44101, 24000], [24000, 24000]]) {
    const resampler = new Resampler({ from, to }), whole = resample(pcm, from, to);
    for (const end of [() => resampler.finish(), () => resampler.reset()]) {
      resampler.process(rng.floats(1234));
      end();
      assert.deepEqual(join([resampler.process(pcm), resampler.finish()]), whole);
    }
    assert.equal(resampler.finish().length, 0);
  }
});

test("an impulse comes out at its own time, symmetric", () => {
  for (const [from, to] of [...PAIRS, [44101, 24000]]) {
    const divisor = gcd(from, to), low = Math.min(from, to), reach = Math.floor(64 * to / low);
    // A time at which both rates have a sample, later than the filter is long.
    const periods = Math.ceil(WIDTH * divisor / low), n = periods * from / divisor, middle = periods * to / divisor;
    const pcm = new Float32Array(2 * n);
    pcm[n] = 1;
    const out = resample(pcm, from, to), name = `${from} -> ${to}`;
    assert.ok(out.every((v) => v <= out[middle]), `${name}: the peak is elsewhere`);
    for (let k = 1; k <= reach; k++) assert.equal(out[middle + k], out[middle - k], `${name}: ${k} from the peak`);
    assert.ok(out.every((v, k) => v === 0 || Math.abs(k - middle) <= reach), `${name}: sound before or after`);
  }
});

test("delay is half the filter: 64 samples of the lower rate", () => {
  for (
    const [from, to, delay] of [[48000, 24000, 128], [192000, 24000, 512], [24000, 48000, 64], [44100, 24000, 118]]
  ) {
    assert.equal(new Resampler({ from, to }).delay, delay);
  }
  assert.equal(new Resampler({ from: 24000, to: 24000 }).delay, 0);
});

test("a long stream never drifts: each period has the bits of the first", () => {
  const rng = random("periods");
  // 44101 Hz meets 24000 Hz once a second, 44100.5 Hz every two. What repeats for them repeats at the output, and as a
  // stream holds nothing but its last samples and its place between two, one equal period stands for all that follow.
  for (const [from, to, seconds] of [[44101, 24000, 1], [44100.5, 24000, 2], [24000, 11025, 1]]) {
    const resampler = new Resampler({ from, to }), period = rng.floats(from * seconds);
    resampler.process(period);
    const first = resampler.process(period);
    assert.equal(first.length, to * seconds);
    for (let i = 0; i < 12; i++) assert.deepEqual(resampler.process(period), first, `${from} -> ${to}, period ${i}`);
  }
});

test("equal rates change no bit", () => {
  const rng = random("identity"), pcm = rng.floats(5000);
  pcm.set([-0, 1e-45, 3.4e38]);
  for (const rate of [1, 24000, 44100 / 1.001]) {
    const out = resample(pcm, rate, rate);
    assert.deepEqual(new Uint8Array(out.buffer), new Uint8Array(pcm.buffer));
    assert.notEqual(out, pcm);
  }
});

test("a constant stays that constant", () => {
  for (const [from, to] of [...PAIRS, ...ODD_PAIRS]) {
    const skip = Math.ceil(WIDTH * to / Math.min(from, to)), n = Math.ceil(2 * WIDTH * from / Math.min(from, to)) + 500;
    const out = resample(new Float32Array(n).fill(0.5), from, to).subarray(skip, -skip);
    assert.ok(out.length > 0 && out.every((v) => Math.abs(v - 0.5) < 1e-7), `${from} -> ${to}`);
  }
});

test("ResamplerStream gives the samples of the whole", async () => {
  const rng = random("stream"), pcm = rng.floats(20000), parts: Float32Array[] = [];
  const source = new ReadableStream<Float32Array>({
    start(to) {
      for (let at = 0; at < pcm.length; at += 480) to.enqueue(pcm.slice(at, at + 480));
      to.close();
    },
  });
  const reader = source.pipeThrough(new ResamplerStream({ from: 44100, to: 24000 })).getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) parts.push(next.value);
  assert.ok(parts.every((part) => part.length > 0));
  assert.deepEqual(join(parts), resample(pcm, 44100, 24000));
});

test("the same bits in every runtime", () => {
  const noise = random("signal", 20261124).floats(4000), hash = createHash("sha256");
  for (const [from, to] of [...PAIRS, ...ODD_PAIRS]) hash.update(new Uint8Array(resample(noise, from, to).buffer));
  assert.equal(
    hash.digest("hex"),
    EXPECTED_HASH,
    "samples have other bits than in the runtimes where this was recorded",
  );
});

test("wrong calls name what was wrong and leave the stream as it was", () => {
  const any = (value: unknown) => value as ResamplerOptions, pcm = new Float32Array(100);
  const make = (options: unknown) => () => new Resampler(any(options));
  const resampler = new Resampler({ from: 48000, to: 24000 }), part = resampler.process(pcm.fill(0.25));
  const cases: [call: () => unknown, code: string, message: RegExp][] = [
    [make(undefined), "ERR_INVALID_ARGUMENT", /from must be a sampling rate in Hz, got undefined/],
    [make(null), "ERR_INVALID_ARGUMENT", /options must be an object, got null/],
    [make(48000), "ERR_INVALID_ARGUMENT", /options must be an object, got 48000/],
    [make({ from: 48000 }), "ERR_INVALID_ARGUMENT", /to must be a sampling rate in Hz, got undefined/],
    [make({ from: "48000", to: 24000 }), "ERR_INVALID_ARGUMENT", /from must be .* got "48000"/],
    [make({ from: 48000, to: 24000, quality: 1 }), "ERR_INVALID_ARGUMENT", /"quality".*from, to/],
    [make({ from: NaN, to: 24000 }), "ERR_SAMPLING_RATE", /from must be from 1 to 10000000 Hz, got NaN/],
    [make({ from: 48000, to: Infinity }), "ERR_SAMPLING_RATE", /to must be .* got Infinity/],
    [make({ from: 0, to: 24000 }), "ERR_SAMPLING_RATE", /from .* got 0/],
    [make({ from: 48000, to: -24000 }), "ERR_SAMPLING_RATE", /to .* got -24000/],
    [make({ from: 24000 * 257, to: 24000 }), "ERR_SAMPLING_RATE", /at most 256 times apart, got 6168000 and 24000/],
    [() => resample(pcm, 24000, any(undefined) as never), "ERR_INVALID_ARGUMENT", /to must be/],
    [() => resample(any([1, 2]) as never, 48000, 24000), "ERR_INVALID_ARGUMENT", /pcm .* got Array\(2\)/],
    [
      () => resampler.process(any(new Float64Array(3)) as never),
      "ERR_INVALID_ARGUMENT",
      /pcm .* got Float64Array\(3\)/,
    ],
    [() => resampler.process(Float32Array.of(1, NaN)), "ERR_NOT_FINITE", /sample 1 is NaN/],
    [() => resample(Float32Array.of(-Infinity), 24000, 24000), "ERR_NOT_FINITE", /sample 0 is -Infinity/],
    [() => new ResamplerStream({ from: 0, to: 24000 }), "ERR_SAMPLING_RATE", /from .* got 0/],
  ];
  for (const [call, code, message] of cases) {
    assert.throws(call, (error) => {
      assert.ok(isMimiError(error), String(error));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.deepEqual(join([part, resampler.finish()]), resample(pcm, 48000, 24000));
});

/** Rates of every kind: usual, whole, no whole number of Hz, far apart, the same. */
function anyRates(rng: Random): ResamplerOptions {
  const kind = rng.integer(0, 9), usual = () => rng.pick([...RATES, MODEL_RATE]);
  if (kind < 4) return { from: usual(), to: usual() };
  if (kind < 6) return { from: rng.integer(8000, 50000), to: rng.integer(8000, 50000) };
  if (kind < 8) return { from: 8000 + 40000 * rng.next(), to: usual() };
  if (kind < 9) return { from: rng.integer(1, 20), to: rng.integer(1, 20) };
  return { from: usual(), to: usual() / rng.integer(1, 10) };
}

/** ceil(n to / from), with rates in the units of 2^-28 Hz in which they are taken. */
function outputs(n: number, from: number, to: number): number {
  const units = (rate: number) => BigInt(Math.round(rate * 2 ** 28));
  return Number((BigInt(n) * units(to) + units(from) - 1n) / units(from));
}

function join(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Root of the mean square of a, or of a - b, as far as both go. */
function distance(a: Float32Array, b: Float32Array = new Float32Array(a.length)): number {
  const n = Math.min(a.length, b.length);
  let sum = 0;
  for (let i = 0; i < n; i++) sum += (a[i] - b[i]) ** 2;
  return Math.sqrt(sum / n);
}

/** Recorded in Node; Deno, Bun and any other engine or machine must give the same. */
const EXPECTED_HASH: string = "1940052982e7f3d18da07cab61a3d749c49082ddfa683b8d9c5faec8174ba74d";
