/**
 * Audio files of any usual format, piece by piece. WAV is read by own code, the others by `audio-decode`, an optional
 * peer that is loaded when the first of them comes. What a file is, its first bytes say, not its name.
 *
 * ```ts
 * import { readAudio, toMono } from "mimi-audio/audio";
 *
 * const audio = await readAudio(file.stream(), { name: file.name });
 * for await (const pcm of toMono(audio, model.config.samplingRate)) await encoder.encode(pcm);
 * ```
 *
 * @module mimi-audio/audio
 */
import { downmix } from "../core/downmix.ts";
import { FormatError, isMimiError, NotSupportedError } from "../core/errors.ts";
import { Resampler } from "../core/resample.ts";
import { ascii, type ByteChunks, ByteReader } from "./bytes.ts";
import { flacPieces, mp4Boxes, oggPages } from "./framing.ts";
import { readWav } from "./wav.ts";

/** Formats that {@link readAudio} knows. */
export type AudioFormat = "wav" | "flac" | "mp3" | "aac" | "vorbis" | "opus" | "m4a" | "webm" | "aiff";

/** An audio file whose beginning has been read. */
export interface Audio {
  /** What its first bytes say it is. */
  format: AudioFormat;
  /** Hz. */
  samplingRate: number;
  /** Samples of each channel; undefined where the file's beginning does not say. */
  length: number | undefined;
  /**
   * The audio, to be read once: pieces of [n] samples for each channel, from -1 to 1. A stretch in which two channels are
   * equal may come as one. Throws `ERR_WAV` or `ERR_AUDIO` where the file turns out to be damaged.
   */
  pieces: AsyncGenerator<Float32Array[], void, undefined>;
}

type Fail = (what: string) => never;

/** A format by its first bytes, what audio-decode calls it, and what its bytes go through on their way there. */
interface Kind {
  format: AudioFormat;
  matches(head: Uint8Array): boolean;
  decoder: "flac" | "mp3" | "aac" | "oga" | "opus" | "m4a" | "webm" | "aiff";
  /** Where FLAC's STREAMINFO block begins. */
  streamInfo?: number;
  framing?(reader: ByteReader, fail: Fail): AsyncGenerator<Uint8Array, void, undefined>;
}

const KINDS: readonly Kind[] = [
  { format: "flac", decoder: "flac", matches: (head) => has(head, 0, "fLaC"), streamInfo: 8, framing: flacPieces },
  { format: "flac", decoder: "flac", matches: (head) => ogg(head, "\x7fFLAC"), streamInfo: 45, framing: oggPages },
  { format: "opus", decoder: "opus", matches: (head) => ogg(head, "OpusHead"), framing: oggPages },
  { format: "vorbis", decoder: "oga", matches: (head) => ogg(head, "\x01vorbis"), framing: oggPages },
  { format: "m4a", decoder: "m4a", matches: (head) => has(head, 4, "ftyp"), framing: mp4Boxes },
  { format: "webm", decoder: "webm", matches: (head) => has(head, 0, "\x1a\x45\xdf\xa3") },
  { format: "aiff", decoder: "aiff", matches: (head) => has(head, 0, "FORM") && has(head, 8, "AIF") },
  // Eleven bits of sync and two of version, then the layer: 0 is AAC, the others are MPEG audio.
  { format: "aac", decoder: "aac", matches: ([a, b]) => a === 0xff && (b & 0xf6) === 0xf0 },
  { format: "mp3", decoder: "mp3", matches: ([a, b]) => a === 0xff && (b & 0xe0) === 0xe0 && (b & 6) !== 0 },
];
/** Bytes that tell the format, and what FLAC says of itself. */
const HEAD = 64;

/**
 * Reads the beginning of an audio file; the samples follow as they are asked for.
 *
 * All formats stream in constant memory, but for an MP4 file whose index comes last. MP3, AAC and WebM do not say where
 * they end, so one that is cut off passes for a shorter one.
 *
 * @param options.name shown in error messages.
 * @throws {FormatError} `ERR_WAV`, or `ERR_AUDIO` for a format that is not known or cannot be decoded.
 * @throws {NotSupportedError} where `audio-decode` is needed and not installed.
 */
export async function readAudio(bytes: ByteChunks, options: { name?: string } = {}): Promise<Audio> {
  const { name = "audio file" } = options, reader = new ByteReader(bytes);
  const fail: Fail = (what) => {
    throw new FormatError("ERR_AUDIO", `${name}: ${what}.`);
  };
  try {
    let head = await reader.peek(HEAD);
    // Tags with titles and pictures may stand before MP3, AAC and FLAC (id3.org, ID3v2.4.0, section 3.1).
    while (has(head, 0, "ID3") && head.length >= 10) {
      await reader.skip(10 + head.subarray(6, 10).reduce((size, byte) => size * 128 + (byte & 127), 0));
      head = await reader.peek(HEAD);
    }
    if (["RIFF", "RF64", "BW64"].some((word) => has(head, 0, word))) {
      const { samplingRate, length, pieces } = await readWav(reader.rest(), { name });
      return { format: "wav", samplingRate, length, pieces };
    }
    const kind = KINDS.find(({ matches }) => matches(head));
    if (!kind) {
      return fail(
        head.length === 0
          ? "the file is empty, expected audio"
          : `no audio file of a known format: it starts with ${JSON.stringify(ascii(head, 0))}`,
      );
    }
    return await decodeAudio(reader, kind, head, name, fail);
  } catch (error) {
    await reader.close();
    throw error;
  }
}

