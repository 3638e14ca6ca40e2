/** Calls over bad networks on a virtual clock: what is sent is played or accounted for, soon and smoothly. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AudioCodes, InvalidStateError, isMimiError, MimiModel, NotSupportedError } from "../mod.ts";
import {
  adapt,
  VoiceActivity,
  VoiceReceiver,
  type VoiceReceiverOptions,
  type VoiceReceiverStats,
  type VoiceReport,
  VoiceSender,
  type VoiceSenderOptions,
} from "../src/rtc/mod.ts";
import { concatFloats } from "../src/core/tensor.ts";
import { formatHello } from "../src/rtc/packets.ts";
import { stretch } from "../src/rtc/stretch.ts";
import { Timeline, type VoiceDecoder } from "../src/rtc/timeline.ts";
import { decodeClean, framesOf, hear, hearSimply, sentence } from "./support/loss.ts";
import {
  changingJitter,
  constantDelay,
  exponentialJitter,
  gilbert,
  handover,
  type Network,
  noLoss,
  randomLoss,
  runCall,
  stalls,
} from "./support/network.ts";
import { melDistance, stoi } from "./support/quality.ts";
import { type Random, random } from "./support/random.ts";
import { CODEBOOKS, MIMI, numbered, numberOf, SilentDecoder, STEP, THIN, ToneDecoder } from "./support/voice.ts";

interface Talk {
  network: Network;
  frames: number;
  drift?: number;
  quantum?: number;
  sender?: VoiceSenderOptions;
  receiver?: Omit<VoiceReceiverOptions, "decoder">;
  model?: typeof MIMI;
  decoder?: VoiceDecoder;
  /** Whether somebody speaks in a frame. */
  speaks?(frame: number): boolean;
  /** What the sender does with a report. */
  onReport?(report: VoiceReport, sender: VoiceSender): void;
}

interface Result {
  stats: VoiceReceiverStats;
  audio: Float32Array[];
  /** Delay and its target after each second, seconds. */
  delays: { time: number; delay: number; target: number }[];
  /** Packets and bytes sent, hellos aside. */
  packets: number;
  bytes: number;
  /** Times at which each frame was first there, less those at which it was sent. */
  offsets: number[];
}

/** A call whose books are checked with every pull. */
function talk(rng: Random, { network, frames, drift, quantum, model = THIN, ...options }: Talk): Result {
  const { decoder = new SilentDecoder(() => {}, model), speaks = () => true } = options;
  const sender = new VoiceSender(model, options.sender),
    receiver = new VoiceReceiver(model, { decoder, ...options.receiver });
  const result: Result = {
    stats: receiver.stats,
    audio: [],
    delays: [],
    packets: 0,
    bytes: 0,
    offsets: [],
  };
  let out = 0, second = 0;
  runCall({
    model,
    network,
    rng,
    frames,
    drift,
    quantum: quantum ?? model.config.frameSize / 4,
    send(frame, time) {
      const packets = sender.send(numbered(frame), time, { active: speaks(frame), level: speaks(frame) ? -20 : -60 });
      const own = packets.filter((packet) => (packet[0] & 7) !== 0);
      result.packets += own.length;
      result.bytes += own.reduce((n, { length }) => n + length, 0);
      return packets;
    },
    push(bytes, time) {
      receiver.push(bytes, time);
      const answer = receiver.answer();
      if (answer) sender.receive(answer, time);
      // First come, whether by itself or again in a later packet.
      if ((bytes[0] & 7) !== 3) return;
      for (let age = 0; age <= bytes[5] >> 5; age++) {
        const frame = Math.round(out / model.config.frameSize / 65536) * 65536 + bytes[2] + 256 * bytes[3] - age;
        result.offsets[frame] ??= time - frame * STEP;
      }
    },
    pull(n, time) {
      result.audio.push(receiver.pull(n, time));
      out += n;
      if (time < second) return;
      second++;
      const { samples: { removed, waiting, ...made }, delay, targetDelay } = receiver.stats;
      assert.equal(
        Object.values(made).reduce((a, b) => a + b) - removed - waiting,
        out,
        "every sample is accounted for",
      );
      result.delays.push({ time, delay, target: targetDelay });
      const report = receiver.report(time);
      const heard = report && sender.receive(report, time + 0.03);
      if (heard) options.onReport?.(heard, sender);
    },
  });
  result.stats = receiver.stats;
  return result;
}

/** Whether two pieces of audio are the same, bit for bit. (A failing `deepEqual` of them would take minutes to explain.) */
const same = (a: Float32Array, b: Float32Array) => a.length === b.length && a.every((v, i) => v === b[i]);

const total = (counts: Record<string, number>) => Object.values(counts).reduce((a, b) => a + b);
const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;

