/**
 * How formats cut a file into parts. Decoders of Ogg and MP4 take what they find; this tells whether all of it is there.
 * The one of FLAC wants pieces that do not end inside the header of a frame.
 *
 * @module
 */
import { ascii, type ByteReader, concat } from "./bytes.ts";

/** Bytes of a file that can be held in memory as a whole, at most. */
const MOST_HELD = 2 ** 30;
/** Bytes that are handed on at a time. */
const PIECE = 1 << 16;

type Fail = (what: string) => never;

/** Bytes of the longest header of a FLAC frame (RFC 9639, section 9.1). */
const FLAC_HEADER = 16;

/**
 * The bytes of a FLAC file in pieces of which none ends where a frame's header may have begun: `audio-decode` passes over a
 * header that comes in two pieces, and loses the frame.
 */
export async function* flacPieces(reader: ByteReader): AsyncGenerator<Uint8Array, void, undefined> {
  let held = new Uint8Array(0);
  for await (const piece of reader.rest()) {
    const bytes = concat([held, piece]);
    let end = Math.max(0, bytes.length - FLAC_HEADER + 1);
    // A header begins with fourteen 1 bits, a 0, and the strategy of blocking.
    while (end < bytes.length && !(bytes[end] === 0xff && ((bytes[end + 1] ?? 0xf8) & 0xfe) === 0xf8)) end++;
    if (end > 0) yield bytes.subarray(0, end);
    held = bytes.slice(end);
  }
  if (held.length > 0) yield held;
}

/** The pages of an Ogg file (RFC 3533, section 6), one by one. */
export async function* oggPages(reader: ByteReader, fail: Fail): AsyncGenerator<Uint8Array, void, undefined> {
  for (;;) {
    const head = (await reader.read(27)).slice();
    if (head.length === 0) return;
    if (ascii(head, 0) !== "OggS") fail("damaged: no page begins where the one before ends");
    const sizes = (await reader.read(head[26] ?? 0)).slice(), size = sizes.reduce((a, b) => a + b, 0);
    const body = await reader.read(size);
    if (head.length < 27 || sizes.length < head[26] || body.length < size) fail("cut off inside its last page");
    yield concat([head, sizes, body]);
  }
}

/**
 * The bytes of an MP4 file (ISO/IEC 14496-12, section 4.2): in pieces from where its index `moov` is there, and all at
 * once where that comes last, because nothing can be decoded without it.
 */
export async function* mp4Boxes(reader: ByteReader, fail: Fail): AsyncGenerator<Uint8Array, void, undefined> {
  let held: Uint8Array[] = [], size = 0, indexed = false;
  const hold = (bytes: Uint8Array) => {
    held.push(bytes.slice());
    size += bytes.length;
    if (size > MOST_HELD) {
      fail(`its index comes after more than ${MOST_HELD / 2 ** 20} MiB; move it to the front first`);
    }
  };
  const take = () => {
    const bytes = concat(held);
    [held, size] = [[], 0];
    return bytes;
  };
  for (;;) {
    const head = (await reader.read(8)).slice(), type = ascii(head, 4);
    if (head.length === 0) break;
    if (head.length < 8) fail("cut off inside a box's header");
    hold(head);
    let left = new DataView(head.buffer).getUint32(0) - 8;
    if (left === 1 - 8) { // a size of 1: the size is in 64 bits behind the name
      const large = (await reader.read(8)).slice();
      if (large.length < 8) fail("cut off inside a box's header");
      hold(large);
      left = Number(new DataView(large.buffer).getBigUint64(0)) - 16;
    } else if (left === 0 - 8) left = Infinity; // a size of 0: to the end of the file
    if (left < 0) fail(`damaged: its ${JSON.stringify(type)} box is smaller than its own header`);
    while (left > 0) {
      const piece = await reader.read(Math.min(PIECE, left));
      if (piece.length === 0 && left === Infinity) break;
      if (piece.length === 0) fail(`cut off: ${left} bytes of its ${JSON.stringify(type)} box are missing`);
      hold(piece);
      left -= piece.length;
      if (indexed) yield take();
    }
    indexed ||= type === "moov";
  }
  if (size > 0) yield take();
}
