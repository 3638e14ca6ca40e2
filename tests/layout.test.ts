/** Imports point one way: cli, nodes and file -> load -> engine -> parts -> hub, backends -> core. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

/** What each part of the library may import, itself aside. */
const ALLOWED: Record<string, string[]> = {
  "src/core": [],
  "src/backends/wasm": ["src/core"],
  "src/backends/onnx": ["src/core"], // nothing but its own entries leads there, so that nobody bundles a runtime unasked
  "src/backends": ["src/core", "src/backends/wasm"],
  "src/hub": ["src/core"],
  "models": ["src/hub"],
  "src/resolve.ts": ["src/hub", "models"],
  "src/parts.ts": ["src/core", "src/backends", "src/hub", "src/resolve.ts"],
  "src/worker-file.ts": [],
  "src/engine": ["src/core", "src/hub", "src/resolve.ts", "src/parts.ts", "src/worker-file.ts"],
  "src/load.ts": ["src/core", "src/hub", "src/resolve.ts", "src/parts.ts", "src/engine"],
  "src/nodes": ["src/core", "src/backends/wasm", "src/engine", "src/load.ts", "src/worker-file.ts"],
  "src/rtc": ["src/core"],
  "src/call": ["src/core", "src/rtc", "src/engine", "src/nodes"],
  "src/worker.ts": ["src/engine", "src/hub", "src/nodes", "src/call"],
  "src/file": ["src/core"],
  "src/cli": [
    "src/core",
    "src/backends",
    "src/backends/wasm",
    "src/backends/onnx",
    "src/file",
    "src/load.ts",
    "src/parts.ts",
    "src/resolve.ts",
    "src/hub",
    "models",
    "mod.ts",
  ],
  "mod.ts": ["src/core", "src/backends", "src/backends/wasm", "src/hub", "src/load.ts", "src/parts.ts", "src/engine"],
};

/** What runs in browsers too: it asks for nothing of Node but behind an import that is made when it is needed. */
const EVERYWHERE = [
  "src/core",
  "src/backends",
  "src/backends/wasm",
  "src/backends/onnx",
  "src/hub",
  "src/file",
  "src/rtc",
  "src/call",
  "src/load.ts",
  "models",
  "mod.ts",
];

const partOf = (path: string) => Object.keys(ALLOWED).find((part) => path === part || path.startsWith(`${part}/`));

test("imports point one way", async () => {
  const files = (await readdir(ROOT, { recursive: true })).map((f) => f.replaceAll("\\", "/"))
    .filter((f) => /^(mod\.ts|(src|models)\/.*\.ts)$/.test(f) && !f.startsWith("src/backends/wasm/kernels/"));
  let seen = 0;
  for (const file of files) {
    const part = partOf(file);
    assert.ok(part, `${file} belongs to a part of the library`);
    const text = await readFile(join(ROOT, file), "utf8");
    for (const [, target] of text.matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)) {
      const to = partOf(relative(ROOT, join(ROOT, file, "..", target)).replaceAll("\\", "/"));
      assert.ok(to === part || ALLOWED[part].includes(to ?? ""), `${file} must not import ${target}`);
      seen++;
    }
    if (EVERYWHERE.includes(part)) assert.doesNotMatch(text, /from\s*"node:/, `${file} must run in browsers`);
  }
  assert.ok(seen > 50, `only ${seen} imports found`);
});
