/** 200,000 byte strings into every parser of files: a typed error or a file, quickly, in little memory. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { isMimiError } from "../mod.ts";
import { FormatError } from "../src/core/errors.ts";
import { ByteReader } from "../src/file/bytes.ts";
import { checksumOf, formatHeader } from "../src/file/container-header.ts";
import { crc32 } from "../src/file/crc32.ts";
import { mp4Boxes, oggPages } from "../src/file/framing.ts";
import {
  codesFromJSONLines,
  codesFromNpy,
  codesFromSafetensors,
  codesToJSONLines,
  codesToNpy,
  codesToSafetensors,
  openContainer,
  readContainer,
  readWav,
  toPCM16,
  wavHeader,
} from "../src/file/mod.ts";
import { concat, HEADER, makeSample } from "./support/containers.ts";
import { type Random, random } from "./support/random.ts";

const STRINGS = 200_000;

/** Reads all of a file; returns how many codes or samples there were. */
const PARSERS: Record<string, (bytes: Uint8Array) => Promise<number> | number> = {
  async mimi(bytes) {
    let warnings = 0, codes = 0;
    const options = { onWarning: () => void warnings++ };
    for await (const block of (await readContainer(bytes, options)).blocks()) codes += block.codes.data.length;
    // In the other ways that there are, too.
    const container = await openContainer(bytes, options);
    for await (const _ of container.blocks(container.frames >> 1));
    if (warnings > 0) return codes;
    for await (const block of (await readContainer(bytes)).blocks()) codes -= block.codes.data.length;
    assert.equal(codes, 0);
    return codes;
  },
  npy: (bytes) => codesFromNpy(bytes).data.length,
  safetensors: async (bytes) => (await codesFromSafetensors(bytes)).audioCodes.data.length,
  async "JSON lines"(bytes) {
    let codes = 0;
    for await (const { data } of codesFromJSONLines(bytes)) codes += data.length;
    return codes;
  },
  async wav(bytes) {
    let samples = 0;
    for await (const [piece] of (await readWav(bytes)).pieces) samples += piece.length;
    return samples;
  },
  // What stands in front of other people's decoders.
  "Ogg pages": (bytes) => lengthOf(oggPages(new ByteReader([bytes]), refuse)),
  "MP4 boxes": (bytes) => lengthOf(mp4Boxes(new ByteReader([bytes]), refuse)),
};

function refuse(what: string): never {
  throw new FormatError("ERR_AUDIO", what);
}

async function lengthOf(pieces: AsyncIterable<Uint8Array>): Promise<number> {
  let length = 0;
  for await (const piece of pieces) length += piece.length;
  return length;
}

/** Makes its wrongs right again where they would be found too early: checksums and lengths. */
type Mend = (bytes: Uint8Array) => void;

interface Kind {
  file: Uint8Array;
  mend: Mend;
}

/** Whole files, and what makes damage to them go deep. */
async function kinds(rng: Random): Promise<Kind[]> {
  const header = { ...HEADER, frameSize: 3, codebooks: 2, bits: 5 };
  const { parts } = makeSample(rng, header, [2, 2, 1], 2), { codes } = makeSample(rng, header, [4]);
  const sample = new Uint8Array(await readFile(new URL("../models/mini/it-cannot-complete.wav", import.meta.url)));
  const mimi = concat(parts);
  const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return [
    {
      file: mimi,
      mend(bytes) {
        if (bytes.length < 28) return;
        const start = crc32(bytes.subarray(0, 24)), lengths = parts.slice(1).map((part) => part.length);
        view(bytes).setUint32(24, start, true);
        for (let i = 0, at = 28; i < lengths.length && at + lengths[i] <= bytes.length; at += lengths[i++]) {
          view(bytes).setUint32(at + lengths[i] - 4, crc32(bytes.subarray(at, at + lengths[i] - 4), start), true);
        }
      },
    },
    {
      // Any frame size makes any block plausible: heads that claim much, with a checksum that is right.
      file: concat([formatHeader({ ...header, frameSize: 1 }), ...parts.slice(1)]),
      mend(bytes) {
        if (bytes.length >= 28) view(bytes).setUint32(24, checksumOf(bytes), true);
      },
    },
    {
      file: codesToNpy(codes),
      mend(bytes) {
        const end = bytes.indexOf(10, 10);
        if (end > 0) view(bytes).setUint16(8, end - 9, true);
      },
    },
    {
      file: codesToSafetensors(codes, { samples: 5 }),
      mend(bytes) {
        const end = bytes.lastIndexOf(0x7d);
        if (end >= 8) view(bytes).setBigUint64(0, BigInt(end - 7), true);
      },
    },
    { file: codesToJSONLines(codes), mend() {} },
    {
      file: concat([wavHeader(24000, 20), toPCM16(new Float32Array(20))]),
      mend(bytes) {
        if (bytes.length > 44) view(bytes).setUint32(40, bytes.length - 44, true);
      },
    },
    { file: sample.subarray(0, 120), mend() {} },
    { file: concat([oggPage(9), oggPage(0), oggPage(3)]), mend() {} },
    { file: concat([mp4Box("ftyp", 8), mp4Box("moov", 12), mp4Box("mdat", 20)]), mend() {} },
    { file: concat([mp4Box("ftyp", 8), mp4Box("mdat", 20), mp4Box("moov", 12)]), mend() {} },
  ];
}

