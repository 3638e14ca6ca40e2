/**
 * WAV files, mono 16-bit PCM, read and written piece by piece in constant memory.
 *
 * A RIFF file is `RIFF`, u32 size, `WAVE`, then chunks: 4 characters, u32 size, that many bytes, and one more byte where
 * the size is odd. All numbers are little-endian. `fmt ` must come before `data`; other chunks are skipped, and what
 * follows `data` is not read. The RIFF size is not trusted: programs that write to pipes cannot know it.
 *
 * @module
 */
import { FormatError, MimiRangeError } from "../core/errors.ts";
import { type ByteChunks, ByteReader } from "./bytes.ts";

/** Bytes of the header that {@link wavHeader} makes. */
export const WAV_HEADER_BYTES = 44;

/** Sizes of `data` that mean "until the end of the file": of a pipe by most programs, by ffmpeg, by SoX. */
const UNKNOWN_SIZES = [0, 0xffffffff, 0x7ffff000];
const PCM = 1, FLOAT = 3, EXTENSIBLE = 0xfffe;
/** The largest `fmt ` in use has 40 bytes. */
const MOST_FORMAT_BYTES = 1024;
/** Bytes of audio that are read at a time. */
const PIECE = 1 << 16;

export interface WavReadOptions {
  /** Shown in error messages. */
  name?: string;
  /** Hz that the file must have; default 24000. */
  samplingRate?: number;
}

/** A WAV file whose header has been read. */
export interface Wav {
  samplingRate: number;
  /** Samples in all; undefined where the header does not say. */
  length: number | undefined;
  /** The audio, [n] in pieces from -1 to 1, to be read once. Throws `ERR_WAV` where the file ends too early. */
  samples: AsyncGenerator<Float32Array, void, undefined>;
}

type Fail = (what: string) => never;

/**
 * Reads the header of a WAV file; the samples follow as they are asked for.
 *
 * @throws {FormatError} `ERR_WAV` for everything that is not mono 16-bit PCM at the sampling rate.
 */
export async function readWav(bytes: ByteChunks, options: WavReadOptions = {}): Promise<Wav> {
  const { name = "WAV file", samplingRate = 24000 } = options, reader = new ByteReader(bytes);
  const fail: Fail = (what) => {
    throw new FormatError("ERR_WAV", `${name}: ${what}.`);
  };
  try {
    await checkRiff(reader, fail);
    const size = await findData(reader, samplingRate, fail), known = !UNKNOWN_SIZES.includes(size);
    if (known && size % 2) fail(`its audio has ${size} bytes, not a whole number of 16-bit samples`);
    return {
      samplingRate,
      length: known ? size / 2 : undefined,
      samples: readSamples(reader, known ? size : Infinity, fail),
    };
  } catch (error) {
    await reader.close();
    throw error;
  }
}

async function checkRiff(reader: ByteReader, fail: Fail): Promise<void> {
  const head = await reader.read(12);
  if (head.length === 0) fail("the file is empty, expected a WAV file");
  const riff = ascii(head, 0), wave = ascii(head, 8);
  if (riff !== "RIFF") fail(`not a WAV file: it starts with ${JSON.stringify(riff)}, expected "RIFF"`);
  if (head.length < 12) fail(`cut off: it has ${head.length} bytes, the header of a WAV file has ${WAV_HEADER_BYTES}`);
  if (wave !== "WAVE") fail(`not a WAV file: its RIFF type is ${JSON.stringify(wave)}, expected "WAVE"`);
}

/** Goes through the chunks up to the audio; returns the size that `data` claims, in bytes. */
async function findData(reader: ByteReader, samplingRate: number, fail: Fail): Promise<number> {
  for (let format = false;;) {
    const head = await reader.read(8);
    if (head.length === 0) fail(`it has no ${format ? '"data"' : '"fmt "'} chunk`);
    if (head.length < 8) fail("cut off inside a chunk's header");
    const id = ascii(head, 0), size = view(head).getUint32(4, true);
    if (id === "data") {
      if (!format) fail('its "data" chunk comes before any "fmt " chunk');
      return size;
    }
    if (id === "fmt ") {
      if (format) fail('it has two "fmt " chunks');
      if (size < 16 || size > MOST_FORMAT_BYTES) {
        fail(`its "fmt " chunk has ${size} bytes, expected 16 to ${MOST_FORMAT_BYTES}`);
      }
      const fmt = await reader.read(size);
      if (fmt.length < size) fail(`cut off: its "fmt " chunk has ${fmt.length} of ${size} bytes`);
      checkFormat(view(fmt), samplingRate, fail);
      format = true;
      await reader.skip(size % 2);
    } else {
      const there = await reader.skip(size + size % 2);
      if (there < size) fail(`cut off: its ${JSON.stringify(id)} chunk has ${there} of ${size} bytes`);
    }
  }
}

