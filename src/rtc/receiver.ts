/**
 * Packets in, audio out: what comes late, twice, in the wrong order or never becomes speech that goes on.
 *
 * Nothing here has a clock or a timer. Whoever plays the audio says what time it is; a test may say anything.
 *
 * @module
 */
import { bitsOf } from "../core/bits.ts";
import type { MimiConfig } from "../core/config.ts";
import {
  checkOptions,
  describe,
  InvalidStateError,
  MimiRangeError,
  MimiTypeError,
  NotSupportedError,
} from "../core/errors.ts";
import { unwrap } from "./counter.ts";
import { OffsetWindow } from "./delay.ts";
import { FrameStore, HELD } from "./frames.ts";
import { ComfortNoise } from "./noise.ts";
import {
  formatAccept,
  formatRefuse,
  formatReport,
  type HelloPacket,
  isHello,
  type NoisePacket,
  parsePacket,
  type RefusalReason,
  type ReportPacket,
  type VoicePacket,
} from "./packets.ts";
import { Reception } from "./reception.ts";
import { stretch } from "./stretch.ts";
import { Timeline, type VoiceDecoder } from "./timeline.ts";

/** What an end of a stream has to know of a model; a `MimiModel` will do. */
export interface VoiceModel {
  /** What its audio and codes are. */
  config: Pick<MimiConfig, "samplingRate" | "frameSize" | "codebookSize">;
  /** See `MimiModel.fingerprint`. */
  fingerprint: string;
  /** Codebooks that are loaded. */
  numQuantizers: number;
}

/** @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what is no model. */
export function checkVoiceModel(where: string, model: VoiceModel): void {
  const { config, fingerprint, numQuantizers } = model ?? {};
  const numbers = [config?.samplingRate, config?.frameSize, config?.codebookSize, numQuantizers];
  if (typeof fingerprint === "string" && numbers.every((value) => Number.isInteger(value) && value! > 0)) return;
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    `${where}: model must be a MimiModel, or its config, fingerprint and numQuantizers, got ${describe(model)}.`,
  );
}

/** Who decodes, and how long late packets are waited for. */
export interface VoiceReceiverOptions {
  /** What turns codes into audio; the receiver's own from now on. */
  decoder: VoiceDecoder;
  /** Seconds by which playing may lag behind the fastest packets, at most; default 0.6. */
  maxDelay?: number;
  /** The same, at least; default 0. */
  minDelay?: number;
  /** The same at the start, before it is known how packets come; default 0.06. */
  startDelay?: number;
  /** Share of frames that may come too late for the sake of a small delay; default 0.002. */
  late?: number;
  /** Frames that are decoded again, at most, to repair the decoder's state with codes that came late; default 4, 0 for never. */
  repair?: number;
}

/** What became of packets, frames and samples since the beginning. */
export interface VoiceReceiverStats {
  /** Packets by what became of them. */
  packets: {
    /** Voice and noise that was made use of. */
    taken: number;
    /** That had come before. */
    duplicate: number;
    /** No packets, or damaged. */
    malformed: number;
    /** Of another stream. */
    foreign: number;
    /** Of a stream without a hello, or one that was refused. */
    unannounced: number;
    /** Too far from the others to be believed. */
    stray: number;
  };
  /** What the network did. */
  network: {
    /** Packets that are known to have been sent. */
    expected: number;
    /** Those of them that never came. */
    lost: number;
    /** In how many runs they were lost. */
    bursts: number;
    /** Interarrival jitter (RFC 3550, 6.4.1), seconds. */
    jitter: number;
  };
  /** Frames by what was heard in their place. Each one is counted once. */
  frames: {
    /** All their codes, from their own packet. */
    received: number;
    /** All their codes, from the redundancy of a later packet. */
    recovered: number;
    /** Some of their codes. */
    partial: number;
    /** Predicted codes, or the noise that these fade to. */
    concealed: number;
    /** The noise of a pause. */
    silent: number;
    /** Nothing: their time was over before it was their turn. */
    skipped: number;
  };
  /** Frames whose codes came after their turn, and what that was good for: see `repair`. */
  late: {
    /** Such frames. */
    frames: number;
    /** Times that the decoder's state was repaired with them. */
    repairs: number;
    /** Frames that were decoded again for it. */
    replayed: number;
  };
  /**
   * Samples. `decoded + concealed + noise + idle + inserted - removed` are those that `pull` gave and those that wait.
   */
  samples: {
    /** Of codes that came. */
    decoded: number;
    /** Of predicted codes, and what these fade to. */
    concealed: number;
    /** Of pauses. */
    noise: number;
    /** Silence before the first frame. */
    idle: number;
    /** By stretching time. */
    inserted: number;
    /** By squeezing it. */
    removed: number;
    /** Decoded and not pulled yet. */
    waiting: number;
  };
  /** How long after the fastest packets frames are played now, seconds. */
  delay: number;
  /** What it should be. */
  targetDelay: number;
}

