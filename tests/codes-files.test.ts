/** Codes in .npy, safetensors and JSON lines: round trips, what others wrote, and everything that is refused. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { type AudioCodes, FormatError, type MimiErrorCode } from "../mod.ts";
import { Safetensors } from "../src/core/safetensors.ts";
import {
  type ByteSource,
  codesFromJSONLines,
  codesFromNpy,
  codesFromSafetensors,
  type CodesInfo,
  codesToJSONLines,
  codesToNpy,
  codesToSafetensors,
  ContainerWriter,
  openContainer,
  readContainer,
} from "../src/file/mod.ts";
import { bytesInMemory } from "../src/core/safetensors.ts";
import { byFrame, drain, HEADER, randomCodes } from "./support/containers.ts";
import { inPieces } from "./support/pieces.ts";
import { type Random, random } from "./support/random.ts";

const file = async (name: string) => new Uint8Array(await readFile(new URL(`files/${name}`, import.meta.url)));
const utf8 = (text: string) => new TextEncoder().encode(text);

/** Codes [batch, codebooks, frames] of random sizes. */
function randomBatch(rng: Random, batch = rng.integer(1, 4)): AudioCodes {
  const shape = [batch, rng.integer(1, 40), rng.integer(0, 50)];
  return { data: Uint16Array.from({ length: shape.reduce((a, b) => a * b) }, () => rng.integer(0, 65535)), shape };
}

/** As Node gives files: a Buffer, somewhere in a larger one, off every boundary. */
const moved = (bytes: Uint8Array): Uint8Array => Buffer.concat([Buffer.of(255), bytes, Buffer.of(255)]).subarray(1, -1);

async function refused(call: () => unknown, code: MimiErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(async () => await call(), (error: Error & { code?: string }) => {
    assert.equal(error.code, code, String(error));
    assert.match(error.message, message);
    if (code !== "ERR_CODE_OUT_OF_RANGE" && code !== "ERR_INVALID_ARGUMENT") assert.ok(error instanceof FormatError);
    return true;
  });
}

async function linesOf(bytes: Parameters<typeof codesFromJSONLines>[0]): Promise<number[][]> {
  const out: number[][] = [];
  for await (const codes of codesFromJSONLines(bytes, { name: "x.jsonl" })) {
    assert.ok(codes.shape[2] >= 1);
    out.push(...byFrame(codes));
  }
  return out;
}

test("files that others wrote: the same codes in every format, and the same bytes from here", async () => {
  // Made by NumPy, safetensors and a writer in Python; see files/generate.py.
  const mimi = await file("codes.mimi"), npy = await file("codes.npy"), jsonl = await file("codes.jsonl");
  const codes = codesFromNpy(npy), samples = 72000;
  assert.deepEqual(codes.shape, [1, 8, 38]);
  assert.deepEqual(codesToNpy(codes), npy);

  const { audioCodes, info } = await codesFromSafetensors(await file("codes.safetensors"));
  assert.deepEqual(audioCodes, codes);
  assert.deepEqual(info, { ...HEADER, samples });

  assert.deepEqual(await linesOf(jsonl), byFrame(codes));
  assert.deepEqual(codesToJSONLines(codes), jsonl);

  const container = await readContainer(mimi),
    blocks: Parameters<typeof drain>[1] = [],
    end = await drain(container, blocks);
  assert.deepEqual(container.header, HEADER);
  assert.deepEqual(blocks, [{ first: 0, codes, samples, last: true }]);
  assert.deepEqual(end, { frames: 38, samples, truncated: false });
  const writer = new ContainerWriter(HEADER), parts = [writer.header(), writer.write(codes), writer.finish(samples)];
  assert.deepEqual(new Uint8Array(Buffer.concat(parts)), mimi);
  assert.equal(mimi.length, 460);
  const opened = await openContainer(new Blob([mimi as BlobPart]));
  assert.deepEqual((await opened.blocks(0).next()).value, blocks[0]);
});

// .npy

test("npy: round trips", () => {
  const rng = random("npy");
  for (let round = 0; round < 200; round++) {
    const codes = randomBatch(rng), bytes = codesToNpy(codes);
    assert.equal((bytes.length - codes.data.byteLength) % 64, 0);
    assert.deepEqual(codesFromNpy(bytes), codes);
  }
  const codes = codesToNpy([[1, 2, 3], [4, 5, 6]]);
  assert.deepEqual(codesFromNpy(codes), { data: Uint16Array.of(1, 2, 3, 4, 5, 6), shape: [1, 2, 3] });
});

