/** Writes a long recording second by second, so that the benchmark itself holds none of it. */
import { open } from "node:fs/promises";
import { signal } from "./signal.ts";

const RATE = 24000, BYTES = 2;

/** `seconds` of the signal as a mono WAV of 16 bits at 24 kHz. */
export async function writeWav(path: string, seconds: number): Promise<void> {
  const file = await open(path, "w");
  try {
    await file.write(header(seconds * RATE * BYTES));
    for (let second = 0; second < seconds; second++) {
      await file.write(new Uint8Array(Int16Array.from(signal(second * RATE, RATE), (v) => v * 32767).buffer));
    }
  } finally {
    await file.close();
  }
}

/** RIFF, "fmt " and the start of "data". */
function header(dataBytes: number): Uint8Array {
  const bytes = new Uint8Array(44), view = new DataView(bytes.buffer);
  const text = (at: number, word: string) => bytes.set(new TextEncoder().encode(word), at);
  text(0, "RIFF");
  view.setUint32(4, 36 + dataBytes, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  [1, 1].forEach((v, i) => view.setUint16(20 + 2 * i, v, true)); // PCM, one channel
  view.setUint32(24, RATE, true);
  view.setUint32(28, RATE * BYTES, true);
  [BYTES, 8 * BYTES].forEach((v, i) => view.setUint16(32 + 2 * i, v, true));
  text(36, "data");
  view.setUint32(40, dataBytes, true);
  return bytes;
}
