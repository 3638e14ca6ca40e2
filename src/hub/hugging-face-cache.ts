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

/** A repository's files at a commit, or some of them. */
export interface Snapshot {
  commit: string;
  /** The path of a file, if it is there. */
  find(file: string): Promise<string | undefined>;
}

/**
 * What is there of a repository at a revision, if that is anything.
 *
 * @param repository `OWNER/NAME`.
 */
export async function findSnapshot(repository: string, revision: string): Promise<Snapshot | undefined> {
  if (!runtime.hasFiles() || ![repository, revision].every((name) => SAFE.test(name))) return undefined;
  const [fs, path] = await Promise.all([runtime.fs(), runtime.path()]);
  const at = path.join(await hubFolder(), `models--${repository.replace("/", "--")}`);
  const written = await fs.readFile(path.join(at, "refs", revision), "utf8").catch(() => revision);
  const commit = written.trim();
  if (!/^[0-9a-f]{40}$/.test(commit)) return undefined;
  return {
    commit,
    async find(file) {
      if (!SAFE.test(file)) return undefined;
      const found = path.join(at, "snapshots", commit, file);
      return await fs.stat(found).then((stat) => stat.isFile(), () => false) ? found : undefined;
    },
  };
}

async function hubFolder(): Promise<string> {
  const [path, os] = await Promise.all([runtime.path(), runtime.os()]), { environment } = runtime;
  const cache = () => environment("XDG_CACHE_HOME") ?? path.join(os.homedir(), ".cache");
  return environment("HF_HUB_CACHE") ?? path.join(environment("HF_HOME") ?? path.join(cache(), "huggingface"), "hub");
}