/** A file with a header as it stands, and data. */
function npy(header: string, data: ArrayLike<number> = [], version = [1, 0], claim = header.length): Uint8Array {
  const length = version[0] === 1
    ? [claim & 255, claim >>> 8 & 255]
    : [0, 8, 16, 24].map((shift) => claim >>> shift & 255);
  return Uint8Array.from([0x93, ...utf8("NUMPY"), ...version, ...length, ...utf8(header), ...Array.from(data)]);
}
const dict = (descr = "<u2", shape = "(2, 3)", order = "False") =>
  `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }\n`;

test("npy: every kind of integer, both versions, any spelling of the header, any place in memory", () => {
  const kinds: [string, ArrayBufferView][] = [
    ["|u1", Uint8Array.of(0, 1, 2, 3, 4, 255)],
    ["|i1", Int8Array.of(0, 1, 2, 3, 4, 127)],
    ["<u2", Uint16Array.of(0, 1, 2, 3, 4, 65535)],
    ["<i2", Int16Array.of(0, 1, 2, 3, 4, 32767)],
    ["<u4", Uint32Array.of(0, 1, 2, 3, 4, 65535)],
    ["<i4", Int32Array.of(0, 1, 2, 3, 4, 65535)],
    ["<u8", BigUint64Array.of(0n, 1n, 2n, 3n, 4n, 65535n)],
    ["<i8", BigInt64Array.of(0n, 1n, 2n, 3n, 4n, 65535n)],
  ];
  for (const [type, values] of kinds) {
    const last = Number((values as Uint8Array).at(-1)), data = new Uint8Array(values.buffer);
    for (const version of [[1, 0], [2, 0]]) {
      for (const shape of ["(2, 3)", "(1, 2, 3)", "(3,1,2)", "(1, 2, 3,)"]) {
        const bytes = npy(dict(type, shape), data, version);
        for (const form of [bytes, moved(bytes)]) {
          const codes = codesFromNpy(form);
          assert.deepEqual([...codes.data], [0, 1, 2, 3, 4, last], type);
          assert.deepEqual(codes.shape, shape === "(3,1,2)" ? [3, 1, 2] : [1, 2, 3]);
        }
      }
    }
  }
  const data = Array(12).fill(0);
  for (
    const header of [
      `{"shape": (2, 3), "fortran_order": False, "descr": "<u2"}`,
      `  { 'descr' :'<u2','shape':( 2 , 3 ) ,'fortran_order':False }    \n`,
    ]
  ) assert.deepEqual(codesFromNpy(npy(header, data)).shape, [1, 2, 3]);
  assert.deepEqual(codesFromNpy(npy(dict("<u2", "(1, 8, 0)"))), { data: new Uint16Array(0), shape: [1, 8, 0] });
});

