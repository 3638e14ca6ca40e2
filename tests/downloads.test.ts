/** What arrives of weights, from servers that behave and from servers that do not; the server counts bytes. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { clearCache, listCache, LoadError, type MimiErrorCode, MimiModel, type Progress } from "../mod.ts";
import { networkTensors } from "../src/core/network.ts";
import type { ByteSource } from "../src/core/safetensors.ts";
import { folderShelf } from "../src/hub/folder-shelf.ts";
import { PATIENCE } from "../src/hub/http.ts";
import { Meter } from "../src/hub/progress.ts";
import { openRemote } from "../src/hub/remote.ts";
import { memoryShelf, type Shelf } from "../src/hub/shelf.ts";
import { openWeights, type PartsOptions } from "../src/parts.ts";
import type { ResolvedSource } from "../src/resolve.ts";
import { ROOT, RUNTIME } from "./support/cli.ts";
import { testJSON } from "./support/files.ts";
import { type Content, HubServer, type Twist } from "./support/hub-server.ts";

PATIENCE.delays = [0, 0, 0];

const MINI = fileURLToPath(new URL("../models/mini/", import.meta.url));
const config = await readFile(join(MINI, "config.json")), weights = await readFile(join(MINI, "model.safetensors"));
const EMBEDDED: ResolvedSource = { kind: "location", href: pathToFileURL(MINI).href };

/** Loads weights, and reads some of them: the fingerprint is a hash of codebook 0. */
async function fingerprintAt(source: ResolvedSource, options: PartsOptions): Promise<string> {
  const { fingerprint, close } = await openWeights("test", source, options);
  await close();
  return fingerprint;
}
const expected = await fingerprintAt(EMBEDDED, {});
const hub = await HubServer.start(), folders: string[] = [];
after(async () => {
  hub.close();
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function temporary(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "mimi-downloads-"));
  folders.push(folder);
  return folder;
}

let count = 0;
/** A repository with the embedded model, and a cache of its own. */
async function repository(options: Parameters<HubServer["repository"]>[2] & { content?: Content } = {}): Promise<{
  name: string;
  cache: string;
  weights: string;
  listing: string;
  load(more?: PartsOptions): Promise<string>;
  sent(): number;
}> {
  const name = `kyutai/model-${++count}`, cache = await temporary();
  const paths = hub.repository(
    name,
    { "config.json": config, "model.safetensors": options.content ?? weights },
    options,
  );
  const load = (more: PartsOptions = {}) =>
    fingerprintAt({ kind: "repository", repository: name }, { endpoint: hub.url, cache, ...more });
  return { name, cache, ...paths, load, sent: () => hub.sent.get(paths.weights) ?? 0 };
}

async function kept(cache: string): Promise<string[]> {
  return (await listCache({ cache })).map(({ file, bytes, size, checked }) =>
    `${file} ${bytes === size ? checked : bytes}`
  );
}

const KiB = 1024, MiB = 1024 * KiB;
const WHOLE = ["config.json lock", "model.safetensors sha256"];

test("a repository is asked for once, all files of one commit, and held against its published hash", async () => {
  const { load, cache, name, sent } = await repository({ commit: "b".repeat(40) }), seen: Progress[] = [];
  assert.equal(await load({ onProgress: (p) => seen.push({ ...p }) }), expected);
  assert.equal(sent(), weights.length, "each byte once");
  const total = config.length + weights.length;
  assert.deepEqual(seen.at(-1), { file: "model.safetensors", loaded: total, total });
  seen.forEach((p, i) => assert.ok(i === 0 || p.loaded > seen[i - 1].loaded, "progress grows"));
  assert.deepEqual(await kept(cache), WHOLE);
  assert.deepEqual((await listCache({ cache })).map(({ model, revision }) => `${model} ${revision}`), [
    `${name} ${"b".repeat(40)}`,
    `${name} ${"b".repeat(40)}`,
  ]);
  const before = hub.requests.length;
  await load();
  assert.equal(hub.requests.length, before, "nothing is asked for again");
});

