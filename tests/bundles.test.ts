/** Bundles: packed, served, loaded in parts, and manifests that mean no good. */
import assert from "node:assert/strict";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FormatError, listCache, LoadError, MimiModel, NotSupportedError, type Progress } from "../mod.ts";
import { difference, readMono } from "../src/cli/agreement.ts";
import { NARROW, storages } from "../src/cli/storage.ts";
import { MimiConfig } from "../src/core/config.ts";
import { decoderNetwork, encoderNetwork } from "../src/core/mimi.ts";
import { type Network, networkTensors } from "../src/core/network.ts";
import type { QuantizedTensor } from "../src/core/quantized.ts";
import { bytesInMemory, Safetensors } from "../src/core/safetensors.ts";
import { type BundleManifest, parseManifest, SHARD_LIMIT, type Storage } from "../src/hub/bundle.ts";
import { PATIENCE } from "../src/hub/http.ts";
import { openWeights } from "../src/parts.ts";
import { fails, mimi, SAMPLE, succeeds } from "./support/cli.ts";
import { testPath } from "./support/files.ts";
import { HubServer } from "./support/hub-server.ts";
import { random } from "./support/random.ts";

PATIENCE.delays = [0];
const hub = await HubServer.start(), root = await mkdtemp(join(tmpdir(), "mimi-bundles-"));
after(async () => {
  hub.close();
  await rm(root, { recursive: true, force: true });
});
const TINY = testPath("models/tiny-hf"), KYUTAI = testPath("models/tiny-kyutai/tokenizer-tiny.safetensors");
const speech = await readMono(SAMPLE, 24000);
const tone = Float32Array.from({ length: 6000 }, (_, i) => ((i % 90) - 45) / 150);

/** Packs and says what `--json` says. */
async function pack(model: string, name: string, ...options: string[]): Promise<{
  out: string;
  manifest: BundleManifest;
  agreement: { codes: number | null; audio: { maxError: number; snr: number | null } | null };
  bytes: number;
}> {
  return JSON.parse(await packed(model, join(root, name), ...options));
}

async function packed(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await mimi("pack", ...args, "--json");
  assert.deepEqual([code, stderr.replace(/^mimi: .* says nothing of its licence.*\n$/, "")], [0, ""]);
  return stdout;
}

/** Serves a bundle's files from memory, some of them replaced; returns its address. */
let count = 0;
async function serve(folder: string, replaced: Record<string, Uint8Array | string> = {}): Promise<string> {
  const at = `/bundle-${++count}`;
  for (const name of await readdir(folder)) hub.file(`${at}/${name}`, await readFile(join(folder, name)));
  for (const [name, content] of Object.entries(replaced)) {
    hub.file(`${at}/${name}`, typeof content === "string" ? new TextEncoder().encode(content) : content);
  }
  return `${hub.url}${at}`;
}
const sentOf = (address: string, pattern: RegExp) =>
  [...hub.sent].filter(([path]) => (hub.url + path).startsWith(`${address}/`) && pattern.test(path))
    .reduce((n, [, bytes]) => n + bytes, 0);

test("a bundle in f32: the same codes and samples, from a folder and from a host, by default what is in it", async () => {
  const { manifest, agreement, out } = await pack(TINY, "f32", "--codebooks", "2");
  assert.deepEqual(agreement, { codes: 1, audio: { maxError: 0, snr: null } });
  assert.equal(manifest.licence, null);
  assert.match(manifest.modified, /Modified by mimi-audio .*first 2 codebooks of 4/);
  const whole = await MimiModel.fromPretrained(TINY, { numQuantizers: 2 }), address = await serve(out);
  for (const source of [out, address]) {
    const model = await MimiModel.fromPretrained(source, { cache: join(root, "cache") });
    assert.deepEqual([model.numQuantizers, model.fingerprint], [2, whole.fingerprint]);
    const { audioCodes } = await model.encode(tone);
    assert.deepEqual(audioCodes, (await whole.encode(tone)).audioCodes);
    assert.deepEqual(await model.decode(audioCodes), await whole.decode(audioCodes));
    await assert.rejects(MimiModel.fromPretrained(source, { numQuantizers: 3, cache: false }), {
      code: "ERR_NUM_QUANTIZERS",
    });
  }
  const before = sentOf(address, /\.bin$/);
  await MimiModel.fromPretrained(address, { cache: join(root, "cache") });
  assert.equal(sentOf(address, /\.bin$/), before, "shards are kept");
  assert.ok(
    (await listCache({ cache: join(root, "cache") })).some(({ file, checked }) =>
      file.endsWith(".bin") && checked === "sha256"
    ),
  );
});

