/**
 * Counters that wrap: from the low bits that a packet has room for to the number that was meant.
 *
 * @module
 */

/** The integer nearest to `near` that equals `low` modulo 2^bits. */
export function unwrap(low: number, bits: number, near: number): number {
  const size = 2 ** bits, ahead = (((low - near) % size) + size) % size;
  return near + (ahead < size / 2 ? ahead : ahead - size);
}
