/**
 * WAV files: any usual kind of samples, channels and sampling rate read, mono 16-bit PCM written, piece by piece in
 * constant memory.
 *
 * A RIFF file is `RIFF`, u32 size, `WAVE`, then chunks: 4 characters, u32 size, that many bytes, and one more byte where
 * the size is odd. All numbers are little-endian. `fmt ` must come before `data`; other chunks are skipped, and what
 * follows `data` is not read. The RIFF size is not trusted: programs that write to pipes cannot know it. Files beyond
 * 4 GiB begin with `RF64` or `BW64` and say the size of `data` in a chunk `ds64` (EBU Tech 3306).
 *
 * @module
 */
import { FormatError, MimiRangeError } from "../core/errors.ts";
import { ascii, type ByteChunks, ByteReader, viewOf } from "./bytes.ts";

/** Bytes of the header that {@link wavHeader} makes. */
export const WAV_HEADER_BYTES = 44;

/** What `data` says as its size where nobody knows it: most programs that write to a pipe, ffmpeg, SoX. */
const UNKNOWN_SIZES = [0, 0xffffffff, 0x7ffff000];
/** What {@link wavHeader} says, as ffmpeg does. */
const UNKNOWN_SIZE = 0xffffffff;
/** First words of a file, and those of them whose sizes are in a `ds64` chunk. */
const RIFFS = ["RIFF", "RF64", "BW64"], LARGE = ["RF64", "BW64"];
const PCM = 1, FLOAT = 3, A_LAW = 6, MU_LAW = 7, EXTENSIBLE = 0xfffe;
/** What follows the tag of the samples in the GUID of the extensible form. */
const GUID_TAIL = "0000000010008000" + "00aa00389b71";
/** The largest `fmt ` in use has 40 bytes. */
const MOST_FORMAT_BYTES = 1024;
const MOST_CHANNELS = 256;
/** Bytes of audio that are read at a time, at most. */
const PIECE = 1 << 16;

/** How one sample becomes a number from -1 to 1. */
type ReadSample = (from: DataView, at: number) => number;

/** Kinds of samples by the tag in `fmt ` and the bits of a sample, rounded up to whole bytes. */
const KINDS: Record<string, ReadSample> = {
  [`${PCM}/8`]: (from, at) => (from.getUint8(at) - 128) / 128,
  [`${PCM}/16`]: (from, at) => from.getInt16(at, true) / 32768,
  [`${PCM}/24`]: (from, at) => (from.getInt16(at + 1, true) * 256 + from.getUint8(at)) / 8388608,
  [`${PCM}/32`]: (from, at) => from.getInt32(at, true) / 2147483648,
  [`${FLOAT}/32`]: (from, at) => from.getFloat32(at, true),
  [`${FLOAT}/64`]: (from, at) => from.getFloat64(at, true),
  [`${A_LAW}/8`]: (from, at) => aLaw(from.getUint8(at)) / 32768,
  [`${MU_LAW}/8`]: (from, at) => muLaw(from.getUint8(at)) / 32768,
};
const NAMES: Record<number, string> = { [PCM]: "PCM", [FLOAT]: "float", [A_LAW]: "A-law", [MU_LAW]: "mu-law" };

/** A WAV file whose header has been read. */
export interface Wav {
  /** Hz. */
  samplingRate: number;
  /** 1 to 256. */
  channels: number;
  /** Samples of each channel; undefined where the header does not say. */
  length: number | undefined;
  /**
   * The audio, to be read once: pieces of [n] samples for each channel, integers divided so that they lie from -1 to 1,
   * floats as they are. Throws `ERR_WAV` where the file ends too early.
   */
  pieces: AsyncGenerator<Float32Array[], void, undefined>;
}

type Fail = (what: string) => never;

/** What `fmt ` says. */
interface Format {
  samplingRate: number;
  channels: number;
  /** Bytes of one sample of one channel. */
  bytes: number;
  read: ReadSample;
}

/**
 * Reads the header of a WAV file; the samples follow as they are asked for. Integers of 8 to 32 bits, floats of 32 and
 * 64, A-law and mu-law, also in the extensible form.
 *
 * @param options.name shown in error messages.
 * @throws {FormatError} `ERR_WAV` for everything else.
 */
