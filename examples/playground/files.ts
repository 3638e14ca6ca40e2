/** Files that the page opens and saves. */
import type { AudioCodes } from "mimi-audio";
import {
  bitsOf,
  codesFromSafetensors,
  codesToSafetensors,
  ContainerWriter,
  openContainer,
  toPCM16,
  wavHeader,
} from "mimi-audio/file";
import type { Clip } from "./codec.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Any audio that the browser can decode, in mono at a sampling rate. */
export async function readAudio(file: Blob, samplingRate: number): Promise<Float32Array> {
  // Its decoder resamples to the context's rate, and one channel of a context of one is the mix.
  const buffer = await new OfflineAudioContext(1, 1, samplingRate).decodeAudioData(await file.arrayBuffer());
  const context = new OfflineAudioContext(1, Math.max(1, buffer.length), samplingRate);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

/** Codes from a file; without `samples` the frames are whole. */
export interface ReadCodes {
  codes: AudioCodes;
  samples?: number;
  fingerprint?: string;
}

export async function readCodes(file: Blob): Promise<ReadCodes> {
  const { header, blocks, frames, samples } = await openContainer(file), { codebooks } = header;
  const data = new Uint16Array(codebooks * frames);
  for await (const { first, codes } of blocks()) {
    const [, , n] = codes.shape;
    for (let k = 0; k < codebooks; k++) data.set(codes.data.subarray(k * n, (k + 1) * n), k * frames + first);
  }
  return { codes: { data, shape: [1, codebooks, frames] }, samples, fingerprint: header.fingerprint };
}

/** Codes from a safetensors file, or `undefined` where it holds something else, such as a model. */
export async function readSafetensors(file: Blob): Promise<ReadCodes | undefined> {
  const found = await codesFromSafetensors(file).catch(() => undefined);
  return found && { codes: found.audioCodes, samples: found.info.samples, fingerprint: found.info.fingerprint };
}

export function mimiOf({ codes, length, model: { config, fingerprint } }: Clip): Blob {
  const { samplingRate, frameSize, codebookSize } = config, codebooks = codes.shape[1];
  const writer = new ContainerWriter({ samplingRate, frameSize, codebooks, bits: bitsOf(codebookSize), fingerprint });
  return new Blob([writer.header(), writer.write(codes), writer.finish(length)] as Bytes[]);
}

export function safetensorsOf({ codes, length, model: { config, fingerprint } }: Clip): Blob {
  const { samplingRate, frameSize } = config;
  return new Blob([codesToSafetensors(codes, { fingerprint, samplingRate, frameSize, samples: length }) as Bytes]);
}

export function wavOf(samples: Float32Array, samplingRate: number): Blob {
  return new Blob([wavHeader(samplingRate, samples.length), toPCM16(samples)] as Bytes[]);
}

export function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