function checkFormat(fmt: DataView, samplingRate: number, fail: Fail): void {
  let tag = fmt.getUint16(0, true);
  const channels = fmt.getUint16(2, true),
    rate = fmt.getUint32(4, true),
    align = fmt.getUint16(12, true),
    bits = fmt.getUint16(14, true);
  // The extensible form has the tag of the samples at the start of a GUID.
  if (tag === EXTENSIBLE && fmt.byteLength >= 40) tag = fmt.getUint16(24, true);
  if (tag !== PCM || channels !== 1 || bits !== 16 || rate !== samplingRate) {
    const kind = tag === PCM ? "PCM" : tag === FLOAT ? "float" : `format ${tag}`;
    fail(
      `${channels === 1 ? "mono" : `${channels} channels`}, ${rate} Hz, ${bits} bit ${kind}; ` +
        `this version reads mono 16-bit PCM at ${samplingRate} Hz`,
    );
  }
  if (align !== 2) fail(`its "fmt " chunk says ${align} bytes a sample, 16-bit mono has 2`);
}

async function* readSamples(
  reader: ByteReader,
  size: number,
  fail: Fail,
): AsyncGenerator<Float32Array, void, undefined> {
  try {
    for (let at = 0; at < size;) {
      const asked = Math.min(PIECE, size - at), bytes = await reader.read(asked);
      at += bytes.length;
      if (bytes.length >= 2) yield fromPCM16(bytes);
      if (bytes.length === asked) continue;
      if (size !== Infinity) fail(`cut off: its audio has ${at} of ${size} bytes`);
      if (at % 2) fail("cut off inside its last sample");
      return;
    }
  } finally {
    await reader.close();
  }
}

/**
 * The header of a file with `samples` samples, 44 bytes. A writer that learns the number last writes any header first and
 * the right one over it in the end.
 *
 * @throws {MimiRangeError} `ERR_OUT_OF_RANGE` for more samples than a WAV file can hold (4 GiB).
 */
export function wavHeader(samplingRate: number, samples: number): Uint8Array {
  const size = samples * 2, bytes = new Uint8Array(WAV_HEADER_BYTES), out = view(bytes);
  if (!(Number.isSafeInteger(samples) && samples >= 0 && size + 36 <= 0xffffffff)) {
    throw new MimiRangeError(
      "ERR_OUT_OF_RANGE",
      `wavHeader: a WAV file holds 0 to ${(0xffffffff - 37) / 2} samples, got ${samples}.`,
    );
  }
  const text = (at: number, word: string) => [...word].forEach((c, i) => out.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  out.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  out.setUint32(16, 16, true); // bytes of fmt
  out.setUint16(20, PCM, true);
  out.setUint16(22, 1, true); // channels
  out.setUint32(24, samplingRate, true);
  out.setUint32(28, samplingRate * 2, true); // bytes a second
  out.setUint16(32, 2, true); // bytes of a sample of all channels
  out.setUint16(34, 16, true); // bits of a sample
  text(36, "data");
  out.setUint32(40, size, true);
  return bytes;
}

/** Samples [n] to 2n bytes: times 32768, rounded, clamped to what 16 bits hold. */
export function toPCM16(samples: Float32Array): Uint8Array {
  const bytes = new Uint8Array(samples.length * 2), out = view(bytes);
  for (let i = 0; i < samples.length; i++) {
    out.setInt16(2 * i, Math.max(-32768, Math.min(32767, Math.round(samples[i] * 32768))), true);
  }
  return bytes;
}

/** 2n bytes to samples [n], each an integer divided by 32768. An odd last byte is left out. */
export function fromPCM16(bytes: Uint8Array): Float32Array {
  const samples = new Float32Array(bytes.length >> 1), from = view(bytes);
  for (let i = 0; i < samples.length; i++) samples[i] = from.getInt16(2 * i, true) / 32768;
  return samples;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function ascii(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}
