/** Files that the page opens and saves. */
import type { AudioCodes, MimiConfig } from "mimi-audio";
import { bitsOf, codesToSafetensors, ContainerWriter, openContainer, toPCM16, wavHeader } from "mimi-audio/file";

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

export async function readCodes(file: Blob): Promise<{ codes: AudioCodes; samples: number; fingerprint?: string }> {
  const { header, blocks, frames, samples } = await openContainer(file), { codebooks } = header;
  const data = new Uint16Array(codebooks * frames);
  for await (const { first, codes } of blocks()) {
    const [, , n] = codes.shape;
    for (let k = 0; k < codebooks; k++) data.set(codes.data.subarray(k * n, (k + 1) * n), k * frames + first);
  }
  return { codes: { data, shape: [1, codebooks, frames] }, samples, fingerprint: header.fingerprint };
}

export function mimiOf(codes: AudioCodes, length: number, config: MimiConfig, fingerprint: string): Blob {
  const { samplingRate, frameSize, codebookSize } = config, codebooks = codes.shape[1];
  const writer = new ContainerWriter({ samplingRate, frameSize, codebooks, bits: bitsOf(codebookSize), fingerprint });
  return new Blob([writer.header(), writer.write(codes), writer.finish(length)] as Bytes[]);
}

export const safetensorsOf = (codes: AudioCodes, fingerprint: string): Blob =>
  new Blob([codesToSafetensors(codes, { fingerprint }) as Bytes]);

export function wavOf(samples: Float32Array, samplingRate: number): Bytes {
  const header = wavHeader(samplingRate, samples.length), out = new Uint8Array(header.length + 2 * samples.length);
  out.set(header);
  out.set(toPCM16(samples), header.length);
  return out;
}

export function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
