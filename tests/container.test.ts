/** .mimi files: round trips; whatever happens to a file, every whole block comes back and nothing wrong does. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { test } from "node:test";
import { FormatError, InvalidStateError, MimiRangeError, MimiTypeError } from "../mod.ts";
import { packBits, unpackBits } from "../src/core/bits.ts";
import { blockBytes, BlockScanner, MOST_FRAMES } from "../src/file/blocks.ts";
import { ByteReader } from "../src/file/bytes.ts";
import { checksumOf, formatHeader, HEADER_BYTES } from "../src/file/container-header.ts";
import {
  bitsOf,
  type Block,
  type ContainerHeader,
  ContainerWriter,
  type FileWarning,
  openContainer,
  readContainer,
} from "../src/file/container.ts";
import { crc32, multiply, shiftOf } from "../src/file/crc32.ts";
import { bytesInMemory } from "../src/core/safetensors.ts";
import {
  assertHonest,
  blocksFrom,
  byFrame,
  concat,
  drain,
  HEADER,
  makeSample,
  randomCodes,
  ranges,
  type Sample,
  type Told,
  told,
} from "./support/containers.ts";
import { inPieces } from "./support/pieces.ts";
import { noPython, python } from "./support/python.ts";
import { type Random, random } from "./support/random.ts";

const MASKS = [0x01, 0x10, 0x80, 0xff];

/** A file of 3 DATA blocks and an end block, 5 codes of 3 bits a frame. */
const SMALL: ContainerHeader = { ...HEADER, frameSize: 7, codebooks: 5, bits: 3 };

function flipped(bytes: Uint8Array, at: number, mask: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] ^= mask;
  return copy;
}

/** Index of the part that holds a byte; 0 is the header. */
function partAt({ parts }: Sample, at: number): number {
  let end = 0;
  return parts.findIndex((part) => at < (end += part.length));
}

/** What a reader must say when some blocks are gone and nothing else happened. */
function assertWithout(what: string, sample: Sample, said: Told, gone: number[]): void {
  assertHonest(what, sample, said);
  const { firsts } = sample, blocks = firsts.length - 1, kept = firsts.slice(0, -1).map((first) => first);
  const { there } = ranges(said);
  const expected = kept.map((first, i): [number, number] => [first, firsts[i + 1]])
    .filter(([from, to], i) => !gone.includes(i) && to > from);
  assert.deepEqual(there, expected, what);
  assert.equal(said.end!.truncated, gone.includes(blocks - 1), what);
}

// What it is made of

test("crc32: the check value, in parts, and over any range from two registers", () => {
  const digits = new TextEncoder().encode("123456789"), rng = random("crc32");
  assert.equal(crc32(digits), 0xcbf43926);
  assert.equal(crc32(digits.subarray(4), crc32(digits.subarray(0, 4))), 0xcbf43926);
  assert.equal(crc32(new Uint8Array(0)), 0);
  for (const n of [0, 1, 2, 31, 1000, 530_000]) {
    // A register through n zero bytes, one after the other, is a product.
    const register = rng.integer(0, 0xffffffff);
    assert.equal(~multiply(~register, shiftOf(n)) >>> 0, crc32(new Uint8Array(n), register), String(n));
  }
});

test("bits: any width, and one little-endian integer", () => {
  const rng = random("bits");
  for (let width = 1; width <= 16; width++) {
    const numbers = Uint16Array.from({ length: rng.integer(0, 40) }, () => rng.integer(0, 2 ** width - 1));
    const bytes = packBits(numbers, width);
    assert.equal(bytes.length, Math.ceil(numbers.length * width / 8));
    assert.deepEqual(unpackBits(bytes, numbers.length, width), numbers);
    const whole = bytes.reduceRight((sum, byte) => sum << 8n | BigInt(byte), 0n);
    assert.equal(whole, numbers.reduceRight((sum, number) => sum << BigInt(width) | BigInt(number), 0n));
  }
});

test("bitsOf", () => {
  assert.deepEqual([1, 2, 3, 512, 513, 2048, 65536].map(bitsOf), [1, 1, 2, 9, 10, 11, 16]);
  for (const size of [0, -1, 1.5, 65537, NaN]) assert.throws(() => bitsOf(size), { code: "ERR_OUT_OF_RANGE" });
});

// Writing and reading

/** Writes codes in pieces of random length. */
function write(rng: Random, header: ContainerHeader, framesPerBlock: number, frames: number, samples: number) {
  const codes = randomCodes(rng, header, frames), writer = new ContainerWriter(header, { framesPerBlock });
  const parts = [writer.header()], { data } = codes;
  for (let t = 0; t < frames;) {
    const n = Math.min(frames - t, rng.integer(0, 2 * framesPerBlock)), piece = new Uint16Array(header.codebooks * n);
    for (let k = 0; k < header.codebooks; k++) piece.set(data.subarray(k * frames + t, k * frames + t + n), k * n);
    parts.push(writer.write({ data: piece, shape: [1, header.codebooks, n] }));
    t += n;
  }
  assert.equal(writer.frames, frames);
  parts.push(writer.finish(samples));
  return { codes, bytes: concat(parts) };
}

