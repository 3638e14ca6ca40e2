/** Streams in pieces. */
import type { AudioCodes } from "../../mod.ts";
import type { Random } from "./random.ts";

/** Pieces of 1 to 20,000 samples, short ones as likely as long ones. */
export function* cuts(rng: Random, length: number): Generator<[number, number]> {
  for (let at = 0; at < length;) {
    const end = Math.min(length, at + Math.max(1, Math.round(20000 ** rng.next())));
    yield [at, end];
    at = end;
  }
}

/** Codes of consecutive calls as one. */
export function join(parts: AudioCodes[]): AudioCodes {
  const codebooks = parts[0].shape[1],
    total = parts.reduce((n, p) => n + p.shape[2], 0),
    data = new Uint16Array(codebooks * total);
  let at = 0;
  for (const part of parts) {
    const n = part.shape[2];
    for (let k = 0; k < codebooks; k++) data.set(part.data.subarray(k * n, (k + 1) * n), k * total + at);
    at += n;
  }
  return { data, shape: [1, codebooks, total] };
}

/** Codes of frames `from` to `to`. */
export function slice(codes: AudioCodes, from: number, to: number): AudioCodes {
  const [, codebooks, all] = codes.shape, data = new Uint16Array(codebooks * (to - from));
  for (let k = 0; k < codebooks; k++) data.set(codes.data.subarray(k * all + from, k * all + to), k * (to - from));
  return { data, shape: [1, codebooks, to - from] };
}