test("one half, in fewer bits; Kyutai's layout", async () => {
  const folder = await mkdtemp(join(root, "kyutai-")), file = join(folder, "tokenizer.safetensors");
  await cp(KYUTAI, file);
  await cp(join(TINY, "config.json"), join(folder, "config.json"));
  const { manifest, agreement, bytes, out } = await pack(file, "kyutai", "--part", "decoder", "--precision", "bf16");
  assert.match(manifest.modified, /named and ordered as transformers does/);
  assert.deepEqual([manifest.part, manifest.precision, agreement.codes], ["decoder", "bf16", null]);
  assert.ok(agreement.audio!.snr! > 30, `${agreement.audio!.snr} dB`);
  const f32 = await pack(TINY, "decoder", "--part", "decoder"),
    f16 = await pack(TINY, "f16", "--part", "decoder", "--precision", "f16");
  for (const { length } of [{ length: bytes }, { length: f16.bytes }]) {
    assert.ok(length < 0.55 * f32.bytes, `${length} of ${f32.bytes}`);
  }
  assert.ok(f16.agreement.audio!.snr! > agreement.audio!.snr!);
  const model = await MimiModel.fromPretrained(out);
  assert.equal(model.memory.encoder, undefined);
  assert.equal(model.fingerprint, (await MimiModel.fromPretrained(TINY)).fingerprint, "the codes mean the same");
  for (const part of ["encoder", "both"] as const) {
    await assert.rejects(MimiModel.fromPretrained(out, { part }), {
      code: "ERR_INVALID_ARGUMENT",
      message: /has the decoder only/,
    });
  }
});

for (const precision of ["int12", "int8"] as const) {
  test(`a bundle in ${precision}: loaded as that, nearly the audio of f32; or widened`, async () => {
    const { manifest, agreement, bytes, out } = await pack("mini", precision, "--precision", precision);
    const { codes, audio } = agreement, kinds = new Set(Object.values(manifest.quantized).map(({ as }) => as));
    assert.deepEqual(kinds, new Set(precision === "int12" ? ["int12"] : ["int12", "int8"]));
    assert.match(manifest.modified, new RegExp(`matrices in ${precision}.* codebooks in bf16`));
    assert.ok(codes! > 0.4 && codes! < 1 && audio!.snr! > 30 && audio!.snr! < Infinity, JSON.stringify(agreement));
    const f16 = await pack("mini", `${precision}-f16`, "--precision", "f16");
    assert.ok(bytes < f16.bytes, `${bytes} bytes, f16 ${f16.bytes}`);
    using packed = await MimiModel.fromPretrained(out);
    using same = await MimiModel.fromPretrained("mini", { precision });
    using wide = await MimiModel.fromPretrained(out, { precision: "f32" });
    using elsewhere = await MimiModel.fromPretrained(out, { worker: true });
    assert.deepEqual([packed.precision, wide.precision, elsewhere.precision], [precision, "f32", precision]);
    assert.equal(packed.memory.total, same.memory.total);
    assert.ok(wide.memory.decoder!.weights > packed.memory.decoder!.weights);
    assert.equal(packed.fingerprint, same.fingerprint);
    const pcm = speech.subarray(0, 48000), { audioCodes } = await same.encode(pcm, { numQuantizers: 8 });
    const samples = async (model: typeof packed) => (await model.decode(audioCodes)).audioValues.data;
    const reference = await samples(same);
    for (const [model, least] of [[packed, 40], [wide, 30]] as const) {
      const { snr } = difference(reference, await samples(model));
      assert.ok(snr! > least, `${snr} dB`);
    }
    assert.deepEqual(await samples(elsewhere as typeof packed), await samples(packed));
  });
}