/** What may be sent and not arrive where a connection breaks. */
const LOST = 256 * KiB;
/** Servers that make it hard; what arrives is right all the same. `sent`: bytes of the weights, at most. */
const HARD: [name: string, twist: Twist, sent: number][] = [
  [
    "no ranges",
    ({ response }) => response.writeHead(200, { etag: '"1"', "content-length": weights.length }).end(weights),
    0,
  ],
  ["no ranges, no length", ({ response }) => response.writeHead(200).end(weights), 0],
  ["ranges at first only", ({ count, response }) => count > 0 && response.writeHead(200).end(weights), Infinity],
  ["cut off once", ({ count, cutAfter }) => count === 1 && cutAfter(MiB + 1000), weights.length + LOST],
  ["cut off in the first request", ({ count, cutAfter }) => count === 0 && cutAfter(1000), weights.length + LOST],
  [
    "cut off again and again",
    ({ count, from, to, cutAfter }) => count % 2 && to - from > KiB && cutAfter((to - from) >> 1),
    weights.length + LOST,
  ],
  ["429, then not", ({ count, status }) => count % 2 === 0 && status(429, { "retry-after": "0" }), weights.length],
  [
    "503 until a date",
    ({ count, status }) => count === 1 && status(503, { "retry-after": new Date(0).toUTCString() }),
    weights.length,
  ],
  ["500 twice", ({ count, status }) => count < 2 && status(500), weights.length],
  ["parts that are shorter than asked for", ({ response, from, to }) => {
    const end = Math.min(to, from + 700 * KiB), part = weights.subarray(from, end);
    return response.writeHead(206, { "content-range": `bytes ${from}-${end - 1}/${weights.length}` }).end(part);
  }, 0],
  [
    "no ETag",
    ({ response, from, to }) =>
      response.writeHead(206, { "content-range": `bytes ${from}-${to - 1}/${weights.length}` }).end(
        weights.subarray(from, to),
      ),
    0,
  ],
  ["in drops", ({ response, from, to, count }) => {
    if (count > 0) return false;
    response.writeHead(206, { "content-range": `bytes ${from}-${to - 1}/${weights.length}` });
    const drop = (at: number): unknown =>
      at >= to
        ? response.end()
        : response.write(weights.subarray(at, Math.min(to, at + 9000)), () => setTimeout(drop, 1, at + 9000));
    return drop(from) || true;
  }, weights.length],
];
for (const [name, twist, most] of HARD) {
  test(`right in the end: ${name}`, async () => {
    const { load, cache, weights: path, sent } = await repository();
    hub.twist(path, twist);
    for (const keep of [cache, false as const]) {
      assert.equal(await load({ cache: keep }), expected);
      assert.ok(sent() <= most * (keep ? 1 : 2), `${sent()} bytes were sent`);
    }
    assert.deepEqual(await kept(cache), WHOLE);
  });
}

const flipped = (bytes: Uint8Array, at: number) => bytes.map((byte, i) => i === at ? byte ^ 1 : byte);
const CORRUPT = flipped(weights, weights.length >> 1);

