/**
 * CRC-32 as zip, PNG and gzip have it (ISO/IEC 8802-3), and the checksum of any part of a row of bytes without going
 * through that part again.
 *
 * The register is a polynomial over two values, its lowest power in the highest bit. A byte multiplies it by x^8 and adds
 * itself. So a register that went through bytes a, then b, is `register(a) * x^(8 |b|) + register(b)`, modulo the
 * polynomial of the checksum, where register(b) starts from 0; addition is exclusive or.
 *
 * @module
 */
const POLYNOMIAL = 0xedb88320;
const ONE = 0x80000000, X8 = 0x00800000;

/** What each byte leaves in a register of 0. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let register = byte;
  for (let bit = 0; bit < 8; bit++) register = register & 1 ? POLYNOMIAL ^ (register >>> 1) : register >>> 1;
  return register;
});

/**
 * Checksum of bytes.
 *
 * @param before checksum of the bytes that come before them.
 */
export function crc32(bytes: Uint8Array, before: number = 0): number {
  let register = ~before;
  for (let i = 0; i < bytes.length; i++) register = step(register, bytes[i]);
  return ~register >>> 0;
}

/** The register after one more byte, as a signed integer. */
export function step(register: number, byte: number): number {
  return TABLE[(register ^ byte) & 255] ^ (register >>> 8);
}

/** x^(8 n) modulo the polynomial: what `n` bytes multiply a register by. */
export function shiftOf(n: number): number {
  let shift = ONE, square = X8;
  for (let rest = n; rest > 0; rest >>>= 1, square = multiply(square, square)) {
    if (rest & 1) shift = multiply(shift, square);
  }
  return shift;
}

/** a * b modulo the polynomial, as a signed integer. */
export function multiply(a: number, b: number): number {
  let product = 0;
  for (let power = ONE; power !== 0; power >>>= 1) {
    if (a & power) product ^= b;
    b = b & 1 ? POLYNOMIAL ^ (b >>> 1) : b >>> 1;
  }
  return product;
}
