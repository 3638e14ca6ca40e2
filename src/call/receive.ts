/**
 * A voice from a channel into an audio graph. Packets go from the page to the worker; everything else is between the worker and
 * the audio thread.
 *
 * @module
 */
import { checkOptions, describe, InvalidStateError, MimiRangeError, NotSupportedError } from "../core/errors.ts";
import type { MimiModel } from "../core/model.ts";
import { errorFromData } from "../engine/protocol.ts";
import { DECODER, type FromDecoderProcessor, type ToDecoderProcessor } from "../nodes/messages.ts";
import { NodeCore } from "../nodes/node.ts";
import type { PlayoutCounts } from "../nodes/playout.ts";
import { registerMimi, type Registration, registrationOf } from "../nodes/register.ts";
import { isForSender } from "../rtc/packets.ts";
import { VoiceReceiver } from "../rtc/receiver.ts";
import type { VoiceChannel } from "./channel.ts";
import { type IncomingVoiceEvents, type IncomingVoiceOptions, RECEIVER_OPTIONS, receiverOptions } from "./incoming.ts";
import { VoiceLink } from "./link.ts";
import type { FromVoiceTask, ToVoiceTask, VoiceSetup, VoiceTaskStats } from "./messages.ts";

/** Who decodes, and where it is heard. */
export interface ReceiveVoiceOptions extends IncomingVoiceOptions {
  /** The model whose codes come, loaded with `worker: true`. */
  model: MimiModel;
  /** Where it is heard. */
  context: AudioContext;
  /** Seconds of audio that are decoded ahead of what is played: 0.08 by default, up to 1. Less may run dry. */
  buffer?: number;
}

/** What became of a voice on its whole way to the ear. */
export interface ReceivedVoiceStats extends VoiceTaskStats {
  /** Samples of the context: played, and silence because the worker was too slow, with how often that was. */
  playedSamples: number;
  /** Samples of silence because the worker was too slow. */
  underrunSamples: number;
  /** How often that was. */
  underruns: number;
}

/** A fade where the worker is too slow, seconds. */
const FADE = 0.005;

/** The node's processor in the worklet and its task in the worker. */
class VoiceCore extends NodeCore<ToVoiceTask, FromVoiceTask> {
  protected readonly name = "receiveVoice";
  protected readonly setup: VoiceSetup;
  protected readonly capacity: number;
  counts: PlayoutCounts = { played: 0, underrun: 0, idle: 0, dropped: 0, underruns: 0 };
  readonly #owner: { received(message: FromVoiceTask): void; ended(error: Error | undefined): void };

  constructor(
    node: AudioWorkletNode,
    registration: Registration,
    setup: VoiceSetup,
    owner: { received(message: FromVoiceTask): void; ended(error: Error | undefined): void },
  ) {
    super(node, registration);
    this.setup = setup;
    this.capacity = setup.lead + Math.ceil(setup.sampleRate / 4);
    this.#owner = owner;
    node.port.onmessage = ({ data }: MessageEvent<FromDecoderProcessor>) => {
      if (data.type === "state") this.counts = data.counts;
    };
    this.start();
  }

  protected start(): void {
    const { link, transfer } = this.attach(), { sampleRate, lead } = this.setup;
    this.node.port.postMessage(
      {
        type: "attach",
        link,
        // The receiver has waited for what is late already: here it is only bridged what the worker needs.
        mode: "playback",
        frame: 0,
        buffer: lead,
        maxBuffer: lead,
        fade: Math.round(FADE * sampleRate),
        interval: sampleRate / 50,
      } satisfies ToDecoderProcessor,
      transfer,
    );
  }

  order(message: ToVoiceTask): void {
    if (!this.failed && !this.closed) this.tell(message);
  }

  protected receive(message: FromVoiceTask): void {
    this.#owner.received(message);
  }

  protected ended(error: Error | undefined): void {
    this.#owner.ended(error);
  }
}

/** A voice that is received; see {@link receiveVoice}. */
export class ReceivedVoice extends VoiceLink<IncomingVoiceEvents> {
  /** Gives the voice, one channel; to be connected to what is heard. */
  readonly node: AudioNode;
  readonly #core: VoiceCore;
  #destination: MediaStreamAudioDestinationNode | undefined;
  #nextId = 0;
  readonly #asked = new Map<number, { resolve(stats: ReceivedVoiceStats): void; reject(error: Error): void }>();