/** Servers with which nothing can be done; one typed error, and nothing bad is kept. */
const HOPELESS: [name: string, twist: Twist, code: MimiErrorCode, message: RegExp][] = [
  ["404", ({ status }) => status(404), "ERR_NOT_FOUND", /answered 404/],
  ["401", ({ status }) => status(401), "ERR_NOT_FOUND", /answered 401.*access token/],
  [
    "429 for ever",
    ({ status }) => status(429, { "retry-after": "0" }),
    "ERR_NETWORK",
    /answered 429.*Tried 4 times.*asks to wait 0 s/,
  ],
  [
    "429 for an hour",
    ({ status }) => status(429, { "retry-after": "3600" }),
    "ERR_NETWORK",
    /Tried 1 times.*asks to wait 3600 s/,
  ],
  ["500 for ever", ({ status }) => status(500), "ERR_NETWORK", /answered 500.*Tried 4 times/],
  ["500 in the middle", ({ count, status }) => count > 0 && status(500), "ERR_NETWORK", /answered 500/],
  ["always cut off at once", ({ cutAfter }) => cutAfter(0), "ERR_NETWORK", /connection failed|bytes came before/],
  [
    "a web page",
    ({ status }) => status(200, { "content-type": "text/html; charset=utf-8" }, "<html>"),
    "ERR_NOT_FOUND",
    /web page/,
  ],
  [
    "a web page in the middle",
    ({ count, status }) => count > 0 && status(200, { "content-type": "text/html" }, "<html>"),
    "ERR_NOT_FOUND",
    /web page/,
  ],
  [
    "a corrupt byte",
    ({ response, from, to }) =>
      response.writeHead(206, { "content-range": `bytes ${from}-${to - 1}/${weights.length}` })
        .end(CORRUPT.subarray(from, to)),
    "ERR_INTEGRITY",
    /SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}/,
  ],
  [
    "one byte less",
    ({ response }) => response.writeHead(200).end(weights.subarray(1)),
    "ERR_INTEGRITY",
    /has \d+ bytes, .*announces/,
  ],
  [
    "another length",
    ({ response, from, to }) =>
      response.writeHead(206, { "content-range": `bytes ${from}-${to - 1}/${weights.length - 1}` })
        .end(weights.subarray(from, to)),
    "ERR_INTEGRITY",
    /has \d+ bytes, .*announces/,
  ],
  [
    "more than it announces",
    ({ response, from, to }) =>
      response.writeHead(206, { "content-range": `bytes ${from}-${to - 1}/${weights.length}` })
        .end(weights.subarray(from, to + 10)),
    "ERR_NETWORK",
    /more bytes came than/,
  ],
  [
    "another range",
    ({ response, from, to }) =>
      response.writeHead(206, { "content-range": `bytes ${from + 1}-${to}/${weights.length}` })
        .end(weights.subarray(from + 1, to + 1)),
    "ERR_NETWORK",
    /were asked for, the server sends/,
  ],
  [
    "an absurd length",
    ({ response }) => response.writeHead(206, { "content-range": `bytes 0-65535/${2 ** 50}` }).end("x"),
    "ERR_NETWORK",
    /at most 2147483648/,
  ],
  [
    "another ETag at every request",
    ({ count, answer }) => answer({ etag: `"${count}"` }),
    "ERR_CHANGED",
    /not the one .* began with.*Load it again/,
  ],
  ["nothing to redirect to", ({ status }) => status(302, { location: "/nowhere" }), "ERR_NOT_FOUND", /answered 404/],
];
for (const [name, twist, code, message] of HOPELESS) {
  test(`a typed error, and nothing bad kept: ${name}`, async () => {
    const { load, cache, weights: path, sent } = await repository();
    hub.twist(path, twist);
    for (const keep of [cache, false as const]) {
      await assert.rejects(load({ cache: keep }), (error) => {
        assert.ok(error instanceof LoadError, String(error));
        assert.equal(error.code, code, error.message);
        assert.match(error.message, message);
        return true;
      });
    }
    const [, ...rest] = await kept(cache);
    assert.ok(rest.every((file) => /^model\.safetensors \d+$/.test(file)), `whole: ${rest}`);
    hub.twist(path);
    assert.equal(await load(), expected, "what is kept of it does no harm");
    assert.ok(sent() <= weights.length);
    assert.deepEqual(await kept(cache), WHOLE);
  });
}

test("a server that says nothing is given up", async () => {
  const { load, weights: path } = await repository(), { stall } = PATIENCE;
  hub.twist(path, () => true);
  PATIENCE.stall = 50;
  await assert.rejects(load(), { code: "ERR_NETWORK", message: /nothing came for 0.05 s.*Tried 4 times/ });
  PATIENCE.stall = stall;
});

test("a file that changes meanwhile is loaded as it is then", async () => {
  const cache = await temporary(), path = "/changing/model.safetensors";
  const source: ResolvedSource = { kind: "location", href: `${hub.url}/changing` };
  hub.file("/changing/config.json", config);
  hub.file(path, CORRUPT, { etag: '"old"' });
  hub.twist(path, ({ count, answer }) => count === 0 && answer() && (hub.file(path, weights, { etag: '"new"' }), true));
  const changing = await openWeights("test", source, { cache }), whole = await openWeights("test", EMBEDDED, {});
  for (const name of whole.file.tensors.keys()) {
    assert.deepEqual(await changing.file.read(name), await whole.file.read(name));
  }
  await changing.close();
  await whole.close();
});

