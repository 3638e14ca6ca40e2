/**
 * Packets of voice: what every byte means, written and read. docs/packets.md has the tables.
 *
 * @module
 */
import { packBits, packedBytes, unpackBits } from "../core/bits.ts";
import { FormatError, NotSupportedError } from "../core/errors.ts";

/** Version of the format that this library writes, and the newest that it reads. */
export const PACKET_VERSION = 1;
/** Codebooks of a frame, and earlier frames in a packet, at most: what their fields hold. */
export const MOST_CODEBOOKS = 32, MOST_REDUNDANCY = 7;
/** Silent frames in a row that a packet can count. */
export const MOST_SILENT = 255;
/** Bytes of a voice packet that are no codes. */
export const VOICE_HEADER_BYTES = 6;

/** What the codes of a stream are: both ends must agree on all of it. */
export interface VoiceFormat {
  /** See `MimiModel.fingerprint`: 16 hexadecimal characters. */
  fingerprint: string;
  /** Hz of the audio. */
  samplingRate: number;
  /** Samples that a frame stands for. */
  frameSize: number;
  /** Entries of a codebook, 1 to 65536. */
  codebookSize: number;
  /** Codebooks that the end which says so can handle, 1 to 32. */
  codebooks: number;
}

/** Announces a stream; sent until an answer comes. */
export interface HelloPacket extends VoiceFormat {
  /** What tells it from other packets. */
  type: "hello";
  /** Number of the stream, 0 to 255. */
  stream: number;
}

/** The answer to a hello that the receiver can make use of. */
export interface AcceptPacket {
  /** What tells it from other packets. */
  type: "accept";
  /** Number of the stream, 0 to 255. */
  stream: number;
}

/** Why a receiver refuses a stream, as a number in a packet. */
export type RefusalReason = "version" | "model" | "format";

/** The answer to a hello that it cannot. */
export interface RefusePacket {
  /** What tells it from other packets. */
  type: "refuse";
  /** Number of the stream, 0 to 255. */
  stream: number;
  /** What the receiver cannot do with it. */
  reason: RefusalReason;
  /** Newest version that the receiver reads. */
  version: number;
  /** The receiver's model. */
  fingerprint: string;
}

/** Frames of codes: one and earlier ones, or earlier ones alone where there is silence. */
interface FramesPacket {
  /** Number of the stream, 0 to 255. */
  stream: number;
  /** Index of the newest frame that the packet speaks of, modulo 2^16: its time in frames. */
  frame: number;
  /** Number of the packet, modulo 2^8. */
  sequence: number;
  /** Earlier frames have half as many codebooks with each frame of age. */
  falling: boolean;
}

/** A frame, and earlier ones again. */
export interface VoicePacket extends FramesPacket {
  /** What tells it from other packets. */
  type: "voice";
  /** Codes of `frame`, `frame - 1`, and so on: [codebooks] each. */
  frames: Uint16Array[];
}

/** Silence: frames that are not sent, and the last ones that were. */
export interface NoisePacket extends FramesPacket {
  /** What tells it from other packets. */
  type: "noise";
  /** Loudness of the noise, in dB below full scale: 0 to 127. */
  level: number;
  /** Silent frames up to and with `frame`: 1 to 255, 255 for more. */
  silent: number;
  /** Codes of the frames before the silence, newest first. */
  frames: Uint16Array[];
}

/** What a receiver tells of a stream; see docs/packets.md for units on the wire. */
export interface ReportPacket {
  /** What tells it from other packets. */
  type: "report";
  /** Number of the stream, 0 to 255. */
  stream: number;
  /** Newest frame that came, modulo 2^16, and how long ago it was, seconds: gives the sender the round trip. */
  frame: number;
  /** Seconds since that frame came. */
  held: number;
  /** Packets that the network lost since the last report, as a share, and in a row where any were: at least 1. */
  loss: number;
  /** Packets that were lost in a row, on average: at least 1. */
  burst: number;
  /** Frames that had to be concealed since the last report, as a share. */
  concealed: number;
  /** Interarrival jitter (RFC 3550, 6.4.1), seconds. */
  jitter: number;
  /** How long after the fastest packets frames are played, seconds. */
  delay: number;
}

