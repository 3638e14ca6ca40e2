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
    rig.playout.end(rig.source.pushed);
    for (let i = 0; i < 30; i++) rig.run();
    assert.equal(rig.playout.read, rig.source.pushed);
    assert.equal(rig.count("ended"), stream);
    assert.equal(rig.playout.state, "idle");
  }
  assert.equal(rig.playout.counts.underruns, 0);
  assert.equal(rig.playout.counts.played, 3 * (FRAME + 77));
  // Two streams in line before the first is out end one after the other.
  rig.source.push(300);
  rig.playout.end(rig.source.pushed);
  rig.source.push(400);
  rig.playout.end(rig.source.pushed);
  for (let i = 0; i < 10; i++) rig.run();
  assert.equal(rig.count("ended"), 5);
  assert.equal(rig.playout.read, rig.source.pushed);
});

test("an end that nothing comes before, or that comes after everything was played", () => {
  const rig = new Rig();
  rig.playout.end(0);
  rig.run();
  assert.deepEqual(rig.events, [{ type: "ended", at: 0 }]);
  rig.source.push(FRAME);
  for (let i = 0; i < 40; i++) rig.run(); // runs dry
  assert.equal(rig.playout.counts.underruns, 1);
  rig.playout.end(FRAME);
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
  rig.playout.clear(480);
  rig.source.push(FRAME); // still of the old stream: the task did not know yet
  for (let i = 0; i < 10; i++) rig.run();
  rig.playout.cleared(rig.source.pushed);
  assert.ok(rig.out.slice(before, before + 470).every((v) => v > 0));
  assert.ok(rig.out.slice(before + 480).every((v) => v === 0));
  const begin = rig.source.pushed;
  rig.source.push(3 * FRAME);
  rig.playout.end(rig.source.pushed);
  for (let i = 0; i < 60; i++) rig.run();
  assert.equal(rig.count("ended"), 1, "the cleared stream has no end");
  const fresh = rig.out.slice(before + 480).filter((v) => v > 0);
  assert.equal(fresh.length, 3 * FRAME - 1, "all of it, down to 0");
  assert.equal(fresh[FADE], begin + FADE + 1);
  assert.equal(rig.playout.read, rig.source.pushed);
});

test("clear while nothing plays, twice, and of a stream whose end is known", () => {
  const rig = new Rig({ mode: "playback" });
  rig.playout.clear(480);
  rig.playout.clear(480);
  rig.playout.cleared(0);
  rig.source.push(5 * FRAME);
  rig.playout.end(rig.source.pushed);
  for (let i = 0; i < 5; i++) rig.run();
  rig.playout.clear(0);
  rig.playout.cleared(rig.source.pushed);
  for (let i = 0; i < 5; i++) rig.run();
  assert.equal(rig.count("ended"), 0);
  assert.equal(rig.playout.state, "idle");
  assert.equal(rig.playout.read, 5 * FRAME);
});

/** Frames that arrive with jitter, in bursts and after stalls; ends and clears between. */
function storm(rng: Random, rig: Rig, quanta: number): void {
  let wait = 0, cleared = false;
  for (let i = 0; i < quanta; i++) {
    while (wait <= 0) {
      rig.source.push(rng.pick([FRAME, FRAME, FRAME, 1, 37, 5 * FRAME, FADE]));
      wait += rng.pick([FRAME, FRAME, FRAME, 0, 4 * FRAME]) * (0.5 + rng.next());
    }
    const quantum = rng.pick([128, 128, 64, 1, 256, 1000]);
    wait -= quantum;
    const action = rng.integer(0, 400);
    if (action === 0) rig.playout.end(rig.source.pushed);
    if (action === 1 && !cleared) {
      rig.playout.clear(rng.pick([0, 1, FADE, 480, 24000]));
      cleared = true;
    } else if (cleared && action < 40) {
      rig.playout.cleared(rig.source.pushed);
      cleared = false;
    }
    rig.run(quantum);
  }
}

test("storms: the books balance whatever happens", () => {
  const rng = random("playout storms");
  for (let round = 0; round < 60; round++) {
    const rig = new Rig({
      mode: rng.pick(["live", "playback"]),
      buffer: rng.integer(0, 3000),
      fade: rng.pick([1, FADE]),
    });
    storm(rng, rig, 1500);
    assertInOrder(rig.out, rig.count("overflow") + rig.count("underrun") + rig.count("playing"));
    const { underrun, underruns } = rig.playout.counts;
    const told = rig.events.filter((e) => e.type === "underrun") as { samples: number }[];
    const sum = told.reduce((n, { samples }) => n + samples, 0);
    if (told.length === underruns) assert.equal(sum, underrun);
    else assert.ok(told.length === underruns - 1 && sum <= underrun, "one dry spell may still last");
  }
});

test("fades: no jump is larger than that of a fade", () => {
  // A constant signal shows every step.
  const rng = random("playout steps");
  for (let round = 0; round < 20; round++) {
    const rig = new Rig({ mode: rng.pick(["live", "playback"]) });
    rig.source.pop = function (into, length, offset = 0) {
      into.fill(1, offset, offset + length);
      this.popped += length;
      return length;
    };
    storm(rng, rig, 800);
    // smooth() is steepest in its middle: 1.5 / length. A shorter rest, or a clear without a fade, is steeper.
    const jumps = rig.out.filter((v, i) => i > 0 && Math.abs(v - rig.out[i - 1]) > 1.5 / FADE * 2 + 1e-6).length;
    const excused = rig.count("ended") + rig.events.length;
    assert.ok(jumps <= 2 * excused + 20, `${jumps} jumps`);
  }
});