test("round trips: 1 to 16 bits, 1 to 1024 codebooks, any header, any block, any cut", async () => {
  const rng = random("round trips");
  for (let round = 0; round < 400; round++) {
    const header: ContainerHeader = {
      samplingRate: rng.pick([1, 16000, 24000, rng.integer(1, 0xffffffff), 0xffffffff]),
      frameSize: rng.pick([1, 1920, rng.integer(1, 100_000), rng.integer(1, 0xffffffff), 0xffffffff]),
      codebooks: rng.pick([1, 8, 32, rng.integer(1, 64), round % 50 ? 2 : 1024]),
      bits: round % 16 + 1,
      fingerprint: Array.from({ length: 16 }, () => rng.integer(0, 15).toString(16)).join(""),
    };
    const perBlock = rng.pick([1, 2, 3, 64, 256, rng.integer(1, 256)]),
      frames = rng.integer(0, header.codebooks > 64 ? 9 : 90);
    const samples = frames ? frames * header.frameSize - rng.integer(0, header.frameSize - 1) : 0;
    const { codes, bytes } = write(rng, header, perBlock, frames, samples);
    const perFrame = header.codebooks * header.bits,
      each = Math.min(perBlock, Math.floor(0xffffffff / header.frameSize));
    const blocks = Math.max(1, Math.ceil(frames / each)), rest = frames - (blocks - 1) * each;
    const payload = (blocks - 1) * Math.ceil(each * perFrame / 8) + Math.ceil(rest * perFrame / 8);
    assert.equal(bytes.length, 28 + 14 * blocks + payload);

    const found: Block[] = [],
      container = await readContainer(inPieces(bytes, rng)),
      end = await drain(container, found);
    assert.deepEqual(container.header, header);
    assert.deepEqual(end, { frames, samples, truncated: false });
    assert.deepEqual(found.flatMap(({ codes }) => byFrame(codes)), byFrame(codes));
    assert.equal(found.reduce((sum, block) => sum + block.samples, 0), samples);
    assert.deepEqual(found.map(({ first }) => first), found.map((_, i) => i * each));
    assert.deepEqual(found.map(({ last }) => last), found.map((_, i) => i === blocks - 1));
  }
});

test("3 s of speech at 8 codebooks of 2048 entries take 460 bytes", async () => {
  const rng = random("460"), samples = 3 * 24000, frames = Math.ceil(samples / 1920);
  const { bytes, codes } = write(rng, { ...HEADER, codebooks: 8, bits: bitsOf(2048) }, 64, frames, samples);
  assert.equal(bytes.length, 460);
  const said = await told(bytes);
  assert.deepEqual(said.end, { frames: 38, samples, truncated: false });
  assert.deepEqual(said.blocks.map((block) => block.codes), [codes]);
});

test("the bytes are those of the description", () => {
  const header = { ...HEADER, codebooks: 3, bits: 9 }, writer = new ContainerWriter(header, { framesPerBlock: 1 });
  const start = [
    ...[0x4d, 0x49, 0x4d, 0x49, 1, 9, 3, 0, 0xc0, 0x5d, 0, 0, 0x80, 7, 0, 0],
    ...[0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef],
  ];
  const sum = (...bytes: number[]) => {
    const crc = crc32(Uint8Array.from(bytes));
    return [crc & 255, crc >>> 8 & 255, crc >>> 16 & 255, crc >>> 24];
  };
  assert.deepEqual([...writer.header()], [...start, ...sum(...start)]);
  assert.deepEqual([...writer.write([[511], [0], [1]])], []); // it may be the last
  // Codes 511, 0, 1 of 9 bits: 111111111 000000000 100000000, least significant bit first.
  const data = [0xb5, 0x1c, 0, 0, 0, 0, 0x80, 7, 0, 0, 255, 1, 4, 0];
  assert.deepEqual([...writer.write([[0], [0], [256]])], [...data, ...sum(...start, ...data)]);
  const end = [0x4a, 0xe3, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4];
  assert.deepEqual([...writer.finish(1921)], [...end, ...sum(...start, ...end)]);
});

test("a block is told as soon as it is there", async () => {
  const writer = new ContainerWriter(HEADER, { framesPerBlock: 1 }), rng = random("live");
  const pieces = [writer.header(), ...Array.from({ length: 5 }, () => writer.write(randomCodes(rng, HEADER, 1)))];
  let sent = 0;
  const pipe = (async function* () {
    for (const piece of pieces) {
      sent++;
      yield piece;
    }
    throw new Error("nobody should have waited for more");
  })();
  const found = (await readContainer(pipe)).blocks();
  for (let i = 0; i < 4; i++) {
    const { value } = await found.next();
    assert.equal((value as Block).first, i);
    assert.equal(sent, i + 3); // the header, a call that held its frame back, and a block
  }
  await found.return(undefined as never);
});