/** Any packet, told apart by `type`. */
export type Packet = HelloPacket | AcceptPacket | RefusePacket | VoicePacket | NoisePacket | ReportPacket;

/** Types by their number in the low 3 bits of the first byte. */
const TYPES: readonly Packet["type"][] = ["hello", "accept", "refuse", "voice", "noise", "report"];
const REASONS: readonly RefusalReason[] = ["version", "model", "format"];
const FALLING = 8;
const HELLO_BYTES = 20, ACCEPT_BYTES = 2, REFUSE_BYTES = 12, REPORT_BYTES = 13;
/** What a share and a burst are multiplied with. */
const SHARE = 255, BURST = 8;

/** Codebooks of the frame that is `age` frames older than the newest of its packet. */
export function codebooksAt(codebooks: number, age: number, falling: boolean): number {
  return falling ? Math.max(1, codebooks >> age) : codebooks;
}

/** Bytes of a voice packet. */
export function voicePacketBytes(codebooks: number, bits: number, redundancy: number, falling: boolean): number {
  let codes = 0;
  for (let age = 0; age <= redundancy; age++) codes += codebooksAt(codebooks, age, falling);
  return VOICE_HEADER_BYTES + packedBytes(codes, bits);
}

function begin(type: Packet["type"], stream: number, length: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(length);
  bytes[0] = (PACKET_VERSION << 4) | TYPES.indexOf(type);
  bytes[1] = stream;
  return { bytes, view: new DataView(bytes.buffer) };
}

export function formatHello({ stream, ...format }: Omit<HelloPacket, "type">): Uint8Array {
  const { bytes, view } = begin("hello", stream, HELLO_BYTES);
  view.setBigUint64(2, BigInt(`0x${format.fingerprint}`)); // as it is read
  view.setUint32(10, format.samplingRate, true);
  view.setUint16(14, format.frameSize - 1, true);
  view.setUint16(16, format.codebookSize - 1, true);
  view.setUint8(18, format.codebooks);
  return bytes;
}

export function formatAccept(stream: number): Uint8Array {
  return begin("accept", stream, ACCEPT_BYTES).bytes;
}

export function formatRefuse({ stream, reason, fingerprint }: Omit<RefusePacket, "type" | "version">): Uint8Array {
  const { bytes, view } = begin("refuse", stream, REFUSE_BYTES);
  view.setUint8(2, REASONS.indexOf(reason));
  view.setUint8(3, PACKET_VERSION);
  view.setBigUint64(4, BigInt(`0x${fingerprint}`));
  return bytes;
}

/** A voice packet; `frames` are equally long, or fall, as `falling` says. */
export function formatVoice(packet: Omit<VoicePacket, "type">, bits: number): Uint8Array {
  return formatFrames("voice", packet, bits, packet.frames[0].length, packet.frames.length - 1, 0);
}

/** A noise packet; `frames` are as those of a voice packet would be without its first. */
export function formatNoise(packet: Omit<NoisePacket, "type">, bits: number): Uint8Array {
  const { frames, level, silent } = packet;
  const bytes = formatFrames("noise", packet, bits, frames[0]?.length ?? 1, frames.length, 2);
  bytes[VOICE_HEADER_BYTES] = level;
  bytes[VOICE_HEADER_BYTES + 1] = silent;
  return bytes;
}

