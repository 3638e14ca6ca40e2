/**
 * `mimi pack`: the part of a model that an application needs, as a bundle for any static host (`hub/bundle.ts`).
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, realpath, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { AudioCodesInput } from "../core/codes.ts";
import { LoadError, reasonOf } from "../core/errors.ts";
import { networkTensors } from "../core/network.ts";
import {
  BUNDLE_KEY,
  type BundleFile,
  type BundleManifest,
  bundleOf,
  parseManifest,
  SHARD_LIMIT,
  type Storage,
} from "../hub/bundle.ts";
import { readJSON } from "../hub/files.ts";
import { withoutQuery } from "../hub/http.ts";
import { sha256Of } from "../hub/sha256.ts";
import { MimiModel } from "../load.ts";
import { type OpenedWeights, openFolder, openWeights, readFields } from "../parts.ts";
import { type ResolvedSource, resolveSource } from "../resolve.ts";
import { type Difference, difference, equalCodes, formatDifference, formatShare, readMono } from "./agreement.ts";
import { table } from "./format.ts";
import { type CarriedFile, readLicence } from "./licence.ts";
import { storages } from "./storage.ts";
import type { Surroundings } from "./program.ts";
import { bar, StatusLine } from "./progress.ts";
import { type PackCall, UsageError } from "./usage.ts";
import { VERSION } from "./version.ts";

/** Speech to measure with, where no other is named; it comes with the embedded model. */
const SAMPLE = fileURLToPath(new URL("../../models/mini/it-cannot-complete.wav", import.meta.url));
const MANIFEST = "bundle.json";
/** Bytes of a shard. */
const SHARD = SHARD_LIMIT - 2 ** 20;

/** What was packed. */
interface Packed {
  out: string;
  manifest: BundleManifest;
  /** Bytes of the weights, and of the tensors of the source that were not taken over or were stored in more bits. */
  bytes: number;
  sourceBytes: number;
  agreement: Agreement;
}

/** What a bundle does, held against its source in f32. */
interface Agreement {
  /** Share of codes that are equal; `null` for a decoder. */
  codes: number | null;
  /** Of decoded samples; `null` for an encoder. */
  audio: Difference | null;
}

/** Packs a model, and loads the bundle to measure it. */
export async function pack(call: PackCall, { print, say, signal }: Surroundings): Promise<number> {
  const source = await resolveSource(call.model), status = new StatusLine();
  const onProgress = ({ loaded, total }: { loaded: number; total?: number }) =>
    status.show(() => `download ${bar(total ? loaded / total : 0)}`);
  const options = { part: call.part, numQuantizers: call.codebooks, signal, onProgress };
  let packed: Packed;
  try {
    const opened = await openWeights("pack", source, options), { part, config } = opened;
    try {
      if (call.audio !== undefined && part === "decoder") throw new UsageError("--audio is for what has an encoder");
      const speech = part === "decoder" ? undefined : await readMono(call.audio ?? SAMPLE, config.samplingRate, signal);
      const measured = (folder: string, manifest: BundleManifest) =>
        measure(call.model, folder, speech, manifest, onProgress, signal);
      packed = await write(call, source, opened, measured);
    } finally {
      await opened.close();
    }
  } finally {
    status.clear();
  }
  await print(call.json ? `${JSON.stringify(packed)}\n` : `${describePacked(packed, call)}\n`);
  const { licence } = packed.manifest;
  if (!licence) {
    say(`${call.model}: says nothing of its licence; find out what you may do before you pass ${call.out} on`);
  } else if (isPath(source) && licence.attribution === nameFor(source, call)) {
    say(`${call.out}: names "${licence.attribution}" as whose weights they are; --attribution says it better`);
  }
  return 0;
}

/** Whether the source is a folder or file of the caller's own, whose name says nothing to others. */
function isPath(source: ResolvedSource): boolean {
  return source.kind === "location" && source.href.startsWith("file:");
}

/** What a model is called in a bundle, which is for everyone: no path, and nothing of an address that may be secret. */
function nameFor(source: ResolvedSource, { model }: PackCall): string {
  if (model === "mini") return "mimi-audio's embedded model";
  if (source.kind !== "location") return model;
  return isPath(source) ? basename(fileURLToPath(source.href)) : withoutQuery(source.href);
}

