/** What an encoder node takes from its input: the mix, frame by frame, and what happens when the worker is too slow. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { downmix } from "../mod.ts";
import { Capture, type CaptureOptions } from "../src/nodes/capture.ts";
import type { FromCapture } from "../src/nodes/messages.ts";
import { random } from "./support/random.ts";

/** A ring of any size. */
class Ring {
  readonly samples: number[] = [];
  push(samples: Float32Array, length: number): number {
    this.samples.push(...samples.subarray(0, length));
    return length;
  }
  pop(into: Float32Array, length: number): number {
    into.set(this.samples.splice(0, length));
    return length;
  }
}

function rig(options: Partial<CaptureOptions> = {}): { capture: Capture; ring: Ring; told: FromCapture[] } {
  const ring = new Ring(), told: FromCapture[] = [];
  const capture = new Capture({
    ring,
    shared: true,
    capacity: 48000,
    frame: 1920,
    lookahead: 0,
    post: (message) => told.push(message),
    ...options,
  });
  return { capture, ring, told };
}

const audioOf = (told: FromCapture[]) => told.filter((m) => m.type === "audio");

test("nothing is taken before someone listens, nothing after", () => {
  const { capture, ring, told } = rig(), quantum = [new Float32Array(128).fill(1)];
  capture.take(quantum, 128, 0, 8);
  assert.deepEqual([told, ring.samples], [[], []]);
  capture.listen(true);
  capture.take(quantum, 128, 128, 8);
  assert.deepEqual(told, [{ type: "start", at: 128, skip: 0 }]);
  assert.equal(ring.samples.length, 128);
  capture.listen(false);
  capture.take(quantum, 128, 256, 8);
  assert.equal(ring.samples.length, 128);
  capture.listen(true);
  capture.take(quantum, 128, 512, 8);
  assert.deepEqual(told[1], { type: "start", at: 512, skip: 128 });
});

test("channels are mixed as downmix() does; what is no number becomes 0 and is counted; no input is silence", () => {
  const rng = random("capture mix");
  for (const channels of [1, 2, 3, 4, 5, 6, 8]) {
    const { capture, ring, told } = rig({ frame: 128 }),
      input = Array.from({ length: channels }, () => rng.floats(128));
    const expected = downmix(input);
    capture.listen(true);
    capture.take(input, 128, 0, 8);
    assert.deepEqual(Float32Array.from(ring.samples), expected);
    input[0][5] = NaN;
    input[0][6] = -Infinity;
    input[0][7] = 2e9;
    capture.take(input, 128, 128, 8);
    assert.deepEqual(ring.samples.slice(128 + 5, 128 + 8), [0, 0, 0]);
    assert.deepEqual(audioOf(told).map((m) => m.nonFinite), [0, 3]);
  }
  const { capture, ring } = rig();
  capture.listen(true);
  capture.take([], 128, 0, 8);
  assert.deepEqual(ring.samples, Array(128).fill(0));
});

test("a frame's codebooks are those of the quantum in which it begins, for frames of any length", () => {
  const rng = random("capture frames");
  for (
    const [frame, lookahead, quantum] of [[1920, 0, 128], [3528, 120, 128], [3840, 130, 128], [640.5, 64, 100], [
      128,
      0,
      500,
    ]]
  ) {
    const { capture, told } = rig({ frame, lookahead, capacity: Infinity }), values: number[] = [];
    capture.listen(true);
    for (let n = 0; n < 20 * frame; n += quantum) {
      values.push(rng.integer(1, 32));
      capture.take([new Float32Array(quantum)], quantum, n, values[values.length - 1]);
    }
    const quantizers = audioOf(told).flatMap((m) => m.quantizers);
    assert.ok(quantizers.length >= 18);
    quantizers.forEach((k, i) =>
      assert.equal(k, values[Math.floor(Math.ceil(i * frame) / quantum)], `frame ${i} of ${frame}`)
    );
    // Told as soon as a frame and what its resampler needs are there, and not before.
    let whole = 0;
    for (const { written } of audioOf(told)) {
      assert.ok(written >= (whole + 1) * frame + lookahead && written - quantum < (whole + 1) * frame + lookahead);
      while (written >= (whole + 1) * frame + lookahead) whole++;
    }
  }
});