const NETWORKS: Record<string, (rng: Random) => Network> = {
  "nothing lost": () => ({ loss: noLoss, delay: constantDelay(0.05) }),
  ...Object.fromEntries([0.05, 0.2, 0.5].map((share) => [
    `${share * 100} % lost`,
    (rng: Random) => ({ loss: randomLoss(rng, share), delay: constantDelay(0.05) }),
  ])),
  ...Object.fromEntries([1, 3, 8].map((burst) => [
    `15 % lost in bursts of ${burst}`,
    (rng: Random) => ({ loss: gilbert(rng, 0.15, burst), delay: exponentialJitter(rng, 0.03, 0.005) }),
  ])),
  "jitter of 20 ms": (rng) => ({ loss: noLoss, delay: exponentialJitter(rng, 0.05, 0.02) }),
  "jitter that comes and goes": (rng) => ({ loss: noLoss, delay: changingJitter(rng, 0.05, 0.003, 0.04) }),
  "packets out of order and twice": (rng) => ({
    loss: randomLoss(rng, 0.02),
    delay: exponentialJitter(rng, 0.02, 0.08),
    doubled: 0.2,
  }),
  "stalls": (rng) => ({ loss: noLoss, delay: stalls(rng, 0.05, 20, 0.3) }),
  "long stalls": (rng) => ({ loss: noLoss, delay: stalls(rng, 0.05, 30, 4) }),
  "a slower path, then a faster one": (rng) => ({
    loss: randomLoss(rng, 0.01),
    delay: handover(100, handover(40, constantDelay(0.02), constantDelay(0.25)), constantDelay(0.04)),
  }),
};

for (const [name, make] of Object.entries(NETWORKS)) {
  test(`${name}: every frame and every sample is accounted for, in order`, () => {
    const rng = random(name), heard: number[] = [];
    for (const redundancy of [0, 2]) {
      heard.length = 0;
      const decoder = new SilentDecoder((codes) => codes.shape[1] === CODEBOOKS && heard.push(numberOf(codes)));
      const frames = 2500, { stats } = talk(rng, { network: make(rng), frames, sender: { redundancy }, decoder });
      for (let i = 1; i < heard.length; i++) assert.ok(heard[i] > heard[i - 1], `${heard[i]} after ${heard[i - 1]}`);
      const { received, recovered, concealed, skipped, silent } = stats.frames;
      assert.equal(received + recovered, heard.length, "what is decoded is counted");
      const last = heard[0] + total(stats.frames) - 1; // concealed behind the end, until it fades
      assert.ok(
        last >= heard.at(-1)! && last <= heard.at(-1)! + 20,
        `${last} of ${heard.at(-1)}; ${JSON.stringify(stats)}`,
      );
      assert.equal(silent, 0);
      const { expected, lost, bursts } = stats.network;
      assert.ok(lost <= expected && bursts <= lost && expected <= frames, JSON.stringify(stats.network));
      assert.ok(stats.packets.taken >= expected - lost, JSON.stringify(stats));
      console.log(
        `${name}, redundancy ${redundancy}: ${received} + ${recovered} frames exact, ${concealed} concealed, ${skipped} skipped; ` +
          `${Math.round(1000 * stats.delay)} ms of buffer`,
      );
    }
  });
}

test("the delay is near the smallest that would do", () => {
  const rng = random("delays");
  for (
    const name of [
      "nothing lost",
      "20 % lost",
      "jitter of 20 ms",
      "15 % lost in bursts of 3",
      "packets out of order and twice",
    ]
  ) {
    for (const redundancy of [0, 2]) {
      const late = 0.002, frames = 6000, quantum = THIN.config.frameSize / 6;
      const { delays, offsets, stats } = talk(rng, {
        network: NETWORKS[name](rng),
        frames,
        quantum,
        sender: { redundancy },
        receiver: { late },
      });
      // The best constant delay for the whole trace, had it been known.
      const known = offsets.filter((v) => v !== undefined).sort((a, b) => a - b);
      const best = known[Math.ceil(known.length * (1 - late)) - 1] - known[0],
        span = quantum / THIN.config.samplingRate;
      const used = mean(delays.filter(({ time }) => time > 30 && time < frames * STEP - 5).map(({ delay }) => delay));
      console.log(
        `${name}, redundancy ${redundancy}: ${(1000 * used).toFixed(0)} ms, at best ${
          (1000 * (best + span)).toFixed(0)
        } ms`,
      );
      assert.ok(used <= best + span + 0.06, `${used} s, ${best} s would do`);
      assert.ok(used >= 0.9 * (best + span) - 0.01, `${used} s, ${best} s are needed`);
      assert.ok(stats.late.frames <= frames * 0.01, `${stats.late.frames} late`);
    }
  }
});

test("20 % of packets lost, redundancy 2: at least 99 % of frames are exact", () => {
  const rng = random("20 %"), frames = 100_000;
  const { stats, delays } = talk(rng, {
    network: { loss: randomLoss(rng, 0.2), delay: constantDelay(0.05) },
    frames,
    sender: { redundancy: 2 },
  });
  const { received, recovered } = stats.frames, exact = (received + recovered) / frames;
  const added = mean(delays.slice(-100).map(({ delay }) => delay));
  console.log(`${(100 * exact).toFixed(2)} % exact (99.20 % come at all), ${(1000 * added).toFixed(0)} ms of buffer`);
  assert.ok(exact >= 0.99);
});

for (const drift of [2e-4, -2e-4]) {
  test(`clocks ${drift * 1e6} ppm apart for two hours: nothing grows, nothing runs dry`, () => {
    const rng = random(`drift ${drift}`), frames = 2 * 3600 / STEP;
    const { stats, delays } = talk(rng, {
      network: { loss: noLoss, delay: exponentialJitter(rng, 0.05, 0.002) },
      frames,
      drift,
    });
    const { samplingRate } = THIN.config, { samples, late } = stats;
    assert.ok(delays.slice(10).every(({ delay, target }) => delay < target + 0.06 && delay > -0.02));
    // The drift is what stretching made up for.
    const stretched = (samples.removed - samples.inserted) / samplingRate;
    assert.ok(Math.abs(stretched - drift * 7200) < 0.15, `${stretched} s of ${drift * 7200} s`);
    assert.ok(late.frames < frames * 0.004, `${late.frames} late`);
    console.log(
      `${stretched.toFixed(3)} s left out; at the end ${(1000 * delays.at(-1)!.delay).toFixed(0)} ms of buffer`,
    );
  });
}

