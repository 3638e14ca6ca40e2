/**
 * Files of a Hugging Face repository, through a plain cache: a folder where there are files, the Cache API in browsers.
 *
 * @module
 */
import { LoadError, reasonOf } from "../core/errors.ts";
import { bytesInMemory, type ByteSource } from "../core/safetensors.ts";
import { fetchBytes, type FetchOptions, openFile } from "./files.ts";
import * as runtime from "./runtime.ts";

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
  const target = path.join(root, ...names.map((name) => name.replace(/[^\w.-]/g, "_").replace(/^\.+$/, "_")));
  if (!await fs.stat(target).then((s) => s.isFile(), () => false)) {
    const bytes = await fetchBytes(address, options),
      part = `${target}.${process.pid}.${Math.random().toString(36).slice(2)}.part`;
    try {
      await fs.mkdir(path.dirname(target), { recursive: true });
      await fs.writeFile(part, bytes);
      await fs.rename(part, target); // whole or not there at all
    } catch (cause) {
      await fs.rm(part, { force: true });
      throw new LoadError(
        "ERR_WRITE",
        `${target}: the download cannot be kept (${
          reasonOf(cause)
        }); choose another folder with MIMI_CACHE or cache, or none with cache: false.`,
        { cause },
      );
    }
  }
  return await openFile(target);
}

async function throughCacheApi(address: URL, options: RepositoryOptions): Promise<ByteSource> {
  const store = typeof caches === "undefined"
    ? undefined
    : await caches.open(options.cache || "mimi-audio").catch(() => undefined);
  const kept = await store?.match(address.href);
  if (kept) return bytesInMemory(new Uint8Array(await kept.arrayBuffer()), address.href);
  const bytes = await fetchBytes(address, options);
  // A full disk must not keep anyone from using what has just been downloaded.
  await store?.put(address.href, new Response(bytes.slice().buffer)).catch(() => undefined);
  return bytesInMemory(bytes, address.href);
}
