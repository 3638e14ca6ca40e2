/**
 * As much of protobuf's wire format as writing an ONNX model takes.
 *
 * @module
 */

type Bytes = Uint8Array<ArrayBuffer>;

const VARINT = 0, LENGTH = 2, FIXED32 = 5;
const encoder = new TextEncoder();

function concat(parts: readonly Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function varint(value: number): Uint8Array {
  // A negative int64 is its two's complement, ten bytes long.
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Uint8Array.of(...bytes, Number(rest));
}

/** A field with an integer. */
export function int(field: number, value: number): Bytes {
  return concat([varint(field * 8 + VARINT), varint(value)]);
}

/** A field with a float of 32 bits. */
export function float(field: number, value: number): Bytes {
  const bits = new Uint8Array(4);
  new DataView(bits.buffer).setFloat32(0, value, true);
  return concat([varint(field * 8 + FIXED32), bits]);
}

/** A field with text, bytes, or a message made of fields. */
export function bytes(field: number, content: string | Uint8Array | readonly Uint8Array[]): Bytes {
  const data = typeof content === "string"
    ? encoder.encode(content)
    : content instanceof Uint8Array
    ? content
    : concat(content);
  return concat([varint(field * 8 + LENGTH), varint(data.length), data]);
}

/** A message that is not a field of another. */
export function message(fields: readonly Uint8Array[]): Bytes {
  return concat(fields);
}