test("an outage of a minute, and a sender that begins anew", () => {
  const rng = random("outage");
  const out = talk(rng, {
    network: { loss: noLoss, delay: (time) => (time > 20 && time < 80 ? 1e3 : 0.05) },
    frames: 2000,
  });
  // Those of the outage come after everything else, too late to be believed.
  assert.ok(out.stats.frames.received > 1200 - 8, JSON.stringify(out.stats.frames));
  assert.ok(out.stats.packets.stray + out.stats.packets.duplicate > 0);

  const receiver = new VoiceReceiver(THIN, { decoder: new SilentDecoder() });
  for (const stream of [3, 4]) {
    const sender = new VoiceSender(THIN, { stream });
    for (let n = 0; n < 50; n++) {
      const time = stream * 100 + n * STEP;
      for (const packet of sender.send(numbered(n), time)) receiver.push(packet, time);
      receiver.pull(THIN.config.frameSize, time);
    }
    for (const packet of new VoiceSender(THIN, { stream: 9 }).send(numbered(0), 0).slice(1)) receiver.push(packet, 0);
  }
  assert.equal(receiver.stats.packets.foreign, 2);
  assert.ok(receiver.stats.frames.received >= 90);
});

test("nothing clicks: a tone has no step that is not its own", () => {
  const own = ToneDecoder.PEAK * 2 * Math.PI * ToneDecoder.HZ / MIMI.config.samplingRate;
  for (const [name, make] of Object.entries(NETWORKS)) {
    const rng = random(`clicks, ${name}`);
    const { audio, stats } = talk(rng, {
      network: make(rng),
      frames: 200,
      model: MIMI,
      decoder: new ToneDecoder(),
      sender: { redundancy: 1 },
      speaks: (frame) => frame % 50 < 40,
    });
    let last = 0, largest = 0;
    for (const v of concatFloats(audio)) {
      largest = Math.max(largest, Math.abs(v - last));
      last = v;
    }
    // Comfort noise of up to -36 dB and the smoothing of a seam add to it; a click would be some ten times as large.
    assert.ok(largest < 2.5 * own, `${name}: a step of ${largest}, the tone's own is ${own}`);
    assert.ok(stats.samples.decoded > 0 && stats.samples.noise > 0);
  }
});

test("stretching: length as asked, ends as they were, nothing but the audio's own waveform", () => {
  const rng = random("stretch");
  for (let i = 0; i < 200; i++) {
    const hz = rng.integer(90, 300), rate = 24000, n = rng.pick([1920, 960, 4000]);
    const pcm = Float32Array.from({ length: n }, (_, t) => 0.4 * Math.sin(2 * Math.PI * hz * t / rate));
    const change = rng.integer(-2000, 2000), out = stretch(pcm, { change, rate, urgent: rng.next() < 0.5 });
    const more = out.length - n;
    assert.ok(change < 0 ? more <= 0 && more >= change : more >= 0 && more <= change + 360, `${more} for ${change}`);
    if (Math.abs(change) > 400) assert.ok(Math.abs(more) > 50, `${more} for ${change}`);
    assert.ok(same(out.subarray(0, 50), pcm.subarray(0, 50)) && same(out.subarray(-50), pcm.subarray(-50)));
    const own = 0.4 * 2 * Math.PI * hz / rate;
    for (let t = 1; t < out.length; t++) {
      const step = Math.abs(out[t] - out[t - 1]);
      assert.ok(step < 2.5 * own, `${hz} Hz, ${n} samples, ${change}: a step of ${step / own} times its own`);
    }
  }
  const noise = rng.floats(1920, 0.5);
  assert.equal(stretch(noise, { change: 500, rate: 24000, urgent: false }), noise, "noise has no period");
  assert.notEqual(stretch(noise, { change: 500, rate: 24000, urgent: true }).length, 1920, "unless it is urgent");
});

test("pauses: a packet now and again, noise as loud as the sender says, and words that end well", () => {
  const rng = random("pauses"), speaks = (frame: number) => frame % 100 < 60;
  for (const [loss, redundancy] of [[0, 0], [0, 2], [0.2, 2]]) {
    const { stats, packets, audio } = talk(rng, {
      network: { loss: randomLoss(rng, loss), delay: constantDelay(0.05) },
      frames: 3000,
      sender: { redundancy },
      model: MIMI,
      decoder: new SilentDecoder(() => {}, MIMI),
      speaks,
    });
    const { received, recovered, concealed, silent, skipped } = stats.frames, spoken = received + recovered;
    assert.ok(packets < 3000 * 0.75, `${packets} packets`);
    if (loss === 0) {
      assert.equal(spoken, 1800);
      assert.equal(concealed, 0);
    } else assert.ok(spoken >= 1800 * 0.98, `${spoken} frames of speech`);
    assert.equal(skipped, 0);
    assert.ok(Math.abs(silent + concealed + spoken - 2960) <= 20, JSON.stringify(stats.frames));
    // The decoder gives silence, so what is heard is noise: -60 dB in pauses. Over many of them, as the packet that says
    // so can be lost.
    const heard = concatFloats(audio), pauses: number[] = [];
    for (let second = 6; second < 240; second += 8) {
      const pause = heard.subarray(24000 * second, 24000 * (second + 1.5));
      pauses.push(pause.reduce((sum, v) => sum + v * v, 0) / pause.length);
    }
    const level = 10 * Math.log10(mean(pauses));
    assert.ok(Math.abs(level + 60) < 0.5, `${level} dB`);
  }
});