/**
 * How loud concealed frames are, for how many in a row, and after how many only noise is left: values with which STOI and mel
 * spectra stay closest to those without loss, at bursts of 1, 3 and 8 frames.
 */
const LOUD = 0.55, HOLD = 8, FADED = 12;
/** Frames from one packet to the next that are believed at once, either way. */
const JUMP = HELD / 2;
/** Frames that wait, beyond those of the greatest delay, before some are left out. */
const BACKLOG = 6;
/** Seconds after a packet of a stream in which a hello of the stream before it is one that was under way for long. */
const STALE = 1;
/** Seconds in which all packets come too late, before what was known of the network is given up. */
const PATIENCE = 1;
/** Frames after which their offsets are trusted more than `startDelay`. */
const EARLY = 25;
/** Seconds of delay more and less than the target that are left as they are, and those that are urgent to change. */
const SLACK = 0.02, SCARCE = 0.002, URGENT = 0.06;
/** Seconds of noise at a time; of the way back from noise to speech; of smoothing a seam. */
const PIECE = 0.01, RETURN = 0.01, SEAM = 0.005;
/** Share of a new measurement in the delay. */
const SMOOTHING = 1 / 8;

/** Packets to audio: orders, waits, conceals, repairs, and tells the sender. No clock inside; see docs/rtc.md. */
export class VoiceReceiver {
  readonly #model: VoiceModel;
  readonly #bits: number;
  readonly #rate: number;
  readonly #frameSize: number;
  /** Seconds of a frame. */
  readonly #step: number;
  readonly #options: Required<Omit<VoiceReceiverOptions, "decoder">>;
  readonly #frames = new FrameStore();
  readonly #offsets = new OffsetWindow();
  readonly #reception = new Reception();
  readonly #timeline: Timeline;
  readonly #noise: ComfortNoise;
  readonly #stats: Omit<VoiceReceiverStats, "network" | "delay" | "targetDelay">;

  #stream: number | undefined;
  /** The stream before it; and when this one was accepted, or last heard. */
  #former: number | undefined;
  #heardAt = -Infinity;
  /** Codebooks that it has at most. */
  #announced = 0;
  #refusal: InvalidStateError | NotSupportedError | undefined;
  /** What the sender has to be told. */
  #answer: Uint8Array | undefined;

  /** Newest frame that a packet spoke of, and when it came. */
  #newest: number | undefined;
  #newestAt = 0;
  /** The last packet, in the order of coming. */
  #latest: VoicePacket | NoisePacket | undefined;
  /** When the first packet came since which all came later than the greatest delay allows. */
  #lateSince: number | undefined;
  /** A frame far away; another one near it is needed to believe it. */
  #far: number | undefined;

