/**
 * Files: codes as `.mimi`, `.npy`, safetensors and JSON lines, audio as WAV. Bytes in, bytes out, in pieces where the format
 * allows; nothing here opens a file, so it works in browsers as well.
 *
 * ```ts
 * import { MimiModel } from "mimi-audio";
 * import { bitsOf, codesToNpy, ContainerWriter, openContainer, readContainer } from "mimi-audio/file";
 *
 * const model = await MimiModel.fromPretrained("mini");
 * const { config, fingerprint } = model, { samplingRate, frameSize } = config;
 * const { audioCodes } = await model.encode(samples, { numQuantizers: 8 });
 *
 * // The whole file at once; or write(), as often as there are codes.
 * const writer = new ContainerWriter({
 *   samplingRate,
 *   frameSize,
 *   codebooks: 8,
 *   bits: bitsOf(config.codebookSize),
 *   fingerprint,
 * });
 * const file = new Blob([writer.header(), writer.write(audioCodes), writer.finish(samples.length)] as BlobPart[]);
 *
 * // As it comes. Damage is an error, or a warning where somebody listens.
 * const { blocks } = await readContainer(file.stream(), { onWarning: ({ message }) => console.warn(message) });
 * const decoder = model.createDecoder();
 * for await (const { codes, samples } of blocks()) {
 *   play((await decoder.decode(codes)).audioValues.data.subarray(0, samples));
 * }
 *
 * // From any frame.
 * const container = await openContainer(file);
 * for await (const { first, codes } of container.blocks(25)) console.log(first, codes.shape);
 *
 * // For NumPy.
 * const npy = codesToNpy(audioCodes);
 * ```
 *
 * @module mimi-audio/file
 */
export {
  bitsOf,
  type Block,
  type Container,
  type ContainerEnd,
  type ContainerHeader,
  ContainerWriter,
  type FileWarning,
  openContainer,
  readContainer,
  type ReadOptions,
  type SeekableContainer,
} from "./container.ts";
export { codesFromNpy, codesToNpy } from "./npy.ts";
export { codesFromSafetensors, type CodesInfo, codesToSafetensors } from "./codes-safetensors.ts";
export { codesFromJSONLines, codesToJSONLines } from "./json-lines.ts";
export { fromPCM16, readWav, toPCM16, type Wav, WAV_HEADER_BYTES, wavHeader } from "./wav.ts";
export type { ByteChunks, ByteSourceInput } from "./bytes.ts";
export type { NameOptions } from "./codes.ts";
export type { ByteSource } from "../core/safetensors.ts";
