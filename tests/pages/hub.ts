/** What tests ask of downloads and their cache in a page. */
import { clearCache, listCache, MimiModel, type ModelSource, persistCache, type Progress } from "../../mod.ts";
import type { PartsOptions } from "../../src/parts.ts";

export { listCache, persistCache };

export interface Loaded {
  fingerprint: string;
  last: Progress | undefined;
}

export async function load(source: ModelSource, options: PartsOptions): Promise<Loaded> {
  let last: Progress | undefined;
  const model = await MimiModel.fromPretrained(source, { ...options, onProgress: (progress) => last = progress });
  model.close();
  return { fingerprint: model.fingerprint, last };
}

/** {@link load}, given up when `bytes` bytes have come. */
export async function giveUp(source: ModelSource, options: PartsOptions, bytes: number): Promise<string> {
  const stop = new AbortController(), reason = new Error("enough");
  const onProgress = ({ loaded }: Progress) => loaded >= bytes && stop.abort(reason);
  try {
    await MimiModel.fromPretrained(source, { ...options, onProgress, signal: stop.signal });
    return "loaded";
  } catch (error) {
    return (error as Error).message;
  }
}

export async function clear(model?: string): Promise<number> {
  return await clearCache(model);
}

/** Changes a byte in the middle of a record whose name contains `text`; returns how many there were. */
export async function damage(text: string): Promise<number> {
  const cache = await caches.open("mimi-audio");
  const found = (await cache.keys()).filter(({ url }) => url.includes(text) && !url.endsWith("/about.json"));
  const bytes = new Uint8Array(await (await cache.match(found[0]))!.arrayBuffer());
  bytes[bytes.length >> 1] ^= 1;
  await cache.put(found[0], new Response(bytes));
  return found.length;
}

/** What is in the page's caches, by name. */
export async function records(): Promise<number> {
  return (await (await caches.open("mimi-audio")).keys()).length;
}