test("bytes come in every form; a source is closed after the end, an error and a break", async () => {
  const sample = makeSample(random("forms"), SMALL, [3, 3, 2]), { bytes } = sample;
  for (
    const form of [
      bytes,
      [bytes],
      new Set([bytes]),
      new Blob([bytes as BlobPart]).stream(),
      inPieces(bytes, random("forms")),
    ]
  ) {
    assertWithout("forms", sample, await told(form), []);
  }
  const stream = new Blob([bytes as BlobPart]).stream();
  Object.defineProperty(stream, Symbol.asyncIterator, { value: undefined }); // as in Safari
  const old = { getReader: () => stream.getReader() } as ReadableStream<Uint8Array>;
  assertWithout("a stream that cannot be iterated", sample, await told(old), []);
  // deno-lint-ignore no-explicit-any
  for (const wrong of ["text", 7, null, {}, [[1, 2]], ["text"]] as any[]) {
    await assert.rejects(readContainer(wrong), { code: "ERR_INVALID_ARGUMENT", name: "MimiTypeError" });
    if (!Array.isArray(wrong)) await assert.rejects(openContainer(wrong), { code: "ERR_INVALID_ARGUMENT" });
  }

  let closed = 0;
  const source = async function* (file: Uint8Array) {
    try {
      for (const byte of file) yield Uint8Array.of(byte);
      yield new Uint8Array(9);
    } finally {
      closed++;
    }
  };
  await told(source(bytes));
  await told(source(bytes.subarray(1)));
  for await (const _ of (await readContainer(source(bytes))).blocks()) break;
  assert.equal(closed, 3);

  const once = await readContainer(bytes);
  once.blocks();
  assert.throws(() => once.blocks(), { name: "InvalidStateError", code: "ERR_INVALID_STATE" });
});

// Misuse

test("what cannot be written is refused, and spoils nothing", () => {
  const bad = (fields: Record<string, unknown>, code: string) =>
    assert.throws(() => new ContainerWriter({ ...HEADER, ...fields } as ContainerHeader), { code });
  for (const samplingRate of [0, -1, 1.5, 2 ** 32, NaN, "24000", undefined]) bad({ samplingRate }, "ERR_OUT_OF_RANGE");
  for (const frameSize of [0, -1, 0.5, 2 ** 32]) bad({ frameSize }, "ERR_OUT_OF_RANGE");
  for (const codebooks of [0, 1025, 1.5]) bad({ codebooks }, "ERR_OUT_OF_RANGE");
  for (const bits of [0, 17, 2.5]) bad({ bits }, "ERR_OUT_OF_RANGE");
  for (const fingerprint of ["", "0123", "0123456789ABCDEF", "0123456789abcdefg", 7]) {
    bad({ fingerprint }, "ERR_INVALID_ARGUMENT");
  }
  assert.throws(() => new ContainerWriter(null as unknown as ContainerHeader), { code: "ERR_INVALID_ARGUMENT" });
  for (const framesPerBlock of [0, 257, 1.5, "64" as unknown as number]) {
    assert.throws(() => new ContainerWriter(HEADER, { framesPerBlock }), {
      code: "ERR_OUT_OF_RANGE",
      message: /framesPerBlock must be an integer from 1 to 256, got/,
    });
  }
  assert.throws(() => new ContainerWriter(HEADER, { frames: 1 } as object), { code: "ERR_INVALID_ARGUMENT" });

  const header = { ...HEADER, codebooks: 2, bits: 9, frameSize: 10 }, writer = new ContainerWriter(header);
  writer.write([[1, 2], [3, 4]]);
  const refused = (call: () => unknown, kind: new (...args: never[]) => Error, code: string, message: RegExp) =>
    assert.throws(call, (error: Error & { code: string }) => {
      assert.ok(error instanceof kind, String(error));
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });
  refused(() => writer.write([[1], [512]]), MimiRangeError, "ERR_CODE_OUT_OF_RANGE", /code 512 .*codebook 1, frame 0/);
  refused(
    () => writer.write([[1], [2], [3]]),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /\[1, 2, frames\], got .*\[1,3,1\]/,
  );
  refused(() => writer.write([[[1], [2]], [[1], [2]]]), MimiTypeError, "ERR_INVALID_ARGUMENT", /got shape \[2,2,1\]/);
  refused(() => writer.write("codes" as never), MimiTypeError, "ERR_INVALID_ARGUMENT", /got "codes"/);
  for (const samples of [10, 21, -1, 15.5, NaN, "20" as unknown as number]) {
    refused(() => writer.finish(samples), MimiRangeError, "ERR_OUT_OF_RANGE", /from 11 to 20 for 2 frames, got/);
  }
  const other = new ContainerWriter(header);
  other.write([[1, 2], [3, 4]]);
  assert.deepEqual(writer.finish(20), other.finish(20));
  refused(() => writer.write([[1], [2]]), InvalidStateError, "ERR_INVALID_STATE", /finished/);
  refused(() => writer.finish(20), InvalidStateError, "ERR_INVALID_STATE", /finished/);
  refused(() => new ContainerWriter(header).finish(1), MimiRangeError, "ERR_OUT_OF_RANGE", /from 0 to 0 for 0 frames/);
});