test("an interrupted download goes on where it was", async () => {
  const { load, weights: path, sent } = await repository(),
    controller = new AbortController(),
    reason = new Error("enough");
  hub.twist(path, ({ count, from, to, response }) => {
    if (count === 0) return false;
    response.writeHead(206, { "content-range": `bytes ${from}-${to - 1}/${weights.length}` });
    response.write(weights.subarray(from, from + 3 * MiB + 12_345));
    return true; // and then nothing
  });
  const onProgress = ({ loaded }: Progress) => loaded >= config.length + 64 * KiB + 3 * MiB && controller.abort(reason);
  await assert.rejects(load({ signal: controller.signal, onProgress }), reason);
  const all: Progress[] = [];
  hub.twist(path);
  await load({ onProgress: (p) => all.push({ ...p }) });
  assert.ok(sent() <= weights.length - 64 * KiB - 3 * MiB, `${sent()} bytes of the rest`);
  assert.ok(all[0].loaded > 3 * MiB, "what is there counts");
});

test("only what a part and its codebooks need is downloaded; the rest when it is needed", async () => {
  const { load, sent, cache } = await repository();
  await load({ part: "decoder", numQuantizers: 2 });
  const first = sent();
  assert.ok(first < 0.45 * weights.length, `${first} of ${weights.length} bytes`);
  await load({ part: "decoder", numQuantizers: 2 });
  assert.equal(sent(), first, "nothing again");
  await load({ part: "decoder", numQuantizers: 4 });
  assert.ok(sent() > first && sent() < 0.55 * weights.length, `${sent()} bytes`);
  assert.deepEqual(await kept(cache), ["config.json lock", `model.safetensors ${sent()}`]);
  assert.equal(await load(), expected);
  assert.equal(sent(), weights.length, "each byte once");
  assert.deepEqual(await kept(cache), WHOLE);
});

test("a model from a server: the codes of the same model from a folder", async () => {
  const { name, cache } = await repository(), options = { endpoint: hub.url, cache, numQuantizers: 4 };
  const tone = Float32Array.from({ length: 4000 }, (_, i) => ((i % 90) - 45) / 150);
  const here = await MimiModel.fromPretrained("mini", { numQuantizers: 4 });
  for (const worker of [false, true]) {
    const model = await MimiModel.fromPretrained(name, { ...options, worker });
    assert.deepEqual(await model.encode(tone), await here.encode(tone));
    model.close();
  }
});

/** A full-size checkpoint whose values are zeros: its table of contents is the published one's. */
async function fullSize(): Promise<Content> {
  const { tensors } = await testJSON("models/full-spec.json") as { tensors: { name: string; shape: number[] }[] };
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const { name, shape } of [...tensors].sort((a, b) => a.name < b.name ? -1 : 1)) {
    header[name] = { dtype: "F32", shape, data_offsets: [end, end += 4 * shape.reduce((x, y) => x * y, 1)] };
  }
  const text = new TextEncoder().encode(JSON.stringify(header)), head = new Uint8Array(8 + text.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(text.length), true);
  head.set(text, 8);
  return {
    length: head.length + end,
    subarray(from, to) {
      const bytes = new Uint8Array(to - from);
      if (from < head.length) bytes.set(head.subarray(from, to));
      return bytes;
    },
  };
}

test("at full size, a decoder with 8 codebooks takes at most 47 % of the file", async () => {
  const content = await fullSize(), name = "kyutai/full";
  const paths = hub.repository(name, {
    "config.json": new TextEncoder().encode('{"model_type": "mimi"}'),
    "model.safetensors": content,
  }, { sha256: "0".repeat(64) });
  const { weights, close } = await openWeights("test", { kind: "repository", repository: name }, {
    ...{ endpoint: hub.url, cache: false, part: "decoder", numQuantizers: 8 },
  });
  assert.equal(weights.layout, "transformers");
  const share = hub.sent.get(paths.weights)! / content.length;
  console.log(`decoder, 8 codebooks: ${(100 * share).toFixed(2)} % of ${content.length} bytes`);
  assert.ok(share <= 0.47 && share > 0.4, `${share} of the file`);
  await close();
});

