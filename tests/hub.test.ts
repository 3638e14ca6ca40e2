/** Loading over the network, through the cache and from every kind of source, against a server of our own. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import {
  FormatError,
  listCache,
  LoadError,
  type MimiErrorCode,
  MimiModel,
  MimiTypeError,
  NotSupportedError,
  type Progress,
} from "../mod.ts";
import { PATIENCE } from "../src/hub/http.ts";
import { testPath } from "./support/files.ts";

const TINY = testPath("models/tiny-hf"),
  weights = await readFile(join(TINY, "model.safetensors")),
  config = await readFile(join(TINY, "config.json"));
const tone = Float32Array.from({ length: 4000 }, (_, i) => ((i % 90) - 45) / 150);
const local = await MimiModel.fromPretrained(TINY), expected = (await local.encode(tone)).audioCodes;

PATIENCE.delays = [0, 0];

type Answer = (request: IncomingMessage, response: ServerResponse) => void;
/** What the server does with a path; requests are recorded. */
const answers = new Map<string, Answer>(), requests: IncomingMessage[] = [];
const server = createServer((request, response) => {
  requests.push(request);
  const answer = answers.get(request.url!);
  if (answer) answer(request, response);
  else response.writeHead(404).end();
});
await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const folders: string[] = [];
after(async () => {
  server.closeAllConnections();
  server.close();
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function temporary(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "mimi-hub-"));
  folders.push(folder);
  return folder;
}

const file = (bytes: Uint8Array): Answer => (_, response) =>
  response.writeHead(200, { "content-length": bytes.length }).end(bytes);
const status = (code: number): Answer => (_, response) => response.writeHead(code).end("no");

/** A repository at `owner/name` whose weights are answered in some way; returns its name. */
let count = 0;
function repository(answer: Answer, revision = "main", files: Record<string, Answer> = {}): string {
  const name = `kyutai/mimi-${++count}`, at = `/${name}/resolve/${encodeURIComponent(revision)}`;
  answers.set(`${at}/config.json`, file(config));
  answers.set(`${at}/model.safetensors`, answer);
  for (const [path, other] of Object.entries(files)) answers.set(`${at}/${path}`, other);
  return name;
}

/** The files that are whole in a cache. */
async function listed(cache: string): Promise<string[]> {
  return (await listCache({ cache })).filter(({ bytes, size }) => bytes === size).map(({ file }) => file);
}

test("a repository: progress, then the cache", async () => {
  const cache = await temporary(), name = repository(file(weights)), seen: Progress[] = [];
  const model = await MimiModel.fromPretrained(name, { endpoint, cache, onProgress: (p) => seen.push({ ...p }) });
  assert.deepEqual((await model.encode(tone)).audioCodes, expected);
  seen.forEach((p, i) => assert.ok(i === 0 || p.loaded > seen[i - 1].loaded, "progress grows"));
  const total = config.length + weights.length;
  assert.deepEqual(seen.at(-1), { file: "model.safetensors", loaded: total, total });
  assert.ok(seen.every((p) => p.total === undefined || p.total === total), "the total does not change");
  assert.deepEqual(await listed(cache), ["config.json", "model.safetensors"]);
  const before = requests.length, again = await MimiModel.fromPretrained(name, { endpoint, cache });
  assert.equal(requests.length, before, "nothing is asked for again");
  assert.equal(again.fingerprint, model.fingerprint);
});

test("cache: false keeps nothing and asks again", async () => {
  const name = repository(file(weights)), cache = await temporary(), before = requests.length;
  process.env.MIMI_CACHE = cache;
  await MimiModel.fromPretrained(name, { endpoint, cache: false });
  await MimiModel.fromPretrained(name, { endpoint, cache: false });
  delete process.env.MIMI_CACHE;
  // Once each: whether the hub lists its files, the configuration, the weights.
  assert.equal(requests.length - before, 6);
  assert.deepEqual(await listed(cache), []);
});

