/**
 * A codec of the family whose frames are latents, with its weights: whole recordings to latents and back, and the handles
 * of live streams.
 *
 * @module
 */
import type { AudioInput } from "./audio.ts";
import type { Codec, CodecConfig } from "./codec.ts";
import {
  alone,
  CodecModel,
  type DecodeOptions,
  type DecodeOutput,
  type EncodeRowsOptions,
  type ModelParts,
  mostSamples,
} from "./codec-model.ts";
import { checkOptions, MimiRangeError, NotSupportedError } from "./errors.ts";
import {
  LatentDecoder,
  LatentDecoderSession,
  LatentEncoder,
  type LatentEncoderOptions,
  LatentEncoderSession,
} from "./latent-handles.ts";
import { type Latents, toLatents } from "./latents.ts";
import { latentChannels } from "./network.ts";
import type { Tensor } from "./tensor.ts";

/** What encoding to latents gives. */
export interface EncodeLatentsOutput {
  /** [batch, frames, channels]; 0 past the end of a masked row. */
  latents: Latents;
  /** 1 where a frame holds audio, 0 past the end of a masked row: [batch, frames]. */
  latentsMask: Tensor<Uint8Array>;
}

/** A codec whose frames are latents, with its weights. */
export class LatentModel<C extends CodecConfig> extends CodecModel<C> {
  /** First 8 bytes, in hexadecimal, of the SHA-256 over the tensors of the decoder's first layer: names the latents' meaning. */
  declare readonly fingerprint: string;

  /** @throws {NotSupportedError} for a codec whose frames are codes. */
  constructor(codec: Codec<C>, parts: ModelParts<C>) {
    super(codec, parts);
    if (latentChannels(codec.decoder(parts.config)) === undefined) {
      throw new NotSupportedError(`LatentModel: frames of ${codec.modelType} are codes, not latents.`);
    }
  }

  /**
   * Audio to latents.
   *
   * @param input mono audio at `config.samplingRate`: [samples], [batch, 1, samples] or an AudioBuffer.
   * @throws {MimiTypeError | MimiRangeError} for audio, a mask or an option that is not usable.
   * @throws {InvalidStateError} on a closed model, or one without an encoder.
   */
  async encode(input: AudioInput, options: EncodeRowsOptions = {}): Promise<EncodeLatentsOutput> {
    const where = "encode";
    checkOptions(where, options, ["paddingMask", "samplingRate", "tail"]);
    const session = this.session(where, "encoder"), { rows, frames, mask } = this.recordings(where, input, options);
    const channels = latentChannels(session.network)!, data = new Float32Array(rows.length * frames * channels);
    for (let b = 0; b < rows.length; b++) {
      const { audio, frames: count } = rows[b], at = b * frames * channels;
      const latents = [data.subarray(at, at + count * channels)];
      const running = alone(where, session, { audio: [audio], codes: [], codebooks: 0, latents }, count);
      if (running) await running;
    }
    return { latents: { data, shape: [rows.length, frames, channels] }, latentsMask: mask };
  }

  /**
   * Latents [batch, frames, channels] or [frames, channels] to audio, `frameSize` samples a frame.
   *
   * @throws {MimiTypeError | MimiRangeError} for what are no finite latents of this codec.
   * @throws {InvalidStateError} on a closed model, or one without its decoder.
   */
  async decode(latents: Latents, options: DecodeOptions = {}): Promise<DecodeOutput> {
    const where = "decode";
    checkOptions(where, options, ["paddingMask"]);
    const session = this.session(where, "decoder"), channels = latentChannels(session.network)!;
    const { data, shape: [batch, frames] } = toLatents(where, latents, channels);
    if (batch === 0 || frames === 0) {
      throw new MimiRangeError(
        "ERR_EMPTY_INPUT",
        `${where}: latents hold no frames (shape ${JSON.stringify(latents.shape)}).`,
      );
    }
    const own = data.slice(); // a backend may read it after the caller has gone on
    return await this.decodeRows(where, session, batch, frames, mostSamples(where, options.paddingMask), (b) => ({
      codes: [],
      codebooks: 0,
      latents: [own.subarray(b * frames * channels, (b + 1) * frames * channels)],
    }));
  }

  /** A stream of audio to latents. Calls run in the order in which they were made, also when not awaited. */
  createEncoder(options: LatentEncoderOptions = {}): LatentEncoder {
    const where = "createEncoder";
    return new LatentEncoder(new LatentEncoderSession(where, this.session(where, "encoder"), options));
  }

  /** A stream of latents to audio. There are no options yet. */
  createDecoder(options: Record<string, never> = {}): LatentDecoder {
    const where = "createDecoder";
    return new LatentDecoder(new LatentDecoderSession(where, this.session(where, "decoder"), options));
  }
}
