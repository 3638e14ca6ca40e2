/**
 * The codec and its resampler as TransformStreams:
 * `source.pipeThrough(new ResamplerStream({ from: 48000, to: 24000 })).pipeThrough(new MimiEncoderStream(model))...`.
 *
 * @module
 */
import type { AudioCodes, AudioCodesInput } from "./codes.ts";
import { describe, MimiTypeError } from "./errors.ts";
import type { MimiDecoder, MimiEncoder, MimiEncoderOptions } from "./handles.ts";
import type { MimiModel } from "./model.ts";
import { Resampler, type ResamplerOptions } from "./resample.ts";

/** Samples in, codes [1, codebooks, n >= 1] out; the last partial frame when the input ends. */
export class MimiEncoderStream extends TransformStream<Float32Array, AudioCodes> {
  constructor(model: MimiModel, options?: MimiEncoderOptions) {
    checkModel("MimiEncoderStream", model, "createEncoder");
    const encoder: MimiEncoder = model.createEncoder(options);
    const emit = (codes: AudioCodes, to: TransformStreamDefaultController<AudioCodes>) => {
      if (codes.shape[2] > 0) to.enqueue(codes);
    };
    super(closing(encoder, {
      transform: async (pcm: Float32Array, to: TransformStreamDefaultController<AudioCodes>) =>
        emit(await encoder.encode(pcm), to),
      flush: async (to: TransformStreamDefaultController<AudioCodes>) => emit(await encoder.finish(), to),
    }));
  }
}

/** Codes in, samples out. */
export class MimiDecoderStream extends TransformStream<AudioCodesInput, Float32Array> {
  constructor(model: MimiModel) {
    checkModel("MimiDecoderStream", model, "createDecoder");
    const decoder: MimiDecoder = model.createDecoder();
    super(closing(decoder, {
      transform: async (codes: AudioCodesInput, to: TransformStreamDefaultController<Float32Array>) => {
        const { data } = (await decoder.decode(codes)).audioValues;
        if (data.length > 0) to.enqueue(data);
      },
      flush: () => Promise.resolve(),
    }));
  }
}

/** Mono samples at one rate in, at another out; see {@link Resampler}. */
export class ResamplerStream extends TransformStream<Float32Array, Float32Array> {
  /** @throws {MimiTypeError | MimiRangeError} as {@link Resampler} does. */
  constructor(options: ResamplerOptions) {
    const resampler = new Resampler(options);
    const emit = (pcm: Float32Array, to: TransformStreamDefaultController<Float32Array>) => {
      if (pcm.length > 0) to.enqueue(pcm);
    };
    super({
      transform: (pcm, to) => emit(resampler.process(pcm), to),
      flush: (to) => emit(resampler.finish(), to),
    });
  }
}

function checkModel(where: string, model: unknown, method: "createEncoder" | "createDecoder"): void {
  if (typeof (model as MimiModel | undefined)?.[method] === "function") return;
  throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: expected a MimiModel, got ${describe(model)}.`);
}

interface Steps<I, O> {
  transform(chunk: I, to: TransformStreamDefaultController<O>): Promise<void>;
  flush(to: TransformStreamDefaultController<O>): Promise<void>;
}

/** Closes the handle when the stream ends, fails or is cancelled. */
function closing<I, O>(handle: { close(): void }, steps: Steps<I, O>): Transformer<I, O> {
  const transformer: Transformer<I, O> & { cancel(): void } = {
    async transform(chunk, to) {
      try {
        await steps.transform(chunk, to);
      } catch (error) {
        handle.close();
        throw error;
      }
    },
    async flush(to) {
      try {
        await steps.flush(to);
      } finally {
        handle.close();
      }
    },
    cancel: () => handle.close(),
  };
  return transformer;
}
