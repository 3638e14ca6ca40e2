/**
 * What page and server say to each other.
 *
 * A frame is binary: the number of its answer and then its codes, as 16-bit integers, little-endian. The number tells frames of
 * an answer that was interrupted, some of which are still under way, from those of the next one.
 */

/** From the page, as JSON. */
export type ToServer = { type: "play"; answer: number } | { type: "stop" };

/** From the server, as JSON. */
export type ToPage =
  /** Before the first frame: the model that the codes are of, and how many frames there will be. */
  | { type: "begin"; answer: number; fingerprint: string; frames: number }
  | { type: "end"; answer: number };

export function packFrame(answer: number, codes: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(2 + 2 * codes.length), view = new DataView(bytes.buffer);
  view.setUint16(0, answer, true);
  for (let k = 0; k < codes.length; k++) view.setUint16(2 + 2 * k, codes[k], true);
  return bytes;
}

export function unpackFrame(bytes: ArrayBuffer): { answer: number; codes: number[] } {
  const view = new DataView(bytes);
  return {
    answer: view.getUint16(0, true),
    codes: Array.from({ length: view.byteLength / 2 - 1 }, (_, k) => view.getUint16(2 + 2 * k, true)),
  };
}