export async function readWav(bytes: ByteChunks, options: { name?: string } = {}): Promise<Wav> {
  const { name = "WAV file" } = options, reader = new ByteReader(bytes);
  const fail: Fail = (what) => {
    throw new FormatError("ERR_WAV", `${name}: ${what}.`);
  };
  try {
    const riff = await readRiff(reader, fail), { format, size } = await findData(reader, LARGE.includes(riff), fail);
    const stride = format.bytes * format.channels;
    if (size !== undefined && size % stride) {
      fail(`its audio has ${size} bytes, not a whole number of samples of ${stride} bytes`);
    }
    return {
      samplingRate: format.samplingRate,
      channels: format.channels,
      length: size === undefined ? undefined : size / stride,
      pieces: readPieces(reader, format, size ?? Infinity, fail),
    };
  } catch (error) {
    await reader.close();
    throw error;
  }
}

/** The first word of the file, one of {@link RIFFS}. */
async function readRiff(reader: ByteReader, fail: Fail): Promise<string> {
  const head = await reader.read(12);
  if (head.length === 0) fail("the file is empty, expected a WAV file");
  const riff = ascii(head, 0), wave = ascii(head, 8);
  if (!RIFFS.includes(riff)) fail(`not a WAV file: it starts with ${JSON.stringify(riff)}, expected "RIFF"`);
  if (head.length < 12) fail(`cut off: it has ${head.length} bytes, the header of a WAV file has ${WAV_HEADER_BYTES}`);
  if (wave !== "WAVE") fail(`not a WAV file: its RIFF type is ${JSON.stringify(wave)}, expected "WAVE"`);
  return riff;
}

/** Goes through the chunks up to the audio; returns its format and its size in bytes, undefined where nobody says. */
async function findData(
  reader: ByteReader,
  large: boolean,
  fail: Fail,
): Promise<{ format: Format; size: number | undefined }> {
  let format: Format | undefined, largeSize: number | undefined;
  for (;;) {
    const head = await reader.read(8);
    if (head.length === 0) fail(`it has no ${format ? '"data"' : '"fmt "'} chunk`);
    if (head.length < 8) fail("cut off inside a chunk's header");
    const id = ascii(head, 0), size = viewOf(head).getUint32(4, true);
    const read = async (least: number) => {
      if (size < least || size > MOST_FORMAT_BYTES) {
        fail(`its ${JSON.stringify(id)} chunk has ${size} bytes, expected ${least} to ${MOST_FORMAT_BYTES}`);
      }
      const body = await reader.read(size);
      if (body.length < size) fail(`cut off: its ${JSON.stringify(id)} chunk has ${body.length} of ${size} bytes`);
      return viewOf(body.slice());
    };
    if (id === "data") {
      if (!format) return fail('its "data" chunk comes before any "fmt " chunk');
      if (size === 0xffffffff && largeSize) return { format, size: largeSize };
      return { format, size: UNKNOWN_SIZES.includes(size) ? undefined : size };
    }
    if (id === "fmt ") {
      if (format) fail('it has two "fmt " chunks');
      format = parseFormat(await read(16), fail);
      await reader.skip(size % 2);
    } else if (id === "ds64" && large) {
      const bytes = (await read(24)).getBigUint64(8, true);
      if (bytes <= BigInt(Number.MAX_SAFE_INTEGER)) largeSize = Number(bytes);
      await reader.skip(size % 2);
    } else {
      const there = await reader.skip(size + size % 2);
      if (there < size) fail(`cut off: its ${JSON.stringify(id)} chunk has ${there} of ${size} bytes`);
    }
  }
}

function parseFormat(fmt: DataView, fail: Fail): Format {
  let tag = fmt.getUint16(0, true);
  const channels = fmt.getUint16(2, true),
    samplingRate = fmt.getUint32(4, true),
    align = fmt.getUint16(12, true),
    bits = fmt.getUint16(14, true),
    bytes = Math.ceil(bits / 8);
  // The extensible form has the tag of the samples at the start of a GUID.
  if (tag === EXTENSIBLE && fmt.byteLength >= 40) {
    const tail = Array.from({ length: 14 }, (_, i) => fmt.getUint8(26 + i).toString(16).padStart(2, "0")).join("");
    if (tail === GUID_TAIL) tag = fmt.getUint16(24, true);
  }
  const read = KINDS[`${tag}/${bytes * 8}`];
  if (!read) {
    fail(
      `its samples are ${bits} bit ${NAMES[tag] ?? `format ${tag}`}; ` +
        "read are 8 to 32 bit PCM, 32 and 64 bit float, A-law and mu-law",
    );
  }
  if (channels < 1 || channels > MOST_CHANNELS) fail(`it has ${channels} channels, expected 1 to ${MOST_CHANNELS}`);
  if (samplingRate < 1) fail(`its sampling rate is ${samplingRate} Hz`);
  if (align !== bytes * channels) {
    fail(`its "fmt " chunk says ${align} bytes a sample, ${channels} times ${bits} bits are ${bytes * channels}`);
  }
  return { samplingRate, channels, bytes, read };
}

