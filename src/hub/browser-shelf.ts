/**
 * Blobs as responses in the browser's Cache API, safe between tabs by Web Locks.
 *
 * @module
 */
import { inTurn, memoryShelf, type Shelf } from "./shelf.ts";

/** An address that nobody has (RFC 6761): the records are found by it and never fetched. */
export const BASE = "https://mimi-audio.invalid/";

/** The part of {@link BASE} under which a key's blobs are. */
export function addressOf(key: readonly string[]): string {
  return `${BASE}${key.map(encodeURIComponent).join("/")}/`;
}

/** The named cache; undefined where a page has none, as in insecure contexts. */
export async function openBrowserCache(name: string): Promise<Cache | undefined> {
  return typeof caches === "undefined" ? undefined : await caches.open(name).catch(() => undefined);
}

/** Blobs of a key; in memory where the page has no cache. */
export async function browserShelf(cacheName: string, key: readonly string[]): Promise<Shelf> {
  const cache = await openBrowserCache(cacheName), base = addressOf(key), lockName = `${cacheName} ${base}`;
  if (!cache) return memoryShelf(base);
  const names = async () =>
    (await cache.keys()).filter(({ url }) => url.startsWith(base)).map(({ url }) => url.slice(base.length))
      .filter((name) => !name.includes("/"));
  return {
    names,
    async get(name) {
      const found = await cache.match(base + name);
      return found && new Uint8Array(await found.arrayBuffer());
    },
    async put(name, bytes) {
      try {
        await cache.put(base + name, new Response(bytes as Uint8Array<ArrayBuffer>));
        return true;
      } catch {
        return false; // the quota is used up, or the user has forbidden storage
      }
    },
    remove: async (name) => void await cache.delete(base + name),
    clear: async () => void await Promise.all((await names()).map((name) => cache.delete(base + name))),
    lock: (signal, body) =>
      globalThis.navigator?.locks
        ? navigator.locks.request(lockName, { signal }, body).catch((error) => {
          signal?.throwIfAborted();
          throw error;
        }) as ReturnType<typeof body>
        : inTurn(lockName, signal, body),
  };
}
