/**
 * Files of a Hugging Face repository, all of the same commit.
 *
 * @module
 */
import { LoadError } from "../core/errors.ts";
import type { ByteSource } from "../core/safetensors.ts";
import { openShelf } from "./cache.ts";
import { Entry } from "./entry.ts";
import { openFile } from "./files.ts";
import { getBytes, withoutQuery } from "./http.ts";
import { findSnapshot } from "./hugging-face-cache.ts";
import { openRemote, type RemoteOptions } from "./remote.ts";
import * as runtime from "./runtime.ts";
import { isSha256 } from "./sha256.ts";
import { toURL } from "./source.ts";

/** Where repositories are. */
export interface RepositoryOptions extends RemoteOptions {
  /** Branch, tag or commit; default `"main"`. */
  revision?: string;
  /** Default: the environment's `HF_ENDPOINT`, or `https://huggingface.co`. */
  endpoint?: string;
  /** A folder for downloads, or `false` to keep nothing. */
  cache?: string | false;
}

/** What the hub says of a revision; empty for a hub that has files and says nothing of them, as some mirrors do. */
interface Listing {
  commit?: string;
  /** SHA-256 of what is in Git LFS, as weights are. */
  files?: Record<string, { size?: number; sha256?: string }>;
}

/** Bytes of a listing at most. */
const MOST_LISTING = 2 ** 22;

/** A repository at a revision. */
export class Repository {
  readonly #name: string;
  readonly #options: RepositoryOptions;
  readonly #endpoint: string;
  #revision: string;
  readonly #offline: boolean;
  #listing: Promise<Listing | undefined> | undefined;

