/**
 * Mimi, Kyutai's neural speech codec: 24 kHz audio to 12.5 frames of codes a second and back.
 *
 * ```ts
 * import { MimiModel } from "mimi-audio";
 *
 * const model = await MimiModel.fromPretrained("mini");
 * const { audioCodes } = await model.encode(samples, { numQuantizers: 8 });
 * const { audioValues } = await model.decode(audioCodes);
 * ```
 *
 * @module mimi-audio
 */
export { type CodecLoadOptions, LatentModel, type LoadOptions, MimiFeatureExtractor, MimiModel } from "./src/load.ts";
export type { ModelFiles, ModelFolder, ModelSource } from "./src/hub/source.ts";
export type { Progress } from "./src/hub/progress.ts";
export { type CachedFile, type CacheOptions, clearCache, listCache, persistCache } from "./src/hub/cache.ts";

export { MimiConfig, type MimiConfigFields } from "./src/core/config.ts";
export type { EncodeOptions, EncodeOutput, ForwardOptions, ForwardOutput } from "./src/core/model.ts";
export type { DecodeOptions, DecodeOutput, EncodeRowsOptions, ModelMemory } from "./src/core/codec-model.ts";
export type {
  EncodeCallOptions,
  MimiDecoder,
  MimiDecoderSync,
  MimiEncoder,
  MimiEncoderOptions,
  MimiEncoderSync,
  StreamSnapshot,
  Tail,
} from "./src/core/handles.ts";
export type { MimiPool, PoolOptions } from "./src/core/pool.ts";
export { MimiDecoderStream, MimiEncoderStream, ResamplerStream } from "./src/core/streams.ts";
export { resample, Resampler, type ResamplerOptions } from "./src/core/resample.ts";
export { downmix } from "./src/core/downmix.ts";
export { AudioCodes, type AudioCodesInput } from "./src/core/codes.ts";
export type { AudioBufferLike, AudioInput, PaddingMask } from "./src/core/audio.ts";
export type { FeatureExtractorFields, FeatureOptions, Features } from "./src/core/features.ts";
export type { Tensor } from "./src/core/tensor.ts";
export type { WorkerOptions } from "./src/engine/spawn.ts";
export type { PartsOptions } from "./src/parts.ts";
export {
  DeviceLostError,
  EngineError,
  FormatError,
  InvalidStateError,
  isMimiError,
  LoadError,
  type MimiError,
  type MimiErrorCode,
  MimiRangeError,
  MimiTypeError,
  NotSupportedError,
} from "./src/core/errors.ts";

export { wasm } from "./src/backends/wasm/mod.ts";
export { registerBackend } from "./src/backends/registry.ts";
export type {
  Backend,
  CompileOptions,
  Determinism,
  Ports,
  Precision,
  Program,
  ProgramMemory,
  State,
  StateData,
  TensorSource,
} from "./src/core/backend.ts";

export { mimi } from "./src/core/mimi.ts";
export type { Codec, CodecConfig, Layout, Placement } from "./src/core/codec.ts";
export type { EncodeLatentsOutput } from "./src/core/latent-model.ts";
export type { LatentDecoder, LatentEncoder, LatentEncoderOptions } from "./src/core/latent-handles.ts";
export type { Latents } from "./src/core/latents.ts";
export type {
  ActivationLayer,
  AttentionLayer,
  ConvLayer,
  ConvTransposeLayer,
  DequantizeLayer,
  Layer,
  LayerNormLayer,
  LinearLayer,
  Network,
  PadMode,
  QuantizeLayer,
  ResidualLayer,
  ResidualQuantizer,
  ScaleLayer,
  StateSpec,
  TensorSpec,
} from "./src/core/network.ts";