/** Writes a bundle under another name beside `out`, and renames it when it is whole and measured. */
async function write(
  call: PackCall,
  source: ResolvedSource,
  opened: OpenedWeights,
  measured: (folder: string, manifest: BundleManifest) => Promise<Agreement>,
): Promise<Packed> {
  const out = await realpath(call.out).catch(() => resolve(call.out)),
    temporary = join(dirname(out), `.${randomUUID().slice(0, 8)}.pack.tmp`);
  if ((await readdir(out).catch((error) => error.code === "ENOENT" ? [] : [""])).length) {
    throw new LoadError("ERR_WRITE", `${call.out}: is there already, and not empty; pack replaces nothing.`);
  }
  const folder = openFolder(folderOf(source), {});
  const config = await readFields(folder, "config.json", (json) => json as Record<string, unknown>);
  const before = bundleOf(config), bundle = before && await readFields(folder, before, parseManifest);
  const model = bundle ? bundle.source.model : nameFor(source, call);
  const { licence, files } = await readLicence(folder, { model, said: call.attribution }, bundle || undefined);
  const manifest: BundleManifest = {
    format: "mimi-bundle",
    version: 1,
    source: { model, fingerprint: opened.fingerprint },
    modified: [...(bundle ? [bundle.modified] : []), modifications(call, opened)].join(" "),
    licence,
    part: opened.part,
    numQuantizers: opened.codebooks,
    precision: call.precision,
    quantized: {},
    shards: [],
  };
  try {
    await mkdir(temporary, { recursive: true });
    const bytes = await writeShards(temporary, call.precision, opened, manifest);
    const put = (name: string, text: string) => writeFile(join(temporary, name), text);
    for (const { name, text } of files) await put(name, text);
    await put("README.md", readme(manifest, files, call.attribution));
    const preprocessor = await folder("preprocessor_config.json").then(readJSON, () => undefined);
    if (preprocessor) await put("preprocessor_config.json", json(preprocessor));
    await put("config.json", json({ ...config, [BUNDLE_KEY]: MANIFEST }));
    await put(MANIFEST, json(manifest));
    const sourceBytes = [...opened.file.tensors.values()].reduce((n, { length }) => n + length, 0);
    const agreement = await measured(temporary, manifest);
    await rmdir(out).catch(() => {}); // an empty one; what has come into it meanwhile stays, and the rename fails
    await rename(temporary, out);
    return { out: call.out, manifest, bytes, sourceBytes, agreement };
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true });
    if ((cause as NodeJS.ErrnoException).syscall === undefined) throw cause;
    throw new LoadError("ERR_WRITE", `${call.out}: cannot be written (${reasonOf(cause)}).`, { cause });
  }
}

const json = (value: unknown) => `${JSON.stringify(value, undefined, 2)}\n`;

/** The folder in which a model's files are. */
function folderOf(source: ResolvedSource): ResolvedSource {
  return source.kind === "files" ? { kind: "location", href: new URL(".", source.weights).href } : source;
}

/** A safetensors file, cut into shards, each with its hash in the manifest; returns its size. */
async function writeShards(
  folder: string,
  precision: Storage,
  { weights, networks }: OpenedWeights,
  manifest: BundleManifest,
): Promise<number> {
  const both = Object.values(networks);
  const specs = [...new Map(both.flatMap(networkTensors).map((spec) => [spec.name, spec])).values()]
    .sort((a, b) => a.name < b.name ? -1 : 1);
  const storage = storages(precision, both), stored = specs.map((spec) => ({ spec, ...storage(spec) }));
  const header: Record<string, unknown> = {
    __metadata__: { format: "pt", source: manifest.source.model, modified: manifest.modified },
  };
  let end = 0;
  for (const { spec, quantized, tensors } of stored) {
    if (quantized) manifest.quantized[spec.name] = quantized;
    for (const { name, dtype, shape, size } of tensors) {
      header[name] = { dtype, shape, data_offsets: [end, end += size] };
    }
  }
  // Data begins at a multiple of 8 bytes, as the format's own writer has it.
  const text = JSON.stringify(header), bytes = new TextEncoder().encode(text.padEnd(text.length + (-text.length & 7)));
  const head = new Uint8Array(8 + bytes.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(bytes.length), true);
  head.set(bytes, 8);

  const shards = new Shards(folder, Math.ceil((head.length + end) / SHARD));
  await shards.write(head);
  for (const { spec, bytesOf } of stored) {
    for (const bytes of bytesOf(await weights.read(spec))) await shards.write(bytes);
  }
  manifest.shards = await shards.finish();
  return head.length + end;
}

/** Bytes into files of one size. */
class Shards {
  readonly #folder: string;
  readonly #count: number;
  readonly #done: BundleFile[] = [];
  readonly #buffer: Uint8Array = new Uint8Array(SHARD);
  #filled = 0;

  constructor(folder: string, count: number) {
    this.#folder = folder;
    this.#count = count;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const some = bytes.subarray(at, at + SHARD - this.#filled);
      this.#buffer.set(some, this.#filled);
      this.#filled += some.length;
      at += some.length;
      if (this.#filled === SHARD) await this.#flush();
    }
  }