  /** @throws {MimiTypeError} for an endpoint that is no address. */
  constructor(name: string, options: RepositoryOptions) {
    const { environment } = runtime, { revision = "main", token = environment("HF_TOKEN") } = options;
    this.#name = name;
    this.#options = { ...options, token };
    this.#endpoint = (options.endpoint ?? environment("HF_ENDPOINT") ?? "https://huggingface.co").replace(/\/+$/, "");
    this.#revision = revision;
    this.#offline = /^(1|on|yes|true)$/i.test(environment("HF_HUB_OFFLINE") ?? "");
    toURL("endpoint", this.#endpoint);
  }

  /**
   * Opens a file: from Hugging Face's cache if that has it and `weights` at this revision, else from ours, else from the hub.
   *
   * @param most bytes that are taken of it at most.
   * @param expected what it must be, where that is known already; checked before anything of it is used.
   * @throws {LoadError} as `openRemote`.
   */
  async open(
    file: string,
    weights: string,
    most: number,
    expected?: { size: number; sha256: string },
  ): Promise<ByteSource> {
    const { cache } = this.#options;
    let inPart = false;
    if (cache !== false) {
      const snapshot = await findSnapshot(this.#name, this.#revision);
      if (snapshot && (this.#offline || await snapshot.find(weights))) {
        const found = await snapshot.find(file);
        if (found) return await openFile(found);
        this.#revision = snapshot.commit; // what is missing has to be of the same
        inPart = true;
      }
    }
    try {
      return await this.#openFromHub(file, most, expected);
    } catch (error) {
      if (!inPart || !(error instanceof LoadError) || error.code !== "ERR_NETWORK") throw error;
      const hint = "The rest of the model is in Hugging Face's cache; HF_HUB_OFFLINE=1 makes do with what is there.";
      throw new LoadError("ERR_NETWORK", `${error.message} ${hint}`, { cause: error });
    }
  }

  async #openFromHub(file: string, most: number, expected?: { size: number; sha256: string }): Promise<ByteSource> {
    const listing = await (this.#listing ??= this.#list()), files = listing?.files;
    const known = files && Object.hasOwn(files, file) ? files[file] : undefined;
    if (files && !known) {
      const there = Object.keys(files).filter((name) => name.endsWith(".safetensors")).slice(0, 5).join(", ");
      throw new LoadError(
        "ERR_NOT_FOUND",
        `${this.#name}: there is no ${file} at revision ${this.#revision} (weights that are there: ${
          there || "none"
        }).`,
      );
    }
    const revision = listing?.commit ?? this.#revision;
    const opened = await openRemote({
      address: this.#address(`${this.#name}/resolve/${encodeURIComponent(revision)}/${file}`),
      ...{ name: file, model: this.#name, revision, offline: this.#offline },
      ...{ ...known, ...expected, pinned: expected !== undefined },
      shelf: await this.#shelf(revision, file),
      lasting: true,
    }, { ...this.#options, most });
    if (!listing) await this.#keepAbsence();
    return opened;
  }

  #address(path: string): URL {
    return new URL(`${this.#endpoint}/${path}`);
  }

  #shelf(...key: string[]): ReturnType<typeof openShelf> {
    const { host, pathname } = new URL(this.#endpoint);
    return openShelf([host + pathname.replace(/\/$/, ""), ...this.#name.split("/"), ...key], this.#options.cache);
  }

  /** Which commit a revision is and what is in it; undefined where a hub does not say. Kept, and then not asked again. */
  async #list(): Promise<Listing | undefined> {
    const { signal, token } = this.#options, entry = await this.#openListing();
    try {
      const kept = await readListing(entry);
      if (kept || this.#offline) return kept;
      return await entry.lock(signal, async () => {
        await entry.refresh();
        const kept = await readListing(entry);
        if (kept) return kept;
        const bytes = await getBytes(this.#listingAddress, { signal, token, most: MOST_LISTING }).catch(
          (error: LoadError) => {
            // A mirror may have files only. Of what else is wrong, the file itself will tell.
            if (error.code === "ERR_NOT_FOUND") return undefined;
            throw error;
          },
        );
        const listing = bytes && parseListing(bytes);
        if (listing) await this.#keep(entry, listing);
        return listing;
      });
    } finally {
      entry.close();
    }
  }

  get #listingAddress(): URL {
    return this.#address(`api/models/${this.#name}/revision/${encodeURIComponent(this.#revision)}?blobs=true`);
  }

  async #openListing(): Promise<Entry> {
    return await Entry.open(await this.#shelf("revisions", this.#revision));
  }

  /** Notes that the hub has files and no listing of them, so that there is nothing to ask next time. */
  async #keepAbsence(): Promise<void> {
    const entry = await this.#openListing();
    try {
      if (!entry.about) {
        await entry.lock(this.#options.signal, async () => {
          await entry.refresh();
          if (!entry.about) await this.#keep(entry, {});
        });
      }
    } finally {
      entry.close();
    }
  }

  async #keep(entry: Entry, listing: Listing): Promise<void> {
    const bytes = new TextEncoder().encode(JSON.stringify(listing));
    const address = withoutQuery(this.#listingAddress.href);
    await entry.begin({
      ...{ model: this.#name, revision: this.#revision, file: "", address },
      ...{ size: bytes.length, ranges: false },
    });
    await entry.keep(0, bytes);
  }
}

/** The listing that was kept. */
async function readListing(entry: Entry): Promise<Listing | undefined> {
  if (!entry.about) return undefined;
  const bytes = new Uint8Array(Math.min(entry.about.size, MOST_LISTING));
  return (await entry.copy(0, bytes)).length === 0 ? JSON.parse(new TextDecoder().decode(bytes)) : undefined;
}

/** What of the hub's answer is of use; undefined where it is none. */
function parseListing(bytes: Uint8Array): Listing | undefined {
  interface Sibling {
    rfilename?: unknown;
    size?: unknown;
    lfs?: { sha256?: unknown; size?: unknown };
  }
  let answer: { sha?: unknown; siblings?: unknown };
  try {
    answer = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
  const { sha, siblings } = answer ?? {};
  if (typeof sha !== "string" || !/^[0-9a-f]{40}$/.test(sha) || !Array.isArray(siblings)) return undefined;
  const files: NonNullable<Listing["files"]> = Object.create(null);
  for (const sibling of siblings as (Sibling | null)[]) {
    const { rfilename, size, lfs } = sibling ?? {}, bytes = lfs?.size ?? size;
    if (typeof rfilename !== "string") continue;
    files[rfilename] = {
      ...(Number.isSafeInteger(bytes) && bytes as number >= 0 && { size: bytes as number }),
      ...(isSha256(lfs?.sha256) && { sha256: lfs.sha256 }),
    };
  }
  return { commit: sha, files };
}