test("pauses of any length are silent frames, not concealed ones, whatever is lost", () => {
  const rng = random("long pauses"), period = 400, words = 60, speaks = (frame: number) => frame % period < words;
  for (const loss of [0, 0.3]) {
    const { stats } = talk(rng, {
      network: { loss: randomLoss(rng, loss), delay: constantDelay(0.05) },
      frames: 10 * period - 1,
      speaks,
    });
    const { received, concealed, silent } = stats.frames, pauses = 9 * (period - words), spoken = 10 * words;
    // The last pause is not over. Where the first packets of a pause are lost, concealment goes on until it fades.
    if (loss === 0) assert.deepEqual([received, concealed], [spoken, 0]);
    assert.ok(silent >= pauses * (loss === 0 ? 1 : 0.97), `${silent} silent of ${pauses}`);
    assert.ok(concealed <= (spoken - received) + 10 * 10, `${concealed} concealed of ${spoken - received} lost`);
    console.log(
      `${100 * loss} % lost: ${received} of ${spoken} frames of speech, ${concealed} concealed, ${silent} silent`,
    );
  }
});

test("frames that were skipped are silent, and the first word behind them is heard", () => {
  const sender = new VoiceSender(THIN), heard: number[] = [];
  const decoder = new SilentDecoder((codes) => codes.shape[1] === CODEBOOKS && heard.push(numberOf(codes)));
  const receiver = new VoiceReceiver(THIN, { decoder });
  const spoken: number[] = [];
  let time = 0;
  for (const skipped of [30, 100, 1000, 0]) {
    for (let n = 0; n < 50; n++, time += STEP) {
      spoken.push(sender.position);
      for (const packet of sender.send(numbered(sender.position), time)) receiver.push(packet, time);
      receiver.pull(THIN.config.frameSize, time);
    }
    sender.skip(skipped);
    for (let n = 0; n < skipped; n++, time += STEP) receiver.pull(THIN.config.frameSize, time);
  }
  assert.deepEqual(heard, spoken.slice(0, heard.length));
  assert.ok(heard.length >= spoken.length - 2, "all but those that are not due yet");
  const { frames, packets } = receiver.stats;
  // Concealment goes on until it fades, three times.
  assert.ok(frames.concealed <= 36 && frames.silent + frames.concealed === 1130, JSON.stringify(frames));
  assert.equal(packets.stray, 0);
});

test("a path or a sender that is suddenly seconds behind: heard again soon, with no more delay than before", () => {
  const rng = random("seconds behind");
  for (const behind of [0.7, 1, 8]) {
    const { stats, delays } = talk(rng, {
      network: { loss: noLoss, delay: handover(20, constantDelay(0.05), constantDelay(0.05 + behind)) },
      frames: 1000,
    });
    assert.ok(stats.frames.received > 1000 - 50, `${behind} s: ${JSON.stringify(stats.frames)}`);
    assert.ok(delays.at(-1)!.delay < 0.15, `${delays.at(-1)!.delay} s`);
  }
});

test("activity: speech is found in its background, ends of words are kept, and a pause is a pause", async () => {
  const rng = random("activity"), speech = await sentence(), frame = MIMI.config.frameSize;
  for (const background of [1e-4, 3e-3]) {
    const activity = new VoiceActivity(MIMI), found: boolean[] = [], levels: number[] = [];
    const pad = 24000 * 3, all = rng.floats(2 * pad + speech.length, background);
    speech.forEach((v, i) => all[pad + i] += v);
    for (let at = 0; at + frame <= all.length; at += frame) {
      const { active, level } = activity.detect(all.subarray(at, at + frame));
      found.push(active);
      levels.push(level);
    }
    const from = Math.floor(pad / frame), to = Math.floor((pad + speech.length) / frame);
    assert.ok(found.slice(5, from).every((v) => !v), "the background is no speech");
    assert.ok(found.slice(from, to).filter(Boolean).length > 0.75 * (to - from), "speech is");
    assert.ok(found.slice(to + 6).every((v) => !v));
    const rms = 20 * Math.log10(background / Math.sqrt(3));
    assert.ok(Math.abs(levels.at(-1)! - rms) < 2, `${levels.at(-1)} dB, ${rms} dB`);
  }
});

test("activity: samples that are no numbers are silence, and change nothing for later", () => {
  const activity = new VoiceActivity(MIMI), quiet = new Float32Array(MIMI.config.frameSize).fill(1e-3);
  const broken = quiet.slice().fill(NaN, 7, 9);
  assert.ok(Number.isFinite(activity.detect(broken).level));
  for (let n = 0; n < 20; n++) activity.detect(quiet);
  assert.equal(activity.detect(quiet).active, false);
});