  #state: "idle" | "pause" | "playing" = "idle";
  /** The next frame to play. */
  #next = 0;
  /** Concealed frames in a row, by a frame's turn and without one. */
  #concealed = 0;
  #held = 0;
  /** How loud speech is, the rest being noise. */
  #loud = 0;
  /** Play time of frames less their time at the sender. */
  #delay = 0;
  /** Seconds of a call of pull: frames are needed by so much before they are heard. */
  #span = 0;
  #ready: Float32Array = new Float32Array(0);
  /** The last sample out, and whether the next one does not follow from it. */
  #last = 0;
  #seam = false;
  /** The counts at the last report. */
  #reported = { expected: 0, lost: 0, bursts: 0, frames: 0, concealed: 0 };

  /**
   * @throws {MimiTypeError | MimiRangeError} for what is no model, decoder or option.
   */
  constructor(model: VoiceModel, options: VoiceReceiverOptions) {
    const where = "VoiceReceiver";
    checkVoiceModel(where, model);
    checkOptions(where, options, ["decoder", "maxDelay", "minDelay", "startDelay", "late", "repair"]);
    const { decoder, maxDelay = 0.6, minDelay = 0, startDelay = 0.06, late = 0.002, repair = 4 } = options ?? {};
    if (typeof decoder?.decode !== "function") {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: options.decoder must be a decoder, as of createDecoderSync(), got ${describe(decoder)}.`,
      );
    }
    checkRange(where, "maxDelay", maxDelay, 0, 2.5);
    checkRange(where, "minDelay", minDelay, 0, maxDelay);
    checkRange(where, "startDelay", startDelay, 0, 2.5);
    checkRange(where, "late", late, 0, 0.5);
    checkRange(where, "repair", repair, 0, JUMP);
    const { samplingRate, frameSize, codebookSize } = model.config;
    this.#model = model;
    this.#bits = bitsOf(codebookSize);
    this.#rate = samplingRate;
    this.#frameSize = frameSize;
    this.#step = frameSize / samplingRate;
    this.#options = { maxDelay, minDelay, startDelay, late, repair };
    this.#timeline = new Timeline(decoder, Math.floor(repair));
    this.#noise = new ComfortNoise(this.#step);
    this.#stats = {
      packets: { taken: 0, duplicate: 0, malformed: 0, foreign: 0, unannounced: 0, stray: 0 },
      frames: { received: 0, recovered: 0, partial: 0, concealed: 0, silent: 0, skipped: 0 },
      late: { frames: 0, repairs: 0, replayed: 0 },
      samples: { decoded: 0, concealed: 0, noise: 0, idle: 0, inserted: 0, removed: 0, waiting: 0 },
    };
  }

  /**
   * Why the stream is refused, if it is: `ERR_WRONG_MODEL` for another model's, `ERR_NOT_SUPPORTED` for one in a newer version
   * of the format or with a format that the model does not have. The sender is told by {@link answer}.
   */
  get refusal(): InvalidStateError | NotSupportedError | undefined {
    return this.#refusal;
  }

  /** Sums up to now; a copy. */
  get stats(): VoiceReceiverStats {
    const { packets, frames, late, samples } = this.#stats, { counts, jitter } = this.#reception;
    const { expected, lost, bursts } = counts, { replayed, repairs } = this.#timeline, least = this.#offsets.least;
    const known = this.#offsets.count > 0;
    return {
      packets: { ...packets, duplicate: counts.duplicates },
      network: { expected, lost, bursts, jitter },
      frames: { ...frames },
      late: { ...late, replayed, repairs },
      samples: { ...samples, waiting: this.#ready.length },
      delay: known ? this.#delay - least : 0,
      targetDelay: known ? this.#target() - least : 0,
    };
  }

  /**
   * Takes a packet. Bytes that are none are counted, whatever they are.
   *
   * @param time when it came, in seconds of the same clock as that of {@link pull}.
   * @throws {MimiTypeError | MimiRangeError} for what are no bytes or no time.
   */
  push(bytes: Uint8Array, time: number): void {
    const where = "VoiceReceiver.push";
    if (!(bytes instanceof Uint8Array)) {
      throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: bytes must be a Uint8Array, got ${describe(bytes)}.`);
    }
    checkTime(where, time);
    const { packets } = this.#stats;
    let packet;
    try {
      packet = parsePacket(bytes, this.#model.config.codebookSize, this.#bits);
    } catch (error) {
      const isNew = error instanceof NotSupportedError && isHello(bytes) && this.#stream === undefined;
      if (isNew) this.#refuse(bytes[1], "version", error);
      packets.malformed++;
      return;
    }
    if (packet.type === "hello") {
      if (packet.stream === this.#former && time - this.#heardAt < STALE) packets.foreign++;
      else this.#hello(packet, time);
    } else if (packet.type !== "voice" && packet.type !== "noise") packets.malformed++; // not for this end
    else if (this.#stream === undefined) packets.unannounced++;
    else if (packet.stream !== this.#stream) packets.foreign++;
    else if (packet.frames.some(({ length }) => length > this.#announced)) packets.malformed++;
    else {
      this.#heardAt = time;
      this.#take(packet, time);
    }
  }

  /** A packet for the sender, if it has to be told something: that the stream is accepted or refused. */
  answer(): Uint8Array | undefined {
    const answer = this.#answer;
    this.#answer = undefined;
    return answer;
  }

  /**
   * A report for the sender, of what happened since the last one; about once a second is usual. Undefined before anything came.
   *
   * @param time now.
   */
  report(time: number): Uint8Array | undefined {
    checkTime("VoiceReceiver.report", time);
    if (this.#stream === undefined || this.#newest === undefined) return undefined;
    const { expected, lost, bursts } = this.#reception.counts, { frames } = this.#stats, before = this.#reported;
    const { received, recovered, partial, concealed, skipped } = frames, missed = lost - before.lost;
    const all = received + recovered + partial + concealed + skipped;
    const report: Omit<ReportPacket, "type"> = {
      stream: this.#stream,
      frame: this.#newest,
      held: time - this.#newestAt,
      loss: missed / Math.max(1, expected - before.expected),
      burst: missed / Math.max(1, bursts - before.bursts),
      concealed: (concealed + skipped - before.concealed) / Math.max(1, all - before.frames),
      jitter: this.#reception.jitter,
      delay: this.stats.delay,
    };
    this.#reported = { expected, lost, bursts, frames: all, concealed: concealed + skipped };
    return formatReport(report);
  }

  /**
   * The next `n` samples to be heard, between -1 and 1, at the model's rate. Decodes what is needed for that.
   *
   * @param time when the first of them is heard, in seconds. Calls go forward in time, each by about what it took.
   * @throws {MimiRangeError} for what is no number of samples, or more than an hour of them; {MimiTypeError} for no time.
   */
  pull(n: number, time: number): Float32Array {
    const where = "VoiceReceiver.pull", most = 3600 * this.#rate;
    if (!Number.isInteger(n) || n < 0 || n > most) {
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `${where}: n must be an integer from 0 to ${most}, got ${describe(n)}.`,
      );
    }
    checkTime(where, time);
    const out = new Float32Array(n);
    this.#span = n / this.#rate;
    for (let at = 0; at < n;) {
      if (this.#ready.length === 0) this.#ready = this.#produce(time + at / this.#rate);
      const piece = this.#ready.subarray(0, n - at);
      for (let i = 0; i < piece.length; i++) out[at + i] = Math.max(-1, Math.min(1, piece[i]));
      this.#ready = this.#ready.subarray(piece.length);
      at += piece.length;
    }
    return out;
  }

  #hello(hello: HelloPacket, time: number): void {
    const { fingerprint, config, numQuantizers } = this.#model, { samplingRate, frameSize, codebookSize } = config;
    if (hello.fingerprint !== fingerprint) {
      const what = `the stream is of model ${describe(hello.fingerprint)}, this is ${describe(fingerprint)}.`;
      this.#refuse(hello.stream, "model", new InvalidStateError("ERR_WRONG_MODEL", `VoiceReceiver: ${what}`));
      return;
    }
    const unlike: [boolean, string][] = [
      [hello.samplingRate !== samplingRate, `${hello.samplingRate} Hz; this model has ${samplingRate} Hz`],
      [hello.frameSize !== frameSize, `${hello.frameSize} samples a frame; this model has ${frameSize}`],
      [
        hello.codebookSize !== codebookSize,
        `codebooks of ${hello.codebookSize} entries; this model's have ${codebookSize}`,
      ],
      [hello.codebooks > numQuantizers, `up to ${hello.codebooks} codebooks; ${numQuantizers} are loaded`],
    ];
    const wrong = unlike.find(([is]) => is);
    if (wrong) {
      this.#refuse(hello.stream, "format", new NotSupportedError(`VoiceReceiver: the stream has ${wrong[1]}.`));
      return;
    }
    this.#announced = hello.codebooks;
    if (hello.stream !== this.#stream) {
      this.#former = this.#stream;
      this.#stream = hello.stream;
      this.#heardAt = time;
      this.#begin();
    }
    this.#refusal = undefined;
    this.#answer = formatAccept(hello.stream);
  }

  #refuse(stream: number, reason: RefusalReason, error: InvalidStateError | NotSupportedError): void {
    this.#stream = undefined;
    this.#refusal = error;
    this.#answer = formatRefuse({ stream, reason, fingerprint: this.#model.fingerprint });
  }

  /** Nothing that came before has anything to do with what comes now. */
  #begin(): void {
    this.#frames.clear();
    this.#offsets.reset();
    this.#reception.reset();
    this.#timeline.reset();
    this.#newest = this.#far = this.#latest = undefined;
    this.#lateSince = undefined;
    this.#concealed = this.#held = 0;
    if (this.#state === "playing") this.#pause();
  }

  #take(packet: VoicePacket | NoisePacket, time: number): void {
    const frame = this.#newest === undefined ? packet.frame : unwrap(packet.frame, 16, this.#newest);
    const before = this.#latest, missing = before && (packet.sequence - before.sequence - 1) & 0xff;
    if (this.#newest !== undefined && Math.abs(frame - this.#newest) > JUMP) {
      const skipped = missing === 0 && frame > this.#newest;
      const believed = skipped ||
        (this.#far !== undefined && Math.abs(frame - this.#far) < JUMP && frame !== this.#far);
      this.#far = frame;
      if (!believed) {
        this.#stats.packets.stray++;
        return;
      }
      if (this.#state !== "idle") {
        this.#stats.frames[skipped ? "silent" : "concealed"] += Math.max(0, frame - this.#next);
      }
      this.#begin();
    }
    this.#far = undefined;
    if (this.#newest === undefined) this.#next = frame;
    if (!this.#reception.add(packet.sequence, frame, time - frame * this.#step)) return;
    this.#stats.packets.taken++;
    this.#follow(time - frame * this.#step, time);
    if (this.#newest === undefined || frame > this.#newest) {
      this.#newest = frame;
      this.#newestAt = time;
    }
    // Frames this old are not played any more; what is known of them is about to be forgotten.
    while (this.#next < this.#newest - JUMP) this.#pass();
    // Silent frames: those that the packet counts, or those since the one before where no packet is missing. In a pause, all but
    // as many as packets are missing: these may have been the first words.
    let first = frame;
    if (packet.type === "noise") {
      this.#noise.setLevel(packet.level);
      first -= packet.silent;
      for (let i = Math.max(first + 1, frame - JUMP); i <= frame; i++) this.#frames.silence(i);
    } else if (before && (missing === 0 || before.type === "noise")) {
      const since = unwrap(before.frame, 16, frame);
      for (let i = Math.max(since + 1, frame - JUMP); i < frame - missing!; i++) this.#frames.silence(i);
    }
    this.#latest = packet;
    for (const [age, codes] of packet.frames.entries()) {
      if (first - age <= this.#newest - JUMP) break;
      if (this.#frames.put(first - age, codes, age === 0 || !packet.falling, first - age !== frame)) {
        this.#offsets.add(time - (first - age) * this.#step);
        if (first - age < this.#next) this.#stats.late.frames++;
      }
    }
  }

  /** Goes by what comes now, if nothing has come within the greatest delay for a while: the path or the sender's time is another. */
  #follow(offset: number, time: number): void {
    const { least } = this.#offsets;
    if (offset <= least + this.#options.maxDelay + this.#span) this.#lateSince = undefined;
    else if (time - (this.#lateSince ??= time) > PATIENCE) {
      this.#offsets.reset();
      this.#offsets.add(offset);
      this.#lateSince = undefined;
    }
  }

  /** Play time of a frame less its time at the sender, as it should be. */
  #target(): number {
    const { late, maxDelay, minDelay, startDelay } = this.#options, offsets = this.#offsets;
    let delay = Math.max(minDelay, offsets.target(late) - offsets.least);
    if (offsets.count < EARLY) delay = Math.max(delay, startDelay);
    return offsets.least + Math.min(maxDelay, delay) + this.#span;
  }

  /** Some samples, at least one, the first of which is heard at `time`. */
  #produce(time: number): Float32Array {
    if (this.#state !== "playing") {
      const found = this.#newest === undefined ? undefined : this.#findStart(time);
      const left = found === undefined ? PIECE : this.#due(found) - time;
      if (left > 0) return this.#wait(Math.min(PIECE, left));
      this.#start(found!, time);
    } else if (this.#newest! - this.#next > this.#options.maxDelay / this.#step + BACKLOG) {
      this.#start(this.#findStart(time) ?? this.#next, time); // nobody pulled for a while
    }
    if (this.#timeline.repair((frame) => this.#frames.codes(frame))) this.#seam = true;
    const known = this.#frames.get(this.#next);
    if (known?.codes) return this.#play(known.codes, time);
    if (known?.silent) {
      this.#pause();
      return this.#wait(PIECE);
    }
    return this.#conceal(time);
  }

  #due(frame: number): number {
    return frame * this.#step + this.#target();
  }

  /** The frame to begin with: the first that is less than half a frame late, or the last that there is. */
  #findStart(time: number): number | undefined {
    let found: number | undefined;
    for (let frame = Math.max(this.#next, this.#newest! - JUMP); frame <= this.#newest!; frame++) {
      if (this.#frames.codes(frame) === undefined) continue;
      found = frame;
      if (this.#due(frame) > time - this.#step / 2) break;
    }
    return found;
  }

  #start(frame: number, time: number): void {
    while (this.#next < frame) this.#pass();
    this.#state = "playing";
    this.#concealed = this.#held = 0;
    this.#delay = time - frame * this.#step;
    this.#seam = true;
  }

  /** Counts a frame that is not played. */
  #pass(): void {
    const { frames } = this.#stats, known = this.#frames.get(this.#next++);
    if (known?.silent) frames.silent++;
    else if (known?.codes || this.#state === "idle") frames.skipped++;
    else frames.concealed++;
  }

  #pause(): void {
    this.#state = "pause";
    this.#loud = 0;
    this.#seam = true;
  }

  #wait(seconds: number): Float32Array {
    const n = Math.max(1, Math.round(seconds * this.#rate)), { samples } = this.#stats;
    if (this.#state === "idle") {
      samples.idle += n;
      return new Float32Array(n);
    }
    samples.noise += n;
    return this.#smooth(this.#noise.next(n));
  }

  #play(codes: Uint16Array, time: number): Float32Array {
    const known = this.#frames.get(this.#next)!, { frames, samples } = this.#stats;
    const pcm = this.#timeline.decode(this.#next, codes);
    if (!known.whole) frames.partial++;
    else if (known.recovered) frames.recovered++;
    else frames.received++;
    samples.decoded += pcm.length;
    this.#noise.clearLevel();
    this.#noise.learn(pcm);
    this.#concealed = this.#held = 0;
    this.#measure(time);
    this.#next++;
    return this.#fit(this.#mix(pcm, 1, Math.round(RETURN * this.#rate)));
  }

  #conceal(time: number): Float32Array {
    this.#measure(time);
    // More delay is wanted, so this frame may still come in time.
    const hold = this.#delay - this.#target() < -this.#step / 2 && this.#held < FADED;
    const pcm = this.#timeline.conceal(hold ? undefined : this.#next) ??
      new Float32Array(this.#frameSize);
    this.#stats.samples.concealed += pcm.length;
    if (hold) this.#delay += this.#step;
    else {
      this.#stats.frames.concealed++;
      this.#next++;
    }
    this.#held = hold ? this.#held + 1 : 0;
    this.#concealed++;
    const left = Math.max(0, Math.min(1, (FADED - this.#concealed) / (FADED - HOLD)));
    const mixed = this.#mix(pcm, LOUD * left, pcm.length);
    if (this.#concealed >= FADED) this.#pause();
    return this.#smooth(mixed);
  }

  #measure(time: number): void {
    this.#delay += (time - this.#next * this.#step - this.#delay) * SMOOTHING;
  }

  /** Longer or shorter, where the delay is not what it should be. */
  #fit(pcm: Float32Array): Float32Array {
    const error = this.#delay - this.#target(), { samples } = this.#stats;
    let fitted = pcm;
    if (error > SLACK || error < -SCARCE) {
      const change = -Math.round(error * this.#rate);
      fitted = stretch(pcm, { change, rate: this.#rate, urgent: Math.abs(error) > URGENT });
      const more = fitted.length - pcm.length;
      if (more > 0) samples.inserted += more;
      else samples.removed -= more;
      this.#delay += more / this.#rate;
    }
    return this.#smooth(fitted);
  }

  /** Speech and noise, speech being as loud as `loud` after `n` samples. */
  #mix(pcm: Float32Array, loud: number, n: number): Float32Array {
    const from = this.#loud;
    this.#loud = loud;
    if (from === 1 && loud === 1) return pcm;
    const noise = this.#noise.next(pcm.length), out = new Float32Array(pcm.length);
    for (let i = 0; i < out.length; i++) {
      const share = i < n ? from + (loud - from) * (i + 1) / n : loud;
      out[i] = share * pcm[i] + Math.sqrt(1 - share * share) * noise[i];
    }
    return out;
  }

  /** Takes the step out of a seam: what it would be fades away from the samples behind it. */
  #smooth(pcm: Float32Array): Float32Array {
    let out = pcm;
    if (this.#seam) {
      const step = this.#last - pcm[0], n = Math.min(pcm.length, Math.round(SEAM * this.#rate));
      out = pcm.slice();
      for (let i = 0; i < n; i++) out[i] += step * (0.5 + 0.5 * Math.cos(Math.PI * i / n));
      this.#seam = false;
    }
    this.#last = out[out.length - 1];
    return out;
  }
}

function checkTime(where: string, time: unknown): void {
  if (typeof time !== "number" || !Number.isFinite(time)) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `${where}: time must be a number of seconds, got ${describe(time)}.`,
    );
  }
}

function checkRange(where: string, name: string, value: unknown, low: number, high: number): void {
  if (typeof value !== "number" || !(value >= low && value <= high)) {
    throw new MimiRangeError(
      "ERR_OUT_OF_RANGE",
      `${where}: options.${name} must be a number from ${low} to ${high}, got ${describe(value)}.`,
    );
  }
}