test("every malformed header is refused", async () => {
  const { bytes } = makeSample(random("headers"), HEADER, [2, 1]);
  /** With a checksum that is right. */
  const set = (at: number, ...values: number[]) => {
    const copy = bytes.slice();
    copy.set(values, at);
    new DataView(copy.buffer).setUint32(24, crc32(copy.subarray(0, 24)), true);
    return copy;
  };
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(0), /empty/],
    [bytes.subarray(0, 3), /starts with "MIM"/],
    [bytes.subarray(0, 27), /cut off: it has 27 bytes, the header alone has 28/],
    [set(0, 82, 73, 70, 70), /starts with "RIFF", expected "MIMI"/],
    [set(4, 2), /version 2; .* reads version 1/],
    [set(5, 0), /bits of a code must be from 1 to 16, got 0/],
    [set(5, 17), /bits of a code must be from 1 to 16, got 17/],
    [set(6, 0, 0), /codebooks must be from 1 to 1024, got 0/],
    [set(6, 1, 4), /codebooks must be from 1 to 1024, got 1025/],
    [set(8, 0, 0, 0, 0), /sampling rate must be from 1/],
    [set(12, 0, 0, 0, 0), /frame size must be from 1/],
    [flipped(bytes, 9, 1), /header is damaged/],
    [flipped(bytes, 27, 1), /header is damaged/],
  ];
  for (const [file, message] of cases) {
    for (const read of [readContainer, openContainer]) {
      await assert.rejects(read(file, { name: "x.mimi", onWarning: () => assert.fail() }), (error) => {
        assert.ok(error instanceof FormatError, String(error));
        assert.equal(error.code, "ERR_CONTAINER");
        assert.match(error.message, /^x\.mimi: /);
        assert.match(error.message, message);
        return true;
      });
    }
  }
});

// Damage

for (const [name, sizes] of [["whole", [3, 3, 3, 2]], ["an empty end block", [3, 3, 0]], ["no frames", [0]]] as const) {
  const sample = makeSample(random(`small file, ${name}`), SMALL, [...sizes], sizes.at(-1) ? 3 : 0), { bytes } = sample;

  test(`small file, ${name}: cut at every byte`, async () => {
    assertWithout("whole", sample, await told(bytes), []);
    for (let length = 0; length < bytes.length; length++) {
      const said = await told(bytes.subarray(0, length)), part = partAt(sample, length);
      if (part === 0) assert.equal(said.error?.code, "ERR_CONTAINER");
      else {
        assert.equal(said.error, undefined);
        const { there, lost } = ranges(said), frames = sample.firsts[part - 1];
        assert.deepEqual(there, sample.firsts.slice(0, part - 1).map((from, i) => [from, sample.firsts[i + 1]]));
        assert.deepEqual(lost, []);
        assert.deepEqual(said.end, { frames, samples: frames * 7, truncated: true });
        assert.deepEqual(said.warnings.map((w) => w.code), ["WARN_TRUNCATED"]);
      }
    }
  });

  test(`small file, ${name}: every byte flipped`, async () => {
    const rng = random("masks");
    for (let at = 0; at < bytes.length; at++) {
      for (const mask of [...MASKS, rng.integer(1, 255)]) {
        const said = await told(flipped(bytes, at, mask)), part = partAt(sample, at), what = `byte ${at}, mask ${mask}`;
        if (part === 0) assert.equal(said.error?.code, "ERR_CONTAINER", what);
        else assertWithout(what, sample, said, [part - 1]);
      }
    }
  });
}

test("large file: 2,000 cuts and flips", async () => {
  const rng = random("large file"), sizes = Array.from({ length: 30 }, () => 64);
  const sample = makeSample(rng, HEADER, [...sizes, 17], 1000), { bytes, firsts } = sample;
  for (let round = 0; round < 2000; round++) {
    const at = rng.integer(0, bytes.length - 1), part = partAt(sample, at), what = `round ${round}, byte ${at}`;
    const cut = round % 4 === 0,
      said = await told(cut ? bytes.subarray(0, at) : flipped(bytes, at, rng.integer(1, 255)));
    if (part === 0) assert.equal(said.error?.code, "ERR_CONTAINER", what);
    else if (!cut) assertWithout(what, sample, said, [part - 1]);
    else {
      assertHonest(what, sample, said);
      assert.deepEqual(said.end, { frames: firsts[part - 1], samples: firsts[part - 1] * 1920, truncated: true }, what);
    }
  }
});