test("activity: a microphone that was off does not make noise speech", () => {
  const activity = new VoiceActivity(MIMI), follow = (level: number) => activity.follow(level, 0.08);
  for (let i = 0; i < 20; i++) follow(-48);
  for (let i = 0; i < 10; i++) assert.deepEqual(follow(-127), { active: false, level: -127 });
  for (let i = 0; i < 10; i++) assert.deepEqual(follow(-48), { active: false, level: -48 });
  assert.deepEqual(follow(-30), { active: true, level: -30 });
});

test("another model, another format, a newer version: typed refusals at both ends", () => {
  const decoder = new SilentDecoder(), config = { ...THIN.config };
  const cases: [what: string, sender: typeof THIN, code: string, receiver: RegExp, reply: RegExp][] = [
    [
      "model",
      { ...THIN, fingerprint: "f".repeat(16) },
      "ERR_WRONG_MODEL",
      /stream is of model "ffffffffffffffff", this is "0123456789abcdef"/,
      /refused the stream: its model is "0123456789abcdef", this is "ffffffffffffffff"/,
    ],
    [
      "rate",
      { ...THIN, config: { ...config, samplingRate: 800 } },
      "ERR_NOT_SUPPORTED",
      /800 Hz; .* 750 Hz/,
      /refused/,
    ],
    ["frame", { ...THIN, config: { ...config, frameSize: 61 } }, "ERR_NOT_SUPPORTED", /61 samples a frame/, /refused/],
    [
      "codebook",
      { ...THIN, config: { ...config, codebookSize: 512 } },
      "ERR_NOT_SUPPORTED",
      /of 512 entries/,
      /refused/,
    ],
    ["codebooks", { ...THIN, numQuantizers: 9 }, "ERR_NOT_SUPPORTED", /9 codebooks; 8 are loaded/, /refused/],
  ];
  for (const [what, model, code, mine, theirs] of cases) {
    const receiver = new VoiceReceiver(THIN, { decoder }), sender = new VoiceSender(model);
    const codes = AudioCodes.fromFrames([[1, 2, 3]]);
    for (const packet of sender.send(codes, 0)) receiver.push(packet, 0);
    assert.equal(receiver.refusal?.code, code, what);
    assert.match(receiver.refusal!.message, mine);
    assert.ok(receiver.pull(60, 1).every((v) => v === 0));
    const { unannounced, malformed } = receiver.stats.packets;
    assert.equal(unannounced + malformed, 1, "its packets are not played");
    const answer = receiver.answer()!;
    const kind = code === "ERR_WRONG_MODEL" ? InvalidStateError : NotSupportedError;
    assert.throws(
      () => sender.receive(answer, 0.1),
      (e) => e instanceof kind && e.code === code && theirs.test(e.message),
    );
    assert.throws(() => sender.send(codes, 0.08), { code }, "nothing more is sent");
    // The right one is welcome afterwards.
    receiver.push(formatHello({ stream: 1, ...THIN.config, fingerprint: THIN.fingerprint, codebooks: 8 }), 1);
    assert.equal(receiver.refusal, undefined);
  }
  const receiver = new VoiceReceiver(THIN, { decoder }), sender = new VoiceSender(THIN);
  const [hello] = sender.send(numbered(0), 0);
  hello[0] = 0x20 | (hello[0] & 15);
  receiver.push(hello, 0);
  assert.ok(receiver.refusal instanceof NotSupportedError);
  assert.match(receiver.refusal.message, /version 2; this version of the library reads version 1/);
  assert.throws(() => sender.receive(receiver.answer()!, 0), /reads packets up to version 1/);
});

test("the hello is repeated until it is answered, and frames wait for no round trip", () => {
  const sender = new VoiceSender(THIN), hellos: number[] = [];
  for (let n = 0; n < 60; n++) if (sender.send(numbered(n), n * STEP).length === 2) hellos.push(n);
  assert.deepEqual(hellos, [...Array(13).keys(), 25, 38, 51]);
  assert.equal(sender.accepted, false);
  assert.equal(sender.position, 60);
  sender.skip(5);
  assert.equal(sender.position, 65);
});

test("a hello of the stream before, under way for long, does not bring it back", () => {
  const receiver = new VoiceReceiver(THIN, { decoder: new SilentDecoder() });
  const [former, sender] = [1, 2].map((stream) => new VoiceSender(THIN, { stream }));
  const [hello] = former.send(numbered(0), 0);
  receiver.push(hello, 0);
  let time = 0;
  for (let n = 0; n < 20; n++, time += STEP) {
    for (const packet of sender.send(numbered(n), time)) receiver.push(packet, time);
    if (n < 10) receiver.push(hello, time);
    const answer = receiver.answer();
    if (answer) sender.receive(answer, time);
    receiver.pull(THIN.config.frameSize, time);
  }
  assert.equal(receiver.stats.packets.taken, 20);
  assert.equal(receiver.stats.packets.foreign, 10);
  // Once the newer one is silent, it is the sender that is back.
  receiver.push(hello, time + 2);
  receiver.push(former.send(numbered(1), time + 2).at(-1)!, time + 2);
  assert.equal(receiver.stats.packets.taken, 21);
});

test("nothing skipped in a pause changes nothing", () => {
  const [one, other] = [0, 1].map(() => new VoiceSender(THIN, { stream: 1, redundancy: 2 })),
    silent = { active: false, level: -60 };
  for (let n = 0; n < 20; n++) {
    const activity = n >= 10 && n < 15 ? silent : undefined;
    if (n === 12) other.skip(0);
    assert.deepEqual(one.send(numbered(n), n * STEP, activity), other.send(numbered(n), n * STEP, activity));
  }
});