test("HF_ENDPOINT and MIMI_CACHE are used; token and revision are sent", async () => {
  const cache = await temporary(), name = repository(file(weights), "refs/pr/7"), before = requests.length;
  Object.assign(process.env, { HF_ENDPOINT: `${endpoint}/`, MIMI_CACHE: cache });
  await MimiModel.fromPretrained(name, { token: "secret", revision: "refs/pr/7" });
  delete process.env.HF_ENDPOINT;
  delete process.env.MIMI_CACHE;
  const mine = requests.slice(before);
  assert.deepEqual(
    mine.map((r) => r.url),
    [
      `/api/models/${name}/revision/refs%2Fpr%2F7?blobs=true`,
      ...["config.json", "model.safetensors"].map((f) => `/${name}/resolve/refs%2Fpr%2F7/${f}`),
    ],
  );
  for (const r of mine) assert.equal(r.headers.authorization, "Bearer secret");
  assert.equal((await listed(cache)).length, 2);
});

test("a revision cannot lead out of the cache, and two never share a file", async () => {
  const root = await temporary(), cache = join(root, "a", "b", "c");
  for (const revision of ["..", "../../..", "a/b", "a_b"]) {
    const name = repository(file(weights), revision);
    // A client may resolve dots in an address, so that the server is asked for something else; no file must be misplaced.
    await MimiModel.fromPretrained(name, { endpoint, cache, revision }).catch((error) =>
      assert.ok(error instanceof LoadError)
    );
  }
  assert.deepEqual(await readdir(root), ["a"]);
  assert.deepEqual(await readdir(join(root, "a")), ["b"]);
  assert.deepEqual(await readdir(join(root, "a", "b")), ["c"]);
  const paths = (await readdir(cache, { recursive: true })).map((p) => p.replaceAll("\\", "/"));
  assert.ok(paths.some((p) => p.includes("/a%2Fb/")) && paths.some((p) => p.includes("/a_b/")), paths.join());
});

const half = weights.subarray(0, weights.length >> 1);
const cut = (length: number | undefined): Answer => (_, response) => {
  response.writeHead(200, length === undefined ? {} : { "content-length": length });
  response.write(half, () => setTimeout(() => response.destroy(), 20));
};
const FAILURES: [name: string, answer: Answer, code: MimiErrorCode, message: RegExp][] = [
  ["404", status(404), "ERR_NOT_FOUND", /model\.safetensors: the server answered 404/],
  ["403", status(403), "ERR_NOT_FOUND", /answered 403/],
  ["500", status(500), "ERR_NETWORK", /model\.safetensors: the server answered 500/],
  ["cut half-way", cut(weights.length), "ERR_NETWORK", /model\.safetensors: (the connection failed|\d+ of \d+ bytes)/],
  ["cut half-way without a length", cut(undefined), "ERR_NETWORK", /model\.safetensors: the connection failed/],
  [
    "an absurd length",
    (_, r) => void r.writeHead(200, { "content-length": 2 ** 40 }).write(half),
    "ERR_NETWORK",
    /announces 1099511627776 bytes/,
  ],
];
for (const [name, answer, code, message] of FAILURES) {
  test(`a download that fails: ${name}`, async () => {
    const cache = await temporary(), source = repository(answer);
    await assert.rejects(MimiModel.fromPretrained(source, { endpoint, cache }), (error) => {
      assert.ok(error instanceof LoadError, String(error));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, message);
      return true;
    });
    assert.deepEqual(await listed(cache), ["config.json"], "nothing of it is kept");
    await assert.rejects(MimiModel.fromPretrained(source, { endpoint, cache: false }), { code });
  });
}

test("nobody there", async () => {
  const closed = createServer();
  await new Promise<void>((listening) => closed.listen(0, "127.0.0.1", listening));
  const { port } = closed.address() as AddressInfo;
  await new Promise((done) => closed.close(done));
  await assert.rejects(MimiModel.fromPretrained("a/b", { endpoint: `http://127.0.0.1:${port}`, cache: false }), {
    code: "ERR_NETWORK",
  });
});

test("abort: before, and in the middle of a download", async () => {
  const cache = await temporary(), reason = new Error("enough");
  await assert.rejects(MimiModel.fromPretrained("a/b", { endpoint, cache, signal: AbortSignal.abort(reason) }), reason);
  const stuck: Answer = (_, response) => void response.writeHead(200, { "content-length": weights.length }).write(half);
  const controller = new AbortController();
  const loading = MimiModel.fromPretrained(repository(stuck), {
    endpoint,
    cache,
    signal: controller.signal,
    onProgress: (p) => p.file.endsWith(".safetensors") && controller.abort(reason),
  });
  await assert.rejects(loading, reason);
  assert.deepEqual(await listed(cache), ["config.json"]);
});