  async finish(): Promise<BundleFile[]> {
    if (this.#filled > 0) await this.#flush();
    return this.#done;
  }

  async #flush(): Promise<void> {
    const bytes = this.#buffer.subarray(0, this.#filled), number = (n: number) => String(n).padStart(5, "0");
    const file = `weights-${number(this.#done.length + 1)}-of-${number(this.#count)}.bin`;
    const handle = await open(join(this.#folder, file), "wx");
    try {
      await handle.writeFile(bytes);
    } finally {
      await handle.close();
    }
    this.#done.push({ file, size: bytes.length, sha256: await sha256Of(bytes) });
    this.#filled = 0;
  }
}

/** What becomes of the values, in words. */
const STORED_AS: Record<Storage, string> = {
  f32: "values as they are, in f32",
  f16: "matrices in f16, vectors in f32",
  bf16: "matrices in bf16, vectors in f32",
  int12: "matrices in int12 and f16, codebooks in bf16, vectors in f32",
  int8: "matrices in int8, int12 and f16, codebooks in bf16, vectors in f32",
};

/** What a bundle leaves out of its source and what it changes, in words. */
function modifications({ precision }: PackCall, { part, codebooks, config, weights }: OpenedWeights): string {
  const parts = [
    part === "both" ? "encoder and decoder" : `the ${part} only`,
    codebooks === config.numQuantizers
      ? "all codebooks"
      : `the first ${codebooks} codebooks of ${config.numQuantizers}`,
    STORED_AS[precision],
    ...(weights.layout === "kyutai" ? ["named and ordered as transformers does"] : []),
  ];
  return `Modified by mimi-audio ${VERSION} (mimi pack): ${parts.join("; ")}.`;
}

/** What people who find a bundle have to know. */
function readme(
  { source, modified, licence, shards }: BundleManifest,
  files: CarriedFile[],
  attribution: string = source.model,
): string {
  const others = files.map(({ name }) => `[${name}](${name})`).join(", ");
  const terms = licence
    ? `The weights are those of **${licence.attribution}**, licence: **${licence.name}**. Pass them on under its terms, with this note.`
    : `The weights are those of **${attribution}**, which says nothing of its licence.`;
  return `# ${source.model}, packed for mimi-audio

${terms}${others ? ` What came with them: ${others}.` : ""}

${modified} Fingerprint of the codes: ${source.fingerprint}.

\`\`\`ts
const model = await MimiModel.fromPretrained("https://your.host/this/folder");
\`\`\`

\`${MANIFEST}\` lists ${shards.length} shard${
    shards.length === 1 ? "" : "s"
  } with their SHA-256. One after the other they are a safetensors file:
\`cat weights-*.bin > model.safetensors\`.
`;
}

/** Loads the source and the bundle, one after the other, and compares what they make of speech. */
async function measure(
  model: string,
  bundle: string,
  pcm: Float32Array | undefined,
  { part, numQuantizers }: BundleManifest,
  onProgress: (progress: { loaded: number; total?: number }) => void,
  signal: AbortSignal,
): Promise<Agreement> {
  const run = async (source: string, given?: AudioCodesInput) => {
    using loaded = await MimiModel.fromPretrained(source, { part, numQuantizers, onProgress, signal });
    const codes = pcm && (await loaded.encode(pcm)).audioCodes;
    const input = given ?? codes ?? someCodes(numQuantizers, loaded.config.codebookSize);
    return { codes, input, samples: part === "encoder" ? undefined : (await loaded.decode(input)).audioValues.data };
  };
  const reference = await run(model), packed = await run(bundle, reference.input);
  return {
    codes: reference.codes ? equalCodes(reference.codes, packed.codes!) : null,
    audio: reference.samples ? difference(reference.samples, packed.samples!) : null,
  };
}

/** Codes for a decoder that has no encoder beside it: 4 s, the same at every run (a linear congruential generator). */
function someCodes(codebooks: number, entries: number): number[][] {
  let state = 1;
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 16;
  return Array.from({ length: codebooks }, () => Array.from({ length: 50 }, () => next() % entries));
}

function describePacked({ out, manifest, bytes, sourceBytes, agreement }: Packed, { audio }: PackCall): string {
  const { source, part, numQuantizers, precision, licence, shards, modified } = manifest,
    { codes, audio: samples } = agreement;
  const on = codes === null
    ? "50 frames of arbitrary codes"
    : audio ?? "the sample of speech that comes with the package";
  return table([
    ["bundle", `${out} (${part}, ${numQuantizers} codebooks, ${precision})`],
    ["size", `${(bytes / 1e6).toFixed(1)} MB, ${(100 * bytes / sourceBytes).toFixed(1)} % of the source's weights`],
    ["shards", `${shards.length}, each with its SHA-256`],
    ...(codes === null ? [] : [["codes", `${formatShare(codes)} are the source's`] as [string, string]]),
    ...(samples === null ? [] : [["audio", `${formatDifference(samples)}`] as [string, string]]),
    ["measured on", on],
    ["licence", licence ? `${licence.name}, of ${licence.attribution}` : "unknown"],
    ["modified", modified],
    ["fingerprint", source.fingerprint],
  ]);
}
