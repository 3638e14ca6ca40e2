/** Loss on purpose, here and in pages. */

/** Drops `share` of voice packets, less than half, never more than two in a row; says which. */
export function dropper(
  share: number,
  random: () => number,
): { send(message: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined; dropped: boolean[] } {
  // With a chance p of each that may be dropped, (p + p²) / (1 + p + p²) of all are.
  const chance = Math.sqrt(1 / 4 + share / (1 - share)) - 1 / 2;
  let inRow = 0;
  return {
    dropped: [],
    send(message) {
      if ((message[0] & 7) !== 3) return message;
      inRow = random() < chance && inRow < 2 ? inRow + 1 : 0;
      this.dropped.push(inRow > 0);
      return inRow === 0 ? message : undefined;
    },
  };
}
