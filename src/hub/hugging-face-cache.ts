/**
 * The cache that Hugging Face's own libraries share, which is read and never written.
 *
 * `models--OWNER--NAME/refs/REVISION` holds a commit, `snapshots/COMMIT/` its files
 * (https://huggingface.co/docs/hub/local-cache).
 *
 * @module
 */
import * as runtime from "./runtime.ts";

/** Names that cannot lead out of their folder. */
const SAFE = /^(?!.*(?:^|\/)\.\.?(?:\/|$))[\w.-]+(?:\/[\w.-]+)*$/;

/**
 * The folder with a repository's files at a revision, if it is there and has `file`.
 *
 * @param repository `OWNER/NAME`.
 */
export async function findSnapshot(repository: string, revision: string, file: string): Promise<string | undefined> {
  if (!runtime.hasFiles() || ![repository, revision, file].every((name) => SAFE.test(name))) return undefined;
  const [fs, path] = await Promise.all([runtime.fs(), runtime.path()]);
  const at = path.join(await hubFolder(), `models--${repository.replace("/", "--")}`);
  const written = await fs.readFile(path.join(at, "refs", revision), "utf8").catch(() => revision);
  const commit = written.trim();
  if (!/^[0-9a-f]{40}$/.test(commit)) return undefined;
  const snapshot = path.join(at, "snapshots", commit);
  return await fs.stat(path.join(snapshot, file)).then((found) => found.isFile(), () => false) ? snapshot : undefined;
}

async function hubFolder(): Promise<string> {
  const [path, os] = await Promise.all([runtime.path(), runtime.os()]), { environment } = runtime;
  const cache = () => environment("XDG_CACHE_HOME") ?? path.join(os.homedir(), ".cache");
  return environment("HF_HUB_CACHE") ?? path.join(environment("HF_HOME") ?? path.join(cache(), "huggingface"), "hub");
}
