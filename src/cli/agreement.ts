/**
 * How much two ways of running a model agree.
 *
 * @module
 */
import type { AudioCodes } from "../core/codes.ts";
import { concatFloats } from "../core/tensor.ts";
import { readAudio, toMono } from "../file/audio.ts";
import { nameOf, readChunks } from "./files.ts";

/** A recording in mono at some rate, all of it in memory. */
export async function readMono(path: string, samplingRate: number, signal?: AbortSignal): Promise<Float32Array> {
  const chunks = readChunks(path, { signal }), pieces: Float32Array[] = [];
  try {
    const audio = await readAudio(chunks, { name: nameOf(path) });
    for await (const pcm of toMono(audio, samplingRate)) pieces.push(pcm.slice());
  } finally {
    await chunks.return();
  }
  return concatFloats(pieces);
}

/** The share of codes that are equal, from 0 to 1. */
export function equalCodes(a: AudioCodes, b: AudioCodes): number {
  return a.data.reduce((n, code, i) => n + Number(code === b.data[i]), 0) / Math.max(1, a.data.length);
}

/** How far samples are from those they should be. */
export interface Difference {
  /** Of a sample, at most. */
  maxError: number;
  /** Signal to noise, dB; `null` where nothing differs. */
  snr: number | null;
}

export function difference(reference: Float32Array, samples: Float32Array): Difference {
  let maxError = 0, signal = 0, noise = 0;
  for (let i = 0; i < reference.length; i++) {
    const error = samples[i] - reference[i];
    maxError = Math.max(maxError, Math.abs(error));
    signal += reference[i] ** 2;
    noise += error ** 2;
  }
  return { maxError, snr: noise === 0 ? null : 10 * Math.log10(signal / noise) };
}

/** The sum of codes of the first `codebooks` codebooks. */
export function sumOfCodes({ data, shape: [, , frames] }: AudioCodes, codebooks: number): number {
  return data.subarray(0, codebooks * frames).reduce((a, b) => a + b, 0);
}

/** `100 % of codes equal`. */
export function formatShare(share: number): string {
  // Never rounded up to all.
  return `${share === 1 ? "100" : (Math.floor(share * 10000) / 100).toFixed(2)} %`;
}

/** `largest error 1.2e-4, SNR 52.1 dB`, `the same samples`. */
export function formatDifference({ maxError, snr }: Difference): string {
  return snr === null ? "the same samples" : `largest error ${maxError.toExponential(1)}, SNR ${snr.toFixed(1)} dB`;
}