const DATA = Array(12).fill(0);
const WRONG_NPY: [string, Uint8Array, RegExp][] = [
  ["empty", new Uint8Array(0), /not a \.npy file/],
  ["another file", utf8("RIFF and so on and on"), /not a \.npy file/],
  ["only the magic", npy("").subarray(0, 6), /cut off inside its header/],
  ["no length", npy("").subarray(0, 9), /cut off inside its header/],
  ["version 3.0", npy(dict(), DATA, [3, 0]), /version 3\.0; versions 1\.0 and 2\.0/],
  ["version 1.1", npy(dict(), DATA, [1, 1]), /version 1\.1/],
  ["a header beyond the file", npy(dict(), DATA, [1, 0], 9999), /cut off inside its header/],
  ["a header of 4 GB", npy(dict(), DATA, [2, 0], 0xffffffff), /claims 4294967295 bytes, at most 10000/],
  ["no dict", npy("'<u2'", DATA), /not a dict of descr, fortran_order and shape/],
  ["a list", npy("[1, 2]", DATA), /not a dict/],
  ["an open dict", npy("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3),", DATA), /not a dict/],
  ["a call", npy("{'descr': '<u2', 'fortran_order': False, 'shape': tuple([2, 3])}", DATA), /not a dict/],
  ["code behind it", npy(dict().trim() + ".update({})", DATA), /not a dict/],
  ["no type", npy("{'fortran_order': False, 'shape': (2, 3)}", DATA), /not a dict/],
  ["no order", npy("{'descr': '<u2', 'shape': (2, 3)}", DATA), /not a dict/],
  ["no shape", npy("{'descr': '<u2', 'fortran_order': False}", DATA), /not a dict/],
  [
    "two shapes",
    npy("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3), 'shape': (1, 6)}", DATA),
    /"'shape': \(1, 6\)}?"/,
  ],
  ["another key", npy("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3), 'more': True}", DATA), /'more': True/],
  ["__proto__", npy("{'__proto__': '<u2', 'fortran_order': False, 'shape': (2, 3)}", DATA), /__proto__/],
  [
    "a shape for a type",
    npy("{'descr': (2, 3), 'fortran_order': False, 'shape': (2, 3)}", DATA),
    /descr.*does not belong/,
  ],
  ["no truth value", npy(dict("<u2", "(2, 3)", "None"), DATA), /not a dict/],
  ["floats", npy(dict("<f4"), Array(24).fill(0)), /type is "<f4", expected one of \|u1,/],
  ["big-endian", npy(dict(">u2"), DATA), /type is ">u2"/],
  ["a type of the prototype", npy(dict("toString"), DATA), /type is "toString"/],
  ["objects", npy(dict("|O"), DATA), /type is "\|O"/],
  ["Fortran order", npy(dict("<u2", "(2, 3)", "True"), DATA), /Fortran order; save it with np\.ascontiguousarray/],
  ["a negative size", npy(dict("<u2", "(-2, 3)"), DATA), /not a dict/],
  ["a scalar", npy(dict("<u2", "()"), [0, 0]), /shape \[\], expected \[codebooks, frames\]/],
  ["one dimension", npy(dict("<u2", "(6,)"), DATA), /shape \[6\], expected/],
  ["four dimensions", npy(dict("<u2", "(1, 1, 2, 3)"), DATA), /shape \[1,1,2,3\], expected/],
  ["no codebooks", npy(dict("<u2", "(0, 3)")), /shape \[0,3\], expected/],
  ["1025 codebooks", npy(dict("|u1", "(1025, 1)"), Array(1025).fill(0)), /1 to 1024 codebooks/],
  ["no rows", npy(dict("<u2", "(0, 2, 3)")), /shape \[0,2,3\]/],
  ["rows without end", npy(dict("<u2", "(9007199254740991, 2, 0)")), /shape \[9007199254740991,2,0\]/],
  ["a size past 2^53", npy(dict("<u2", "(9007199254740993, 0)")), /too large/],
  ["a product past 2^53", npy(dict("<u2", "(4294967296, 4294967296)")), /needs \d+ bytes, 0 follow/],
  ["a terabyte", npy(dict("<u2", "(1024, 536870912)"), DATA), /needs 1099511627776 bytes, 12 follow/],
  ["too short", npy(dict(), DATA.slice(1)), /shape \[2,3\] of <u2 needs 12 bytes, 11 follow/],
  ["too long", npy(dict(), [...DATA, 0]), /needs 12 bytes, 13 follow/],
];
for (const [name, bytes, message] of WRONG_NPY) {
  test(`npy: ${name} is refused`, () =>
    refused(() => codesFromNpy(bytes, { name: "x.npy" }), "ERR_NPY", new RegExp(`^x\\.npy: .*${message.source}`)));
}

test("npy: integers that are no codes, and wrong calls", async () => {
  const values = (type: string, list: ArrayBufferView) => npy(dict(type, "(1, 2)"), new Uint8Array(list.buffer));
  await refused(
    () => codesFromNpy(values("<i2", Int16Array.of(1, -1))),
    "ERR_CODE_OUT_OF_RANGE",
    /code -1 at .* frame 1/,
  );
  await refused(() => codesFromNpy(values("<u4", Uint32Array.of(1, 65536))), "ERR_CODE_OUT_OF_RANGE", /65536/);
  await refused(
    () => codesFromNpy(values("<i8", BigInt64Array.of(-(2n ** 63n), 1n))),
    "ERR_CODE_OUT_OF_RANGE",
    /frame 0/,
  );
  await refused(() => codesFromNpy("x" as unknown as Uint8Array), "ERR_INVALID_ARGUMENT", /Uint8Array, got "x"/);
  await refused(() => codesToNpy([[70000]]), "ERR_CODE_OUT_OF_RANGE", /codesToNpy: code 70000/);
  await refused(() => codesToNpy([1] as never), "ERR_INVALID_ARGUMENT", /codesToNpy/);
});

// safetensors

