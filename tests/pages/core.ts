/** What tests ask of the library in a page, in a worker and, to compare, in Node. */
import {
  type AudioCodes,
  type LoadOptions,
  MimiDecoderStream,
  MimiEncoderStream,
  MimiModel,
  type ModelSource,
} from "../../mod.ts";
import { fromPCM16 } from "../../src/file/wav.ts";

/** Hashes of what comes of a recording: whole, and as streams of uneven pieces. */
export interface RoundTrip {
  fingerprint: string;
  shape: number[];
  codes: string;
  samples: string;
  streamedCodes: string;
  streamedSamples: string;
}

export async function roundTrip(source: ModelSource, recording: string, options?: LoadOptions): Promise<RoundTrip> {
  const wav = new Uint8Array(await (await fetch(recording)).arrayBuffer()), pcm = fromPCM16(wav.subarray(44));
  const model = await MimiModel.fromPretrained(source, options);
  const { audioCodes } = await model.encode(pcm), { audioValues } = await model.decode(audioCodes);

  const pieces: Float32Array[] = [];
  for (let at = 0, length = 1; at < pcm.length; at += length, length = length * 3 % 4999) {
    pieces.push(pcm.subarray(at, at + length));
  }
  const encoder = model.createEncoder(), codes: AudioCodes[] = [];
  for (const piece of pieces) codes.push(await encoder.encode(piece));
  codes.push(await encoder.finish());

  const stream = new ReadableStream<Float32Array>({
    pull: (controller) => pieces.length ? controller.enqueue(pieces.shift()!) : controller.close(),
  });
  const reader = stream.pipeThrough(new MimiEncoderStream(model)).pipeThrough(new MimiDecoderStream(model)).getReader();
  const samples: Float32Array[] = [];
  for (let next = await reader.read(); !next.done; next = await reader.read()) samples.push(next.value);
  model.close();

  return {
    fingerprint: model.fingerprint,
    shape: audioCodes.shape,
    codes: await hash(...rows([audioCodes])),
    samples: await hash(audioValues.data),
    streamedCodes: await hash(...rows(codes)),
    streamedSamples: await hash(...samples),
  };
}

/** The codebooks of consecutive codes, each from the first frame to the last. */
function rows(parts: AudioCodes[]): Uint16Array[] {
  return Array.from(
    { length: parts[0].shape[1] },
    (_, k) => parts.map(({ data, shape: [, , frames] }) => data.subarray(k * frames, (k + 1) * frames)),
  ).flat();
}

/** {@link roundTrip} in a module worker. */
export function roundTripInWorker(...args: Parameters<typeof roundTrip>): Promise<RoundTrip> {
  return new Promise((resolve, reject) => {
    const worker = new Worker("/core-worker.js", { type: "module" });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(args);
  });
}

export function isIsolated(): boolean {
  return crossOriginIsolated;
}

async function hash(...parts: (Uint16Array | Float32Array)[]): Promise<string> {
  const bytes = new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
