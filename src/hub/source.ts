/**
 * What a caller may name as a model, told apart by its form alone.
 *
 * @module
 */
import { describe, MimiTypeError } from "../core/errors.ts";
import { isSha256 } from "./sha256.ts";

/** A model by the addresses of its files. `config` may be absent for Kyutai's own checkpoints: then it is `kyutai/mimi`'s. */
export interface ModelFiles {
  /** `config.json`. */
  config?: URL;
  /** A safetensors file. */
  weights: URL;
  /** `preprocessor_config.json`, for `MimiFeatureExtractor`. */
  preprocessor?: URL;
  /** SHA-256 of the weights in hexadecimal: with it they are checked, all of them, before any of them is used. */
  sha256?: string;
}

/** A model by all files of its folder, wherever each of them is: files that a user chose or dropped, as `blob:` addresses. */
export interface ModelFolder {
  /** Addresses by name: `config.json` and `model.safetensors`, or the files of a bundle. */
  folder: Readonly<Record<string, URL>>;
}

/** The embedded model, a path, an address, a repository of the Hugging Face hub, or the files themselves. */
export type ModelSource = string | URL | ModelFiles | ModelFolder;

export type ParsedSource =
  | { kind: "embedded" }
  | { kind: "location"; location: URL | string }
  | { kind: "repository"; repository: string }
  | { kind: "files"; files: ModelFiles }
  | { kind: "folder"; folder: Readonly<Record<string, URL>> };

/** @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for what is no address. */
export function toURL(name: string, address: string): URL {
  try {
    return new URL(address);
  } catch (cause) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `fromPretrained: ${name} must be an address such as "https://example.org", got ${describe(address)}.`,
      { cause },
    );
  }
}

/** @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for an address with a password, which nothing fetches. */
function checkURL(address: URL): URL {
  if (!address.username && !address.password) return address;
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    "fromPretrained: the address of a source must have no user name or password in it, which fetch refuses; " +
      "the option token is sent as a bearer token.",
  );
}

/** @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` for an address beside which no other file can be. */
function checkLocation(address: URL): URL {
  if (!/^(data|blob):$/.test(address.protocol)) return checkURL(address);
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    `fromPretrained: ${address.protocol} addresses are of one file; give each file's, as { weights, config } or { folder }.`,
  );
}

function checkAddress(name: string, address: unknown): void {
  if (address instanceof URL) return void checkURL(address);
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    `fromPretrained: source.${name} must be a URL, got ${describe(address)}.`,
  );
}

function checkFiles(files: ModelFiles): ModelFiles {
  for (const name of ["config", "weights", "preprocessor"] as const) {
    if (files[name] !== undefined) checkAddress(name, files[name]);
  }
  if (files.sha256 !== undefined && !isSha256(files.sha256)) {
    throw new MimiTypeError(
      "ERR_INVALID_ARGUMENT",
      `fromPretrained: source.sha256 must be 64 hexadecimal digits in lower case, got ${describe(files.sha256)}.`,
    );
  }
  return files;
}

/**
 * `"mini"` is the embedded model. A string is a path if it starts with `.`, `/`, `~/` or a drive, an address if it starts
 * with a scheme and `://`, and otherwise a repository `owner/name`.
 *
 * @throws {MimiTypeError} `ERR_INVALID_ARGUMENT`.
 */
export function parseSource(source: unknown): ParsedSource {
  if (source === "mini") return { kind: "embedded" };
  if (source instanceof URL) return { kind: "location", location: checkLocation(source) };
  if (typeof source === "object" && source !== null && (source as ModelFiles).weights instanceof URL) {
    return { kind: "files", files: checkFiles(source as ModelFiles) };
  }
  const { folder } = (source ?? {}) as Partial<ModelFolder>;
  if (typeof folder === "object" && folder !== null) {
    for (const [name, address] of Object.entries(folder)) checkAddress(`folder[${JSON.stringify(name)}]`, address);
    return { kind: "folder", folder };
  }
  if (typeof source === "string") {
    if (/^(\.|\/|\\|~\/|[A-Za-z]:[\\/])/.test(source)) return { kind: "location", location: source };
    if (/^[A-Za-z][A-Za-z0-9+.-]*:\/\/|^(data|blob):/.test(source)) {
      return { kind: "location", location: checkLocation(toURL("source", source)) };
    }
    if (/^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(source)) return { kind: "repository", repository: source };
  }
  throw new MimiTypeError(
    "ERR_INVALID_ARGUMENT",
    `fromPretrained: source must be "mini", a path such as "./model", a URL or a repository such as "kyutai/mimi", got ${
      describe(source)
    }.`,
  );
}