async function* readPieces(
  reader: ByteReader,
  { channels, bytes, read }: Format,
  size: number,
  fail: Fail,
): AsyncGenerator<Float32Array[], void, undefined> {
  const stride = channels * bytes, most = Math.floor(PIECE / stride) * stride;
  try {
    for (let at = 0; at < size;) {
      const asked = Math.min(most, size - at), piece = await reader.read(asked), from = viewOf(piece);
      const n = Math.floor(piece.length / stride);
      at += piece.length;
      if (n > 0) {
        yield Array.from({ length: channels }, (_, c) => {
          const samples = new Float32Array(n);
          for (let i = 0; i < n; i++) samples[i] = read(from, i * stride + c * bytes);
          return samples;
        });
      }
      if (piece.length === asked) continue;
      if (size !== Infinity) fail(`cut off: its audio has ${at} of ${size} bytes`);
      if (at % stride) fail("cut off inside its last sample");
      return;
    }
  } finally {
    await reader.close();
  }
}

/** ITU-T G.711, A-law: 8 bits to 16. */
function aLaw(byte: number): number {
  const bits = byte ^ 0x55, exponent = bits >> 4 & 7, mantissa = (bits & 15) << 4;
  const size = exponent ? mantissa + 0x108 << exponent - 1 : mantissa + 8;
  return bits & 0x80 ? size : -size;
}

/** ITU-T G.711, mu-law: 8 bits to 16. */
function muLaw(byte: number): number {
  const bits = ~byte & 255, size = (((bits & 15) << 3) + 0x84 << (bits >> 4 & 7)) - 0x84;
  return bits & 0x80 ? -size : size;
}

/**
 * The header of a mono 16-bit file, 44 bytes.
 *
 * @param samples how many will follow; undefined where nobody knows, as in a pipe: readers then take all there are.
 * @throws {MimiRangeError} `ERR_OUT_OF_RANGE` for more samples than a WAV file can hold (4 GiB).
 */
export function wavHeader(samplingRate: number, samples?: number): Uint8Array {
  const known = samples !== undefined, bytes = new Uint8Array(WAV_HEADER_BYTES), out = viewOf(bytes);
  if (known && !(Number.isSafeInteger(samples) && samples >= 0 && samples <= MOST_WAV_SAMPLES)) {
    throw new MimiRangeError(
      "ERR_OUT_OF_RANGE",
      `wavHeader: a WAV file holds 0 to ${MOST_WAV_SAMPLES} samples, got ${samples}.`,
    );
  }
  const text = (at: number, word: string) => [...word].forEach((c, i) => out.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  out.setUint32(4, known ? 36 + samples * 2 : UNKNOWN_SIZE, true);
  text(8, "WAVEfmt ");
  out.setUint32(16, 16, true); // bytes of fmt
  out.setUint16(20, PCM, true);
  out.setUint16(22, 1, true); // channels
  out.setUint32(24, samplingRate, true);
  out.setUint32(28, samplingRate * 2, true); // bytes a second
  out.setUint16(32, 2, true); // bytes of a sample of all channels
  out.setUint16(34, 16, true); // bits of a sample
  text(36, "data");
  out.setUint32(40, known ? samples * 2 : UNKNOWN_SIZE, true);
  return bytes;
}

/** Samples that {@link wavHeader} can announce: a day at 24 kHz. */
export const MOST_WAV_SAMPLES: number = Math.floor((0xffffffff - 36) / 2);

/** Samples [n] to 2n bytes: times 32768, rounded, clamped to what 16 bits hold. */
export function toPCM16(samples: Float32Array): Uint8Array {
  const bytes = new Uint8Array(samples.length * 2), out = viewOf(bytes);
  for (let i = 0; i < samples.length; i++) {
    out.setInt16(2 * i, Math.max(-32768, Math.min(32767, Math.round(samples[i] * 32768))), true);
  }
  return bytes;
}

/** 2n bytes to samples [n], each an integer divided by 32768. An odd last byte is left out. */
export function fromPCM16(bytes: Uint8Array): Float32Array {
  const samples = new Float32Array(bytes.length >> 1), from = viewOf(bytes);
  for (let i = 0; i < samples.length; i++) samples[i] = from.getInt16(2 * i, true) / 32768;
  return samples;
}