/**
 * The audio in mono at another rate, piece by piece: mixed down by {@link downmix}, then resampled.
 *
 * @param samplingRate Hz.
 * @throws {MimiRangeError} `ERR_SAMPLING_RATE` for a rate that {@link Resampler} does not take, `ERR_NOT_FINITE` for
 *   samples that are no numbers; and whatever the pieces throw.
 */
export async function* toMono(
  { samplingRate: from, pieces }: Pick<Audio, "samplingRate" | "pieces">,
  samplingRate: number,
): AsyncGenerator<Float32Array, void, undefined> {
  try {
    const resampler = new Resampler({ from, to: samplingRate });
    for await (const channels of pieces) {
      const pcm = resampler.process(downmix(channels));
      if (pcm.length > 0) yield pcm;
    }
    const rest = resampler.finish();
    if (rest.length > 0) yield rest;
  } finally {
    await pieces.return();
  }
}

/**
 * WebM's six channels come in the order of Vorbis, left, centre, right, surround left and right, low frequencies
 * (https://xiph.org/vorbis/doc/Vorbis_I_spec.html, 4.3.9), all others in that of Web Audio, which is wanted here.
 */
const FROM_VORBIS_ORDER = [0, 2, 1, 5, 3, 4];

async function decodeAudio(
  reader: ByteReader,
  { format, decoder, framing, streamInfo }: Kind,
  head: Uint8Array,
  name: string,
  fail: Fail,
): Promise<Audio> {
  const { default: decode } = await import("audio-decode").catch((cause) => {
    throw new NotSupportedError(
      `${name}: reading ${format} takes the package audio-decode; to install it: npm install audio-decode`,
      { cause },
    );
  });
  const { length, bits } = streamInfo ? readStreamInfo(head, streamInfo) : {};
  const source = decode(owned(framing?.(reader, fail) ?? reader.rest()), decoder);
  let samplingRate = 0, samples = 0;
  const pieces = (async function* () {
    try {
      for await (const { channelData, sampleRate } of source) {
        if (samplingRate && sampleRate !== samplingRate) {
          fail(`its sampling rate changes from ${samplingRate} to ${sampleRate} Hz`);
        }
        samplingRate = sampleRate;
        samples += channelData[0].length;
        if (format === "webm" && channelData.length === 6) {
          yield FROM_VORBIS_ORDER.map((c) => channelData[c]);
          continue;
        }
        yield bits === undefined ? channelData : channelData.map((channel) => rescaled(channel, bits));
      }
      if (samples === 0) fail(`no audio could be found in it, though it begins as ${format} does`);
      if (length !== undefined && samples !== length) {
        fail(`cut off or damaged: ${samples} of its ${length} samples could be decoded`);
      }
    } catch (error) {
      if (isMimiError(error)) throw error;
      throw new FormatError("ERR_AUDIO", `${name}: cannot be decoded as ${format} (${(error as Error).message}).`, {
        cause: error,
      });
    } finally {
      await reader.close();
    }
  })();
  const first = await pieces.next(); // tells the sampling rate
  return { format, samplingRate, length, pieces: following(first, pieces) };
}

/** Pieces that stay as they are: decoders keep them while they wait for more. */
async function* owned(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const piece of pieces) yield piece.slice();
}

async function* following<T>(
  first: IteratorResult<T, void>,
  rest: AsyncGenerator<T, void, undefined>,
): AsyncGenerator<T, void, undefined> {
  try {
    if (!first.done) yield first.value;
    yield* rest;
  } finally {
    await rest.return();
  }
}

/** What FLAC says of itself (RFC 9639, section 8.2): samples of each channel, where it knows, and bits of a sample. */
function readStreamInfo(head: Uint8Array, at: number): { length?: number; bits?: number } {
  if (head.length < at + 18) return {};
  const length = head.subarray(at + 14, at + 18).reduce((n, byte) => n * 256 + byte, head[at + 13] & 15);
  return { length: length || undefined, bits: (head[at + 12] & 1) * 16 + (head[at + 13] >> 4) + 1 };
}

/** The decoder divides by 2^(bits - 1) - 1. Here integers are divided by 2^(bits - 1), so that FLAC gives what WAV gives. */
function rescaled(samples: Float32Array, bits: number): Float32Array {
  const full = 2 ** (bits - 1);
  return bits > 24 ? samples : samples.map((v) => Math.round(v * (full - 1)) / full);
}

function ogg(head: Uint8Array, packet: string): boolean {
  return has(head, 0, "OggS") && has(head, 28, packet);
}

function has(head: Uint8Array, at: number, word: string): boolean {
  return [...word].every((c, i) => head[at + i] === c.charCodeAt(0));
}