test("sizes of the full-size decoder with 8 codebooks: at most 47, 20 and 17 % of the whole in f32", () => {
  const config = new MimiConfig(),
    size = (precision: Storage, networks: Network[]) => {
      const specs = new Map(networks.flatMap(networkTensors).map((spec) => [spec.name, spec]));
      const stored = storages(precision, networks);
      return [...specs.values()].flatMap((spec) => stored(spec).tensors).reduce((n, { size }) => n + size, 0);
    };
  const whole = size("f32", [encoderNetwork(config), decoderNetwork(config)]), decoder = [decoderNetwork(config, 8)];
  for (const [precision, most] of [["f32", 0.47], ["int12", 0.2], ["int8", 0.17]] as const) {
    const share = size(precision, decoder) / whole;
    console.log(`# ${precision}: ${(100 * share).toFixed(1)} %`);
    assert.ok(share <= most, `${precision}: ${share}`);
  }
});

test("integers that are missing, or do not fit, are refused with a typed error", async () => {
  const { manifest, out } = await pack(
    "mini",
    "broken",
    "--precision",
    "int8",
    "--part",
    "decoder",
    "--codebooks",
    "2",
  );
  const [name, tensor] = Object.entries(manifest.quantized).find(([, { as }]) => as === "int8")!;
  const wrong: [Record<string, QuantizedTensor>, RegExp][] = [
    [{ [name]: { as: "int12", shape: tensor.shape } }, /must be U8 \[\d+\], got I8/],
    [{ [name]: { as: "int8", shape: [...tensor.shape].reverse() } }, /must be I8 .* got I8/],
    [{ nothing: tensor }, /"nothing" is missing/],
    [{ "decoder.layers.0.conv.bias": { as: "int8", shape: [1] } }, /_scale" is missing/],
  ];
  for (const [quantized, message] of wrong) {
    const changed = { ...manifest, quantized: { ...manifest.quantized, ...quantized } };
    const address = await serve(out, { "bundle.json": JSON.stringify(changed) });
    await assert.rejects(MimiModel.fromPretrained(address, { cache: false }), { code: "ERR_SAFETENSORS", message });
  }
  const unlisted = { ...manifest, quantized: {} },
    address = await serve(out, { "bundle.json": JSON.stringify(unlisted) });
  await assert.rejects(MimiModel.fromPretrained(address, { cache: false }), { code: "ERR_CHECKPOINT" });
});

test("licence and changes are carried along; the shards together are a safetensors file", async () => {
  const { manifest, out } = await pack(
    "mini",
    "mini",
    "--codebooks",
    "2",
    "--part",
    "encoder",
    "--audio",
    SAMPLE,
    "--precision",
    "f16",
  );
  const attribution = "mimi-audio's embedded model";
  assert.deepEqual(manifest.licence, { name: "cc-by-sa-3.0", attribution, files: ["SOURCE-README.md"] });
  assert.match(await readFile(join(out, "README.md"), "utf8"), /cc-by-sa-3\.0[\s\S]*Modified by mimi-audio/);
  assert.match(await readFile(join(out, "SOURCE-README.md"), "utf8"), /The embedded model/);
  const bytes = await Promise.all(manifest.shards.map(({ file }) => readFile(join(out, file))));
  const file = await Safetensors.open(bytesInMemory(new Uint8Array(Buffer.concat(bytes))));
  assert.match(file.metadata.modified, /encoder only/);
  assert.ok([...file.tensors.keys()].every((name) => !name.startsWith("decoder")));
  // A bundle of a bundle says what it came with.
  const again = await pack(out, "again", "--codebooks", "1");
  assert.equal(again.manifest.source.fingerprint, manifest.source.fingerprint);
  assert.deepEqual(again.manifest.licence, manifest.licence);
  assert.match(await readFile(join(again.out, "SOURCE-README.md"), "utf8"), /The embedded model/);
  assert.match(again.manifest.modified, /encoder only; the first 2 codebooks.*Modified.*the first 1 codebooks/);
  await fails(1, /is there already, and not empty/, "pack", "mini", out);
  await fails(2, /--precision must be one of f32/, "pack", "mini", join(root, "x"), "--precision", "f8");
  await fails(2, /--part must be/, "pack", "mini", join(root, "x"), "--part", "half");
  assert.ok(
    (await readdir(root)).every((name) => !name.endsWith(".tmp")),
    "nothing unfinished stays",
  );
});

test("nothing of an address or path that is the packer's own business gets into a bundle", async () => {
  for (const name of ["config.json", "model.safetensors"]) {
    hub.file(`/signed/${name}`, await readFile(join(TINY, name)));
  }
  const small = ["--codebooks", "2", "--part", "decoder"], own = join(root, "my model");
  await cp(TINY, own, { recursive: true });
  await writeFile(join(own, "README.md"), "---\nlicense: mit\n---\n");
  const sources: [source: string, model: string, said: RegExp][] = [
    [`${hub.url}/signed?token=SECRET`, `${hub.url}/signed`, /says nothing of its licence/],
    [own, "my model", /names "my model" as whose weights they are; --attribution/],
  ];
  for (const [source, model, said] of sources) {
    const out = join(root, `public-${count++}`), { code, stderr } = await mimi("pack", source, out, ...small);
    assert.equal(code, 0, stderr);
    assert.match(stderr, said);
    const manifest = JSON.parse(await readFile(join(out, "bundle.json"), "utf8")) as BundleManifest;
    assert.equal(manifest.source.model, model);
    for (const file of await readdir(out)) {
      const text = await readFile(join(out, file), "latin1");
      assert.ok(!text.includes("SECRET") && !text.includes(root), file);
    }
  }
  const named = await pack(own, "named", ...small, "--attribution", "Ada, of Example Ltd.");
  assert.equal(named.manifest.licence!.attribution, "Ada, of Example Ltd.");
});

test("what comes into the folder while it is packed stays; what fails leaves nothing", async () => {
  const parent = join(root, "busy"), out = join(parent, "out"), mine = join(out, "mine.txt");
  await mkdir(out, { recursive: true });
  const packing = mimi("pack", "mini", out, "--codebooks", "2");
  while (!(await readdir(parent)).some((name) => name.endsWith(".pack.tmp"))) {
    await new Promise((r) => setTimeout(r, 5));
  }
  await writeFile(mine, "mine");
  const { code, stderr } = await packing;
  assert.equal(code, 1);
  assert.match(stderr, /out: cannot be written \(/);
  assert.deepEqual([await readdir(parent), await readFile(mine, "utf8")], [["out"], "mine"]);

  await fails(1, /nowhere\.wav/, "pack", "mini", join(root, "unmeasured"), "--audio", "nowhere.wav");
  await fails(2, /--audio is for/, "pack", "mini", join(root, "unmeasured"), "--part", "decoder", "--audio", SAMPLE);
  assert.ok(!(await readdir(root)).includes("unmeasured"));
});

test("a part of a bundle of several shards: only the shards that it needs", async () => {
  // The limit for shards is far above any test's model, so the shards of one are cut anew.
  const { manifest, out } = await pack(TINY, "sharded"), folder = join(root, "cut");
  await cp(out, folder, { recursive: true });
  const bytes = await readFile(join(out, manifest.shards[0].file)), shards: BundleManifest["shards"] = [];
  for (let at = 0; at < bytes.length; at += 100_003) {
    const part = bytes.subarray(at, at + 100_003), file = `part-${shards.length}.bin`;
    await writeFile(join(folder, file), part);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", part));
    shards.push({ file, size: part.length, sha256: Buffer.from(digest).toString("hex") });
  }
  assert.ok(shards.length > 5, `${shards.length} shards`);
  await writeFile(join(folder, "bundle.json"), JSON.stringify({ ...manifest, shards }));
  const address = await serve(folder), seen: Progress[] = [], cache = join(root, "sharded-cache");
  const load = (part: "decoder" | "both") =>
    MimiModel.fromPretrained(address, { part, cache, onProgress: (p) => seen.push({ ...p }) });
  const decoder = await load("decoder"), first = sentOf(address, /part-/);
  assert.ok(first < 0.9 * bytes.length, `${first} of ${bytes.length} bytes`);
  assert.equal(seen.at(-1)!.loaded, seen.at(-1)!.total);
  const whole = await load("both");
  assert.equal(sentOf(address, /part-/), bytes.length, "each byte once");
  const { audioCodes } = await whole.encode(tone), reference = await MimiModel.fromPretrained(TINY);
  assert.deepEqual(audioCodes, (await reference.encode(tone)).audioCodes);
  assert.deepEqual(await decoder.decode(audioCodes), await reference.decode(audioCodes));
  // A shard that is not what the manifest says, on a host and in a folder.
  const bad = bytes.subarray(0, 100_003).map((byte, i) => i === 99_999 ? byte ^ 1 : byte);
  await writeFile(join(folder, "part-0.bin"), bad);
  for (const source of [folder, await serve(folder)]) {
    await assert.rejects(MimiModel.fromPretrained(source, { cache: join(root, "bad") }), {
      name: "LoadError",
      code: "ERR_INTEGRITY",
    });
  }
  assert.ok(
    (await listCache({ cache: join(root, "bad") })).every(({ file }) => !file.startsWith("part-")),
    "nothing bad is kept",
  );
});

/** Manifests that lie, and what is said of them. None may lead to a byte being asked for or written. */
const good = { file: "weights.bin", size: 1000, sha256: "0".repeat(64) };
const HOSTILE: [name: string, change: (manifest: Record<string, unknown>) => void, message: RegExp][] = [
  ...[
    "../weights.bin",
    "..",
    "/etc/passwd",
    "a/b.bin",
    "C:\\weights.bin",
    "https://evil.example/w.bin",
    "//evil.example/w",
    ".hidden",
    "",
    "a..b",
    "%2e%2e%2fw",
  ]
    .map((
      file,
    ): (typeof HOSTILE)[number] => [
      `a shard named ${JSON.stringify(file)}`,
      (m) => m.shards = [{ ...good, file }],
      /must be the name of a file beside it/,
    ]),
  [
    "a shard of 2 GiB",
    (m) => m.shards = [{ ...good, size: 2 ** 31 }],
    /shards\[0\]\.size must be an integer from 1 to/,
  ],
  ["a shard of 24 MiB", (m) => m.shards = [{ ...good, size: SHARD_LIMIT }], /size must be/],
  ["a shard of -1 bytes", (m) => m.shards = [{ ...good, size: -1 }], /size must be/],
  ["a shard of half a byte", (m) => m.shards = [{ ...good, size: 0.5 }], /size must be/],
  [
    "more than 2 GiB in all",
    (m) => m.shards = Array.from({ length: 200 }, (_, i) => ({ ...good, file: `${i}.bin`, size: 2 ** 24 })),
    /at most 2147483648/,
  ],
  ["4097 shards", (m) => m.shards = Array(4097).fill(good), /list of 1 to 4096 files/],
  ["no shards", (m) => m.shards = [], /list of 1 to 4096 files/],
  ["shards that are none", (m) => m.shards = [null], /must be the name/],
  ["a file twice", (m) => m.shards = [good, good], /named twice/],
  [
    "a hash in capitals",
    (m) => m.shards = [{ ...good, sha256: "A".repeat(64) }],
    /sha256 must be 64 hexadecimal digits/,
  ],
  ["no hash", (m) => m.shards = [{ ...good, sha256: undefined }], /sha256 must be/],
  ["another format", (m) => m.format = "zip", /format must be "mimi-bundle"/],
  ["another part", (m) => m.part = "half", /part must be/],
  ["no codebooks", (m) => m.numQuantizers = 0, /numQuantizers must be/],
  ["an unknown precision", (m) => m.precision = "int3", /precision must be one of/],
  [
    "unknown integers",
    (m) => m.quantized = { a: { as: "int3", shape: [1] } },
    /quantized\["a"\].as must be one of int8, int12/,
  ],
  ["integers of a prototype", (m) => m.quantized = { a: { as: "toString", shape: [1] } }, /as must be one of/],
  [
    "integers without a shape",
    (m) => m.quantized = { a: { as: "int8" } },
    /shape must be up to 8 sizes, got undefined/,
  ],
  ["integers of no size", (m) => m.quantized = { a: { as: "int8", shape: [2, 0] } }, /shape must be/],
  ["integers without end", (m) => m.quantized = { a: { as: "int12", shape: Array(8).fill(65536) } }, /shape must be/],
  ["a list of integers", (m) => m.quantized = [null], /quantized\["0"\].as must be/],
  ["a licence of nobody", (m) => m.licence = { name: "MIT" }, /licence must be null or have a name and an attribution/],
  ["no fingerprint", (m) => m.source = { model: "x" }, /fingerprint must be a text/],
];
for (const [name, change, message] of HOSTILE) {
  test(`refused before a byte is asked for: ${name}`, async () => {
    const { manifest, out } = await tinyBundle(), wrong = { ...manifest } as Record<string, unknown>;
    change(wrong);
    assert.throws(
      () => parseManifest(wrong),
      (error) => error instanceof FormatError && error.code === "ERR_BUNDLE" && message.test(error.message),
    );
    const address = await serve(out, { "bundle.json": JSON.stringify(wrong) }), cache = join(root, `hostile-${count}`);
    const before = hub.requests.length;
    await assert.rejects(MimiModel.fromPretrained(address, { cache }), {
      name: "FormatError",
      code: "ERR_BUNDLE",
      message,
    });
    const asked = new Set(hub.requests.slice(before).map(({ path }) => path.split("/").at(-1)));
    assert.deepEqual([...asked], ["config.json", "bundle.json"]);
    assert.deepEqual((await listCache({ cache })).map(({ file }) => file), ["config.json"]);
  });
}
let tiny: ReturnType<typeof pack> | undefined;
const tinyBundle = () => tiny ??= pack(TINY, "tiny");

test("refused: a newer version, a manifest elsewhere", async () => {
  const { manifest, out } = await tinyBundle();
  assert.throws(() => parseManifest({ ...manifest, version: 2 }), NotSupportedError);
  for (const json of [null, 3, [], "x"]) assert.throws(() => parseManifest(json), FormatError);
  const config = JSON.parse(await readFile(join(out, "config.json"), "utf8"));
  for (const name of ["../bundle.json", "https://evil.example/bundle.json", 7, {}]) {
    const address = await serve(out, { "config.json": JSON.stringify({ ...config, mimi_bundle: name }) });
    await assert.rejects(MimiModel.fromPretrained(address, { cache: false }), { code: "ERR_BUNDLE" });
  }
  const address = await serve(out, { "config.json": JSON.stringify({ ...config, mimi_bundle: "none.json" }) });
  await assert.rejects(
    MimiModel.fromPretrained(address, { cache: false }),
    (e) => e instanceof LoadError && e.code === "ERR_NOT_FOUND",
  );
});

test("manifests with arbitrary changes are refused with typed errors or mean what they say", async () => {
  const rng = random("manifests"), { manifest } = await tinyBundle(), text = JSON.stringify(manifest);
  for (let i = 0; i < 3000; i++) {
    const at = rng.integer(0, text.length - 1),
      changed = text.slice(0, at) + rng.pick([...'0{}[]"-.,e/\\\u0000x']) + text.slice(at + rng.integer(0, 3));
    let json: unknown;
    try {
      json = JSON.parse(changed);
    } catch {
      continue;
    }
    try {
      const { shards } = parseManifest(json);
      for (const { file, size } of shards) {
        assert.ok(/^[\w][\w.-]*$/.test(file) && !file.includes("..") && size > 0 && size < SHARD_LIMIT);
      }
    } catch (error) {
      assert.ok(error instanceof FormatError || error instanceof NotSupportedError, `${error} for ${changed}`);
    }
  }
});

test("values in 16 bits are the nearest ones", async () => {
  const rng = random("narrow"),
    edge = [0, -0, 1, -1, 65504, 65519, 6.1e-5, 5.96e-8, 2.98e-8, 2.99e-8, 1e-10, 0.333333, 2049, 2051];
  const values = Float32Array.from([...edge, ...rng.floats(2000), ...rng.floats(500, 1e-4), ...rng.floats(500, 6e4)]);
  for (const kind of ["f16", "bf16"] as const) {
    const { dtype, of } = NARROW[kind], data = of(values);
    const header = new TextEncoder().encode(
      JSON.stringify({ x: { dtype, shape: [values.length], data_offsets: [0, data.length] } }),
    );
    const file = new Uint8Array(8 + header.length + data.length);
    new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
    file.set(header, 8);
    file.set(data, 8 + header.length);
    const read = await (await Safetensors.open(bytesInMemory(file))).read("x"), bits = new Uint16Array(data.buffer);
    const value = async (pattern: Uint16Array) => {
      const copy = file.slice();
      copy.set(new Uint8Array(pattern.buffer), 8 + header.length);
      return await (await Safetensors.open(bytesInMemory(copy))).read("x");
    };
    const below = await value(bits.map((b) => (b & 0x7fff) === 0 ? b | 1 : b - 1)),
      above = await value(bits.map((b) => b + 1));
    for (let i = 0; i < values.length; i++) {
      const error = Math.abs(read[i] - values[i]);
      for (const other of [below[i], above[i]]) {
        if (!Number.isFinite(other)) continue;
        assert.ok(error <= Math.abs(other - values[i]), `${kind} of ${values[i]} is ${read[i]}, ${other} is nearer`);
      }
    }
  }
});

test("the cache on the command line", async () => {
  const cache = join(root, "cli-cache"), before = process.env.MIMI_CACHE;
  process.env.MIMI_CACHE = cache;
  try {
    assert.match(await succeeds("cache", "list"), /: nothing\n$/);
    const address = await serve((await tinyBundle()).out);
    await MimiModel.fromPretrained(address);
    const list = await succeeds("cache", "list");
    assert.match(list, /bundle-\d+ +bundle\.json +0\.001 MB +SHA-256 as first downloaded\n/);
    assert.match(list, /weights-00001-of-00001\.bin +[\d.]+ MB +SHA-256 as published\n/);
    const { files } = JSON.parse(await succeeds("cache", "list", "--json"));
    assert.equal(files.length, 3);
    assert.match(await succeeds("cache", "clear", "kyutai/mimi"), / 0\.000 MB freed/);
    assert.match(await succeeds("cache", "clear", address), / [1-9\d.]+ MB freed/);
    assert.match(await succeeds("cache", "list"), /: nothing\n$/);
    await fails(2, /cache takes list, or clear/, "cache", "empty");
  } finally {
    if (before === undefined) delete process.env.MIMI_CACHE;
    else process.env.MIMI_CACHE = before;
  }
});

test("verify MODEL AUDIO", async () => {
  const text = await succeeds("verify", "mini", SAMPLE);
  assert.match(text, /one frame a step +100 % of codes equal; the same samples/);
  assert.match(text, /sum of codes +\d+ with 8 codebooks\n +\d+ with 32 codebooks/);
  assert.match(text, /verdict +right\n$/);
  const { sums, rows, absent, right } = JSON.parse(await succeeds("verify", "mini", SAMPLE, "--json")),
    model = await MimiModel.fromPretrained("mini");
  const { audioCodes } = await model.encode((await openSample()).pcm);
  assert.equal(sums[1].sum, audioCodes.data.reduce((a, b) => a + b, 0));
  assert.deepEqual([rows[0].codes, rows[0].maxError, right], [1, 0, true]);
  const about = (engine: string) => rows.filter(({ way }: { way: string }) => way.startsWith(engine));
  for (const precision of ["int12", "int8"]) {
    const ways = about(`wasm, ${precision}`);
    assert.equal(ways.length, 2);
    for (const { right, snr, codes } of ways) assert.ok(right === null && snr > 40 && codes > 0.4 && codes < 1);
    assert.deepEqual({ ...ways[1], way: ways[0].way }, ways[0], "both ways are the same");
  }
  for (const engine of ["native", "onnx-wasm"]) {
    for (const { right, snr } of about(`${engine}, f32`)) assert.ok(right && snr > 100);
    assert.equal(
      about(`${engine}, f32`).length + absent.filter(({ name }: { name: string }) => name === engine).length * 2,
      2,
    );
  }
  // Another model than Kyutai's cannot have its sums.
  const wrong = await mimi("verify", "mini", SAMPLE, "--published", "librispeech");
  assert.equal(wrong.code, 1);
  assert.match(wrong.stdout, /published +426176 with 8 codebooks: -?[\d.]+ % off, too far[\s\S]*not what it should be/);
  const few = (await pack("mini", "few", "--codebooks", "4")).out;
  const missing = /sums are published of 8 and 32 codebooks, it has 4/;
  await fails(1, missing, "verify", few, SAMPLE, "--published", "obama");
  await fails(2, /--published must be one of librispeech, obama/, "verify", "mini", SAMPLE, "--published", "x");
  await fails(1, /cannot be read/, "verify", "mini", "nowhere.wav");
});

async function openSample(): Promise<{ pcm: Float32Array }> {
  const { readMono } = await import("../src/cli/agreement.ts");
  return { pcm: await readMono(SAMPLE, 24000) };
}

test("the embedded model is what it is pinned to be", async () => {
  const { mini } = await import("../models/mini/mod.ts");
  const files = { kind: "files", config: mini.config!.href, weights: mini.weights.href } as const;
  await (await openWeights("test", { ...files, sha256: mini.sha256 }, {})).close();
  await assert.rejects(openWeights("test", { ...files, sha256: "0".repeat(64) }, {}), { code: "ERR_INTEGRITY" });
});

test("a folder of addresses: a bundle that a user dropped, and what is missing or no address", async () => {
  const { out, manifest } = await pack(TINY, "dropped", "--precision", "int8"), folder: Record<string, URL> = {};
  for (const name of await readdir(out)) {
    folder[name] = new URL(URL.createObjectURL(new Blob([new Uint8Array(await readFile(join(out, name)))])));
  }
  using there = await MimiModel.fromPretrained(out), dropped = await MimiModel.fromPretrained({ folder });
  assert.deepEqual([dropped.fingerprint, dropped.precision], [there.fingerprint, "int8"]);
  assert.deepEqual(await dropped.encode(tone), await there.encode(tone));
  const load = (folder: Record<string, unknown>) =>
    MimiModel.fromPretrained({ folder } as { folder: Record<string, URL> });
  const [{ file }] = manifest.shards;
  const without = Object.fromEntries(Object.entries(folder).filter(([name]) => name !== file));
  await assert.rejects(load(without), { code: "ERR_NOT_FOUND", message: new RegExp(`folder has no ${file}`) });
  await assert.rejects(load({}), { code: "ERR_NOT_FOUND", message: /folder has no config\.json/ });
  await assert.rejects(load({ toString: folder[file] }), { message: /folder has no config\.json/ });
  await assert.rejects(load({ "config.json": "x" }), {
    message: /source\.folder\["config\.json"\] must be a URL, got "x"/,
  });
  await assert.rejects(load({ ...folder, [file]: folder["config.json"] }), {
    code: "ERR_INTEGRITY",
    message: /has \d+ bytes/,
  });
  const plain = { "config.json": "config.json", "model.safetensors": "model.safetensors" };
  for (const name of Object.keys(plain)) {
    const bytes = new Uint8Array(await readFile(join(TINY, name)));
    Object.assign(plain, { [name]: new URL(URL.createObjectURL(new Blob([bytes]))) });
  }
  using tiny = await MimiModel.fromPretrained(TINY), also = await load(plain);
  assert.deepEqual(await also.encode(tone), await tiny.encode(tone));
});