test("what a sender says again, and the refusal of a newer version", () => {
  const sender = new VoiceSender(THIN, { stream: 7 }), hellos = () => sender.send(numbered(0), 0).length - 1;
  sender.receive(Uint8Array.of(0x11, 7), 0);
  for (let n = 0; n < 20; n++) assert.equal(hellos(), 0);
  sender.announce();
  assert.equal(hellos(), 1, "again, in the same stream");
  sender.receive(Uint8Array.of(0x21, 7), 0);
  assert.ok(sender.accepted);
  const refuse = Uint8Array.of(0x22, 7, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8);
  assert.throws(() => sender.receive(refuse, 0), { code: "ERR_NOT_SUPPORTED", message: /packets up to version 2/ });
  assert.throws(() => sender.send(numbered(0), 0), sender.refusal);
});

test("reports: what the network does, and how long it takes there and back", () => {
  const rng = random("reports"), receiver = new VoiceReceiver(THIN, { decoder: new SilentDecoder() });
  const sender = new VoiceSender(THIN, { stream: 5, redundancy: 1 }), loss = gilbert(rng, 0.2, 4);
  let lost = 0, bursts = 0, before = false;
  for (let n = 0; n < 5000; n++) {
    const packets = sender.send(numbered(n), n * STEP), now = n > 0 && loss();
    if (now) lost++;
    else for (const packet of packets) receiver.push(packet, n * STEP + 0.05);
    if (now && !before) bursts++;
    before = now;
    receiver.pull(60, n * STEP + 0.06);
    const answer = receiver.answer();
    if (answer) sender.receive(answer, n * STEP);
  }
  const report = sender.receive(receiver.report(5000 * STEP)!, 5000 * STEP + 0.04)!;
  assert.ok(Math.abs(report.loss - lost / 5000) < 0.01, `${report.loss}, ${lost / 5000}`);
  assert.ok(Math.abs(report.burst - lost / bursts) < 0.1, `${report.burst}, ${lost / bursts}`);
  assert.ok(Math.abs(report.roundTrip! - 0.09) < 0.002, `${report.roundTrip}`);
  // One packet before a loss brings the first frame of a burst back.
  const concealed = (lost - bursts) / 5000;
  assert.ok(Math.abs(report.concealed - concealed) < 0.01, `${report.concealed}, ${concealed}`);
  assert.ok(report.jitter < 0.001, `${report.jitter}`);
  const second = receiver.report(5000 * STEP)!, other = new VoiceSender(THIN, { stream: 5 });
  assert.equal(other.receive(second, 0)!.loss, 0, "a report speaks of what happened since the one before");
  assert.equal(
    sender.receive(second, 5000 * STEP)!.loss,
    report.loss / 2,
    "the sender goes by the mean of the last ones",
  );
});

test("adapt: redundancy against loss, codebooks for the rest of the bitrate", () => {
  const now = { numQuantizers: 8, redundancy: 0 }, options = { bitrate: 3500 };
  const at = (loss: number, burst: number, from = now, more = {}) =>
    adapt(MIMI, { loss, burst }, from, { ...options, ...more });
  assert.deepEqual(at(0, 1), now);
  assert.deepEqual(at(0.005, 1), now);
  assert.deepEqual(at(0.05, 1.05), { numQuantizers: 8, redundancy: 1 });
  assert.deepEqual(at(0.2, 1.25), { numQuantizers: 7, redundancy: 2 });
  assert.deepEqual(at(0.2, 4), { numQuantizers: 5, redundancy: 3 });
  assert.deepEqual(at(0.5, 2, now, { bitrate: 10_000, maxRedundancy: 7 }), { numQuantizers: 8, redundancy: 6 });
  assert.deepEqual(at(0.2, 1.25, now, { bitrate: 1500 }), { numQuantizers: 6, redundancy: 0 }, "the least must fit");
  // Less follows only where it is clear.
  assert.deepEqual(at(0.008, 1, { numQuantizers: 8, redundancy: 1 }).redundancy, 1);
  assert.deepEqual(at(0.004, 1, { numQuantizers: 8, redundancy: 1 }).redundancy, 0);
  // A model with fewer codebooks, or fewer wanted, needs no word of the least.
  assert.equal(adapt({ ...MIMI, numQuantizers: 3 }, { loss: 0, burst: 1 }, now, options).numQuantizers, 3);
  assert.equal(at(0, 1, now, { maxQuantizers: 2 }).numQuantizers, 2);
  for (
    const [wrong, message] of [
      [{ bitrate: NaN }, /bitrate must be a number of bits a second, got NaN/],
      [{ maxQuantizers: 9 }, /maxQuantizers must be an integer from 1 to 8, got 9/],
      [{ minQuantizers: 0 }, /minQuantizers must be an integer from 1 to 8, got 0/],
      [{ maxRedundancy: 1.5 }, /maxRedundancy must be an integer from 0 to 7, got 1.5/],
      [{ residual: 2 }, /residual must be a number from 0 to 1, got 2/],
    ] as const
  ) {
    assert.throws(
      () => at(0, 1, now, wrong),
      (e) => isMimiError(e) && e.code === "ERR_OUT_OF_RANGE" && message.test(e.message),
    );
  }
});