test("safetensors: round trips, with what is known", async () => {
  const rng = random("safetensors");
  for (let round = 0; round < 200; round++) {
    const codes = randomBatch(rng), { shape: [, codebooks] } = codes, info: CodesInfo = {};
    if (round % 2) info.fingerprint = "00ff00ff00ff00ff";
    if (round % 3) info.samplingRate = rng.integer(1, 48000);
    if (round % 5) info.frameSize = 1920;
    if (round % 7) info.bits = 16;
    if (round % 11) info.samples = 2 ** 53 - 1;
    const bytes = codesToSafetensors(codes, info);
    assert.deepEqual(await codesFromSafetensors(bytes), { audioCodes: codes, info: { ...info, codebooks } });
    const { offset, dtype } = (await Safetensors.open(bytesInMemory(bytes))).tensors.get("audio_codes")!;
    assert.equal(offset % 8, 0);
    assert.equal(dtype, "I64");
  }
});

function safetensors(
  dtype: string,
  shape: number[],
  data: Uint8Array,
  metadata?: Record<string, string>,
  name = "audio_codes",
) {
  const header = utf8(JSON.stringify({
    ...(metadata && { __metadata__: metadata }),
    other: { dtype: "F32", shape: [0], data_offsets: [0, 0] },
    [name]: { dtype, shape, data_offsets: [0, data.length] },
  }));
  const bytes = new Uint8Array(8 + header.length + data.length);
  new DataView(bytes.buffer).setUint32(0, header.length, true);
  bytes.set(header, 8);
  bytes.set(data, 8 + header.length);
  return bytes;
}

test("safetensors: every kind of integer, from memory, a blob and a source", async () => {
  const kinds: [string, ArrayBufferView][] = [
    ["U8", Uint8Array.of(0, 1, 2, 3, 4, 255)],
    ["I8", Int8Array.of(0, 1, 2, 3, 4, 127)],
    ["U16", Uint16Array.of(0, 1, 2, 3, 4, 65535)],
    ["I16", Int16Array.of(0, 1, 2, 3, 4, 32767)],
    ["U32", Uint32Array.of(0, 1, 2, 3, 4, 65535)],
    ["I32", Int32Array.of(0, 1, 2, 3, 4, 65535)],
    ["U64", BigUint64Array.of(0n, 1n, 2n, 3n, 4n, 65535n)],
    ["I64", BigInt64Array.of(0n, 1n, 2n, 3n, 4n, 65535n)],
  ];
  for (const [dtype, values] of kinds) {
    const bytes = safetensors(dtype, [2, 3], new Uint8Array(values.buffer));
    for (const form of [bytes, moved(bytes), new Blob([bytes as BlobPart]), bytesInMemory(bytes)]) {
      const { audioCodes, info } = await codesFromSafetensors(form);
      assert.deepEqual([...audioCodes.data], [0, 1, 2, 3, 4, Number((values as Uint8Array).at(-1))], dtype);
      assert.deepEqual(audioCodes.shape, [1, 2, 3]);
      assert.deepEqual(info, {});
    }
  }
});