  /** For {@link receiveVoice}. */
  constructor(channel: VoiceChannel, { context, buffer = 0.08, ...options }: Omit<ReceiveVoiceOptions, "model">) {
    super("receiveVoice", channel, options);
    try {
      const registration = registrationOf("receiveVoice", context, "decoder"), { sampleRate } = context;
      if (registration.offline) {
        throw new NotSupportedError("receiveVoice: an offline context has no time in which packets could come.");
      }
      const node = new AudioWorkletNode(context, DECODER, { numberOfInputs: 0, outputChannelCount: [1] });
      const setup: VoiceSetup = {
        kind: "voice",
        sampleRate,
        lead: Math.round(buffer * sampleRate),
        options: receiverOptions(options),
      };
      this.node = node;
      this.#core = new VoiceCore(node, registration, setup, {
        received: (message) => this.#received(message),
        ended: (error) => this.#ended(error),
      });
    } catch (error) {
      super.close();
      throw error;
    }
  }

  /** The voice as a track, for an `<audio>` element or a recorder. */
  get track(): MediaStreamTrack {
    if (!this.#destination) {
      this.checkOpen(`${this.name}.track`);
      this.#destination = (this.node.context as AudioContext).createMediaStreamDestination();
      this.node.connect(this.#destination);
    }
    return this.#destination.stream.getAudioTracks()[0];
  }

  /** What became of packets, frames and samples. @throws {InvalidStateError} once closed or failed. */
  getStats(): Promise<ReceivedVoiceStats> {
    return new Promise((resolve, reject) => {
      this.#core.checkOpen("getStats");
      const id = this.#nextId++;
      this.#asked.set(id, { resolve, reject });
      this.#core.order({ type: "stats", id });
    });
  }

  /**
   * After the worker failed: starts it again, and listens on.
   *
   * @throws what `MimiDecoderNode.restart` throws.
   */
  async restart(): Promise<void> {
    await this.#core.restart();
    this.replaceChannel(this.channel);
  }

  protected take(packet: Uint8Array): boolean {
    if (isForSender(packet)) return false;
    this.#core.order({ type: "packet", packet });
    return true;
  }

  #received(message: FromVoiceTask): void {
    if (message.type === "reception") {
      for (const answer of message.answers) this.post(answer);
      if (message.refusal) this.fail(errorFromData(message.refusal));
      else if (message.understood) this.alive();
      if (message.frame) this.dispatchEvent(new CustomEvent("frame", { detail: { codes: message.frame } }));
    } else if (message.type === "stats") {
      const { played, underrun, underruns } = this.#core.counts, waiting = this.#asked.get(message.id);
      this.#asked.delete(message.id);
      waiting?.resolve({ ...message.stats, playedSamples: played, underrunSamples: underrun, underruns });
    }
  }

  #ended(error: Error | undefined): void {
    for (const { reject } of this.#asked.values()) {
      reject(error ?? new InvalidStateError("ERR_INVALID_STATE", `${this.name}: it was closed.`));
    }
    this.#asked.clear();
    if (error) this.fail(error);
    else this.close(); // its context or its model was
  }

  override close(): void {
    if (this.state === "closed") return;
    super.close();
    this.#core.close();
    this.node.disconnect();
    for (const track of this.#destination?.stream.getTracks() ?? []) track.stop();
  }
}

/**
 * Receives a voice from a channel: a node for the audio graph, and a track.
 *
 * ```ts
 * const voice = await receiveVoice(channel, { model, context });
 * voice.node.connect(context.destination);
 * ```
 *
 * @param channel an `RTCDataChannel`, `{ ordered: false, maxRetransmits: 0 }`, or another {@link VoiceChannel}.
 * @throws {MimiTypeError | MimiRangeError} for what is no channel or option.
 * @throws what `registerMimi` throws, which it calls.
 */
export async function receiveVoice(channel: VoiceChannel, options: ReceiveVoiceOptions): Promise<ReceivedVoice> {
  const where = "receiveVoice";
  checkOptions(where, options, ["model", "context", "buffer", "timeout", ...RECEIVER_OPTIONS]);
  const { model, context, buffer = 0.08, ...rest } = options ?? {};
  if (!(typeof buffer === "number" && buffer >= 0.01 && buffer <= 1)) {
    throw new MimiRangeError(
      "ERR_OUT_OF_RANGE",
      `${where}: options.buffer must be from 0.01 to 1 seconds, got ${describe(buffer)}.`,
    );
  }
  await registerMimi(context, { model });
  // Options of the receiver are checked here, where they were given, not in the worker.
  new VoiceReceiver(model, { ...receiverOptions(rest), decoder: { decode: () => fail(), reset() {} } });
  return new ReceivedVoice(channel, { context, buffer, ...rest });
}

function fail(): never {
  throw new InvalidStateError("ERR_INVALID_STATE", "receiveVoice: this receiver only checks options.");
}
