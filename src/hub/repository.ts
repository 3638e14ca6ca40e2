/**
 * Files of a Hugging Face repository, through a plain cache: a folder where there are files, the Cache API in browsers.
 *
 * @module
 */
import { LoadError, reasonOf } from "../core/errors.ts";
import { bytesInMemory, type ByteSource } from "../core/safetensors.ts";
import { fetchBytes, type FetchOptions, fetchPieces, openFile } from "./files.ts";
import * as runtime from "./runtime.ts";
import { toURL } from "./source.ts";

export interface RepositoryOptions extends FetchOptions {
  /** Branch, tag or commit; default `"main"`. */
  revision?: string;
  /** Default: the environment's `HF_ENDPOINT`, or `https://huggingface.co`. */
  endpoint?: string;
  /** A folder for downloads, or `false` to keep nothing. Default: `MIMI_CACHE`, or `mimi-audio` in the user's cache folder. */
  cache?: string | false;
}

/** @throws {LoadError} `ERR_NOT_FOUND` or `ERR_NETWORK`. */
export async function openRepositoryFile(
  repository: string,
  file: string,
  options: RepositoryOptions = {},
): Promise<ByteSource> {
  const { revision = "main", cache } = options;
  const endpoint = (options.endpoint ?? environment("HF_ENDPOINT") ?? "https://huggingface.co").replace(/\/+$/, "");
  toURL("endpoint", endpoint);
  const address = new URL(`${endpoint}/${repository}/resolve/${encodeURIComponent(revision)}/${file}`);
  if (cache === false) return bytesInMemory(await fetchBytes(address, options), address.href);
  return runtime.hasFiles()
    ? await throughFolder(address, [address.host, ...repository.split("/"), revision, file], options)
    : await throughCacheApi(address, options);
}

function environment(name: string): string | undefined {
  return runtime.hasFiles() ? process.env[name] || undefined : undefined;
}

async function throughFolder(address: URL, names: string[], options: RepositoryOptions): Promise<ByteSource> {
  const [fs, path, os] = await Promise.all([runtime.fs(), runtime.path(), runtime.os()]);
  const root = options.cache || environment("MIMI_CACHE") ||
    path.join(environment("XDG_CACHE_HOME") ?? path.join(os.homedir(), ".cache"), "mimi-audio");
  const target = path.join(root, ...names.map(fileName));
  const openKept = async () => ({ ...await openFile(target), discard: () => fs.rm(target, { force: true }) });
  if (await fs.stat(target).then((s) => s.isFile(), () => false)) return await openKept();
  const keeping = async <T>(action: () => Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (cause) {
      const hint = "choose another folder with MIMI_CACHE or the option cache, or none with cache: false";
      throw new LoadError("ERR_WRITE", `${target}: the download cannot be kept (${reasonOf(cause)}); ${hint}.`, {
        cause,
      });
    }
  };
  const part = `${target}.${process.pid}.${Math.random().toString(36).slice(2)}.part`;
  await keeping(() => fs.mkdir(path.dirname(target), { recursive: true }));
  try {
    const handle = await keeping(() => fs.open(part, "wx"));
    try {
      for await (const { bytes } of fetchPieces(address, options)) await keeping(() => handle.writeFile(bytes));
    } finally {
      await handle.close();
    }
    await keeping(() => fs.rename(part, target)); // whole or not there at all
  } catch (error) {
    await fs.rm(part, { force: true });
    throw error;
  }
  return await openKept();
}

/** A name that stays in its folder and is different for every part of an address. */
function fileName(part: string): string {
  return encodeURIComponent(part).replace(/\*/g, "%2A").replace(/^\.+$/, (dots) => "%2E".repeat(dots.length));
}

async function throughCacheApi(address: URL, options: RepositoryOptions): Promise<ByteSource> {
  const store = typeof caches === "undefined"
    ? undefined
    : await caches.open(options.cache || "mimi-audio").catch(() => undefined);
  const discard = async () => void await store?.delete(address.href);
  const kept = await store?.match(address.href);
  if (kept) return { ...bytesInMemory(new Uint8Array(await kept.arrayBuffer()), address.href), discard };
  const bytes = await fetchBytes(address, options);
  // A full disk must not keep anyone from using what has just been downloaded.
  await store?.put(address.href, new Response(bytes)).catch(() => undefined);
  return { ...bytesInMemory(bytes, address.href), discard };
}
