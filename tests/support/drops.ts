/** Loss on purpose, here and in pages. */

/** Drops `share` of voice packets, never more than `run` in a row; says which. */
export function dropper(
  share: number,
  run: number,
  random: () => number,
): { send(message: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | undefined; dropped: boolean[] } {
  let inRow = 0;
  return {
    dropped: [],
    send(message) {
      if ((message[0] & 7) !== 3) return message;
      inRow = random() < share && inRow < run ? inRow + 1 : 0;
      this.dropped.push(inRow > 0);
      return inRow === 0 ? message : undefined;
    },
  };
}
