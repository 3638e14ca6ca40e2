/** The safetensors reader: the format's rules, the attacks on them, the values; and checkpoints that do not fit. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { FormatError, MimiConfig } from "../mod.ts";
import { openCheckpoint } from "../src/core/checkpoint.ts";
import { decoderNetwork, encoderNetwork, mimi } from "../src/core/mimi.ts";
import { networkTensors } from "../src/core/network.ts";
import { bytesInMemory, type ByteSource, Safetensors } from "../src/core/safetensors.ts";
import { testJSON, testPath } from "./support/files.ts";
import { random } from "./support/random.ts";

/** A file: header (text, bytes or JSON), then data. */
function build(header: unknown, data: Uint8Array = new Uint8Array(0), claim?: bigint): Uint8Array {
  const text = header instanceof Uint8Array
    ? header
    : new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const out = new Uint8Array(8 + text.length + data.length);
  new DataView(out.buffer).setBigUint64(0, claim ?? BigInt(text.length), true);
  out.set(text, 8);
  out.set(data, 8 + text.length);
  return out;
}

const open = (bytes: Uint8Array) => Safetensors.open(bytesInMemory(bytes, "test.safetensors"));
const entry = (dtype: unknown, shape: unknown, data_offsets: unknown) => ({ dtype, shape, data_offsets });
const eight = new Uint8Array(8);

