/**
 * A network and two clocks, simulated: packets are lost, late, doubled and out of order as a seed says, and no real time passes.
 */
import type { VoiceModel } from "../../src/rtc/mod.ts";
import type { Random } from "./random.ts";

/** Whether the next packet is lost. */
export type Loss = () => boolean;
/** Seconds that a packet which is sent at `time` is on its way. */
export type Delay = (time: number) => number;

export interface Network {
  loss: Loss;
  delay: Delay;
  /** Share of packets that come twice. */
  doubled?: number;
}

export function randomLoss(rng: Random, share: number): Loss {
  return () => rng.next() < share;
}

/**
 * Loss in bursts (Gilbert, 1960): in the bad state packets are lost, in the good one they are not. Bursts last `burst` packets in
 * the mean, and `share` of all packets are lost.
 */
export function gilbert(rng: Random, share: number, burst: number): Loss {
  const leave = 1 / burst, enter = Math.min(1, leave * share / (1 - share));
  let bad = rng.next() < share;
  return () => {
    const lost = bad;
    bad = bad ? rng.next() >= leave : rng.next() < enter;
    return lost;
  };
}

export const noLoss: Loss = () => false;

export function constantDelay(seconds: number): Delay {
  return () => seconds;
}

/** A delay with an exponential tail. */
export function exponentialJitter(rng: Random, base: number, mean: number): Delay {
  return () => base - mean * Math.log(1 - rng.next());
}

/** Jitter that changes with time: calm for 20 s, rough for 20 s, and so on. */
export function changingJitter(rng: Random, base: number, calm: number, rough: number): Delay {
  return (time) => base - (Math.floor(time / 20) % 2 ? rough : calm) * Math.log(1 - rng.next());
}

/** Packets pile up now and again, in the mean every `every` seconds for `length`, and then come all at once. */
export function stalls(rng: Random, base: number, every: number, length: number): Delay {
  let from = -Infinity, until = -Infinity, next = -every * Math.log(1 - rng.next());
  return (time) => {
    if (time >= next) {
      from = time;
      until = time + length * (0.5 + rng.next());
      next = until - every * Math.log(1 - rng.next());
    }
    return base + (time >= from && time < until ? until - time : 0.002 * rng.next());
  };
}

/** Another path from `at` seconds on. */
export function handover(at: number, before: Delay, after: Delay): Delay {
  return (time) => (time < at ? before : after)(time);
}

/** Both ends of a call on a virtual clock. */
export interface Call {
  model: VoiceModel;
  network: Network;
  rng: Random;
  /** Frames to send. */
  frames: number;
  /** By how much the sender's clock is faster than the receiver's, as a share. */
  drift?: number;
  /** Samples of a pull. */
  quantum?: number;
  /** Packets of a frame; `time` is the receiver's. */
  send(frame: number, time: number): Uint8Array[];
  push(bytes: Uint8Array, time: number): void;
  pull(samples: number, time: number): void;
}

/** Runs a call until all packets have come, and half a second more. */
export function runCall(call: Call): void {
  const { model, network, rng, frames, drift = 0, quantum = 480 } = call, { samplingRate, frameSize } = model.config;
  const step = frameSize / samplingRate / (1 + drift), under: { at: number; bytes: Uint8Array }[] = [];
  let last = frames * step;
  const launch = (bytes: Uint8Array, time: number) => {
    if (network.loss()) return;
    for (let copies = rng.next() < (network.doubled ?? 0) ? 2 : 1; copies > 0; copies--) {
      const at = time + network.delay(time);
      last = Math.max(last, at);
      // Insertion keeps them in order of arrival; few are under way at a time.
      let place = under.length;
      while (place > 0 && under[place - 1].at > at) place--;
      under.splice(place, 0, { at, bytes });
    }
  };
  let sent = 0;
  for (let pulled = 0; pulled / samplingRate < last + 0.5; pulled += quantum) {
    const now = pulled / samplingRate;
    for (; sent < frames && sent * step <= now; sent++) {
      for (const bytes of call.send(sent, sent * step)) launch(bytes, sent * step);
    }
    while (under.length > 0 && under[0].at <= now) {
      const { at, bytes } = under.shift()!;
      call.push(bytes, at);
    }
    call.pull(quantum, now);
  }
}