function formatFrames(
  type: "voice" | "noise",
  { stream, frame, sequence, falling, frames }: FramesPacket & { frames: Uint16Array[] },
  bits: number,
  codebooks: number,
  redundancy: number,
  extra: number,
): Uint8Array {
  const codes = new Uint16Array(frames.reduce((n, { length }) => n + length, 0));
  let at = 0;
  for (const one of frames) {
    codes.set(one, at);
    at += one.length;
  }
  const packed = packBits(codes, bits), from = VOICE_HEADER_BYTES + extra;
  const { bytes, view } = begin(type, stream, from + packed.length);
  if (falling) bytes[0] |= FALLING;
  view.setUint16(2, frame & 0xffff, true);
  view.setUint8(4, sequence & 0xff);
  view.setUint8(5, (codebooks - 1) | (redundancy << 5));
  bytes.set(packed, from);
  return bytes;
}

export function formatReport(report: Omit<ReportPacket, "type">): Uint8Array {
  const { bytes, view } = begin("report", report.stream, REPORT_BYTES);
  const ms = (seconds: number) => Math.max(0, Math.min(0xffff, Math.round(seconds * 1000)));
  const share = (value: number) => Math.max(0, Math.min(SHARE, Math.round(value * SHARE)));
  view.setUint16(2, report.frame & 0xffff, true);
  view.setUint16(4, ms(report.held), true);
  view.setUint8(6, share(report.loss));
  view.setUint8(7, Math.max(BURST, Math.min(255, Math.round(report.burst * BURST))));
  view.setUint8(8, share(report.concealed));
  view.setUint16(9, ms(report.jitter), true);
  view.setUint16(11, ms(report.delay), true);
  return bytes;
}

/** The stream that a packet belongs to, 0 to 255, to sort packets of several streams; undefined for what is none. */
export function streamOf(bytes: Uint8Array): number | undefined {
  return bytes.length < 2 ? undefined : bytes[1];
}

/** Whether it is one that says what a stream is: hellos of all versions have the same length. */
export function isHello(bytes: Uint8Array): boolean {
  return bytes.length === HELLO_BYTES && TYPES[bytes[0] & 7] === "hello";
}

/** Types by which a receiver answers. */
const ANSWERS: readonly Packet["type"][] = ["accept", "refuse", "report"];

/** Whether it is, if it is a packet, one for the end that sends voice, not for the one that receives it. */
export function isForSender(bytes: Uint8Array): boolean {
  return bytes.length > 0 && ANSWERS.includes(TYPES[bytes[0] & 7]);
}

/**
 * Reads a packet. Its length must be exactly what its fields say, and nothing is allocated before that is known.
 *
 * @param codebookSize entries of a codebook of the stream's model, 1 to 65536.
 * @param bits those of a code, `bitsOf(codebookSize)`.
 * @throws {FormatError} `ERR_PACKET` for what is no packet of this format.
 * @throws {NotSupportedError} for a packet of a newer version, but for accept and refuse, which never change.
 */
