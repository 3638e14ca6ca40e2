/**
 * What the worker does for an end that receives: packets of the page to audio for the processor, which sets the pace.
 *
 * @module
 */
import { RingBuffer } from "ringbuf.js";
import type { MimiModel } from "../core/model.ts";
import { Resampler } from "../core/resample.ts";
import { errorToData } from "../engine/protocol.ts";
import type { AudioLink, FromPlayout, ToPlayout } from "../nodes/messages.ts";
import { VoiceReceiver } from "../rtc/receiver.ts";
import { PlayClock } from "./clock.ts";
import { ReceiverDesk } from "./incoming.ts";
import { now } from "./link.ts";
import type { FromVoiceTask, ToVoiceTask, VoiceSetup } from "./messages.ts";

/** Seconds that are asked of the receiver at a time. */
const PIECE = 0.01;
/** Seconds after which a processor that asks for nothing has been suspended. */
const SUSPENDED = 0.3;
/** Seconds of a suspension that the receiver lives through at most: behind them its last word has long faded. */
const LIVED = 10;

/** @param model whose handles are synchronous. */
export function openVoice(model: MimiModel, setup: VoiceSetup, control: MessagePort, link: AudioLink): void {
  new VoiceTask(model, setup, control, link);
}

class VoiceTask {
  readonly #control: MessagePort;
  readonly #link: AudioLink;
  readonly #ring: RingBuffer | undefined;
  readonly #decoder: ReturnType<MimiModel["createDecoderSync"]>;
  readonly #receiver: VoiceReceiver;
  readonly #desk: ReceiverDesk;
  readonly #resampler: Resampler;
  readonly #clock = new PlayClock();
  readonly #rate: number;
  readonly #lead: number;
  /** Samples of the context that were written, and that the processor has taken; and when it last said so. */
  #written = 0;
  #read = 0;
  #readAt = now();
  /** Samples at the model's rate that were pulled, those that nobody heard among them. */
  #pulled = 0;
  #unheard = 0;

  constructor(model: MimiModel, { sampleRate, lead, options }: VoiceSetup, control: MessagePort, link: AudioLink) {
    const { samplingRate } = model.config;
    this.#control = control;
    this.#link = link;
    this.#ring = link.ring && new RingBuffer(link.ring, Float32Array);
    this.#decoder = model.createDecoderSync();
    this.#receiver = new VoiceReceiver(model, { ...options, decoder: this.#decoder });
    this.#desk = new ReceiverDesk(this.#receiver, model);
    this.#resampler = new Resampler({ from: samplingRate, to: sampleRate });
    this.#rate = samplingRate;
    this.#lead = lead;
    const guarded = <Message>(handle: (message: Message) => void) => ({ data }: MessageEvent<Message>) => {
      try {
        handle(data);
      } catch (error) {
        this.#tell({ type: "failed", error: errorToData(error) });
      }
    };
    link.port.onmessage = guarded<FromPlayout>(({ samples }) => {
      this.#read = samples;
      this.#readAt = now();
      this.#fill();
    });
    control.onmessage = guarded<ToVoiceTask>((message) => this.#order(message));
    this.#fill();
  }

  #order(message: ToVoiceTask): void {
    switch (message.type) {
      case "packet": {
        const { refusal, ...reception } = this.#desk.push(message.packet, now());
        this.#tell({ type: "reception", ...reception, refusal: refusal && errorToData(refusal) });
        return this.#passTime();
      }
      case "stats":
        return this.#tell({
          type: "stats",
          id: message.id,
          stats: { ...this.#receiver.stats, unheardSamples: this.#unheard },
        });
      case "close":
        this.#link.port.close();
        this.#control.close();
        return this.#decoder.close();
    }
  }

  /** Writes until enough is ahead of what is played. */
  #fill(): void {
    while (this.#written - this.#read < this.#lead) {
      const samples = this.#resampler.process(this.#pull());
      this.#written += samples.length;
      if (this.#ring) this.#ring.push(samples, samples.length);
      else this.#link.port.postMessage({ type: "audio", samples } satisfies ToPlayout, [samples.buffer]);
    }
  }

  /** A call goes on while its context is suspended: what would have been heard meanwhile is gone. */
  #passTime(): void {
    const time = now();
    this.#readAt = Math.max(this.#readAt, time - LIVED);
    for (; time - this.#readAt > SUSPENDED; this.#readAt += PIECE) this.#unheard += this.#pull(this.#readAt).length;
  }

  #pull(time: number = now()): Float32Array {
    const n = Math.round(PIECE * this.#rate),
      pcm = this.#receiver.pull(n, this.#clock.at(this.#pulled / this.#rate, time));
    this.#pulled += n;
    return pcm;
  }

  #tell(message: FromVoiceTask): void {
    this.#control.postMessage(message);
  }
}
