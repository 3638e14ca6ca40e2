/**
 * What a model's files say of its licence.
 *
 * @module
 */
import { isMimiError } from "../core/errors.ts";
import type { BundleManifest } from "../hub/bundle.ts";
import type { Folder } from "../parts.ts";

/** Files in which licences and model cards are. */
const NAMES = ["README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE"];
/** What their names begin with in a bundle. */
const CARRIED = "SOURCE-";
/** Bytes that are taken of one at most. */
const MOST = 2 ** 20;

/** A text that came with a model, under the name that it has in a bundle. */
export interface CarriedFile {
  name: string;
  text: string;
}

/**
 * Reads the licence of a model, from the metadata of its card (`license:` between two lines of dashes); that of a bundle is
 * what its manifest says.
 *
 * @param whose what the model is called, and whom a bundle has to name if the caller says so.
 */
export async function readLicence(
  open: Folder,
  whose: { model: string; said?: string },
  bundle?: BundleManifest,
): Promise<{ licence: BundleManifest["licence"]; files: CarriedFile[] }> {
  const files: CarriedFile[] = [];
  if (bundle) {
    for (const file of NAMES) {
      const name = CARRIED + file, text = await readText(open, name);
      if (text !== undefined) files.push({ name, text });
    }
    const { licence } = bundle;
    if (!licence) return { licence, files };
    const { name, attribution } = licence;
    return { licence: { name, attribution: whose.said ?? attribution, files: files.map(({ name }) => name) }, files };
  }
  let name: string | undefined;
  for (const file of NAMES) {
    const text = await readText(open, file);
    if (text === undefined) continue;
    files.push({ name: CARRIED + file, text });
    name ??= /^---\n(?:[\s\S]*?\n)?license:\s*["']?([\w.+-]+)/.exec(text)?.[1] ??
      (file.startsWith("LICENSE") ? text.trim().split("\n")[0].trim().slice(0, 100) : undefined);
  }
  const attribution = whose.said ?? whose.model;
  return { licence: name === undefined ? null : { name, attribution, files: files.map(({ name }) => name) }, files };
}

async function readText(open: Folder, file: string): Promise<string | undefined> {
  try {
    const source = await open(file);
    try {
      return source.size > MOST ? undefined : new TextDecoder().decode(await source.read(0, source.size));
    } finally {
      await source.close?.();
    }
  } catch (error) {
    if (isMimiError(error) && error.code === "ERR_NOT_FOUND") return undefined;
    throw error;
  }
}
