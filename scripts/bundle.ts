/**
 * Bundles of one file each, by esbuild. Browsers load a worker and a worklet by their address alone, so these two must be
 * whole; the build puts them in place of what tsc makes of them, and tests serve them without a build.
 */
import { build, type Format } from "esbuild";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const ROOT: string = fileURLToPath(new URL("../", import.meta.url));

/**
 * Sources whose output stands alone. They become classic scripts: some implementations of Web Audio wrap the text of a
 * worklet, and webpack minifies a file that it does not bundle as a script.
 */
const STANDALONE = ["src/worker.ts", "src/nodes/worklet.ts"];

/** Those of them that this tree has. */
export function standaloneSources(): string[] {
  return STANDALONE.filter((source) => existsSync(ROOT + source));
}

/** The text of a standalone file. @throws what esbuild finds wrong, such as `import.meta` in it. */
export async function bundleStandalone(source: string): Promise<string> {
  return await bundle({ file: source }, "iife");
}

/**
 * One self-contained script for browsers, of a file or of some text that stands beside the files of `folder`.
 *
 * @throws what esbuild finds wrong, such as an import of `node:fs`.
 */
export async function bundle(
  entry: { file: string } | { text: string; folder: string },
  format: Format = "esm",
): Promise<string> {
  const { outputFiles: [output] } = await build({
    ...("file" in entry
      ? { entryPoints: [entry.file] }
      : { stdin: { contents: entry.text, resolveDir: ROOT + entry.folder, loader: "ts" } }),
    absWorkingDir: ROOT,
    bundle: true,
    write: false,
    format,
    platform: "browser",
    target: "es2022",
    logLevel: "silent",
    logOverride: { "empty-import-meta": "error" },
  });
  return output.text;
}