test("a block that says another length or place costs only itself", async () => {
  const sample = makeSample(random("lengths"), { ...SMALL, frameSize: 1 }, [3, 3, 3, 3, 2]), { bytes, parts } = sample;
  let at = parts[0].length;
  for (let block = 0; block < parts.length - 1; at += parts[++block].length) {
    const original = new DataView(bytes.buffer).getUint32(at + 6, true);
    for (const value of [...Array(MOST_FRAMES + 2).keys(), 0xffff, 0xffffffff]) {
      if (value === original) continue;
      for (const field of [2, 6]) {
        const copy = bytes.slice(), view = new DataView(copy.buffer);
        if (view.getUint32(at + field, true) === value) continue;
        view.setUint32(at + field, value, true);
        assertWithout(`block ${block}, byte ${field} says ${value}`, sample, await told(copy), [block]);
      }
    }
  }
});

test("several wounds at once: bytes lost, added, changed", async () => {
  const rng = random("wounds");
  for (let round = 0; round < 1500; round++) {
    const sizes = Array.from({ length: rng.integer(1, 12) }, () => rng.integer(1, 5));
    const sample = makeSample(rng, SMALL, sizes, rng.integer(0, 6)), spared = new Set(sample.parts.keys());
    const parts = sample.parts.map((part, i) => {
      let bytes = [...part];
      if (i === 0 || rng.next() < 0.6) return bytes;
      spared.delete(i);
      const at = rng.integer(0, bytes.length - 1), n = rng.integer(1, 20), kind = rng.integer(0, 3);
      if (kind === 0) bytes.splice(at, n);
      else if (kind === 1) bytes.splice(at + 1, 0, ...Array.from({ length: n }, () => rng.integer(0, 255)));
      else if (kind === 2) bytes[at] ^= rng.integer(1, 255);
      else bytes = [];
      // Bytes put behind a block leave it whole.
      if (kind === 1 && at === part.length - 1) spared.add(i);
      return bytes;
    });
    const said = await told(Uint8Array.from(parts.flat())), what = `round ${round}`;
    assertHonest(what, sample, said);
    // A byte that was added or that follows may stand for a lost one: then one block is whole in place of another.
    assert.ok(said.blocks.length >= spared.size - 1, what);
  }
});

test("warnings say what and where", async () => {
  const sample = makeSample(random("warnings"), SMALL, [3, 3, 3, 2]),
    { parts } = sample,
    lengths = parts.map((p) => p.length);
  const block = lengths[1], at = (i: number) => 28 + i * block;
  assert.deepEqual(lengths, [28, 20, 20, 20, 18]);
  const say = async (...pieces: (Uint8Array | number[])[]) => {
    const warnings: FileWarning[] = [], bytes = Uint8Array.from(pieces.flatMap((p) => [...p]));
    const container = await readContainer(bytes, { name: "x.mimi", onWarning: (w) => warnings.push(w) });
    await drain(container, []);
    const strict = await readContainer(bytes, { name: "x.mimi" }).then((c) => drain(c, [])).then(() => null, (e) => e);
    // Without somebody who listens the first warning is the error.
    assert.ok(strict instanceof FormatError && strict.code === "ERR_CONTAINER");
    assert.equal(strict.message, warnings[0].message);
    return warnings;
  };
  const [head, one, two, three, end] = parts;
  assert.deepEqual(await say(head, one, flipped(two, 12, 1), three, end), [{
    code: "WARN_LOST_FRAMES",
    message: `x.mimi: frames 3 to 5 are lost: bytes ${at(1)} to ${at(2) - 1} are damaged.`,
    offset: at(1),
    first: 3,
    frames: 3,
  }]);
  assert.deepEqual(await say(head, one, three, end), [{
    code: "WARN_LOST_FRAMES",
    message: `x.mimi: frames 3 to 5 are lost: missing at byte ${at(1)}.`,
    offset: at(1),
    first: 3,
    frames: 3,
  }]);
  assert.deepEqual(await say(head, one, [1, 2, 3], two, three, end), [{
    code: "WARN_STRAY_BYTES",
    message: `x.mimi: bytes ${at(1)} to ${at(1) + 2} are no block that belongs there; no frame is lost.`,
    offset: at(1),
  }]);
  assert.deepEqual(await say(head, one, two, three), [{
    code: "WARN_TRUNCATED",
    message: `x.mimi: truncated: it has no end block; 9 frames end at byte ${at(3)}.`,
    offset: at(3),
  }]);
  assert.deepEqual(await say(head, one, two, three, end.subarray(0, 9)), [{
    code: "WARN_TRUNCATED",
    message: `x.mimi: truncated: it has no end block; 9 frames end at byte ${at(3)}.`,
    offset: at(3),
  }]);
  assert.deepEqual(await say(...parts, [0]), [{
    code: "WARN_TRAILING_BYTES",
    message: `x.mimi: bytes follow its end block at byte ${at(3) + 18}.`,
    offset: at(3) + 18,
  }]);
  assert.deepEqual((await say(head, one, three.subarray(1), head, two, end)).map((w) => [w.code, w.offset]), [
    ["WARN_TRUNCATED", at(1)],
    ["WARN_TRAILING_BYTES", at(2) - 1],
  ]);
});