test("compressed on the way, and without a length", async () => {
  const packed: Answer = (_, response) =>
    void response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(weights));
  const chunked: Answer = (_, response) => {
    response.writeHead(200);
    response.write(half);
    response.end(weights.subarray(half.length));
  };
  for (const answer of [packed, chunked]) {
    for (const cache of [false as const, await temporary()]) {
      const model = await MimiModel.fromPretrained(repository(answer), { endpoint, cache });
      assert.equal(model.fingerprint, local.fingerprint);
    }
  }
});

test("two loads of one file at once", async () => {
  const cache = await temporary(), name = repository(file(weights));
  const models = await Promise.all([1, 2, 3].map(() => MimiModel.fromPretrained(name, { endpoint, cache })));
  for (const model of models) assert.equal(model.fingerprint, local.fingerprint);
  assert.deepEqual(await listed(cache), ["config.json", "model.safetensors"]);
});

test("paths and addresses", async () => {
  const name = repository(file(weights)), folder = `${endpoint}/${name}/resolve/main`;
  const sources = [
    folder,
    `${folder}/`,
    `${folder}/model.safetensors`,
    new URL(folder),
    TINY,
    pathToFileURL(TINY),
    `${TINY}/model.safetensors`,
    `./${relative(process.cwd(), TINY)}`,
    { config: pathToFileURL(join(TINY, "config.json")), weights: pathToFileURL(join(TINY, "model.safetensors")) },
  ];
  for (const source of sources) {
    assert.equal((await MimiModel.fromPretrained(source)).fingerprint, local.fingerprint, String(source));
  }
});

test("the query of an address goes with every file", async () => {
  answers.set("/signed/config.json?sig=1", file(config));
  answers.set("/signed/model.safetensors?sig=1", file(weights));
  for (const address of ["signed?sig=1", "signed/?sig=1", "signed/model.safetensors?sig=1#here"]) {
    const model = await MimiModel.fromPretrained(`${endpoint}/${address}`);
    assert.equal(model.fingerprint, local.fingerprint, address);
  }
});

const page = new TextEncoder().encode("<html>Log in</html>");
for (
  const [name, wrong, code] of [["config.json", page, "ERR_CONFIG"], [
    "model.safetensors",
    half,
    "ERR_SAFETENSORS",
  ]] as const
) {
  test(`a download that is not a ${name} does not stay in the cache`, async () => {
    const cache = await temporary(), source = repository(file(weights)), at = `/${source}/resolve/main/${name}`;
    const right = answers.get(at)!;
    answers.set(at, file(wrong));
    await assert.rejects(MimiModel.fromPretrained(source, { endpoint, cache }), (error) => {
      assert.ok(error instanceof FormatError, String(error));
      assert.equal(error.code, code);
      assert.match(error.message, /cache has been removed/);
      return true;
    });
    assert.ok(!(await listed(cache)).includes(name));
    answers.set(at, right);
    assert.equal((await MimiModel.fromPretrained(source, { endpoint, cache })).fingerprint, local.fingerprint);
  });
}

test("a config.json of absurd size is not downloaded", async () => {
  const endless: Answer = (_, response) => {
    const more = () => response.destroyed || response.write(Buffer.alloc(1 << 16, 32), more);
    response.writeHead(200);
    more();
  };
  for (const answer of [endless, file(new Uint8Array((1 << 20) + 1))]) {
    const source = repository(file(weights), "main", { "config.json": answer });
    for (const cache of [false as const, await temporary()]) {
      await assert.rejects(MimiModel.fromPretrained(source, { endpoint, cache }), {
        code: "ERR_NETWORK",
        message: /1048576/,
      });
    }
  }
});

for (const name of ["config.json", "model.safetensors"]) {
  test(`a folder that is named ${name}`, async () => {
    const folder = await temporary();
    await writeFile(join(folder, "config.json"), config);
    await rm(join(folder, name), { force: true });
    await mkdir(join(folder, name));
    await assert.rejects(MimiModel.fromPretrained(folder), (error) => {
      assert.ok(error instanceof LoadError, String(error));
      assert.equal(error.code, "ERR_READ");
      assert.ok(error.message.includes(name));
      return true;
    });
  });
}