export function parsePacket(bytes: Uint8Array, codebookSize: number, bits: number): Packet {
  if (bytes.length < 2) fail(`it has ${bytes.length} bytes, the shortest has 2`);
  const version = bytes[0] >> 4, type = TYPES[bytes[0] & 7], stream = bytes[1];
  if (version > PACKET_VERSION && type !== "accept" && type !== "refuse") {
    throw new NotSupportedError(
      `packet: it has version ${version}; this version of the library reads version ${PACKET_VERSION}.`,
    );
  }
  if (version === 0) fail("it has version 0, the first is 1");
  if (type === undefined) fail(`there is no type ${bytes[0] & 7}`);
  const falling = (bytes[0] & FALLING) !== 0;
  if (falling && type !== "voice" && type !== "noise") fail(`a packet of type ${type} has no redundancy`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (type) {
    case "hello":
      return { type, stream, ...parseFormat(view) };
    case "accept":
      checkLength(bytes, ACCEPT_BYTES);
      return { type, stream };
    case "refuse": {
      checkLength(bytes, REFUSE_BYTES);
      const reason = REASONS[bytes[2]];
      if (reason === undefined) fail(`there is no reason ${bytes[2]} to refuse`);
      return { type, stream, reason, version: bytes[3], fingerprint: parseFingerprint(view, 4) };
    }
    case "voice": {
      if (bytes.length < VOICE_HEADER_BYTES) fail(`a packet of type voice has ${bytes.length} bytes`);
      const head = parseHead(view, stream, falling);
      return { type, ...head, frames: parseFrames(bytes, VOICE_HEADER_BYTES, 0, falling, codebookSize, bits) };
    }
    case "noise": {
      const from = VOICE_HEADER_BYTES + 2;
      if (bytes.length < from) fail(`a packet of type noise has ${bytes.length} bytes`);
      const level = bytes[VOICE_HEADER_BYTES], silent = bytes[VOICE_HEADER_BYTES + 1];
      if (level > 127) fail(`its level must be from 0 to 127, got ${level}`);
      if (silent === 0) fail("its count of silent frames is 0");
      const head = parseHead(view, stream, falling);
      return { type, ...head, level, silent, frames: parseFrames(bytes, from, 1, falling, codebookSize, bits) };
    }
    case "report":
      checkLength(bytes, REPORT_BYTES);
      return {
        type,
        stream,
        frame: view.getUint16(2, true),
        held: view.getUint16(4, true) / 1000,
        loss: bytes[6] / SHARE,
        burst: Math.max(1, bytes[7] / BURST),
        concealed: bytes[8] / SHARE,
        jitter: view.getUint16(9, true) / 1000,
        delay: view.getUint16(11, true) / 1000,
      };
  }
}

function parseHead(view: DataView, stream: number, falling: boolean): FramesPacket {
  return { stream, frame: view.getUint16(2, true), sequence: view.getUint8(4), falling };
}

/** Codes of the frames of ages `first` to the last, packed from byte `from` on. */
function parseFrames(
  bytes: Uint8Array,
  from: number,
  first: number,
  falling: boolean,
  codebookSize: number,
  bits: number,
): Uint16Array[] {
  const codebooks = (bytes[5] & 31) + 1, redundancy = bytes[5] >> 5;
  // The first frame of a noise packet is the newest that it has, and whole as that of a voice packet.
  let count = 0;
  for (let age = first; age <= redundancy; age++) count += codebooksAt(codebooks, age - first, falling);
  checkLength(bytes, from + packedBytes(count, bits));
  const codes = unpackBits(bytes.subarray(from), count, bits), frames: Uint16Array[] = [];
  for (let i = 0; i < count; i++) {
    if (codes[i] >= codebookSize) fail(`code ${codes[i]} is not an integer from 0 to ${codebookSize - 1}`);
  }
  const used = count * bits % 8;
  if (used > 0 && bytes[bytes.length - 1] >> used !== 0) fail("bits behind the last code are not 0");
  for (let age = first, at = 0; age <= redundancy; age++) {
    const length = codebooksAt(codebooks, age - first, falling);
    frames.push(codes.subarray(at, at + length));
    at += length;
  }
  return frames;
}

function parseFormat(view: DataView): VoiceFormat {
  checkLength(view, HELLO_BYTES);
  const format: VoiceFormat = {
    fingerprint: parseFingerprint(view, 2),
    samplingRate: view.getUint32(10, true),
    frameSize: view.getUint16(14, true) + 1,
    codebookSize: view.getUint16(16, true) + 1,
    codebooks: view.getUint8(18),
  };
  if (format.samplingRate === 0) fail("its sampling rate is 0");
  if (format.codebooks < 1 || format.codebooks > MOST_CODEBOOKS) {
    fail(`its codebooks must be from 1 to ${MOST_CODEBOOKS}, got ${format.codebooks}`);
  }
  if (view.getUint8(19) !== 0) fail("its last byte is not 0");
  return format;
}

function parseFingerprint(view: DataView, at: number): string {
  return view.getBigUint64(at).toString(16).padStart(16, "0");
}

function checkLength({ byteLength }: Uint8Array | DataView, expected: number): void {
  if (byteLength !== expected) fail(`it has ${byteLength} bytes, its fields say ${expected}`);
}

function fail(what: string): never {
  throw new FormatError("ERR_PACKET", `packet: ${what}.`);
}
