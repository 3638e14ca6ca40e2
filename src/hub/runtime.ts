/**
 * What differs between browsers and Node, Deno and Bun.
 *
 * @module
 */

/** Whether there is a file system: Node, Deno and Bun. */
export function hasFiles(): boolean {
  return typeof process !== "undefined" && typeof process.versions?.node === "string";
}

// The names are no literals, so that bundlers for browsers do not try to resolve them.
const load = (name: string): Promise<unknown> => import(/* @vite-ignore */ /* webpackIgnore: true */ `node:${name}`);

export function fs(): Promise<typeof import("node:fs/promises")> {
  return load("fs/promises") as Promise<typeof import("node:fs/promises")>;
}

export function path(): Promise<typeof import("node:path")> {
  return load("path") as Promise<typeof import("node:path")>;
}

export function os(): Promise<typeof import("node:os")> {
  return load("os") as Promise<typeof import("node:os")>;
}

export function crypto(): Promise<typeof import("node:crypto")> {
  return load("crypto") as Promise<typeof import("node:crypto")>;
}

export function url(): Promise<typeof import("node:url")> {
  return load("url") as Promise<typeof import("node:url")>;
}

export function workerThreads(): Promise<typeof import("node:worker_threads")> {
  return load("worker_threads") as Promise<typeof import("node:worker_threads")>;
}

/** A variable of the environment; undefined where it is empty, and in browsers. */
export function environment(name: string): string | undefined {
  return hasFiles() ? process.env[name] || undefined : undefined;
}