test("addresses that hold their bytes, as bundlers make them of small files", async () => {
  const inBase64 = (bytes: Uint8Array) =>
    new URL(`data:application/json;base64,${Buffer.from(bytes).toString("base64")}`);
  const escaped = new URL(`data:,${encodeURIComponent(`{"_name": "Mimi \u00fc?#%", ${config.toString().slice(1)}`)}`);
  for (const address of [inBase64(config), escaped]) {
    const model = await MimiModel.fromPretrained({ config: address, weights: inBase64(weights) });
    assert.equal(model.fingerprint, local.fingerprint);
  }
  await assert.rejects(
    MimiModel.fromPretrained({ config: new URL("data:;base64,!"), weights: inBase64(weights) }),
    (error) => {
      assert.ok(error instanceof LoadError);
      assert.equal(error.code, "ERR_READ");
      assert.match(error.message, /^data:;base64,!: not base64/);
      return true;
    },
  );
  await assert.rejects(MimiModel.fromPretrained({ config: new URL("data:,{"), weights: inBase64(weights) }), {
    code: "ERR_CONFIG",
  });
});

test("Kyutai's file without a config.json beside it is taken for the official model", async () => {
  await assert.rejects(MimiModel.fromPretrained(testPath("models/tiny-kyutai/tokenizer-tiny.safetensors")), (error) => {
    assert.ok(error instanceof FormatError);
    assert.equal(error.code, "ERR_CHECKPOINT");
    assert.match(error.message, /kyutai layout[\s\S]*missing: .*layers\.2\.[\s\S]*and \d+ more/);
    return true;
  });
});

test("parts and codebooks", async () => {
  const encoder = await MimiModel.fromPretrained(TINY, { part: "encoder", numQuantizers: 2 });
  assert.equal(encoder.memory.decoder, undefined);
  assert.ok(encoder.memory.encoder!.weights > 0 && encoder.memory.total === encoder.memory.encoder!.total);
  assert.ok(encoder.memory.encoder!.weights < local.memory.encoder!.weights);
  assert.deepEqual((await encoder.encode(tone)).audioCodes.data, expected.data.slice(0, 2 * expected.shape[2]));
  const decoder = await MimiModel.fromPretrained(TINY, { part: "decoder" });
  assert.equal(decoder.memory.encoder, undefined);
  assert.deepEqual((await decoder.decode(expected)).audioValues, (await local.decode(expected)).audioValues);
});

test("the embedded model needs no network", async () => {
  const fetch = globalThis.fetch;
  globalThis.fetch = () => Promise.reject(new Error("offline"));
  try {
    const model = await MimiModel.fromPretrained("mini");
    assert.equal(model.config.codebookSize, 512);
    assert.deepEqual((await model.encode(tone)).audioCodes.shape, [1, 32, 3]);
  } finally {
    globalThis.fetch = fetch;
  }
});

const any = <T>(value: unknown): T => value as T;
const WRONG: [
  name: string,
  call: () => Promise<unknown>,
  kind: new (...a: never[]) => Error,
  code: MimiErrorCode,
  message: RegExp,
][] = [
  [
    "one word",
    () => MimiModel.fromPretrained("mimi"),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /source must be "mini".*got "mimi"/,
  ],
  ["three words", () => MimiModel.fromPretrained("a/b/c"), MimiTypeError, "ERR_INVALID_ARGUMENT", /got "a\/b\/c"/],
  ["empty", () => MimiModel.fromPretrained(""), MimiTypeError, "ERR_INVALID_ARGUMENT", /got ""/],
  [
    "no address",
    () => MimiModel.fromPretrained("http://["),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /source must be an address .*got "http:\/\/\["/,
  ],
  [
    "an address of one file as a whole model",
    () => MimiModel.fromPretrained("data:application/json,{}"),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /data: addresses are of one file; give each file's/,
  ],
  [
    "a password in the address of weights",
    () => MimiModel.fromPretrained({ weights: new URL("https://me:hush@example.org/model.safetensors") }),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /^(?!.*hush).*no user name or password/,
  ],
  [
    "a password in an address",
    () => MimiModel.fromPretrained("https://me:hush@example.org/mimi"),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /^(?!.*hush).*no user name or password/,
  ],
  [
    "files by name",
    () => MimiModel.fromPretrained(any({ weights: pathToFileURL(TINY), config: "config.json" })),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /source\.config must be a URL, got "config\.json"/,
  ],
  ["number", () => MimiModel.fromPretrained(any(3)), MimiTypeError, "ERR_INVALID_ARGUMENT", /got 3/],
  ["null", () => MimiModel.fromPretrained(any(null)), MimiTypeError, "ERR_INVALID_ARGUMENT", /got null/],
  [
    "a missing folder",
    () => MimiModel.fromPretrained("./no/such/folder"),
    LoadError,
    "ERR_NOT_FOUND",
    /config\.json: cannot be opened/,
  ],
  [
    "a folder without weights",
    () => MimiModel.fromPretrained(TINY, { file: "other.safetensors" }),
    LoadError,
    "ERR_NOT_FOUND",
    /other\.safetensors/,
  ],
  [
    "option",
    () => MimiModel.fromPretrained("mini", any({ device: "gpu" })),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /"device".*backend/,
  ],
  [
    "part",
    () => MimiModel.fromPretrained("mini", { part: any("half") }),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /"decoder", got "half"/,
  ],
  [
    "precision",
    () => MimiModel.fromPretrained("mini", { precision: any("int4") }),
    NotSupportedError,
    "ERR_NOT_SUPPORTED",
    /"int4"/,
  ],
  [
    "backend",
    () => MimiModel.fromPretrained("mini", { backend: any("tpu") }),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /"tpu"/,
  ],
  [
    "config",
    () => MimiModel.fromPretrained("mini", { config: any({ hiddenSize: -1 }) }),
    FormatError,
    "ERR_CONFIG",
    /hidden_size.*got -1/,
  ],
  [
    "other sizes",
    () => MimiModel.fromPretrained(TINY, { config: {} }),
    FormatError,
    "ERR_CHECKPOINT",
    /do not fit the configuration/,
  ],
];
/** Options of a wrong type, on a source that is never asked. */
const OPTIONS: [option: object, message: RegExp][] = [
  [{ endpoint: "foo" }, /endpoint must be an address.* got "foo"/],
  [{ endpoint: "" }, /endpoint must be .* got ""/],
  [{ cache: true }, /cache must be a folder, or false, got true/],
  [{ signal: {} }, /signal must be an AbortSignal, got an object/],
  [{ onProgress: 5 }, /onProgress must be a function, got 5/],
  [{ onWarning: 5 }, /onWarning must be a function, got 5/],
  [{ failover: 1 }, /failover must be true or false, got 1/],
  [{ selfTest: "no" }, /selfTest must be true or false, got "no"/],
  [{ config: null }, /config must be a MimiConfig .* got null/],
  [{ config: "x" }, /config must be .* got "x"/],
  [{ file: 5 }, /file must be a file name .* got 5/],
  [{ revision: 5 }, /revision must be .* got 5/],
  [{ token: 5 }, /token must be .* got 5/],
  [{ backend: null }, /backend must be .* got null/],
  [{ backend: { compile() {} } }, /backend must be .* got an object \{compile\}/],
];
for (const [option, message] of OPTIONS) {
  WRONG.push([
    JSON.stringify(option),
    () => MimiModel.fromPretrained("a/b", any(option)),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    message,
  ]);
}
for (const source of ["mini", `${TINY}/model.safetensors`]) {
  WRONG.push([
    `file with ${relative(TINY, source)}`,
    () => MimiModel.fromPretrained(source, { file: "other.safetensors" }),
    MimiTypeError,
    "ERR_INVALID_ARGUMENT",
    /file chooses .*got "other\.safetensors"/,
  ]);
}
for (const [name, call, kind, code, message] of WRONG) {
  test(`wrong: ${name}`, async () => {
    await assert.rejects(call(), (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.equal((error as LoadError).code, code);
      assert.match(error.message, message);
      return true;
    });
  });
}

test("a backend that cannot run here says why", async () => {
  const backend = {
    name: "never",
    sync: true,
    available: () => Promise.resolve("it is Monday"),
    compile: () => Promise.reject(new Error()),
  };
  await assert.rejects(MimiModel.fromPretrained("mini", { backend }), {
    name: "NotSupportedError",
    message: /never backend cannot run here: it is Monday/,
  });
});
