/**
 * What the command line understands.
 *
 * @module
 */
import { statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { type Precision, PRECISIONS } from "../core/backend.ts";
import { type Storage, STORAGES } from "../hub/bundle.ts";
import { BACKENDS } from "./backends.ts";
import { CODE_FORMATS, type CodeFormat, formatOf } from "./codes.ts";
import { PUBLISHED, type PublishedName } from "./published.ts";

export const HELP: string = `mimi - a neural speech codec: speech to about 1 kbps and back

  mimi encode IN... [-o OUT]       audio to codes
  mimi decode IN... [-o OUT]       codes to audio, a WAV file
  mimi info [FILE | MODEL]...      what a file or a model is
  mimi verify FILE.mimi...         whether files are whole; every damage is listed
  mimi verify MODEL AUDIO          whether a model computes here what it should
  mimi pack MODEL OUT              the part of a model that an application needs, for any static host
  mimi cache list                  models that were downloaded; mimi cache clear [MODEL...] removes them
  mimi plot FILE -o PICTURE.svg    waveform, spectrogram and codes of a file of audio or codes
  mimi demo [-o FOLDER]            a sample there and back, with a picture, offline

IN is a file, a folder (with all that is in it), or - for stdin. Audio is WAV; with the package audio-decode installed also
FLAC, MP3, AAC, M4A, Ogg Vorbis, Opus, WebM and AIFF; any sampling rate, any number of channels.
OUT is a file where its name ends in .mimi, .npy, .safetensors or .jsonl (encode) or .wav (decode), or - for stdout;
otherwise a folder, in which files keep their names and what was in a folder keeps its place. With one IN, -o may be left
out: mimi encode IN.wav OUT.mimi. Without OUT, codes go beside IN.wav as IN.mimi, audio beside IN.mimi as
IN.decoded.wav, and nothing that is there is replaced.

  -o, --out OUT        where to write
  --model MODEL        mini (embedded, offline, default), a folder such as ./model, or a repository such as kyutai/mimi
  --backend BACKEND    what runs the model: wasm (default), native (needs the package onnxruntime-node), onnx-wasm (needs
                       onnxruntime-web), or auto for the first of native and wasm that can; for encode and decode
  --codebooks N        codebooks to use, default 8: more sound better and take more bits
  --format FORMAT      of codes in a folder or in stdout: mimi (default), npy, safetensors or jsonl
  -j, --jobs N         files at a time, each on a core of its own; default one a core, 8 at most
  --resume             leave out what is done: outputs that are whole, not older than their input, and of the same model
                       and codebooks, of whatever precision; .npy and .jsonl do not say their model
  --manifest FILE      JSON lines {"input": ..., "output": ...} in place of IN and OUT; output may be left out
  --report FILE        a JSON line for each file as it is done: output, samples, seconds, frames, codebooks,
                       fingerprint, bytes and warnings, or error
  --json               those lines, or what the other commands have to say, as JSON on stdout
  --part PART          pack: encoder, decoder or both; default what MODEL has, as for --codebooks
  --precision P        how weights are kept: f32, or int12 or int8, which take less time and memory; default f32, or what
                       MODEL was packed as; for encode, decode, plot, and pack, which also takes f16 and bf16
  --audio FILE         pack: speech to measure the bundle with
  --attribution TEXT   pack: whose weights they are, for the bundle's licence note; default MODEL's name
  --published NAME     verify: AUDIO is one whose sums of codes are published: librispeech or obama
  --help, --version

Exit codes: 0 all done; 1 a file, or all, failed (verify: is not whole); 2 wrong usage, nothing was done; 3 all done, but
an input was truncated or frames of it were lost (silence is in their place); 130 interrupted, 143 terminated: unfinished
outputs are gone.`;

/** The caller asked for something that the command line does not have. The program ends with exit code 2. */
export class UsageError extends Error {
  override readonly name: string = "UsageError";
}

/** Files to be encoded or decoded, and how. */
export interface ConvertCall {
  command: "encode" | "decode";
  /** As given; empty where there is a manifest. */
  inputs: string[];
  out?: string;
  manifest?: string;
  report?: string;
  json: boolean;
  jobs: number;
  resume: boolean;
  format?: CodeFormat;
  model: string;
  backend: string;
  precision?: Precision;
  codebooks: number;
}

/** A file to be drawn. */
export interface PlotCall {
  command: "plot";
  input: string;
  out: string;
  model: string;
  precision?: Precision;
  codebooks: number;
}

/** A model to be packed. */
export interface PackCall {
  command: "pack";
  model: string;
  out: string;
  part?: "both" | "encoder" | "decoder";
  codebooks?: number;
  precision: Storage;
  audio?: string;
  attribution?: string;
  json: boolean;
}

/** A model to be verified. */
export interface VerifyModelCall {
  command: "verify-model";
  model: string;
  audio: string;
  published?: PublishedName;
  json: boolean;
}

/** What is asked of the cache. */
export interface CacheCall {
  command: "cache";
  action: "list" | "clear";
  models: string[];
  json: boolean;
}

/** A command line that was understood. */
export type Call =
  | { command: "help" | "version" }
  | ConvertCall
  | { command: "info" | "verify"; subjects: string[]; json: boolean }
  | PlotCall
  | PackCall
  | VerifyModelCall
  | CacheCall
  | { command: "demo"; out: string };

const OPTIONS = {
  out: { type: "string", short: "o" },
  model: { type: "string" },
  backend: { type: "string" },
  codebooks: { type: "string" },
  format: { type: "string" },
  jobs: { type: "string", short: "j" },
  resume: { type: "boolean" },
  manifest: { type: "string" },
  report: { type: "string" },
  json: { type: "boolean" },
  part: { type: "string" },
  precision: { type: "string" },
  audio: { type: "string" },
  attribution: { type: "string" },
  published: { type: "string" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
} as const;

type Option = keyof typeof OPTIONS;

/** Options of whatever converts files. */
const CONVERT: Option[] = ["out", "model", "backend", "precision", "jobs", "resume", "manifest", "report", "json"];

/** Arguments and options of each command. */
const COMMANDS: Record<string, { takes: string; least: number; most: number; options: Option[] }> = {
  encode: {
    takes: "IN... [-o OUT]",
    least: 0,
    most: Infinity,
    options: [...CONVERT, "codebooks", "format"],
  },
  decode: {
    takes: "IN... [-o OUT]",
    least: 0,
    most: Infinity,
    options: CONVERT,
  },
  info: { takes: "[FILE | MODEL]...", least: 0, most: Infinity, options: ["json"] },
  verify: { takes: "FILE.mimi..., or MODEL AUDIO", least: 1, most: Infinity, options: ["published", "json"] },
  pack: {
    takes: "MODEL OUT",
    least: 2,
    most: 2,
    options: ["part", "codebooks", "precision", "audio", "attribution", "json"],
  },
  cache: { takes: "list, or clear [MODEL...]", least: 1, most: Infinity, options: ["json"] },
  plot: { takes: "FILE -o PICTURE.svg", least: 1, most: 1, options: ["out", "model", "precision", "codebooks"] },
  demo: { takes: "no arguments", least: 0, most: 0, options: ["out"] },
};
const NAMES = Object.keys(COMMANDS).join(", ").replace(/, (?=\w+$)/, " and ");
/** Workers hold a model each. */
const MOST_JOBS = 8;

/** @throws {UsageError} */
export function parseCall(args: string[]): Call {
  const { values, positionals: [command, ...rest] } = parse(args);
  if (values.help) return { command: "help" };
  if (values.version) return { command: "version" };
  if (command === undefined) throw new UsageError(`no command given; there are ${NAMES}`);
  if (!Object.hasOwn(COMMANDS, command)) throw new UsageError(`unknown command "${command}"; there are ${NAMES}`);
  const { takes, least, most, options } = COMMANDS[command];
  if (rest.length < least || rest.length > most) {
    throw new UsageError(`${command} takes ${takes}, got ${rest.join(" ") || "nothing"}`);
  }
  const stray = (Object.keys(values) as Option[]).find((option) => !options.includes(option));
  if (stray) throw new UsageError(`${command} has no option --${stray}`);

  const { model = "mini", out, json = false } = values, codebooks = number("codebooks", values.codebooks ?? "8");
  switch (command) {
    case "encode":
    case "decode":
      return convertCall(command, rest, values, { model, codebooks, json });
    case "info":
      return { command, subjects: rest.length ? rest : ["mini"], json };
    case "verify":
      return verifyCall(rest, values.published, json);
    case "pack":
      return packCall(rest, values);
    case "cache": {
      const [action, ...models] = rest;
      if (action === "clear" || action === "list" && models.length === 0) return { command, action, models, json };
      throw new UsageError(`cache takes ${takes}, got ${rest.join(" ")}`);
    }
    case "plot":
      if (!out?.endsWith(".svg")) throw new UsageError(`plot takes ${takes}, got -o ${out ?? "nothing"}`);
      return {
        command,
        input: rest[0],
        out,
        model,
        codebooks,
        precision: precisionOf(values),
      };
    default:
      return { command: "demo", out: out ?? "demo" };
  }
}

function verifyCall(subjects: string[], published: string | undefined, json: boolean): Call {
  if (published !== undefined && !Object.hasOwn(PUBLISHED, published)) {
    throw new UsageError(`--published must be one of ${Object.keys(PUBLISHED).join(", ")}, got "${published}"`);
  }
  const [model, audio] = subjects;
  if (subjects.length === 2 && isModel(model) && !audio.endsWith(".mimi")) {
    return { command: "verify-model", model, audio, published: published as PublishedName | undefined, json };
  }
  if (published !== undefined) throw new UsageError("--published is for verify MODEL AUDIO");
  return { command: "verify", subjects, json };
}

/** Whether a subject names a model and not a file of codes. */
function isModel(name: string): boolean {
  const isFolder = statSync(name, { throwIfNoEntry: false })?.isDirectory();
  return name === "mini" || isFolder || /\.safetensors$|^[a-z]+:\/\//i.test(name) ||
    !/\.\w{1,12}$/.test(name) && name !== "-";
}

function packCall([model, out]: string[], values: Values): PackCall {
  const { part, precision, audio, attribution, codebooks, json = false } = values;
  if (part !== undefined && !["both", "encoder", "decoder"].includes(part)) {
    throw new UsageError(`--part must be encoder, decoder or both, got "${part}"`);
  }
  if (attribution?.trim() === "") throw new UsageError("--attribution must say whose weights they are, got nothing");
  return {
    command: "pack",
    model,
    out,
    part: part as PackCall["part"],
    precision: oneOf("precision", precision ?? "f32", STORAGES),
    codebooks: codebooks === undefined ? undefined : number("codebooks", codebooks),
    audio,
    attribution,
    json,
  };
}

function convertCall(
  command: "encode" | "decode",
  positionals: string[],
  values: Values,
  common: Pick<ConvertCall, "model" | "codebooks" | "json">,
): ConvertCall {
  const { manifest, report, resume = false } = values,
    jobs = values.jobs && number("jobs", values.jobs);
  let { out } = values, inputs = positionals;
  if (manifest !== undefined && inputs.length > 0) {
    throw new UsageError(`${command} takes files or --manifest, got both`);
  }
  if (manifest === undefined && inputs.length === 0) {
    throw new UsageError(`${command} takes IN... [-o OUT], got nothing`);
  }
  // IN OUT: what is named like an output cannot be an input.
  if (out === undefined && inputs.length === 2 && isOutput(command, inputs[1])) {
    [inputs, out] = [[inputs[0]], inputs[1]];
  }
  if (out === undefined && inputs.length === 1 && inputs[0] === "-") out = "-";

  const format = values.format as CodeFormat | undefined, named = out === undefined ? undefined : formatOf(out);
  if (format !== undefined && !CODE_FORMATS.includes(format)) {
    throw new UsageError(`--format must be one of ${CODE_FORMATS.join(", ")}, got "${format}"`);
  }
  if (format && named && format !== named) throw new UsageError(`--format is ${format}, the output is named ${out}`);
  return {
    command,
    inputs,
    manifest,
    out,
    report,
    resume,
    backend: oneOf("backend", values.backend ?? "wasm", BACKENDS),
    precision: precisionOf(values),
    format,
    jobs: jobs || Math.min(MOST_JOBS, availableParallelism()),
    ...common,
  };
}

/** Whether a name is that of a file, or stdout, that the command can write. */
export function isOutput(command: ConvertCall["command"], name: string): boolean {
  return name === "-" || (command === "encode" ? formatOf(name) !== undefined : /\.wav$/i.test(name));
}

/** The value of an option that is one of some. */
function oneOf<T extends string>(option: Option, value: string, choices: readonly T[]): T {
  if (choices.includes(value as T)) return value as T;
  throw new UsageError(`--${option} must be one of ${choices.join(", ")}, got "${value}"`);
}

/** The precision to run with; the model decides where none is asked for. */
function precisionOf({ precision }: Values): Precision | undefined {
  return precision === undefined ? undefined : oneOf("precision", precision, PRECISIONS);
}

function number(option: Option, text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new UsageError(`--${option} must be a number from 1, got "${text}"`);
  return Number(text);
}

type Values = { [O in Option]?: (typeof OPTIONS)[O]["type"] extends "string" ? string : boolean };

function parse(args: string[]): { values: Values; positionals: string[] } {
  try {
    const { values, positionals } = parseArgs({ args, allowPositionals: true, options: OPTIONS });
    return { values: { ...values }, positionals };
  } catch (error) {
    throw new UsageError((error as Error).message.split(". ")[0], { cause: error });
  }
}
