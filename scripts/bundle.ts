/**
 * Bundles of one file each, by esbuild. Browsers load a worker and a worklet by their address alone, so these two must be
 * whole; the build puts them in place of what tsc makes of them, and tests serve them without a build.
 */
import { build, type Format, type Metafile } from "esbuild";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const ROOT: string = fileURLToPath(new URL("../", import.meta.url));

/**
 * Sources whose output stands alone. They become classic scripts: some implementations of Web Audio wrap the text of a
 * worklet, and webpack minifies a file that it does not bundle as a script.
 */
const STANDALONE = ["src/worker.ts", "src/nodes/worklet.ts", "src/nodes/worklet-offline.ts"];

/** Those of them that this tree has. */
export function standaloneSources(): string[] {
  return STANDALONE.filter((source) => existsSync(ROOT + source));
}

/** A package whose code is in a bundle. */
export interface Ingredient {
  name: string;
  version: string;
  license: string;
  /** Where its source code is. */
  source: string;
  /** The text of its licence. */
  text: string;
}

/** A standalone file: small, and headed by what it is made of. @throws what esbuild finds wrong. */
export async function bundleStandalone(source: string): Promise<string> {
  return (await bundleWithIngredients(source)).text;
}

/** The text of a standalone file, and the packages that went into it. */
export async function bundleWithIngredients(source: string): Promise<{ text: string; ingredients: Ingredient[] }> {
  const { text, inputs } = await run({ file: source }, { format: "iife", minify: true });
  const ingredients = ingredientsOf(inputs), { version } = packageOf(".");
  const parts = ingredients.map((part) => `${part.name} ${part.version} (${part.license}, ${part.source})`);
  return { text: `/*! mimi-audio ${version} (MIT). Contains ${parts.join(", ")}. */\n${text}`, ingredients };
}

/**
 * One self-contained script for browsers, of a file or of some text that stands beside the files of `folder`.
 *
 * @throws what esbuild finds wrong, such as an import of `node:fs`.
 */
export async function bundle(
  entry: { file: string } | { text: string; folder: string },
  { format = "esm", minify = false }: { format?: Format; minify?: boolean } = {},
): Promise<string> {
  return (await run(entry, { format, minify })).text;
}

async function run(
  entry: { file: string } | { text: string; folder: string },
  options: { format?: Format; minify?: boolean },
): Promise<{ text: string; inputs: Metafile["inputs"] }> {
  const { outputFiles: [output], metafile } = await build({
    ...("file" in entry
      ? { entryPoints: [entry.file] }
      : { stdin: { contents: entry.text, resolveDir: ROOT + entry.folder, loader: "ts" } }),
    absWorkingDir: ROOT,
    bundle: true,
    write: false,
    metafile: true,
    platform: "browser",
    target: "es2022",
    external: ["audio-decode"], // an optional peer, and not ours to bundle
    legalComments: "none", // the head of a standalone file says it for all of it
    logLevel: "silent",
    logOverride: { "empty-import-meta": "error" },
    ...options,
  });
  return { text: output.text, inputs: metafile.inputs };
}

function packageOf(folder: string): Record<string, unknown> {
  return JSON.parse(readFileSync(`${ROOT}${folder}/package.json`, "utf8"));
}

function ingredientsOf(inputs: Metafile["inputs"]): Ingredient[] {
  const folders = Object.keys(inputs).map((path) => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0]);
  return [...new Set(folders)].filter((folder) => folder !== undefined).sort().map((folder) => {
    const { name, version, license, repository } = packageOf(folder) as
      & Record<"name" | "version" | "license", string>
      & {
        repository: string | { url: string };
      };
    const file = readdirSync(ROOT + folder).find((name) => /^licen[cs]e/i.test(name));
    if (!license || !file) throw new Error(`${folder} does not say its licence`);
    return {
      name,
      version,
      license,
      source: address(repository),
      text: readFileSync(`${ROOT}${folder}/${file}`, "utf8"),
    };
  });
}

/** `owner/name` and `git+https://….git` as an address to open. */
function address(repository: string | { url: string }): string {
  const url = typeof repository === "string" ? repository : repository.url;
  return /^[\w.-]+\/[\w.-]+$/.test(url) ? `https://github.com/${url}` : url.replace(/^git\+/, "").replace(/\.git$/, "");
}