test("the same asked for at once, in one process: once", async () => {
  for (const cache of [await temporary(), false as const]) {
    const { load, sent, listing } = await repository();
    assert.deepEqual(await Promise.all([1, 2, 3].map(() => load({ cache }))), [expected, expected, expected]);
    assert.equal(sent(), weights.length);
    assert.equal(hub.requests.filter(({ path }) => path === listing).length, 1);
  }
});

test("the same asked for at once, in two processes and a worker: once; one that is killed is taken over", async () => {
  const { name, cache, sent, weights: path } = await repository();
  const start = () => {
    const child = spawn(process.execPath, [...RUNTIME, "tests/support/load.ts", name, hub.url, cache], {
      cwd: ROOT,
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.on("data", (more) => text += more);
    return { child, ended: new Promise<string>((resolve) => child.on("close", () => resolve(text))) };
  };
  // One process hangs in the middle of the download and is killed.
  const asked = new Promise<void>((resolve) => {
    hub.twist(path, ({ count, from, to, response }) => {
      if (count === 0) return false;
      response.writeHead(206, { "content-range": `bytes ${from}-${to - 1}/${weights.length}` });
      response.write(weights.subarray(from, from + 2 * MiB), () => resolve());
      return true;
    });
  });
  const killed = start();
  await asked;
  const others = [start(), start()],
    worker = MimiModel.fromPretrained(name, { endpoint: hub.url, cache, worker: true });
  await new Promise((soon) => setTimeout(soon, 300));
  hub.twist(path);
  killed.child.kill("SIGKILL");
  await killed.ended;
  const texts = await Promise.all(others.map(({ ended }) => ended)), model = await worker;
  model.close();
  assert.deepEqual([...texts, model.fingerprint], [expected, expected, expected]);
  assert.ok(sent() <= weights.length, `${sent()} bytes in all`);
});

test("a piece that goes bad on the disk is downloaded again, and it alone", async () => {
  const { name, cache, sent, weights: path } = await repository();
  const readAll = async () => {
    const { file, close } = await openWeights("test", { kind: "repository", repository: name }, {
      endpoint: hub.url,
      cache,
    });
    try {
      const values: Float32Array[] = [];
      for (const tensor of file.tensors.keys()) values.push(await file.read(tensor));
      return values;
    } finally {
      await close();
    }
  };
  const values = await readAll(), files = await readdir(cache, { recursive: true }), before = sent();
  const bad = join(cache, files.filter((file) => /model\.safetensors.\d{10}-/.test(file)).sort()[3]);
  await writeFile(bad, (await readFile(bad)).map((byte, i) => i === 99 ? byte ^ 1 : byte));
  assert.deepEqual(await readAll(), values);
  assert.ok(sent() > before && sent() - before <= MiB, `${sent() - before} bytes`);
  // Where the server has something else by now, the lock of the first download stands.
  await writeFile(bad, "");
  hub.twist(
    path,
    ({ response, from, to }) =>
      response.writeHead(206, { "content-range": `bytes ${from}-${to - 1}/${weights.length}` })
        .end(flipped(weights, from).subarray(from, to)),
  );
  await assert.rejects(readAll(), { code: "ERR_INTEGRITY", message: /are not those of the first download/ });
  assert.deepEqual(await kept(cache), ["config.json lock"]);
});

test("redirects are followed, tokens not taken to other hosts", async () => {
  const { load, weights: path } = await repository(), elsewhere = await HubServer.start();
  try {
    elsewhere.file("/blob", weights);
    hub.twist(path, ({ status }) => status(302, { location: `${elsewhere.url}/blob?signature=1` }));
    assert.equal(await load({ token: "secret" }), expected);
    assert.ok(hub.requests.filter((r) => r.path === path).every(({ token }) => token === "Bearer secret"));
    assert.deepEqual([...new Set(elsewhere.requests.map(({ token }) => token))], [undefined]);
    assert.equal(elsewhere.sent.get("/blob"), weights.length);
  } finally {
    elsewhere.close();
  }
});

test("a branch that moves: what is kept stays until it is cleared", async () => {
  const { load, name, cache } = await repository();
  await load();
  hub.repository(name, { "config.json": config, "model.safetensors": CORRUPT }, { commit: "c".repeat(40) });
  await load();
  assert.deepEqual((await listCache({ cache })).map(({ revision }) => revision), ["a".repeat(40), "a".repeat(40)]);
  assert.equal(await clearCache("other/model", { cache }), 0);
  assert.ok(await clearCache(name, { cache }) > weights.length);
  assert.deepEqual(await listCache({ cache }), []);
  await load();
  assert.deepEqual((await listCache({ cache })).map(({ revision }) => revision), ["c".repeat(40), "c".repeat(40)]);
});

test("a file that a repository does not have: an error that names those it has", async () => {
  const { load } = await repository();
  await assert.rejects(load({ file: "other.safetensors" }), {
    code: "ERR_NOT_FOUND",
    message: /no other\.safetensors at revision main \(weights that are there: model\.safetensors\)/,
  });
});

test("HF_HUB_OFFLINE: what is kept, and no request", async () => {
  const { load } = await repository();
  await load({ part: "decoder", numQuantizers: 2 });
  const before = hub.requests.length, other = await repository();
  process.env.HF_HUB_OFFLINE = "1";
  try {
    await load({ part: "decoder", numQuantizers: 2 });
    await assert.rejects(load(), { code: "ERR_NOT_FOUND", message: /not all of it that is needed.*HF_HUB_OFFLINE/ });
    await assert.rejects(other.load(), { code: "ERR_NOT_FOUND", message: /not in the cache.*HF_HUB_OFFLINE/ });
  } finally {
    delete process.env.HF_HUB_OFFLINE;
  }
  assert.equal(hub.requests.length, before);
});

test("Hugging Face's own cache is used", async () => {
  const home = await temporary(), commit = "d".repeat(40), at = join(home, "hub", "models--some--model");
  await mkdir(join(at, "refs", "pr"), { recursive: true });
  await mkdir(join(at, "blobs"));
  await mkdir(join(at, "snapshots", commit), { recursive: true });
  await writeFile(join(at, "refs", "pr", "1"), commit);
  for (const [name, bytes] of [["config.json", config], ["model.safetensors", weights]] as const) {
    await writeFile(join(at, "blobs", `blob-${name}`), bytes);
    await symlink(join("..", "..", "blobs", `blob-${name}`), join(at, "snapshots", commit, name));
  }
  const before = hub.requests.length;
  const load = (options: PartsOptions) =>
    fingerprintAt({ kind: "repository", repository: "some/model" }, { endpoint: hub.url, ...options });
  process.env.HF_HOME = home;
  try {
    assert.equal(await load({ revision: "pr/1" }), expected);
    assert.equal(await load({ revision: commit }), expected);
    assert.equal(hub.requests.length, before);
    const cache = await temporary();
    for (const revision of ["main", "../blobs", "e".repeat(40)]) {
      await assert.rejects(load({ revision, cache }), { code: "ERR_NOT_FOUND" });
    }
    await assert.rejects(load({ revision: commit, cache: false }), { code: "ERR_NOT_FOUND" });
    delete process.env.HF_HOME;
    process.env.HF_HUB_CACHE = join(home, "hub");
    assert.equal(await load({ revision: commit }), expected);
  } finally {
    delete process.env.HF_HOME;
    delete process.env.HF_HUB_CACHE;
  }
});

test("of what Hugging Face's cache lacks, the rest comes from the hub, at the same commit", async () => {
  const home = await temporary(), { load, name, weights: path } = await repository({ commit: "e".repeat(40) });
  const at = join(home, "hub", `models--${name.replace("/", "--")}`), other = { "config.json": CORRUPT };
  for (const folder of ["refs", "snapshots/" + "e".repeat(40)]) await mkdir(join(at, folder), { recursive: true });
  await writeFile(join(at, "refs", "main"), "e".repeat(40));
  await writeFile(join(at, "snapshots", "e".repeat(40), "model.safetensors"), weights);
  // The branch has moved on since; the hub knows the commit.
  hub.repository(name, other, { commit: "f".repeat(40) });
  hub.repository(name, { "config.json": config }, { commit: "e".repeat(40), revision: "e".repeat(40) });
  process.env.HF_HOME = home;
  try {
    assert.equal(await load(), expected);
    assert.equal(hub.sent.get(path), undefined);
    process.env.HF_HUB_OFFLINE = "1";
    await assert.rejects(load({ cache: await temporary() }), { code: "ERR_NOT_FOUND", message: /HF_HUB_OFFLINE/ });
  } finally {
    delete process.env.HF_HOME;
    delete process.env.HF_HUB_OFFLINE;
  }
});

test("a cache that is cleared under a load: what is missing comes again, and is the same", async () => {
  const { name, cache, weights: path } = await repository(), source = { kind: "repository", repository: name } as const;
  const whole = await openWeights("test", EMBEDDED, {}), specs = Object.values(whole.networks).flatMap(networkTensors);
  const opened = await openWeights("test", source, { endpoint: hub.url, cache });
  for (const [i, spec] of [specs[0], specs[20], specs.at(-1)!].entries()) {
    if (i < 2) await clearCache(undefined, { cache });
    assert.deepEqual(await opened.weights.read(spec), await whole.weights.read(spec), spec.name);
  }
  assert.equal(hub.sent.get(path), 3 * weights.length);
  await clearCache(undefined, { cache });
  hub.twist(path, ({ answer, from, to }) => answer({}, CORRUPT.subarray(from, to)));
  await assert.rejects(opened.weights.read(specs[0]), { code: "ERR_INTEGRITY" });
  hub.twist(path);
  await Promise.all([opened.close(), whole.close()]);
});

/** A file of 3 MB that must have its hash, on a shelf of one's own. */
async function pinned(shelf: Shelf): Promise<{ path: string; open(): Promise<ByteSource> }> {
  const path = `/shelf-${++count}`, content = weights.subarray(0, 3 * MiB);
  hub.file(path, content);
  const sha256 = createHash("sha256").update(content).digest("hex"), address = new URL(hub.url + path);
  const file = { address, name: "m", model: "m", shelf, lasting: true, sha256, pinned: true };
  return { path, open: () => openRemote(file, { most: 2 ** 30, meter: new Meter(undefined) }) };
}

test("a cache that gives nothing back: an error, after a few requests", async () => {
  const inner = memoryShelf("forgetful");
  const { path, open } = await pinned({
    ...inner,
    get: (name) => name === "about.json" ? inner.get(name) : Promise.resolve(undefined),
  });
  await assert.rejects(open(), { code: "ERR_READ" });
  assert.ok(hub.requests.filter((request) => request.path === path).length < 20);
});

test("a cache that is cleared while a file is held against its hash: it is not taken for checked", async () => {
  const folder = join(await temporary(), "shelf"), shelf = await folderShelf(folder), { get } = shelf;
  let reads = 0;
  shelf.get = async (name, room) => {
    if (name !== "about.json" && ++reads === 3) {
      await rm(folder, { recursive: true });
      hub.file(path, flipped(weights.subarray(0, 3 * MiB), 5000)); // in what has been read
    }
    return await get(name, room);
  };
  const { path, open } = await pinned(shelf);
  await assert.rejects(open(), { code: "ERR_CHANGED" });
  await assert.rejects(open(), { code: "ERR_INTEGRITY" });
});

test("a listing with things in it that are no files", async () => {
  const { load, listing } = await repository(), right = { rfilename: "config.json", size: -5 };
  const siblings = [null, 5, { rfilename: 7 }, right, { rfilename: "model.safetensors", size: 0.5, lfs: "none" }];
  hub.twist(listing, ({ answer }) => {
    const bytes = new TextEncoder().encode(JSON.stringify({ sha: "a".repeat(40), siblings }));
    return answer({ "content-length": bytes.length }, bytes);
  });
  assert.equal(await load(), expected);
});

test("a server that does not say how long a file is in its ranges", async () => {
  const { load, weights: path } = await repository();
  hub.twist(path, ({ ranged, from, to, answer }) => ranged && answer({ "content-range": `bytes ${from}-${to - 1}/*` }));
  assert.equal(await load(), expected);
});

test("an abort for no reason", async () => {
  const { load, weights: path } = await repository(), controller = new AbortController();
  hub.twist(path, ({ count }) => void (count === 1 && controller.abort(null)));
  assert.equal(await load({ signal: controller.signal }).then(() => "loaded", (error) => error), null);
});

test("an address: kept as long as its ETag is the same", async () => {
  const cache = await temporary(), folder = `${hub.url}/site`, path = "/site/model.safetensors";
  hub.file("/site/config.json", config);
  hub.file(path, weights, { etag: 'W/"1"' });
  const load = () => fingerprintAt({ kind: "location", href: `${folder}?key=secret` }, { cache });
  await load();
  await load();
  assert.equal(hub.sent.get(path), weights.length + 1, "one byte, to ask");
  const [file] = (await listCache({ cache })).slice(-1);
  assert.deepEqual([file.model, file.checked], [folder, "lock"]);
  assert.ok(
    !(await readFile(
      join(cache, "v1", new URL(hub.url).host.replace(":", "%3A"), "addresses", encodeURIComponent(path), "about.json"),
      "utf8",
    )).includes("secret"),
  );
  hub.file(path, weights, { etag: '"2"' });
  await load();
  assert.equal(hub.sent.get(path), 2 * weights.length + 2);
});

test("weights with a hash that they must have", async () => {
  const cache = await temporary(), address = (name: string) => new URL(`${hub.url}/pinned/${name}`);
  hub.file("/pinned/config.json", config);
  hub.file("/pinned/model.safetensors", weights);
  hub.file("/pinned/other.safetensors", CORRUPT);
  const { sha256 } = (await import("../models/mini/mod.ts")).mini;
  const signed = (name: string) => new URL(`${address(name).href}?sig=secret`);
  const none = { config: signed("config.json"), weights: signed("model.safetensors") };
  (await MimiModel.fromPretrained(none, { cache, part: "decoder" })).close();
  assert.deepEqual([...new Set((await listCache({ cache })).map(({ model }) => model))], [
    `${hub.url}/pinned/model.safetensors`,
  ]);
  assert.ok(await clearCache(none.weights.href, { cache }) > 0);
  hub.twist("/pinned/model.safetensors");
  const load = (name: string, options?: PartsOptions) =>
    fingerprintAt({ kind: "files", config: address("config.json").href, weights: address(name).href, sha256 }, {
      cache,
      ...options,
    });
  assert.equal(await load("model.safetensors", { part: "decoder", numQuantizers: 2 }), expected);
  assert.equal(hub.sent.get("/pinned/model.safetensors"), weights.length, "a hash is of the whole");
  await clearCache(undefined, { cache });
  await assert.rejects(load("other.safetensors"), { code: "ERR_INTEGRITY" });
  assert.ok((await kept(cache)).every((file) => file.startsWith("config.json")));
  await assert.rejects(
    MimiModel.fromPretrained({ config: address("config.json"), weights: address("model.safetensors"), sha256: "x" }),
    {
      code: "ERR_INVALID_ARGUMENT",
      message: /source\.sha256 must be 64 hexadecimal digits/,
    },
  );
});

test("a cache that cannot be written, and one that can only be read", async () => {
  const { load, cache } = await repository(), file = join(await temporary(), "file");
  await writeFile(file, "");
  await assert.rejects(load({ cache: file }), {
    code: "ERR_WRITE",
    message: /cannot be kept.*MIMI_CACHE.*cache: false/,
  });
  await load();
  const all = (await readdir(cache, { recursive: true })).map((name) => join(cache, name));
  assert.ok(all.every((name) => !/\.(lock|tmp)$/.test(name)), "no locks, nothing unfinished");
});

test("clearing everything leaves nothing", async () => {
  const { load, cache } = await repository();
  await load();
  assert.ok(await clearCache(undefined, { cache }) > weights.length);
  assert.deepEqual(await readdir(cache), []);
  await assert.rejects(listCache({ cache: "" }), { code: "ERR_INVALID_ARGUMENT" });
  await assert.rejects(clearCache(3 as unknown as string), { code: "ERR_INVALID_ARGUMENT" });
});
