/** What tests ask of the library in a page, in a worker and, to compare, in Node. */
import { MimiModel, type ModelSource } from "../../mod.ts";
import { fromPCM16 } from "../../src/file/wav.ts";

/** Hashes of everything that comes of a round trip: whole, and as streams in uneven pieces. */
export interface RoundTrip {
  fingerprint: string;
  shape: number[];
  codes: string;
  samples: string;
  streamedCodes: string;
  streamedSamples: string;
}

export async function roundTrip(source: ModelSource, speech: string): Promise<RoundTrip> {
  const pcm = fromPCM16(new Uint8Array(await (await fetch(speech)).arrayBuffer()).subarray(44));
  const model = await MimiModel.fromPretrained(source);
  const { audioCodes } = await model.encode(pcm), { audioValues } = await model.decode(audioCodes);

  const encoder = model.createEncoder(), decoder = model.createDecoder();
  const codes: Uint16Array[] = [], samples: Float32Array[] = [];
  for (let at = 0, length = 1; at < pcm.length; at += length, length = length * 3 % 4999) {
    const { data } = await encoder.encode(pcm.subarray(at, at + length));
    codes.push(data);
  }
  codes.push((await encoder.finish()).data);
  const frames = audioCodes.shape[2];
  for (let t = 0; t < frames; t++) {
    const frame = Array.from({ length: audioCodes.shape[1] }, (_, k) => [audioCodes.data[k * frames + t]]);
    samples.push((await decoder.decode([frame])).audioValues.data);
  }
  model.close();
  return {
    fingerprint: model.fingerprint,
    shape: audioCodes.shape,
    codes: await hash(audioCodes.data),
    samples: await hash(audioValues.data),
    streamedCodes: await hash(...codes),
    streamedSamples: await hash(...samples),
  };
}

/** {@link roundTrip} in a module worker. */
export function roundTripInWorker(...args: Parameters<typeof roundTrip>): Promise<RoundTrip> {
  return new Promise((resolve, reject) => {
    const worker = new Worker("/worker.js", { type: "module" });
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