test("blocks twice, in another order, of other files", async () => {
  const rng = random("strangers"), header = { ...SMALL, fingerprint: "00000000000000ff" };
  const sample = makeSample(rng, SMALL, [3, 3, 3, 3, 2], 2), { parts } = sample;
  const other = makeSample(rng, header, [3, 3, 3, 3, 2], 2).parts,
    longer = makeSample(rng, { ...SMALL, bits: 4 }, [3, 2]).parts;

  const twice = await told(concat(parts.flatMap((part, i) => i === 0 ? [part] : [part, part])));
  assertHonest("each block twice", sample, twice);
  assert.deepEqual(twice.warnings.map((w) => w.code), [...Array(4).fill("WARN_STRAY_BYTES"), "WARN_TRAILING_BYTES"]);
  for (let i = 1; i < parts.length; i++) {
    for (let j = 1; j < parts.length; j++) {
      const swapped = [...parts];
      [swapped[i], swapped[j]] = [parts[j], parts[i]];
      assertHonest(`blocks ${i} and ${j} change places`, sample, await told(concat(swapped)));
      // Blocks of a file with another header do not even look like blocks here.
      for (const stranger of [other[j], longer[Math.min(j, 2)]]) {
        const added = parts.toSpliced(i, 0, stranger), replaced = parts.with(i, stranger);
        assertWithout(`stranger ${j} before block ${i}`, sample, await told(concat(added)), []);
        assertWithout(`stranger ${j} for block ${i}`, sample, await told(concat(replaced)), [i - 1]);
      }
    }
  }
  // Another file behind this one is not read as more of it, whether this one is whole or not.
  const next = makeSample(rng, SMALL, [3, 3, 3, 3, 3, 3, 3]).bytes;
  for (let length = HEADER_BYTES; length <= sample.bytes.length; length++) {
    if (sample.bytes[length] === next[0]) continue; // what was cut off follows: a block may be whole by chance
    const said = await told(concat([sample.bytes.subarray(0, length), next]));
    assertHonest(`cut at ${length} and another file`, sample, said);
    assert.equal(said.warnings.at(-1)?.code, "WARN_TRAILING_BYTES");
    assert.equal(said.end!.truncated, length < sample.bytes.length);
  }
});

// Seeking

/** What streaming says of the frames from `frame` on. */
function restOf({ blocks, warnings }: Told, frame: number): { blocks: Block[]; lost: [number, number][] } {
  return {
    blocks: blocks.filter(({ first, codes }) => first + codes.shape[2] > frame).map((block) => {
      const skip = Math.max(0, frame - block.first),
        rows = byFrame(block.codes),
        { shape: [, codebooks, n] } = block.codes;
      const data = Uint16Array.from(
        { length: codebooks * (n - skip) },
        (_, i) => rows[skip + i % (n - skip)][Math.floor(i / (n - skip))],
      );
      return { ...block, first: block.first + skip, codes: { data, shape: [1, codebooks, n - skip] } };
    }),
    lost: warnings.filter((w) => w.code === "WARN_LOST_FRAMES" && w.first! + w.frames! > frame)
      .map((w) => [Math.max(w.first!, frame), w.first! + w.frames!]),
  };
}

async function assertSeeks(what: string, bytes: Uint8Array, frameSize: number, frames?: number[]): Promise<void> {
  const said = await told(bytes), warnings: FileWarning[] = [];
  assert.equal(said.error, undefined, what);
  const file = await openContainer(bytes, { onWarning: (warning) => warnings.push(warning) });
  assert.deepEqual({ frames: file.frames, samples: file.samples, truncated: file.truncated }, said.end, what);
  const ends = (list: FileWarning[]) => list.filter(({ code }) => /TRUNCATED|TRAILING/.test(code));
  assert.deepEqual(warnings.map((w) => w.code), ends(said.warnings).map((w) => w.code), what);
  for (const frame of frames ?? Array(file.frames + 1).keys()) {
    warnings.length = 0;
    const expected = restOf(said, frame), found = await blocksFrom(file, frame);
    const shown = found.map((block) => ({
      ...block,
      samples: block.samples + (block.first - firstOf(said, block)) * frameSize,
    }));
    assert.deepEqual(shown, expected.blocks, `${what}, from frame ${frame}`);
    assert.deepEqual(ranges({ blocks: [], warnings }).lost, expected.lost, `${what}, from frame ${frame}`);
    assert.deepEqual(ends(warnings), [], what);
  }
}

