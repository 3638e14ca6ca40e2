/** Bytes as they come from pipes and networks: in pieces that are reused. */
import type { Random } from "./random.ts";

export function join(...parts: (Uint8Array | number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** Pieces of at most `most` bytes, empty ones among them, which do not last longer than until the next. */
export async function* inPieces(bytes: Uint8Array, rng: Random, most: number = 9): AsyncGenerator<Uint8Array> {
  const piece = new Uint8Array(most);
  for (let at = 0; at < bytes.length;) {
    const part = bytes.subarray(at, at + rng.integer(0, most));
    piece.set(part);
    yield piece.subarray(0, part.length);
    at += part.length;
    piece.fill(255);
  }
}
