/**
 * From what a caller names as a model to absolute addresses. Not part of the worker's program: it asks where this file is.
 *
 * @module
 */
import * as runtime from "./hub/runtime.ts";
import { type ModelSource, parseSource } from "./hub/source.ts";

/** A source whose addresses are absolute, as plain data: it means the same in every thread. */
export type ResolvedSource =
  | { kind: "repository"; repository: string }
  | { kind: "location"; href: string }
  | { kind: "files"; config?: string; weights: string; preprocessor?: string; sha256?: string }
  | { kind: "folder"; files: Record<string, string> };

/** @throws {MimiTypeError} for what is no source. */
export async function resolveSource(source: ModelSource): Promise<ResolvedSource> {
  const parsed = parseSource(source);
  switch (parsed.kind) {
    case "repository":
      return parsed;
    case "location": {
      const { location } = parsed;
      return { kind: "location", href: (typeof location === "string" ? await pathToURL(location) : location).href };
    }
    case "folder": {
      const addresses = Object.entries(parsed.folder).map(([name, { href }]) => [name, href]);
      return { kind: "folder", files: Object.fromEntries(addresses) };
    }
    case "embedded":
    case "files": {
      const { config, weights, preprocessor, sha256 } = parsed.kind === "files"
        ? parsed.files
        : (await import("../models/mini/mod.ts")).mini;
      return { kind: "files", config: config?.href, weights: weights.href, preprocessor: preprocessor?.href, sha256 };
    }
  }
}

async function pathToURL(location: string): Promise<URL> {
  if (!runtime.hasFiles()) return new URL(location, globalThis.location?.href);
  const [path, url, os] = await Promise.all([runtime.path(), runtime.url(), runtime.os()]);
  return url.pathToFileURL(
    path.resolve(location.startsWith("~/") ? path.join(os.homedir(), location.slice(2)) : location),
  );
}
