/**
 * A voice from an audio graph or a microphone's track into a channel.
 *
 * @module
 */
import { checkOptions, describe, MimiTypeError } from "../core/errors.ts";
import type { MimiModel } from "../core/model.ts";
import { MimiEncoderNode } from "../nodes/mod.ts";
import { registerMimi } from "../nodes/register.ts";
import type { VoiceChannel } from "./channel.ts";
import type { VoiceFrame } from "./link.ts";
import { OUTGOING_OPTIONS, OutgoingVoice, type OutgoingVoiceEvents, type OutgoingVoiceOptions } from "./outgoing.ts";

/** Who encodes, and what is sent. */
export interface SendVoiceOptions extends OutgoingVoiceOptions {
  /** The model that makes the codes, loaded with `worker: true`. */
  model: MimiModel;
  /** The graph that the voice goes through; that of the node, if it is one. */
  context: AudioContext;
}

export interface SentVoiceEvents extends OutgoingVoiceEvents {
  /** The track was disabled or has nothing to give; the other side hears silence. */
  mute: Event;
  /** The track gives sound again. */
  unmute: Event;
  /** The track ended, as when its device was unplugged; `replaceTrack` goes on with another. */
  trackended: Event;
  /** A frame was encoded, and sent if it was no pause: for pictures of codes. */
  frame: CustomEvent<VoiceFrame>;
}

/** What is sent: the sound of a track, or of a node. */
export type VoiceSource = MediaStreamTrack | AudioNode;

/** A voice that is sent; see {@link sendVoice}. */
export class SentVoice extends OutgoingVoice<SentVoiceEvents> {
  /** The encoder in the graph. */
  readonly node: MimiEncoderNode;
  readonly #context: AudioContext;
  /** Keeps the graph running towards the encoder; it is not heard. */
  readonly #sink: GainNode;
  #source!: VoiceSource;
  #input: AudioNode | undefined;
  #muted = false;
  #next: number | undefined;
  readonly #onEnded = (): boolean => this.dispatchEvent(new Event("trackended"));

  /** For {@link sendVoice}. */
  constructor(source: VoiceSource, channel: VoiceChannel, { model, context, ...options }: SendVoiceOptions) {
    super(model, channel, options, "sendVoice");
    try {
      this.#context = context;
      this.node = new MimiEncoderNode(context, { numQuantizers: this.numQuantizers });
      this.#sink = new GainNode(context, { gain: 0 });
      this.node.connect(this.#sink).connect(context.destination);
      this.node.addEventListener("error", ({ error }) => this.fail(error));
      this.#join(source, this.#inputOf(source));
    } catch (error) {
      this.close();
      throw error;
    }
    this.#read().catch((error) => this.fail(error));
  }

  /** What is sent at present. */
  get source(): VoiceSource {
    return this.#source;
  }

  /** Whether the track is disabled, muted or over: silence is sent. */
  get muted(): boolean {
    return this.#muted;
  }

  override get numQuantizers(): number {
    return super.numQuantizers;
  }
  override set numQuantizers(codebooks: number) {
    super.numQuantizers = codebooks;
    if (this.node) this.node.numQuantizers.value = codebooks;
  }

  /**
   * Goes on with another track or node, as when another microphone is chosen. The one before is left as it is.
   *
   * @throws {MimiTypeError} for what is neither; {InvalidStateError} once closed.
   */
  replaceTrack(source: VoiceSource): void {
    const where = `${this.name}.replaceTrack`;
    this.checkOpen(where);
    checkSource(where, source, this.#context);
    const input = this.#inputOf(source); // what cannot be an input leaves the one before
    this.#part();
    this.#join(source, input);
  }

  /**
   * After the worker failed: starts it again, and sends on.
   *
   * @throws what `MimiEncoderNode.restart` throws.
   */
  async restart(): Promise<void> {
    await this.node.restart();
    this.replaceChannel(this.channel);
  }

  override close(): void {
    if (this.state === "closed") return;
    super.close();
    this.#part();
    this.node?.close();
    this.node?.disconnect();
    this.#sink?.disconnect();
  }

  #inputOf(source: VoiceSource): AudioNode {
    return isTrack(source) ? this.#context.createMediaStreamSource(new MediaStream([source])) : source;
  }

  #join(source: VoiceSource, input: AudioNode): void {
    this.#source = source;
    this.#input = input;
    if (isTrack(source)) source.addEventListener("ended", this.#onEnded);
    input.connect(this.node as unknown as AudioNode);
  }

  #part(): void {
    try {
      this.#input?.disconnect(this.node as unknown as AudioNode);
    } catch {
      // Whoever owns the node has disconnected it already.
    }
    if (isTrack(this.#source)) this.#source.removeEventListener("ended", this.#onEnded);
  }

  async #read(): Promise<void> {
    const reader = this.node.readable.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return this.close(); // its context or its model was
      if (this.state === "closed") return;
      const { codes, index, level } = value;
      if (this.#next !== undefined && index > this.#next) this.skip(index - this.#next);
      this.#next = index + 1;
      this.#look();
      this.send(codes, this.#muted ? -Infinity : level);
      this.dispatchEvent(new CustomEvent("frame", { detail: { codes: codes.data } }));
    }
  }

  /** A track says when it is muted, but not when it is disabled. */
  #look(): void {
    const source = this.#source,
      muted = isTrack(source) && (!source.enabled || source.muted || source.readyState === "ended");
    if (muted === this.#muted) return;
    this.#muted = muted;
    this.dispatchEvent(new Event(muted ? "mute" : "unmute"));
  }
}

function isTrack(source: VoiceSource): source is MediaStreamTrack {
  return source instanceof MediaStreamTrack;
}

/** @throws {MimiTypeError} for what is neither an audio track nor a node of the context that gives audio. */
function checkSource(where: string, source: VoiceSource, context: AudioContext): void {
  if (source instanceof MediaStreamTrack && source.kind === "audio") return;
  if (source instanceof AudioNode && source.context === context && source.numberOfOutputs > 0) return;
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    `${where}: the source must be an audio track, or a node of the context with an output, got ${describe(source)}.`,
  );
}

/**
 * Sends a voice over a channel.
 *
 * ```ts
 * const [track] = (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks();
 * const voice = await sendVoice(track, channel, { model, context, redundancy: 1 });
 * ```
 *
 * @param source a microphone's track, or a node of the graph.
 * @param channel an `RTCDataChannel`, `{ ordered: false, maxRetransmits: 0 }`, or another {@link VoiceChannel}.
 * @throws {MimiTypeError | MimiRangeError} for what is no source, channel or option.
 * @throws what `registerMimi` throws, which it calls.
 */
export async function sendVoice(
  source: VoiceSource,
  channel: VoiceChannel,
  options: SendVoiceOptions,
): Promise<SentVoice> {
  const where = "sendVoice";
  checkOptions(where, options, ["model", "context", "timeout", ...OUTGOING_OPTIONS]);
  await registerMimi(options?.context, { model: options?.model });
  checkSource(where, source, options.context);
  return new SentVoice(source, channel, options);
}