test("a call that adapts: few frames stay lost, and redundancy does not change with every report", () => {
  for (const [share, exact] of [[0, 1], [0.05, 0.99], [0.2, 0.985]]) {
    const rng = random(`adapting, ${share} lost`), frames = 7500, changes: number[] = [];
    let settings = { numQuantizers: 8, redundancy: 0 };
    const { stats } = talk(rng, {
      network: { loss: randomLoss(rng, share), delay: constantDelay(0.05) },
      frames,
      onReport(report, sender) {
        const before = settings.redundancy;
        settings = adapt(MIMI, report, settings, { bitrate: 10_000 });
        sender.redundancy = settings.redundancy;
        if (settings.redundancy !== before) changes.push(settings.redundancy);
      },
    });
    const { received, recovered } = stats.frames, found = (received + recovered) / frames;
    console.log(`${100 * share} %: ${(100 * found).toFixed(2)} % exact, ${changes.length} changes in 600 reports`);
    assert.ok(found >= exact, `${found} of the frames`);
    assert.ok(changes.length <= 90, `${changes.length} changes`);
    if (share === 0) assert.equal(changes.length, 0);
  }
});

test("nobody pulls for a while: what is played then is of now", () => {
  for (const gap of [2, 4, 20]) {
    const sender = new VoiceSender(THIN), receiver = new VoiceReceiver(THIN, { decoder: new SilentDecoder() });
    const frames = 600;
    for (let n = 0; n < frames; n++) {
      const time = n * STEP;
      for (const packet of sender.send(numbered(n), time)) receiver.push(packet, time);
      if (time > 10 && time < 10 + gap) continue;
      receiver.pull(THIN.config.frameSize, time);
      assert.ok(receiver.stats.delay < 1.2 || time < 10 + gap + 0.2, `${receiver.stats.delay} s behind at ${time} s`);
    }
    const { received, concealed, skipped } = receiver.stats.frames;
    assert.equal(concealed, 0, "they all came");
    assert.ok(Math.abs(skipped - gap / STEP) < 3, `${skipped} skipped in ${gap} s`);
    assert.ok(received + skipped >= frames - 3);
  }
});

test("wrong calls are answered by name", () => {
  const decoder = new SilentDecoder(), receiver = new VoiceReceiver(THIN, { decoder }), sender = new VoiceSender(THIN);
  const cases: [call: () => unknown, message: RegExp][] = [
    [() => new VoiceReceiver(THIN, {} as never), /options.decoder must be a decoder/],
    [() => new VoiceReceiver(THIN, { decoder, maxDelay: 3 }), /options.maxDelay must be a number from 0 to 2.5, got 3/],
    [() => new VoiceReceiver(THIN, { decoder, minDelay: 1 }), /options.minDelay must be a number from 0 to 0.6, got 1/],
    [() => new VoiceReceiver(THIN, { decoder, buffer: 1 } as never), /unknown option "buffer"/],
    [() => receiver.push("x" as never, 0), /bytes must be a Uint8Array/],
    [() => receiver.push(new Uint8Array(2), NaN), /time must be a number of seconds, got NaN/],
    [() => receiver.pull(-1, 0), /n must be an integer from 0 to \d+, got -1/],
    [() => receiver.pull(2 ** 40, 0), /n must be an integer from 0 to \d+, got 1099511627776/],
    [() => receiver.pull(1, Infinity), /time must be/],
    [() => new VoiceSender(THIN, { redundancy: 8 }), /options.redundancy must be an integer from 0 to 7, got 8/],
    [() => new VoiceSender(THIN, { stream: 256 }), /options.stream/],
    [() => new VoiceSender(THIN, { falling: 1 as never }), /options.falling must be a boolean/],
    [
      () => sender.send(AudioCodes.fromFrames([[1], [2]]), 0),
      /codes must be \[1, 1 to 8 codebooks, 1\], got \[1,1,2\]/,
    ],
    [() => sender.send(AudioCodes.fromFrames([[2048]]), 0), /code 2048/],
    [() => sender.send(numbered(0), undefined as never), /time must be/],
    [() => sender.receive(new Uint8Array(1), 0), /packet: it has 1 bytes/],
    [() => sender.skip(-1), /frames must be/],
    ...[true, {}, { active: false }, { active: false, level: NaN }].map((activity): typeof cases[number] => [
      () => sender.send(numbered(0), 0, activity as never),
      /activity must be \{ active, level \}/,
    ]),
    ...[undefined, {}, { config: THIN.config }].flatMap((model): typeof cases => [
      [() => new VoiceSender(model as never), /VoiceSender: model must be a MimiModel/],
      [() => new VoiceReceiver(model as never, { decoder }), /VoiceReceiver: model must be a MimiModel/],
    ]),
    [() => new VoiceActivity({} as never), /model must have a config/],
    [() => new VoiceActivity(THIN).follow(NaN, 0.08), /loudness must be a number, got NaN/],
    [() => new VoiceActivity(THIN).detect(new Float32Array(0)), /pcm must be a Float32Array with samples/],
  ];
  for (const [call, message] of cases) {
    assert.throws(call, (error) => isMimiError(error) && message.test(error.message), String(message));
  }
  assert.equal(sender.position, 0, "nothing was half-done");
});

// The real codec.
const mini = await MimiModel.fromPretrained("mini", { numQuantizers: 8 }), speech = await sentence();
const frames = await framesOf(mini, speech, 8), clean = await decodeClean(mini, frames);