test("safetensors: what is refused", async () => {
  const two = new Uint8Array(8), code = "ERR_SAFETENSORS";
  const read = (bytes: Uint8Array) => () => codesFromSafetensors(bytes, { name: "x.safetensors" });
  await refused(read(utf8("not one")), code, /x\.safetensors: not a valid safetensors file/);
  await refused(read(safetensors("F32", [1, 2], two)), code, /"audio_codes" has dtype F32, expected integers/);
  await refused(
    read(safetensors("I32", [2], two)),
    code,
    /"audio_codes" has shape \[2\], expected \[codebooks, frames\]/,
  );
  await refused(read(safetensors("I32", [1, 1, 1, 2], two)), code, /has shape \[1,1,1,2\]/);
  await refused(read(safetensors("I32", [1, 2], two, {}, "codes")), code, /no tensor "audio_codes" \(it has .*codes/);
  await refused(
    read(safetensors("I32", [1, 2], two, { samples: "many" })),
    code,
    /samples "many", expected an integer/,
  );
  await refused(read(safetensors("I32", [1, 2], two, { bits: "99999999999999999999" })), code, /bits "9+"/);
  const negative = new Uint8Array(Int32Array.of(1, -5).buffer);
  await refused(
    read(safetensors("I32", [1, 2], negative)),
    "ERR_CODE_OUT_OF_RANGE",
    /x\.safetensors: code -5 .*frame 1/,
  );
  await refused(() => codesFromSafetensors(7 as unknown as ByteSource), "ERR_INVALID_ARGUMENT", /a Blob or a source/);
  const write = (info: object) => () => codesToSafetensors([[1]], info);
  await refused(write({ sampling_rate: 1 }), "ERR_INVALID_ARGUMENT", /unknown option "sampling_rate"/);
  await refused(write({ fingerprint: 7 }), "ERR_INVALID_ARGUMENT", /fingerprint must be a string, got 7/);
  assert.throws(write({ samples: -1 }), {
    code: "ERR_OUT_OF_RANGE",
    message: /info\.samples must be an integer from 0, got -1/,
  });
});

// JSON lines

test("JSON lines: round trips, in any pieces", async () => {
  const rng = random("JSON lines");
  for (let round = 0; round < 100; round++) {
    const codes = randomBatch(rng, 1), bytes = codesToJSONLines(codes);
    assert.deepEqual(await linesOf(round % 2 ? inPieces(bytes, rng) : bytes), byFrame(codes));
    // The last line need not end, and others may write more spaces.
    assert.deepEqual(await linesOf(bytes.subarray(0, -1)), byFrame(codes));
    const spaced = new TextDecoder().decode(bytes).replaceAll(",", " , ").replaceAll("\n", "\r\n");
    assert.deepEqual(await linesOf(utf8(spaced)), byFrame(codes));
  }
  const widest = randomCodes(rng, { ...HEADER, codebooks: 1024, bits: 16 }, 3);
  assert.deepEqual(await linesOf(codesToJSONLines(widest)), byFrame(widest));
  assert.deepEqual(await linesOf(new Uint8Array(0)), []);
  assert.deepEqual(codesToJSONLines([[1, 2], [3, 4]]), utf8("[1,3]\n[2,4]\n"));
  await refused(() => codesToJSONLines([[[1]], [[1]]]), "ERR_INVALID_ARGUMENT", /one row, got a batch of 2/);
});

test("JSON lines: a frame is told as soon as its line is there; the source is closed", async () => {
  let sent = 0, closed = false;
  const pipe = (async function* () {
    try {
      for (const text of ["[1,2]\n[3", ",4]\n", "[5,6]\n"]) {
        sent++;
        yield utf8(text);
      }
    } finally {
      closed = true;
    }
  })();
  for await (const codes of codesFromJSONLines(pipe)) {
    assert.equal(codes.data[0], 2 * sent - 1);
    if (sent === 2) break;
  }
  assert.ok(closed);
});

const WRONG_LINES: [string, string | Uint8Array, RegExp, number][] = [
  ["no JSON", "[1,2]\n[3,4\n", /line 2: expected JSON, an array of codes \(/, 1],
  ["an empty line", "[1,2]\n\n[3,4]\n", /line 2: expected JSON/, 1],
  [
    "an object",
    '[1,2]\n[3,4]\n{"samples": 5}',
    /line 3: expected an array of 1 to 1024 codes, got an object {samples}/,
    2,
  ],
  ["an empty array", "[]\n", /line 1: expected an array of 1 to 1024 codes, got Array\(0\)/, 0],
  ["too many codes", JSON.stringify(Array(1025).fill(0)), /line 1: .*got Array\(1025\)/, 0],
  ["another number of codes", "[1,2]\n[3]\n", /line 2: it has 1 codes, the lines before it have 2/, 1],
  ["a code too large", "[1,2]\n[3,65536]", /line 2: code 65536 of codebook 1 is not an integer from 0 to 65535/, 1],
  ["a negative code", "[-1]", /line 1: code -1 of codebook 0/, 0],
  ["a fraction", "[1.5]", /line 1: code 1.5/, 0],
  ["a string", '["1"]', /line 1: code "1"/, 0],
  ["nested", "[[1,2]]", /line 1: code Array\(2\) of codebook 0/, 0],
  ["deeply nested", "[".repeat(16000), /line 1: expected JSON/, 0],
  ["no UTF-8", Uint8Array.of(0x5b, 0xff, 0x5d), /line 1: expected JSON/, 0],
  ["a line without end", `[1,2]\n${" ".repeat(100_000)}`, /line 2: it has more than 16384 bytes/, 1],
];
for (const [name, text, message, before] of WRONG_LINES) {
  test(`JSON lines: ${name} is refused`, async () => {
    const bytes = typeof text === "string" ? utf8(text) : text, rng = random("pieces");
    await refused(() => linesOf(bytes), "ERR_JSON_LINES", new RegExp(`^x\\.jsonl: ${message.source}`));
    // What comes before the line is read, however the bytes come.
    for (const form of [bytes, inPieces(bytes, rng)]) {
      let frames = 0;
      await assert.rejects(async () => {
        for await (const codes of codesFromJSONLines(form)) frames += codes.shape[2];
      });
      assert.equal(frames, before);
    }
  });
}
