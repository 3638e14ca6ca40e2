/** What a decoder node plays from its buffer, on a virtual clock: every sample is accounted for, whatever the arrivals. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Playout, type PlayoutEvent, type PlayoutOptions, type SampleSource } from "../src/nodes/playout.ts";
import { type Random, random } from "./support/random.ts";

const RATE = 24000, FRAME = 1920, FADE = 120;
const OPTIONS: PlayoutOptions = { mode: "live", frame: FRAME, buffer: 1440, maxBuffer: 12000, fade: FADE, rate: RATE };

/** Samples in line; sample n of all that were pushed has the value n + 1, which f32 holds exactly. */
class Source implements SampleSource {
  pushed = 0;
  popped = 0;
  push(n: number): void {
    this.pushed += n;
  }
  available_read(): number {
    return this.pushed - this.popped;
  }
  pop(into: Float32Array, length: number, offset = 0): number {
    assert.ok(length <= this.available_read(), "no more is taken than there is");
    assert.ok(offset + length <= into.length, "it fits");
    for (let i = 0; i < length; i++) into[offset + i] = ++this.popped;
    return length;
  }
}

/** A playout, what it gave, and checks of its books after every quantum. */
class Rig {
  readonly source: Source = new Source();
  readonly events: PlayoutEvent[] = [];
  readonly out: number[] = [];
  readonly playout: Playout;
  constructor(options: Partial<PlayoutOptions> = {}) {
    this.playout = new Playout(this.source, { ...OPTIONS, ...options }, (event) => this.events.push(event));
  }
  /** Orders of the page, in the order of their numbers; `cleared` answers the newest. */
  end(): number {
    this.playout.end(this.source.pushed, ++this.#orders);
    return this.#orders;
  }
  clear(fade: number): void {
    this.playout.clear(fade, ++this.#orders);
  }
  cleared(): void {
    this.playout.cleared(this.source.pushed, this.#orders);
  }
  #orders = 0;
  run(quantum = 128): Float32Array {
    const output = new Float32Array(quantum).fill(NaN);
    this.playout.process(output);
    assert.ok(output.every((v) => v - v === 0), "everything is written");
    this.out.push(...output);
    const { played, underrun, idle, dropped } = this.playout.counts;
    assert.equal(played + underrun + idle, this.out.length, "what goes out is counted once");
    assert.equal(this.playout.read, played + dropped, "what comes in is played or dropped");
    assert.ok(this.source.popped - this.playout.read <= FADE, "only a seam may be in between");
    return output;
  }
  count(type: PlayoutEvent["type"]): number {
    return this.events.filter((event) => event.type === type).length;
  }
}

/** Outside fades a sample that is played is one that came, and they come in order, with gaps only where some were dropped. */
function assertInOrder(out: readonly number[], gaps: number): void {
  let last = 0, seen = 0;
  for (let i = 1; i < out.length; i++) {
    const whole = Number.isInteger(out[i]) && out[i] > 0 && out[i] === out[i - 1] + 1;
    if (!whole) continue;
    assert.ok(out[i] > last, `sample ${i} is ${out[i]} after ${last}`);
    if (last && out[i] !== last + 1 && out[i] > last + 2 * FADE + 2) seen++;
    last = out[i];
  }
  assert.ok(seen <= gaps, `${seen} gaps, ${gaps} known`);
}

test("frames that come evenly: one start, then every sample", () => {
  const rig = new Rig();
  for (let n = 0; n < 20 * FRAME; n += 128) {
    if (n % FRAME === 0) rig.source.push(FRAME);
    rig.run();
  }
  assert.deepEqual(rig.events, [{ type: "playing", at: 1536 }]); // the first quantum at or after 1440 samples
  assert.equal(rig.playout.counts.underrun, 0);
  const heard = rig.out.slice(1536);
  heard.forEach((v, i) => i < FADE ? assert.ok(v <= i + 1) : assert.equal(v, i + 1));
  assert.equal(heard[FADE - 1], FADE, "the fade ends at full level");
});

test("an end: everything is played, the last samples fade, and a new stream begins", () => {
  const rig = new Rig({ mode: "playback" });
  for (let stream = 1; stream <= 3; stream++) {
    rig.source.push(FRAME + 77);
    rig.end();
    for (let i = 0; i < 30; i++) rig.run();
    assert.equal(rig.playout.read, rig.source.pushed);
    assert.equal(rig.count("ended"), stream);
    assert.equal(rig.playout.state, "idle");
  }
  assert.equal(rig.playout.counts.underruns, 0);
  assert.equal(rig.playout.counts.played, 3 * (FRAME + 77));
  // Two streams in line before the first is out end one after the other.
  rig.source.push(300);
  rig.end();
  rig.source.push(400);
  rig.end();
  for (let i = 0; i < 10; i++) rig.run();
  assert.equal(rig.count("ended"), 5);
  assert.equal(rig.playout.read, rig.source.pushed);
});

test("an end that nothing comes before, or that comes after everything was played", () => {
  const rig = new Rig();
  rig.end();
  rig.run();
  assert.deepEqual(rig.events, [{ type: "ended", at: 0, order: 1 }]);
  rig.source.push(FRAME);
  for (let i = 0; i < 40; i++) rig.run(); // runs dry
  assert.equal(rig.playout.counts.underruns, 1);
  rig.end();
  rig.run();
  assert.equal(rig.count("ended"), 2);
  assert.equal(rig.count("underrun"), 1);
});

test("a buffer that runs dry fades out, grows, and gives up after a second", () => {
  const rig = new Rig();
  rig.source.push(FRAME);
  let quanta = 0;
  while (rig.playout.counts.underruns === 0) {
    rig.run();
    quanta++;
  }
  assert.equal(rig.playout.read, FRAME, "all of it was played");
  const heard = rig.out.findLastIndex((v) => v !== 0);
  assert.ok(rig.out[heard] < FRAME * 0.01, "down to nothing");
  assert.equal(rig.playout.buffer, 1440 + 480);
  for (let i = 0; i < RATE / 128 + 2; i++) rig.run();
  assert.equal(rig.playout.state, "idle");
  const [{ samples }] = rig.events.filter((e) => e.type === "underrun") as { samples: number }[];
  assert.equal(rig.playout.counts.underrun, samples);
  assert.ok(samples >= RATE && samples < RATE + 256);
});

test("too much in live mode is left out with a seam; playback plays it all", () => {
  for (const mode of ["live", "playback"] as const) {
    const rig = new Rig({ mode });
    rig.source.push(30 * FRAME);
    for (let i = 0; i < 30 * FRAME / 128 - 4; i++) rig.run();
    const { dropped } = rig.playout.counts;
    if (mode === "playback") assert.equal(dropped, 0);
    else {
      assert.ok(dropped > 25 * FRAME);
      const told = rig.events.filter((e) => e.type === "overflow") as { samples: number }[];
      assert.equal(told.reduce((n, { samples }) => n + samples, 0), dropped);
      assertInOrder(rig.out, told.length);
    }
  }
});

test("a live buffer that is always too full shrinks to what it should be", () => {
  const rig = new Rig();
  rig.source.push(4 * FRAME);
  let next = 0;
  for (let n = 0; n < 60 * RATE; n += 128) {
    if (n >= next) {
      rig.source.push(FRAME);
      next += FRAME;
    }
    rig.run();
  }
  assert.ok(rig.count("overflow") >= 1);
  assert.equal(rig.playout.counts.underruns, 0);
  assert.ok(rig.source.available_read() < 2 * FRAME + 1440 + 480, `${rig.source.available_read()} samples wait`);
});

test("the buffer that grew with an underrun goes back in calm times", () => {
  const rig = new Rig();
  rig.source.push(FRAME);
  for (let i = 0; i < 60; i++) rig.run();
  const grown = rig.playout.buffer;
  assert.ok(grown > 1440);
  for (let n = 0; n < 65 * RATE; n += 128) {
    if (n % FRAME === 0) rig.source.push(FRAME);
    rig.run();
  }
  assert.equal(rig.playout.buffer, 1440);
});

test("clear: a fade, silence, and what comes after is a stream of its own", () => {
  const rig = new Rig({ mode: "playback" });
  rig.source.push(10 * FRAME);
  for (let i = 0; i < 20; i++) rig.run();
  const before = rig.out.length;
  rig.clear(480);
  rig.source.push(FRAME); // still of the old stream: the task did not know yet
  for (let i = 0; i < 10; i++) rig.run();
  rig.cleared();
  assert.ok(rig.out.slice(before, before + 470).every((v) => v > 0));
  assert.ok(rig.out.slice(before + 480).every((v) => v === 0));
  const begin = rig.source.pushed;
  rig.source.push(3 * FRAME);
  rig.end();
  for (let i = 0; i < 60; i++) rig.run();
  assert.equal(rig.count("ended"), 1, "the cleared stream has no end");
  const fresh = rig.out.slice(before + 480).filter((v) => v > 0);
  assert.equal(fresh.length, 3 * FRAME - 1, "all of it, down to 0");
  assert.equal(fresh[FADE], begin + FADE + 1);
  assert.equal(rig.playout.read, rig.source.pushed);
});

test("clear while nothing plays, twice, and of a stream whose end is known", () => {
  const rig = new Rig({ mode: "playback" });
  rig.clear(480);
  rig.clear(480);
  rig.cleared();
  rig.source.push(5 * FRAME);
  rig.end();
  for (let i = 0; i < 5; i++) rig.run();
  rig.clear(0);
  rig.cleared();
  for (let i = 0; i < 5; i++) rig.run();
  assert.equal(rig.count("ended"), 0);
  assert.equal(rig.playout.state, "idle");
  assert.equal(rig.playout.read, 5 * FRAME);
});

test("clear while the buffer runs dry: the fade goes on", () => {
  const rig = new Rig(), level = (n: number) => rig.out[n] / (n - start + 1);
  rig.source.push(FRAME);
  while (rig.playout.state !== "playing") rig.run(8);
  const start = rig.out.findIndex((v) => v > 0);
  while (rig.playout.read < FRAME - FADE / 2) rig.run(8); // half-way through the fade
  rig.clear(480);
  rig.run(FADE);
  rig.cleared();
  for (let n = start + FADE; n < start + FRAME - 1; n++) assert.ok(level(n + 1) <= level(n) + 1e-6, `sample ${n}`);
  assert.equal(rig.playout.counts.underruns, 0, "what was cleared did not run dry");
  assert.equal(rig.playout.state, "idle");
});

test("clear twice with a stream between, answered late or early: what follows is whole, what was cleared is not heard", () => {
  for (const early of [false, true]) {
    const rig = new Rig({ mode: "playback" }), { playout, source } = rig;
    source.push(10 * FRAME);
    for (let i = 0; i < 20; i++) rig.run();
    playout.clear(480, 1);
    source.push(FRAME); // of the first stream, still
    const first = source.pushed;
    for (let i = 0; i < 10; i++) rig.run();
    if (early) playout.cleared(first, 1);
    source.push(FRAME); // a stream that the second order clears
    playout.end(source.pushed, 2);
    const second = source.pushed;
    if (early) {
      playout.cleared(second, 3); // overtakes the order
      playout.clear(480, 3);
    } else {
      playout.clear(480, 3);
      playout.cleared(first, 1);
      for (let i = 0; i < 40; i++) rig.run();
      playout.cleared(second, 3);
    }
    const silence = rig.out.length;
    source.push(2 * FRAME);
    playout.end(source.pushed, 4);
    for (let i = 0; i < 40; i++) rig.run();
    assert.deepEqual(rig.events.filter((e) => e.type === "ended").map(({ order }) => order), [4]);
    const heard = rig.out.slice(silence).filter((v) => v > 0);
    assert.equal(heard.length, 2 * FRAME - 1);
    assert.equal(heard[FADE], second + FADE + 1);
    assert.ok(rig.out.slice(20 * 128 + 480, silence).every((v) => v === 0));
  }
});

/** What a storm is made of. */
interface Weather {
  /** Pieces that frames come in. */
  pieces: readonly number[];
  /** Samples of fades that clears ask for. */
  fades: readonly number[];
  /** Quanta that orders take to the processor at most, each by a way of its own: they may overtake each other. */
  late: number;
}

const WILD: Weather = {
  pieces: [FRAME, FRAME, FRAME, 1, 37, 5 * FRAME, FADE],
  fades: [0, 1, FADE, 480, 24000],
  late: 6,
};

/**
 * Frames that arrive with jitter, in bursts and after stalls; ends and clears between, several under way at a time. Returns
 * the orders to end that were not cleared, and the samples before the last clear.
 */
function storm(
  rng: Random,
  rig: Rig,
  quanta: number,
  { pieces, fades, late }: Weather,
): { ends: number[]; cleared: number } {
  const { playout, source } = rig;
  let wait = 0, order = 0, cleared = 0, ends: number[] = [];
  // What the page tells the processor, and what the task does: each in order, neither knows of the other.
  const page: { at: number; act(): void }[] = [], task: typeof page = [];
  const send = (way: typeof page, now: number, act: () => void) =>
    way.push({ at: Math.max(way.at(-1)?.at ?? 0, now + rng.integer(0, late)), act });
  const deliver = (way: typeof page, now: number) => {
    while (way.length > 0 && way[0].at <= now) way.shift()!.act();
  };
  let i = 0;
  for (; i < quanta; i++) {
    while (wait <= 0) {
      source.push(rng.pick(pieces));
      wait += rng.pick([FRAME, FRAME, FRAME, 0, 4 * FRAME]) * (0.5 + rng.next());
    }
    const quantum = rng.pick([128, 128, 64, 1, 256, 1000]), action = rng.integer(0, 200);
    wait -= quantum;
    if (action <= 1) {
      const number = ++order, total = source.pushed;
      if (action === 0) {
        ends.push(number);
        send(task, i, () => playout.end(total, number));
      } else {
        const fade = rng.pick(fades);
        ends = [];
        cleared = total;
        send(page, i, () => playout.clear(fade, number));
        send(task, i, () => playout.cleared(total, number));
      }
    }
    deliver(page, i);
    deliver(task, i);
    rig.run(quantum);
  }
  deliver(page, i + late);
  deliver(task, i + late);
  const number = ++order;
  ends.push(number);
  playout.end(source.pushed, number);
  do rig.run(); while (playout.state !== "idle" || source.available_read() > 0);
  return { ends, cleared };
}

test("storms: the books balance whatever happens, and every end that was not cleared is told of", () => {
  const rng = random("playout storms");
  for (let round = 0; round < 60; round++) {
    const mode = rng.pick(["live", "playback"] as const);
    const rig = new Rig({ mode, buffer: rng.integer(0, 3000), fade: rng.pick([1, FADE]) });
    const { ends, cleared } = storm(rng, rig, 1500, WILD);
    assertInOrder(rig.out, rig.count("overflow") + rig.count("underrun") + rig.count("playing"));
    const { underrun, underruns, dropped } = rig.playout.counts;
    const told = rig.events.filter((e) => e.type === "underrun") as { samples: number }[];
    assert.equal(told.length, underruns);
    assert.equal(told.reduce((n, { samples }) => n + samples, 0), underrun);
    const ended = rig.events.filter((e) => e.type === "ended").map(({ order }) => order);
    assert.deepEqual(ended.slice(-ends.length), ends);
    assert.equal(rig.playout.read, rig.source.pushed);
    if (mode === "playback") assert.ok(dropped <= cleared, "only what was cleared is dropped");
  }
});

test("fades: no step is larger than that of a fade", () => {
  // A constant signal shows every step. smooth() is steepest in its middle, 1.5 / length; one may rise while another falls.
  const rng = random("playout steps"), most = 2 * 1.5 / FADE + 1e-6;
  for (let round = 0; round < 40; round++) {
    const rig = new Rig({ mode: rng.pick(["live", "playback"]), buffer: rng.integer(0, 3000) });
    rig.source.pop = function (into, length, offset = 0) {
      into.fill(1, offset, offset + length);
      this.popped += length;
      return length;
    };
    storm(rng, rig, 800, { ...WILD, fades: [FADE, 480, 24000], late: 0 });
    assert.ok(rig.events.length > 1, "something happens");
    rig.out.forEach((v, i) => {
      const step = Math.abs(v - (rig.out[i - 1] ?? 0));
      assert.ok(step <= most, `sample ${i}: a step of ${step}`);
    });
  }
});