const REFUSED: [name: string, bytes: Uint8Array, message: RegExp][] = [
  ["no bytes", new Uint8Array(0), /has 0 bytes.*takes 8/],
  ["seven bytes", new Uint8Array(7), /has 7 bytes/],
  ["a header beyond the file", build("{}", eight, 99n), /claims 99 bytes, the file has 18/],
  ["a header of 100 MB and one", build("{}", eight, 100_000_001n), /claims 100000001 bytes, at most 100000000/],
  ["the largest length", build("{}", eight, 0xffffffffffffffffn), /at most 100000000/],
  ["an empty header", build(""), /does not start with \{/],
  ["leading whitespace", build(" {}"), /does not start with \{/],
  ["a list", build("[]"), /does not start with \{/],
  ["not JSON", build("{nope}"), /not JSON in UTF-8/],
  ["not UTF-8", build(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)), /not JSON in UTF-8/],
  ["null for a tensor", build({ a: null }), /"a" has unknown dtype undefined/],
  ["unknown dtype", build({ a: entry("F31", [2], [0, 8]) }, eight), /"a" has unknown dtype "F31"/],
  ["dtype from the prototype", build({ a: entry("toString", [2], [0, 8]) }, eight), /unknown dtype "toString"/],
  ["a negative size", build({ a: entry("F32", [-2], [0, 8]) }, eight), /bad shape \[-2\]/],
  ["a fraction", build({ a: entry("F32", [0.5], [0, 8]) }, eight), /bad shape \[0.5\]/],
  ["a shape that is none", build({ a: entry("F32", 2, [0, 8]) }, eight), /bad shape 2/],
  [
    "a product that overflows",
    build({ a: entry("F32", [2 ** 40, 2 ** 40], [0, 8]) }, eight),
    /"a" is F32 \[1099511627776,1099511627776\]/,
  ],
  ["a product that overflows to 0 in 64 bits", build({ a: entry("F32", [2 ** 32, 2 ** 32], [0, 0]) }), /spans 0/],
  ["offsets the wrong way", build({ a: entry("F32", [2], [8, 0]) }, eight), /bad data_offsets \[8,0\]/],
  ["one offset", build({ a: entry("F32", [2], [8]) }, eight), /bad data_offsets \[8\]/],
  ["a negative offset", build({ a: entry("F32", [2], [-8, 0]) }, eight), /bad data_offsets/],
  [
    "offsets past 2^53",
    build('{"a":{"dtype":"F32","shape":[2],"data_offsets":[9007199254740993,9007199254741001]}}', eight),
    /bad data_offsets/,
  ],
  ["shape against span", build({ a: entry("F32", [3], [0, 8]) }, eight), /F32 \[3\], 12 bytes, and spans 8/],
  [
    "a hole at the start",
    build({ a: entry("F32", [1], [4, 8]) }, eight),
    /"a" starts at byte 4 of the data, expected 0/,
  ],
  [
    "a hole inside",
    build({ a: entry("U8", [2], [0, 2]), b: entry("U8", [4], [4, 8]) }, eight),
    /"b" starts at byte 4 of the data, expected 2/,
  ],
  [
    "an overlap",
    build({ a: entry("F32", [2], [0, 8]), b: entry("F32", [1], [4, 8]) }, eight),
    /"b" starts at byte 4 of the data, expected 8/,
  ],
  ["the same bytes twice", build({ a: entry("F32", [2], [0, 8]), b: entry("F32", [2], [0, 8]) }, eight), /expected 8/],
  [
    "a name twice",
    build(
      '{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"\\u0061":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
      eight,
    ),
    /its header has "a" twice/,
  ],
  [
    "a field twice",
    build('{"a":{"dtype":"U8","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight),
    /its header has "dtype" twice/,
  ],
  ["data too short", build({ a: entry("F32", [3], [0, 12]) }, eight), /tensors end at byte \d+, the file has/],
  ["data too long", build({ a: entry("F32", [1], [0, 4]) }, eight), /tensors end at byte \d+, the file has/],
  ["data without tensors", build("{}", eight), /tensors end at byte 10, the file has 18/],
  ["metadata that is no text", build({ __metadata__: { a: 1 } }), /__metadata__ must map strings to strings/],
  ["metadata that is a list of numbers", build({ __metadata__: [1] }), /__metadata__/],
  ["metadata null", build({ __metadata__: null }), /__metadata__/],
];
for (const [name, bytes, message] of REFUSED) {
  test(`refused: ${name}`, async () => {
    await assert.rejects(open(bytes), (error) => {
      assert.ok(error instanceof FormatError, String(error));
      assert.equal(error.code, "ERR_SAFETENSORS");
      assert.match(error.message, /^test\.safetensors: not a valid safetensors file: /);
      assert.match(error.message, message);
      return true;
    });
  });
}

test("accepted: empty, empty tensors, scalars, odd names, trailing spaces, metadata", async () => {
  assert.equal((await open(build("{}"))).tensors.size, 0);
  const text = '{"__metadata__":{"format":"pt"},"z":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]},' +
    '"__proto__":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"i":{"dtype":"I64","shape":[1],"data_offsets":[4,12]}}   ';
  const file = await open(build(text, new Uint8Array(new Float32Array([1.5, 0, 0]).buffer)));
  assert.deepEqual(file.metadata, { format: "pt" });
  assert.deepEqual([...file.tensors.keys()].sort(), ["__proto__", "i", "z"]);
  assert.deepEqual(await file.read("z"), new Float32Array(0));
  assert.deepEqual(await file.read("__proto__"), Float32Array.of(1.5));
  await assert.rejects(file.read("i"), { code: "ERR_SAFETENSORS", message: /"i" has dtype I64; F32, F16 and BF16/ });
  assert.deepEqual(await file.integers("i"), BigInt64Array.of(0n));
  await assert.rejects(file.integers("z"), {
    code: "ERR_SAFETENSORS",
    message: /"z" has dtype F32, expected integers/,
  });
  await assert.rejects(file.integers("nope"), { code: "ERR_SAFETENSORS", message: /no tensor "nope"/ });
  await assert.rejects(file.read("nope"), { code: "ERR_SAFETENSORS", message: /no tensor "nope"/ });
});

test("values: F32, BF16, and every F16", async () => {
  const f32 = Float32Array.of(0, -0, 1, -1.5, 3.4e38, 1e-45, Infinity);
  // 7 bytes of another tensor in front, so that nothing lies on a boundary.
  const one = await open(
    build(
      { p: entry("U8", [7], [0, 7]), a: entry("F32", [7], [7, 35]) },
      Uint8Array.of(1, 2, 3, 4, 5, 6, 7, ...new Uint8Array(f32.buffer)),
    ),
  );
  assert.deepEqual(await one.read("a"), f32);
  assert.deepEqual(await one.read("a", 2, 3), f32.slice(2, 5));

  const high = Uint16Array.of(0x3f80, 0xc000, 0x7f80, 0x0001, 0x8000);
  const two = await open(build({ a: entry("BF16", [5], [0, 10]) }, new Uint8Array(high.buffer)));
  assert.deepEqual(await two.read("a"), Float32Array.of(1, -2, Infinity, 2 ** -133, -0));

  const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const values = await (await open(build({ a: entry("F16", [65536], [0, 131072]) }, new Uint8Array(all.buffer)))).read(
    "a",
  );
  for (let i = 0; i < 65536; i++) {
    const sign = i >> 15 ? -1 : 1, exponent = (i >> 10) & 31, fraction = (i & 1023) / 1024;
    const expected = exponent === 31
      ? (fraction ? NaN : sign * Infinity)
      : sign * (exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14);
    assert.ok(Object.is(values[i], expected), `0x${i.toString(16)}: ${values[i]}, expected ${expected}`);
  }
});

test("rows of a matrix", async () => {
  const data = Float32Array.from({ length: 12 }, (_, i) => i);
  const file = await open(build({ a: entry("F32", [4, 3], [0, 48]) }, new Uint8Array(data.buffer)));
  assert.deepEqual(await file.read("a", 1, 2), data.slice(3, 9));
  assert.deepEqual(await file.read("a", 3), data.slice(9));
});

test("a file that is shorter than it said is an error, not zeros", async () => {
  const bytes = build({ a: entry("F32", [2], [0, 8]) }, eight),
    lie: ByteSource = { ...bytesInMemory(bytes.subarray(0, bytes.length - 3)), size: bytes.length };
  const file = await Safetensors.open(lie);
  await assert.rejects(file.read("a"), { code: "ERR_SAFETENSORS", message: /8 bytes expected from byte \d+, 5 came/ });
});

test("damaged files: a typed error or a whole file, and never a read beyond the end", async () => {
  const rng = random("damage");
  const good = build({
    __metadata__: { format: "pt" },
    a: entry("F32", [2, 2], [0, 16]),
    b: entry("F16", [3], [16, 22]),
  }, new Uint8Array(22));
  let opened = 0;
  for (let round = 0; round < 3000; round++) {
    let bytes = [...good];
    for (let n = rng.integer(1, 4); n > 0; n--) {
      const at = rng.integer(0, bytes.length - 1), kind = rng.integer(0, 2);
      if (kind === 0) bytes[at] = rng.integer(0, 255);
      else if (kind === 1) bytes = bytes.slice(0, at).concat(bytes.slice(at + rng.integer(1, 8)));
      else bytes.splice(at, 0, ...Array.from({ length: rng.integer(1, 8) }, () => rng.integer(0, 255)));
      if (bytes.length === 0) bytes = [0];
    }
    const source = bytesInMemory(Uint8Array.from(bytes)), inner = source.read;
    source.read = (offset, length) => {
      assert.ok(offset + length <= bytes.length, `asked for ${length} bytes from ${offset} of ${bytes.length}`);
      return inner(offset, length);
    };
    try {
      const file = await Safetensors.open(source);
      for (const { name, dtype } of file.tensors.values()) if (/^B?F(16|32)$/.test(dtype)) await file.read(name);
      opened++;
    } catch (error) {
      assert.ok(error instanceof FormatError && error.code === "ERR_SAFETENSORS", `round ${round}: ${error}`);
    }
  }
  assert.ok(opened > 0 && opened < 3000, `${opened} of 3000 opened`);
});

const config = MimiConfig.fromJSON(await testJSON("models/tiny-hf/config.json"));
const networks = [encoderNetwork(config), decoderNetwork(config)];
const whole = new Uint8Array(await readFile(testPath("models/tiny-hf/model.safetensors")));

/** The tiny model with another table of contents; data of changed tensors is zeros. */
async function changed(
  change: (tensors: Map<string, { dtype: string; shape: number[] }>) => void,
): Promise<Safetensors> {
  const table = new Map([...(await open(whole)).tensors].map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
  change(table);
  const header: Record<string, unknown> = {};
  let at = 0;
  for (const [name, { dtype, shape }] of table) {
    const size = shape.reduce((a, b) => a * b, 1) * (dtype === "F32" || dtype === "I32" ? 4 : 2);
    header[name] = entry(dtype, shape, [at, at += size]);
  }
  return await open(build(header, new Uint8Array(at)));
}

test("a checkpoint that does not fit: everything in one error", async () => {
  const file = await changed((t) => {
    t.delete("decoder.layers.14.conv.bias");
    t.delete("encoder_transformer.layers.1.mlp.fc2.weight");
    t.set("encoder.layers.0.conv.weight", { dtype: "F32", shape: [4, 7, 1] });
    t.set("upsample.conv.weight", { dtype: "I32", shape: [32, 1, 4] });
    t.set("extra.weight", { dtype: "F32", shape: [2] });
  });
  assert.throws(() => openCheckpoint(file, mimi, config, networks), (error) => {
    assert.ok(error instanceof FormatError);
    assert.equal(error.code, "ERR_CHECKPOINT");
    assert.deepEqual(error.message.split("\n").map((l) => l.trim()), [
      "test.safetensors: the weights (transformers layout) do not fit the configuration:",
      "missing: encoder_transformer.layers.1.mlp.fc2.weight [32,64]",
      "missing: decoder.layers.14.conv.bias [1]",
      "unknown: extra.weight",
      "unreadable: upsample.conv.weight is I32, expected F32, F16, BF16",
      "misshapen: encoder.layers.0.conv.weight is [4,7,1], expected [4,1,7]",
    ]);
    return true;
  });
  // Half a model asks for its half alone.
  const decoderOnly = await changed((t) =>
    [...t.keys()].filter((n) => /^(encoder|downsample)/.test(n)).forEach((n) => t.delete(n))
  );
  openCheckpoint(decoderOnly, mimi, config, [decoderNetwork(config)]);
  assert.throws(() => openCheckpoint(decoderOnly, mimi, config, [encoderNetwork(config)]), {
    code: "ERR_CHECKPOINT",
    message: /missing: encoder\.layers\.0/,
  });
});

test("weights that are no numbers", async () => {
  for (const [name, value] of [["encoder.layers.0.conv.weight", NaN], ["downsample.conv.weight", -Infinity]] as const) {
    const bytes = new Uint8Array(await readFile(testPath("models/tiny-hf/model.safetensors")));
    const { offset } = (await open(bytes)).tensors.get(name)!;
    new DataView(bytes.buffer).setFloat32(offset + 8, value, true);
    const spec = networks.flatMap(networkTensors).find((t) => t.name === name)!;
    await assert.rejects(openCheckpoint(await open(bytes), mimi, config, networks).read(spec), {
      code: "ERR_CHECKPOINT",
      message: `test.safetensors: ${name} holds ${value}, expected finite numbers.`,
    });
  }
});

test("weights of something else, and half a file", async () => {
  const other = await open(build({ "model.embed.weight": entry("F32", [1], [0, 4]) }, new Uint8Array(4)));
  assert.throws(() => openCheckpoint(other, mimi, config, networks), {
    code: "ERR_CHECKPOINT",
    message: /not a checkpoint of mimi.*model\.embed\.weight/,
  });
  await assert.rejects(open(whole.subarray(0, whole.length >> 1)), {
    code: "ERR_SAFETENSORS",
    message: /the file has/,
  });
});