/** Where the block that was cut begins. */
function firstOf({ blocks }: Told, { first }: Block): number {
  return blocks.find((block) => block.first <= first && first < block.first + block.codes.shape[2])!.first;
}

test("seeking: from every frame what streaming says, in whole and in damaged files", async () => {
  const rng = random("seeking");
  for (let round = 0; round < 60; round++) {
    const equal = round % 3 > 0, size = rng.integer(1, 6), n = rng.integer(0, 9);
    const sizes = Array.from({ length: n }, () => equal ? size : rng.integer(1, 6));
    const last = rng.integer(0, equal ? size : 6),
      sample = makeSample(rng, SMALL, [...sizes, last], last ? rng.integer(0, 6) : 0);
    const { bytes } = sample, what = `round ${round}, blocks ${[...sizes, last]}`;
    await assertSeeks(what, bytes, 7);
    const cut = bytes.subarray(0, rng.integer(28, bytes.length - 1));
    await assertSeeks(`${what}, cut to ${cut.length}`, cut, 7);
    await assertSeeks(`${what}, with an end`, concat([bytes, Uint8Array.of(1, 2, 3)]), 7);
    if (equal) await assertSeeks(`${what}, twice`, concat([bytes, bytes]), 7);
    if (equal) await assertSeeks(`${what}, cut and whole`, concat([cut, bytes]), 7);
    const at = rng.integer(28, bytes.length - 1);
    await assertSeeks(`${what}, byte ${at} flipped`, flipped(bytes, at, rng.integer(1, 255)), 7);
    const less = concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + rng.integer(1, 50)))]);
    await assertSeeks(`${what}, some lost at ${at}`, less, 7);
    const more = concat([
      bytes.subarray(0, at),
      Uint8Array.from({ length: rng.integer(1, 50) }, () => rng.integer(0, 255)),
      bytes.subarray(at),
    ]);
    await assertSeeks(`${what}, some added at ${at}`, more, 7);
    // Lost here and added there: the blocks between are not where they were.
    const both = concat([bytes.subarray(0, at), bytes.subarray(at + 5), Uint8Array.of(9, 9, 9, 9, 9)]);
    await assertSeeks(`${what}, moved from ${at}`, both, 7);
  }
});

test("seeking: a long file takes few reads", async () => {
  const rng = random("long file"),
    frames = 125_000,
    writer = new ContainerWriter(HEADER),
    codes = randomCodes(rng, HEADER, frames);
  const bytes = concat([writer.header(), writer.write(codes), writer.finish(frames * 1920 - 5)]);
  let read = 0;
  const memory = bytesInMemory(bytes, "long.mimi");
  const counted = {
    ...memory,
    read: (offset: number, length: number) => (read += length, memory.read(offset, length)),
  };
  const file = await openContainer(counted);
  assert.deepEqual([file.frames, file.samples, file.truncated], [frames, frames * 1920 - 5, false]);
  assert.ok(read < 100_000, `${read} of ${bytes.length} bytes read`);
  const rows = byFrame(codes);
  for (const frame of [0, 1, 63, 64, 99_999, frames - 1, rng.integer(0, frames - 1)]) {
    read = 0;
    const { value } = await file.blocks(frame).next();
    assert.equal((value as Block).first, frame);
    assert.deepEqual(byFrame((value as Block).codes)[0], rows[frame]);
    assert.ok(read < 50_000, `${read} bytes read`);
  }
  assert.deepEqual(await blocksFrom(file, frames), []);
  for (const frame of [-1, frames + 1, 0.5, NaN]) {
    assert.throws(() => file.blocks(frame), {
      code: "ERR_OUT_OF_RANGE",
      message: /fromFrame must be an integer from 0 to 125000/,
    });
  }
});

test("seeking: without somebody who listens damage is an error", async () => {
  const sample = makeSample(random("strict"), SMALL, [3, 3, 3, 2]), { bytes } = sample;
  for (const file of [bytes.subarray(0, -1), concat([bytes, Uint8Array.of(0)])]) {
    await assert.rejects(openContainer(file, { name: "x.mimi" }), { code: "ERR_CONTAINER", message: /^x\.mimi: / });
  }
  const file = await openContainer(flipped(bytes, 60, 1));
  await assert.rejects(blocksFrom(file, 2), { code: "ERR_CONTAINER", message: /frames 3 to 5 are lost/ });
  await assert.rejects(blocksFrom(file, 4), { code: "ERR_CONTAINER", message: /frames 4 to 5 are lost/ });
  assert.equal((await blocksFrom(file, 6)).length, 2);
});

