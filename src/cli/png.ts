/**
 * Writes PNG images with a palette (W3C PNG, third edition).
 *
 * @module
 */
import { deflateSync } from "node:zlib";
import { concat } from "../file/bytes.ts";
import { crc32 } from "../file/crc32.ts";

/** Colours as [red, green, blue] from 0 to 255. */
export type Colour = readonly [number, number, number];

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const INDEXED = 3;

/**
 * An image as the bytes of a PNG file.
 *
 * @param pixels [height, width], row by row from the top; each an index into the palette.
 * @param palette 1 to 256 colours.
 */
export function encodePNG(width: number, height: number, pixels: Uint8Array, palette: readonly Colour[]): Uint8Array {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8); // bits of a pixel
  header.setUint8(9, INDEXED);
  const rows = new Uint8Array(height * (width + 1)); // each begins with its filter: 0, none
  for (let y = 0; y < height; y++) rows.set(pixels.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  return concat([
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", new Uint8Array(header.buffer)),
    chunk("PLTE", Uint8Array.from(palette.flat())),
    chunk("IDAT", deflateSync(rows, { level: 9 })),
    chunk("IEND", new Uint8Array(0)),
  ]);
}

/** Length, name, bytes, and a checksum of the last two. */
function chunk(name: string, bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length + 12), view = new DataView(out.buffer);
  view.setUint32(0, bytes.length);
  out.set(Uint8Array.from(name, (c) => c.charCodeAt(0)), 4);
  out.set(bytes, 8);
  view.setUint32(bytes.length + 8, crc32(out.subarray(4, bytes.length + 8)));
  return out;
}