test("without shared memory the same samples are sent", () => {
  const rng = random("capture sent"), shared = rig({ frame: 700 }), sent = rig({ frame: 700, shared: false });
  for (const { capture } of [shared, sent]) capture.listen(true);
  for (let i = 0; i < 70; i++) {
    const input = [rng.floats(128), rng.floats(128)];
    for (const { capture } of [shared, sent]) capture.take(input, 128, i * 128, 8);
  }
  const samples = audioOf(sent.told).flatMap((m) => [...m.samples!]);
  assert.deepEqual(samples, shared.ring.samples.slice(0, samples.length));
  assert.equal(samples.length, audioOf(sent.told).at(-1)!.written);
  assert.deepEqual(audioOf(sent.told).map((m) => m.written), audioOf(shared.told).map((m) => m.written));
});

test("a worker that is too slow: what finds no room is counted, and a new stretch begins when there is room", () => {
  const { capture, ring, told } = rig({ capacity: 4000 }), one = [new Float32Array(128).fill(1)];
  capture.listen(true);
  let at = 0, taken = 0;
  const take = () => {
    const before = ring.samples.length;
    capture.take(one, 128, at, 8);
    at += 128;
    taken += ring.samples.length - before;
  };
  while (ring.samples.length + 128 <= 4000) take();
  assert.equal(taken, 3968);
  for (let i = 0; i < 10; i++) take();
  assert.equal(taken, 3968, "it is full");
  capture.read(1000);
  take();
  assert.equal(taken, 3968, "it waits until there is room for a while");
  capture.read(3968);
  take();
  const lost = told.filter((m) => m.type === "lost"), starts = told.filter((m) => m.type === "start");
  assert.deepEqual(lost, [{ type: "lost", samples: 11 * 128 }]);
  // Of 3968 samples two frames were told; the rest is in front of the new stretch.
  assert.deepEqual(starts, [{ type: "start", at: 0, skip: 0 }, { type: "start", at: at - 128, skip: 3968 - 3840 }]);
  assert.equal(taken + 11 * 128, at, "every sample is taken or lost");
});

/** What a task makes of what it is told: the samples of each stretch. */
class Reader {
  readonly stretches: { at: number; samples: number[] }[] = [];
  #total = 0;
  #read = 0;
  hear({ capture, ring }: ReturnType<typeof rig>, message: FromCapture): void {
    const pop = (n: number) => {
      const samples = new Float32Array(n);
      assert.equal(ring.pop(samples, n), n);
      return samples;
    };
    if (message.type === "start") {
      pop(message.skip);
      this.#total += message.skip;
      this.#read = 0;
      this.stretches.push({ at: message.at, samples: [] });
    } else if (message.type === "audio") {
      const samples = message.samples ?? pop(message.written - this.#read);
      this.#read += samples.length;
      this.#total += samples.length;
      this.stretches.at(-1)!.samples.push(...samples);
      capture.read(this.#total);
    }
  }
}

test("stretches begin where they say, with nothing of those before, however often someone stops and listens", () => {
  const rng = random("capture stretches"), input = rng.floats(400_000);
  for (const shared of [true, false]) {
    for (let round = 0; round < 10; round++) {
      const frame = rng.pick([1920, 3528, 640.5]), lookahead = rng.pick([0, 130]), capacity = 4 * frame;
      const own = rig({ shared, frame, lookahead, capacity }), reader = new Reader(), { capture, told } = own;
      let listening = false, heard = 0, lost = 0;
      for (let at = 0; at < input.length;) {
        const quantum = Math.min(rng.pick([128, 128, 128, 256, 1000]), input.length - at);
        if (rng.next() < 0.01) capture.listen(listening = !listening);
        const late = rng.next() < 0.9; // the task does not listen all the time
        capture.take([input.subarray(at, at + quantum)], quantum, at, 8);
        at += quantum;
        assert.ok(own.ring.samples.length <= capacity, "no more is under way than there is room for");
        while (!late && heard < told.length) reader.hear(own, told[heard++]);
      }
      while (heard < told.length) reader.hear(own, told[heard++]);
      for (const message of told) if (message.type === "lost") lost += message.samples;
      assert.ok(reader.stretches.length > 1);
      for (const { at, samples } of reader.stretches) {
        assert.deepEqual(Float32Array.from(samples), input.slice(at, at + samples.length), `stretch at ${at}`);
      }
      const ends = reader.stretches.map(({ at, samples }) => at + samples.length);
      reader.stretches.slice(1).forEach(({ at }, i) => assert.ok(at >= ends[i], "no sample comes twice"));
      const taken = reader.stretches.reduce((n, { samples }) => n + samples.length, 0);
      assert.ok(taken > 0 && taken + lost <= input.length);
    }
  }
});