/** The frames whose audio is, bit for bit, that without loss. */
function equalFrames(audio: Float32Array): boolean[] {
  const { frameSize } = mini.config;
  return frames.map((_, n) => {
    const from = n * frameSize, end = Math.min(clean.length, from + frameSize);
    return audio.subarray(from, end).every((v, i) => v === Math.max(-1, Math.min(1, clean[from + i])));
  });
}

test("what is not lost is heard bit for bit, also when it came in a later packet", () => {
  const none = frames.map(() => false), some = frames.map((_, n) => n % 4 === 2);
  assert.ok(equalFrames(hear(mini, frames, none).audio).slice(1).every(Boolean)); // the first one fades in
  const { audio, stats } = hear(mini, frames, some, { redundancy: 1 });
  assert.ok(equalFrames(audio).slice(1).every(Boolean));
  assert.equal(stats.frames.recovered, some.filter(Boolean).length);
});

test("codes that come too late to be heard repair the decoder's state", () => {
  // Frame 10 comes again with 11, 20 and 21 with 22.
  const lost = frames.map((_, n) => n === 10 || n === 20 || n === 21);
  const repaired = hear(mini, frames, lost, { redundancy: 2, wait: 0 });
  // The frame that follows has only the smoothing of its seam.
  assert.deepEqual(equalFrames(repaired.audio).flatMap((is, n) => (is ? [] : [n])), [0, 10, 11, 20, 21, 22]);
  assert.deepEqual(repaired.stats.late, { frames: 3, repairs: 2, replayed: 3 });
  const without = equalFrames(hear(mini, frames, lost, { redundancy: 2, wait: 0, repair: 0 }).audio);
  assert.ok(without.slice(10).every((is) => !is), "without that it never is again what it would have been");

  // The same in steps.
  using decoder = mini.createDecoderSync();
  const timeline = new Timeline(decoder, 4), known = new Map<number, Uint16Array>();
  const audioOf = (n: number) => clean.subarray(n * 1920, (n + 1) * 1920);
  for (let n = 0; n < 4; n++) assert.ok(same(timeline.decode(n, frames[n]), audioOf(n)));
  timeline.conceal(undefined); // to pass the time
  timeline.conceal(4);
  assert.ok(!same(timeline.decode(5, frames[5]), audioOf(5)));
  assert.equal(timeline.exact, false);
  known.set(4, frames[4]);
  assert.equal(timeline.repair((n) => known.get(n)), true);
  assert.equal(timeline.exact, true);
  assert.equal(timeline.repair((n) => known.get(n)), false);
  assert.ok(same(timeline.decode(6, frames[6]), audioOf(6)));
});

test("after a gap the decoder finds its way back", () => {
  const lost = frames.map((_, n) => n >= 10 && n < 13), { audio } = hear(mini, frames, lost);
  const error = frames.map((_, n) => {
    let own = 0, off = 0;
    for (let i = n * 1920; i < (n + 1) * 1920; i++) {
      own += clean[i] ** 2;
      off += (audio[i] - clean[i]) ** 2;
    }
    return 10 * Math.log10(own / off);
  });
  console.log(`SNR after the gap: ${error.slice(13, 25).map((v) => v.toFixed(0)).join(" ")} dB`);
  assert.ok(mean(error.slice(16, 30)) > mean(error.slice(10, 13)) + 6);
});

test("words behind a pause that was not sent sound as if it had been", async () => {
  const words = Math.ceil(speech.length / 1920), pause = 25, again = words + pause;
  const audio = random("joins").floats((again + words) * 1920, 1e-3);
  for (const start of [0, again]) speech.forEach((v, i) => audio[start * 1920 + i] += v);
  const all = await framesOf(mini, audio, 8), sent = (await decodeClean(mini, all)).subarray(again * 1920);
  const { audio: heard, stats } = hear(mini, all, all.map(() => false), { speaks: (n) => n < words || n >= again });
  assert.equal(stats.frames.silent, pause);
  const s = stoi(sent, heard.subarray(again * 1920), 24000), m = melDistance(sent, heard.subarray(again * 1920), 24000);
  console.log(`STOI ${s.toFixed(3)}, mel distance ${m.toFixed(2)} dB`);
  assert.ok(s > 0.99 && m < 0.5);
});

for (const burst of [3, 8]) {
  test(`bursts of ${burst} frames: concealment is nearer to what was said than silence or the last frame again`, () => {
    const scores = { ours: [0, 0], silence: [0, 0], repeat: [0, 0] };
    const passes = 3;
    for (let seed = 1; seed <= passes; seed++) {
      const rng = random(`bursts of ${burst}`, seed),
        loss = gilbert(rng, 0.25, burst),
        lost = frames.map((_, n) => loss() && n > 2);
      const heard = {
        ours: hear(mini, frames, lost).audio,
        silence: hearSimply(mini, frames, lost, "silence"),
        repeat: hearSimply(mini, frames, lost, "repeat"),
      };
      for (const [name, audio] of Object.entries(heard)) {
        const score = scores[name as keyof typeof heard];
        score[0] += stoi(clean, audio, 24000) / passes;
        score[1] += melDistance(clean, audio, 24000) / passes;
      }
    }
    for (const [name, [s, m]] of Object.entries(scores)) {
      console.log(`${name}: STOI ${s.toFixed(3)}, mel distance ${m.toFixed(2)} dB`);
    }
    for (const other of [scores.silence, scores.repeat]) {
      assert.ok(scores.ours[0] > other[0] && scores.ours[1] < other[1]);
    }
  });
}
