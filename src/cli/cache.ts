/**
 * `mimi cache`: what was downloaded, and how to be rid of it.
 *
 * @module
 */
import { type CachedFile, cacheFolder, clearCache, listCache } from "../hub/cache.ts";
import type { Surroundings } from "./program.ts";
import type { CacheCall } from "./usage.ts";

/** Lists or clears the cache. */
export async function cache({ action, models, json }: CacheCall, { print }: Surroundings): Promise<number> {
  const folder = await cacheFolder();
  if (action === "list") {
    const files = await listCache();
    await print(json ? `${JSON.stringify({ folder, files })}\n` : `${listed(folder, files)}\n`);
    return 0;
  }
  let freed = 0;
  for (const model of models.length ? models : [undefined]) freed += await clearCache(model);
  await print(json ? `${JSON.stringify({ folder, freed })}\n` : `${folder}: ${megabytes(freed)} MB freed\n`);
  return 0;
}

const CHECKS: Record<CachedFile["checked"], string> = {
  sha256: "SHA-256 as published",
  lock: "SHA-256 as first downloaded",
};

function listed(folder: string, files: CachedFile[]): string {
  if (files.length === 0) return `${folder}: nothing`;
  const rows = files.map(({ model, revision, file, bytes, size, checked }) => [
    revision === undefined ? model : `${model} ${revision.slice(0, 12)}`,
    file,
    bytes === size ? `${megabytes(size)} MB` : `${megabytes(bytes)} of ${megabytes(size)} MB`,
    CHECKS[checked],
  ]);
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const total = files.reduce((n, { bytes }) => n + bytes, 0);
  return [
    ...rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column])).join("  ").trimEnd()),
    `${folder}: ${megabytes(total)} MB`,
  ].join("\n");
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e5 ? 3 : 1);
}