/** A page of three packets (RFC 3533, section 6). */
function oggPage(size: number): Uint8Array {
  const page = new Uint8Array(27 + 3 + 3 * size);
  page.set(new TextEncoder().encode("OggS"));
  page.set([3, size, size, size], 26);
  return page;
}

/** A box with a payload of zeros (ISO/IEC 14496-12, section 4.2). */
function mp4Box(type: string, size: number): Uint8Array {
  const box = new Uint8Array(8 + size);
  box[3] = box.length;
  box.set(new TextEncoder().encode(type), 4);
  return box;
}

/** A random string, a random end behind a whole beginning, or a whole file that was changed in a few places. */
function makeString(rng: Random, all: Kind[]): Uint8Array {
  const noise = (n: number) => Uint8Array.from({ length: n }, () => rng.integer(0, 255));
  const { file, mend } = rng.pick(all), way = rng.integer(0, 9);
  if (way === 0) return noise(rng.integer(0, 60));
  if (way <= 2) return concat([file.subarray(0, rng.integer(0, file.length)), noise(rng.integer(0, 60))]);
  let bytes: Uint8Array = file.slice();
  for (let n = rng.integer(1, 3); n > 0 && bytes.length > 0; n--) {
    const at = rng.integer(0, bytes.length - 1), rest = bytes.subarray(at), other = rng.pick(all).file;
    switch (rng.integer(0, 6)) {
      case 0:
      case 1:
        bytes[at] = rng.pick([0, 1, 0x30, 0x39, 0x7f, 0xff, rng.integer(0, 255)]);
        break;
      case 2:
        bytes[at] ^= 1 << rng.integer(0, 7);
        break;
      case 3: // a number that is far too large, or just
        for (let i = 0; i < Math.min(4, rest.length); i++) rest[i] = rng.pick([0xff, 0x7f, 0, 1]);
        break;
      case 4:
        bytes = concat([bytes.subarray(0, at), rest.subarray(Math.min(rest.length, rng.integer(1, 9)))]);
        break;
      case 5:
        bytes = concat([bytes.subarray(0, at), noise(rng.integer(1, 9)), rest]);
        break;
      default:
        bytes = concat([bytes.subarray(0, at), other.subarray(rng.integer(0, other.length))]);
    }
  }
  if (rng.next() < 0.7) mend(bytes);
  return bytes;
}

/** Counts the bytes of typed arrays that are made by length while it is on. */
function meter(): { bytes: number; stop(): void } {
  const names = ["Uint8Array", "Uint16Array", "Int32Array", "Uint32Array", "Float32Array", "ArrayBuffer"] as const;
  const scope = globalThis as unknown as Record<string, unknown>, originals = names.map((name) => scope[name]);
  const gauge = {
    bytes: 0,
    stop: () => names.forEach((name, i) => scope[name] = originals[i]),
  };
  names.forEach((name) => {
    const size = (globalThis[name] as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ?? 1;
    scope[name] = new Proxy(globalThis[name], {
      construct(target, args, newTarget) {
        if (typeof args[0] === "number") gauge.bytes += args[0] * size;
        return Reflect.construct(target, args, newTarget);
      },
    });
  });
  return gauge;
}

interface Outcome {
  read: number;
  refused: number;
  /** What should not have happened, first of it. */
  wrong?: string;
}

async function fuzz(): Promise<Record<string, Outcome>> {
  const rng = random("fuzz"), all = await kinds(rng), parsers = Object.entries(PARSERS);
  const outcomes = parsers.map((): Outcome => ({ read: 0, refused: 0 })),
    gauge = meter(),
    limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0; // there are a million errors
  for (let i = 0; i < STRINGS; i++) {
    const bytes = makeString(rng, all);
    for (let p = 0; p < parsers.length; p++) {
      const outcome = outcomes[p];
      gauge.bytes = 0;
      try {
        const found = await parsers[p][1](bytes);
        outcome.read++;
        if (found > bytes.length * 8) outcome.wrong ??= `string ${i}: ${found} values from ${bytes.length} bytes`;
      } catch (error) {
        outcome.refused++;
        if (!isMimiError(error)) outcome.wrong ??= `string ${i}: ${error}`;
      }
      if (gauge.bytes > 200_000 + 100 * bytes.length) outcome.wrong ??= `string ${i}: ${gauge.bytes} bytes made`;
    }
  }
  Error.stackTraceLimit = limit;
  gauge.stop();
  return Object.fromEntries(parsers.map(([name], p) => [name, outcomes[p]]));
}

// Before any test begins: Node follows every promise of one, which doubles the time.
const outcomes = await fuzz();
for (const [name, { read, refused, wrong }] of Object.entries(outcomes)) {
  test(`${STRINGS} byte strings into ${name}`, () => {
    console.log(`${name}: ${read} read, ${refused} refused`);
    assert.equal(wrong, undefined);
    assert.equal(read + refused, STRINGS);
    assert.ok(read > 50 && refused > 50, "strings of one kind alone show nothing");
  });
}