// Hostile files

/** Scans a file that begins with `header`; returns how much work that was, and how many blocks there were. */
async function scan(header: ContainerHeader, body: Uint8Array): Promise<{ work: number; found: number }> {
  const scanner = new BlockScanner(new ByteReader(body), header, checksumOf(formatHeader(header)), HEADER_BYTES);
  let found = 0;
  for (let block; (block = await scanner.next(0)); found++) assert.ok(block.frames <= MOST_FRAMES);
  return { work: scanner.work, found };
}

test("the work is linear, however many bytes look like the longest blocks", async () => {
  const header = { ...HEADER, frameSize: 1, codebooks: 1024, bits: 16 }, longest = blockBytes(header, MOST_FRAMES);
  assert.equal(longest, 14 + 524288);
  const patterns = {
    "the longest blocks": [0xb5, 0x1c, 0, 0, 0, 0, 0, 1, 0, 0],
    "end blocks of any length": [0x4a, 0xe3, 0x4a, 0xe3, 0, 0, 255, 0, 0, 0],
    "headers": [0x4d, 0x49, 0x4d, 0x49],
    "zeros": [0],
  };
  for (const [name, pattern] of Object.entries(patterns)) {
    for (const size of [600_000, 1_200_000]) {
      const body = new Uint8Array(size);
      for (let i = 0; i < size; i++) body[i] = pattern[i % pattern.length];
      const { work, found } = await scan(header, body);
      assert.equal(found, 0);
      assert.ok(work <= 20 * size, `${name}: ${work} steps for ${size} bytes`);
    }
  }
});

test("a scanner finds what going through every candidate finds", async () => {
  const rng = random("oracle"), header = { ...SMALL, frameSize: 3 }, start = checksumOf(formatHeader(header));
  for (let round = 0; round < 300; round++) {
    const sample = makeSample(rng, header, Array.from({ length: rng.integer(1, 6) }, () => rng.integer(1, 9)));
    const body = concat(sample.parts.slice(1)), view = new DataView(body.buffer, body.byteOffset);
    for (let n = rng.integer(0, 5); n > 0; n--) {
      body[rng.integer(0, body.length - 1)] = rng.pick([0xb5, 0x1c, 0x4a, 0xe3, 0, rng.integer(0, 255)]);
    }
    const expected: number[] = [];
    for (let at = 0; at + 14 <= body.length;) {
      const sync = view.getUint16(at),
        frames = Math.ceil(view.getUint32(at + 6, true) / 3),
        end = at + 10 + Math.ceil(frames * 15 / 8);
      const whole = (sync === 0xb51c || sync === 0x4ae3) && frames <= 256 && end + 4 <= body.length &&
        crc32(body.subarray(at, end), start) === view.getUint32(end, true);
      if (whole) expected.push(at);
      at = whole ? end + 4 : at + 1;
    }
    const scanner = new BlockScanner(new ByteReader(inPieces(body, rng)), header, start, 0), found: number[] = [];
    for (let block; (block = await scanner.next(0));) found.push(block.offset);
    assert.deepEqual(found, expected);
  }
});

// The document

test(
  `docs/format.md: its reader in Python gives the codes${noPython ? ` (skipped: ${noPython})` : ""}`,
  { skip: noPython },
  async () => {
    const text = await readFile(new URL("../docs/format.md", import.meta.url), "utf8");
    const program = text.match(/```python\n([\s\S]*?)```/)![1];
    assert.ok(program.trim().split("\n").length <= 20);
    const folder = await mkdtemp(joinPath(tmpdir(), "mimi-format-")), rng = random("python");
    try {
      await writeFile(joinPath(folder, "read.py"), program);
      const run = async (bytes: Uint8Array) => {
        await writeFile(joinPath(folder, "codes.mimi"), bytes);
        return await python(joinPath(folder, "read.py"), joinPath(folder, "codes.mimi"));
      };
      for (
        const header of [HEADER, { ...HEADER, codebooks: 32 }, { ...SMALL, bits: 16 }, {
          ...SMALL,
          codebooks: 1,
          bits: 1,
        }]
      ) {
        const frames = rng.integer(65, 200), samples = frames * header.frameSize - rng.integer(0, header.frameSize - 1);
        const { codes, bytes } = write(rng, header, 64, frames, samples), { stdout } = await run(bytes);
        const lines = stdout.trim().split("\n").map((line) => JSON.parse(line));
        assert.deepEqual(lines, [...byFrame(codes), { samples }]);
        await assert.rejects(run(flipped(bytes, rng.integer(28, bytes.length - 1), rng.integer(1, 255))));
        await assert.rejects(run(bytes.subarray(0, rng.integer(0, bytes.length - 1))));
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
);
