/**
 * What has been downloaded: where it is kept, what is there, and how to be rid of it.
 *
 * A folder in Node, Deno and Bun: the option `cache`, else `MIMI_CACHE`, else `mimi-audio` in the user's cache folder. The
 * Cache API in browsers.
 *
 * @module
 */
import { checkOptions, describe, LoadError, MimiTypeError, reasonOf } from "../core/errors.ts";
import { BASE, browserShelf, openBrowserCache } from "./browser-shelf.ts";
import { ABOUT, type About, summary } from "./entry.ts";
import { folderShelf } from "./folder-shelf.ts";
import { withoutQuery } from "./http.ts";
import * as runtime from "./runtime.ts";
import { memoryShelf, type Shelf } from "./shelf.ts";

/** Which cache. */
export interface CacheOptions {
  /** A folder, or in browsers the name of a cache. Default: `MIMI_CACHE`, or `mimi-audio` in the user's cache folder. */
  cache?: string;
}

/** One file of a model, or as much of it as was needed. */
export interface CachedFile {
  /** The model as it was asked for, such as `kyutai/mimi`. */
  model: string;
  /** Commit of a repository, or its branch or tag where the hub does not tell. */
  revision: string | undefined;
  /** Its path in the repository, or the last part of its address. */
  file: string;
  /** Bytes that are kept, and bytes of the whole. */
  bytes: number;
  /** Bytes of the whole file. */
  size: number;
  /**
   * How it is known to be right: `"sha256"`, held against the hash that its publisher announces; `"lock"`, each piece is held
   * against its hash at the first download, whenever it is read.
   */
  checked: "sha256" | "lock";
}

/** The layout of what is kept; another one would be in another place. */
const VERSION = "v1", NAME = "mimi-audio";

/** The folder of the cache. */
export async function cacheFolder(cache?: string): Promise<string> {
  const [path, os] = await Promise.all([runtime.path(), runtime.os()]);
  const chosen = cache ?? runtime.environment("MIMI_CACHE") ??
    path.join(runtime.environment("XDG_CACHE_HOME") ?? path.join(os.homedir(), ".cache"), NAME);
  return path.resolve(chosen, VERSION);
}

/** Where the file of a key is kept. */
export async function openShelf(key: readonly string[], cache: string | false | undefined): Promise<Shelf> {
  if (cache === false) return memoryShelf(JSON.stringify(key));
  if (!runtime.hasFiles()) return await browserShelf(cache ?? NAME, [VERSION, ...key]);
  return await folderShelf((await runtime.path()).join(await cacheFolder(cache), ...key.map(fileName)));
}

/** A name that stays in its folder and is different for every part of an address. */
function fileName(part: string): string {
  return encodeURIComponent(part).replace(/\*/g, "%2A").replace(/^\.+$/, (dots) => "%2E".repeat(dots.length));
}

/** What is kept, sorted by model and file. */
export async function listCache(options: CacheOptions = {}): Promise<CachedFile[]> {
  const files: CachedFile[] = [];
  for await (const { names, about } of shelves(check("listCache", options).cache)) {
    const found = summary(names, about);
    if (found?.about.file) files.push(toCachedFile(found));
  }
  const order = ({ model, revision, file }: CachedFile) => [model, revision ?? "", file].join("\n");
  return files.sort((a, b) => order(a) < order(b) ? -1 : 1);
}

function toCachedFile({ about, bytes }: { about: About; bytes: number }): CachedFile {
  const { model, revision, file, size, checked } = about;
  return { model, revision, file, bytes, size, checked: checked ? "sha256" : "lock" };
}

/**
 * Removes what is kept of a model, or everything. Loads that are under way download again what they miss.
 *
 * @param model as {@link listCache} names it; what an address has behind `?` is no part of that.
 * @returns the bytes that were freed.
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT`.
 * @throws {LoadError} `ERR_WRITE` where something cannot be removed.
 */
export async function clearCache(model?: string, options: CacheOptions = {}): Promise<number> {
  const { cache } = check("clearCache", options);
  if (model !== undefined && typeof model !== "string") {
    throw new MimiTypeError("ERR_INVALID_ARGUMENT", `clearCache: model must be a name, got ${describe(model)}.`);
  }
  let freed = 0;
  const wanted = model === undefined ? undefined : withoutQuery(model);
  for await (const { names, about, clear } of shelves(cache)) {
    const found = summary(names, about);
    if (wanted !== undefined && (!found || withoutQuery(found.about.model) !== wanted)) continue;
    freed += found?.bytes ?? 0;
    await clear();
  }
  // Leftovers of downloads that were killed are nobody's.
  if (model === undefined && runtime.hasFiles()) {
    await removeFolder(await cacheFolder(cache));
  }
  return freed;
}

/**
 * Asks the browser not to remove what is kept when it runs out of room; it may ask the user. Call it on a click.
 *
 * @returns whether it stays. Outside of browsers nothing is removed, so `true`.
 */
export async function persistCache(): Promise<boolean> {
  return runtime.hasFiles() || await globalThis.navigator?.storage?.persist?.() === true;
}

function check(where: string, options: CacheOptions): CacheOptions {
  checkOptions(where, options, ["cache"]);
  const { cache } = options;
  if (cache === undefined || typeof cache === "string" && cache !== "") return options;
  throw new MimiTypeError("ERR_INVALID_ARGUMENT", `${where}: cache must be a folder, got ${describe(cache)}.`);
}

interface KeptShelf {
  names: string[];
  about: Uint8Array;
  clear(): Promise<void>;
}

function shelves(cache: string | undefined): AsyncGenerator<KeptShelf, void, undefined> {
  return runtime.hasFiles() ? foldersOf(cache) : recordsOf(cache ?? NAME);
}

async function* foldersOf(cache: string | undefined): AsyncGenerator<KeptShelf, void, undefined> {
  const [fs, path] = await Promise.all([runtime.fs(), runtime.path()]), root = await cacheFolder(cache);
  const all = await fs.readdir(root, { recursive: true }).catch(() => []);
  for (const file of all) {
    if (path.basename(file) !== ABOUT) continue;
    const folder = path.join(root, path.dirname(file)),
      about = await fs.readFile(path.join(root, file)).catch(() => null);
    if (!about) continue;
    const names = await fs.readdir(folder).catch(() => []);
    yield { names, about, clear: () => removeFolder(folder) };
  }
}

async function removeFolder(folder: string): Promise<void> {
  try {
    await (await runtime.fs()).rm(folder, { recursive: true, force: true, maxRetries: 5 }); // others may be writing
  } catch (cause) {
    throw new LoadError("ERR_WRITE", `clearCache: ${folder} cannot be removed (${reasonOf(cause)}).`, { cause });
  }
}

async function* recordsOf(name: string): AsyncGenerator<KeptShelf, void, undefined> {
  const cache = await openBrowserCache(name), urls = (await cache?.keys() ?? []).map(({ url }) => url);
  const ending = `/${ABOUT}`;
  for (const url of urls) {
    if (!url.startsWith(BASE) || !url.endsWith(ending)) continue;
    const base = url.slice(0, -ABOUT.length), record = await cache!.match(url);
    if (!record) continue;
    const mine = urls.filter((other) => other.startsWith(base) && !other.slice(base.length).includes("/"));
    yield {
      names: mine.map((other) => other.slice(base.length)),
      about: new Uint8Array(await record.arrayBuffer()),
      clear: async () => void await Promise.all(mine.map((other) => cache!.delete(other))),
    };
  }
}
