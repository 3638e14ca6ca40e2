/** Calls without a browser: channels in memory, speech that is sent at its pace, and what must come out of it. */
import assert from "node:assert/strict";
import { AudioCodes, type MimiModel } from "../../mod.ts";
import type { ChannelEvent, VoiceChannel } from "../../src/call/mod.ts";
import { bitsOf } from "../../src/core/bits.ts";
import { levelOf } from "../../src/core/level.ts";
import { parsePacket } from "../../src/rtc/packets.ts";
import type { VoiceReceiverStats } from "../../src/rtc/mod.ts";

/** One side of a channel in memory. */
export class MemoryChannel extends EventTarget implements VoiceChannel {
  readyState = "open";
  bufferedAmount = 0;
  other: MemoryChannel | undefined;
  /** Messages that came. */
  readonly log: Uint8Array[] = [];
  /** Listeners that are there. */
  listeners = 0;

  send(message: Uint8Array): void {
    const { other } = this, data = message.slice();
    setTimeout(() => {
      other?.log.push(data);
      other?.dispatchEvent(new MessageEvent("message", { data: data.buffer }));
    });
  }

  close(): void {
    this.readyState = "closed";
    this.dispatchEvent(new Event("close"));
  }

  // deno-lint-ignore no-explicit-any
  override addEventListener(type: ChannelEvent, listener: (event: any) => void): void {
    this.listeners++;
    super.addEventListener(type, listener);
  }
  // deno-lint-ignore no-explicit-any
  override removeEventListener(type: ChannelEvent, listener: (event: any) => void): void {
    this.listeners--;
    super.removeEventListener(type, listener);
  }
}

export function channelPair(): [MemoryChannel, MemoryChannel] {
  const pair: [MemoryChannel, MemoryChannel] = [new MemoryChannel(), new MemoryChannel()];
  pair[0].other = pair[1];
  pair[1].other = pair[0];
  return pair;
}

export function levelOfFrame(pcm: Float32Array): number {
  return levelOf(pcm.reduce((sum, v) => sum + v * v, 0) / pcm.length);
}

/** The statistics know exactly which packets were dropped on purpose, of those for which it is too late now. */
export function assertLossTold({ network: { expected, lost } }: VoiceReceiverStats, dropped: readonly boolean[]): void {
  const first = dropped.indexOf(false), settled = dropped.slice(first, first + expected);
  assert.ok(expected > 0.4 * dropped.length, `${expected} of ${dropped.length} packets are settled`);
  assert.equal(lost, settled.filter(Boolean).length);
}

/** Codes of all frames that packets had, from the first after the hello on; [frame][codebook]. Fails where one never came. */
export function codesOf(packets: readonly Uint8Array[], model: MimiModel): number[][] {
  const { codebookSize } = model.config, frames = new Map<number, Uint16Array>();
  let greeted = false, first: number | undefined;
  for (const bytes of packets) {
    let packet;
    try {
      packet = parsePacket(bytes, codebookSize, bitsOf(codebookSize));
    } catch {
      continue; // of another end of the channel
    }
    if (packet.type === "hello") greeted = true;
    if (packet.type !== "voice" || !greeted) continue;
    first ??= packet.frame;
    packet.frames.forEach((codes, age) => frames.set(packet.frame - age, codes));
  }
  const last = Math.max(...frames.keys()), codes: number[][] = [];
  for (let frame = first!; frame <= last; frame++) {
    const one = frames.get(frame);
    assert.ok(one, `frame ${frame} came`);
    codes.push([...one]);
  }
  return codes;
}

/** Pieces of 10 ms that a frame is looked for in. */
const PIECES = 8;

/**
 * What was heard is, outside of concealed and stretched spans, the offline decode of the codes that came, in order and bit
 * for bit. Each piece of a frame that is not found has a reason that was counted. Returns how many pieces were found, of those
 * that were played; undefined, and says so, where the machine was too slow to tell: it skipped frames, after which the decoder's
 * state is another one, or stretched most pieces.
 */
export async function assertHeard(
  model: MimiModel,
  heard: Float32Array,
  packets: readonly Uint8Array[],
  stats: VoiceReceiverStats & { underruns?: number; unheardSamples?: number },
): Promise<{ found: number; all: number } | undefined> {
  const { frames, samples, underruns = 0, unheardSamples = 0 } = stats,
    all = PIECES * (frames.received + frames.recovered + frames.partial);
  // A splice takes a period of 60 samples at least, and touches it twice and the pieces at both ends.
  const size = model.config.frameSize / PIECES,
    changed = samples.inserted + samples.removed,
    splices = Math.ceil(changed / 60);
  const stretched = Math.ceil(2 * changed / size) + 2 * splices;
  // A gap of the worker has two fades. Where the context stood still, what passed meanwhile was not heard, in spans of two ends.
  const missed = 4 * underruns + 3 * Math.ceil(unheardSamples / size);
  assert.ok(all >= 10 * PIECES, `frames: ${JSON.stringify(frames)}`);
  if (frames.skipped > 0 || stretched + missed > 0.75 * all) {
    console.log(`too slow to compare: ${JSON.stringify({ all, stretched, missed, ...frames })}`);
    return undefined;
  }
  const { audioValues } = await model.decode(AudioCodes.fromFrames(codesOf(packets, model))),
    decoded = audioValues.data;
  const places = new Map<number, number[]>();
  heard.forEach((v, i) => places.get(v)?.push(i) ?? places.set(v, [i]));
  let found = 0;
  for (let from = 0, at = 0; from < decoded.length; from += size) {
    const piece = decoded.subarray(from, from + size);
    const place = places.get(piece[0])?.find((i) => i >= at && piece.every((v, n) => v === heard[i + n]));
    if (place === undefined) continue;
    found++;
    at = place + size;
  }
  // The way back from concealed speech takes 10 ms; the ends have two fades, and a frame each.
  const reasons = 2 * frames.concealed + stretched + missed + 3 * PIECES;
  const figures = JSON.stringify({ found, all, reasons, changed, missed, ...frames });
  assert.ok(found >= all - reasons && found >= all / 4, figures);
  return { found, all };
}
