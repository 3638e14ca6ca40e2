/**
 * `mimi info`: what a file of codes or audio, or a model, is.
 *
 * @module
 */
import { stat } from "node:fs/promises";
import type { MimiConfig } from "../core/config.ts";
import { isMimiError } from "../core/errors.ts";
import type { MimiModel as CoreModel } from "../core/model.ts";
import { Safetensors } from "../core/safetensors.ts";
import { readAudio } from "../file/audio.ts";
import { ByteReader } from "../file/bytes.ts";
import { bitsOf, type FileWarning } from "../file/container.ts";
import { openFile } from "../hub/files.ts";
import { MimiModel } from "../load.ts";
import { formatOf, readCodes, sniff } from "./codes.ts";
import { nameOf, readChunks, STANDARD } from "./files.ts";
import { formatBitrate, formatSeconds, table } from "./format.ts";
import { ENDINGS } from "./plan.ts";
import type { Surroundings } from "./program.ts";
import { bar, StatusLine } from "./progress.ts";

/** What there is to say: a table for people, fields for programs. */
interface About {
  rows: [string, string][];
  fields: Record<string, unknown>;
}

/**
 * Says what each subject is.
 *
 * @returns the exit code: 0, or 1 where one could not be read.
 */
export async function info(
  { subjects, json }: { subjects: string[]; json: boolean },
  { print, say, signal }: Surroundings,
): Promise<number> {
  let code = 0;
  for (const [i, subject] of subjects.entries()) {
    signal.throwIfAborted();
    try {
      const { rows, fields } = await about(subject, signal);
      await print(json ? `${JSON.stringify(fields)}\n` : `${i > 0 ? "\n" : ""}${table(rows)}\n`);
    } catch (error) {
      if (!isMimiError(error)) throw error;
      code = 1;
      if (json) {
        await print(`${JSON.stringify({ subject, error: { code: error.code, message: error.message } })}\n`);
      }
      say(error.message);
    }
  }
  return code;
}

/** Bits a second of `codebooks` codebooks. */
export function bitrate(config: MimiConfig, codebooks: number): number {
  return codebooks * Math.log2(config.codebookSize) * config.frameRate;
}

async function about(subject: string, signal: AbortSignal): Promise<About> {
  return await isFile(subject) ? await aboutFile(subject, signal) : await aboutModel(subject, signal);
}

/** What is there and no file of weights, or is not there and named like one. */
async function isFile(subject: string): Promise<boolean> {
  if (subject === STANDARD) return true;
  const found = await stat(subject).catch(() => undefined);
  if (!found) return [...Object.values(ENDINGS)].some((endings) => endings.test(subject)) && !isWeights(subject);
  if (!found.isFile() || !isWeights(subject)) return !found.isDirectory(); // a pipe is a file too
  const source = await openFile(subject);
  try {
    return (await Safetensors.open(source)).tensors.has("audio_codes");
  } finally {
    await source.close?.();
  }
}

const isWeights = (name: string) => formatOf(name) === "safetensors";

/** A file of codes or audio; its first bytes tell. */
async function aboutFile(path: string, signal: AbortSignal): Promise<About> {
  const name = nameOf(path), reader = new ByteReader(readChunks(path, { signal }));
  try {
    return sniff(await reader.peek(16)) ? await aboutCodes(name, reader) : await aboutAudio(name, reader);
  } finally {
    await reader.close();
  }
}

async function aboutCodes(name: string, reader: ByteReader): Promise<About> {
  const warnings: FileWarning[] = [];
  const { format, info, blocks } = await readCodes(reader.rest(), { name, onWarning: (w) => warnings.push(w) });
  const { samplingRate, frameSize, bits, fingerprint } = info, found = blocks(frameSize ?? 1);
  let block = await found.next(), codebooks = info.codebooks;
  for (; !block.done; block = await found.next()) codebooks = block.value.codes.shape[1];
  const { frames } = block.value, samples = frameSize && block.value.samples;
  const seconds = samples !== undefined && samplingRate ? samples / samplingRate : undefined;
  const rate = codebooks && bits && samplingRate && frameSize && codebooks * bits * samplingRate / frameSize;
  const findings = warnings.length === 1 ? "1 finding" : `${warnings.length} findings`;
  return {
    rows: [
      ["file", `${name} (codes, ${format})`],
      ...row("duration", seconds, (s) => `${formatSeconds(s)} (${samples} samples at ${samplingRate} Hz)`),
      ["frames", frameSize ? `${frames} of ${frameSize} samples` : String(frames)],
      ...row("codebooks", codebooks, (k) => bits ? `${k}, ${bits} bits a code` : String(k)),
      ...row("bitrate", rate, formatBitrate),
      ...row("fingerprint", fingerprint, String),
      ...row("damage", warnings.length || undefined, () => `${findings}; mimi verify tells them`),
    ],
    fields: { file: name, kind: "codes", format, frames, samples, seconds, ...info, codebooks, warnings },
  };
}

async function aboutAudio(name: string, reader: ByteReader): Promise<About> {
  const { format, samplingRate, pieces } = await readAudio(reader.rest(), { name });
  let samples = 0, channels = 0;
  for await (const piece of pieces) {
    channels = Math.max(channels, piece.length);
    samples += piece[0].length;
  }
  const seconds = samples / samplingRate;
  return {
    rows: [
      ["file", `${name} (audio, ${format})`],
      ["duration", `${formatSeconds(seconds)} (${samples} samples at ${samplingRate} Hz)`],
      ["channels", String(channels)],
    ],
    fields: { file: name, kind: "audio", format, samplingRate, channels, samples, seconds },
  };
}

async function aboutModel(source: string, signal: AbortSignal): Promise<About> {
  const status = new StatusLine();
  let model: CoreModel;
  try {
    model = await MimiModel.fromPretrained(source, {
      signal,
      onProgress: ({ loaded, total }) => status.show(() => `download ${bar(total ? loaded / total : 0)}`),
    });
  } finally {
    status.clear();
  }
  const { config, fingerprint, memory, numQuantizers } = model, bits = bitsOf(config.codebookSize);
  const counts = [1, 2, 4, 8, 16, 32, 64].filter((k) => k >= config.numSemanticQuantizers && k <= numQuantizers);
  const part = memory.encoder && memory.decoder ? "encoder and decoder" : memory.encoder ? "encoder" : "decoder";
  model.close();
  return {
    rows: [
      ["model", source === "mini" ? "mini (embedded: the Mimi architecture at small widths)" : source],
      ["audio", `${config.samplingRate} Hz, mono`],
      ["frames", `${config.frameRate} a second, ${config.frameSize} samples each`],
      ["part", part],
      [
        "codebooks",
        `${
          numQuantizers < config.numQuantizers ? `${numQuantizers} of ` : ""
        }${config.numQuantizers} (${config.numSemanticQuantizers} semantic) of ${config.codebookSize} entries, ${bits} bits a code`,
      ],
      [
        "transformers",
        `${config.numHiddenLayers} layers of width ${config.hiddenSize}, window of ${config.slidingWindow}`,
      ],
      ["memory", `${(memory.total / 1e6).toFixed(1)} MB`],
      ...counts.map((k): [string, string] => [
        "bitrate",
        `${formatBitrate(bitrate(config, k))} with ${k} codebook${k === 1 ? "" : "s"}`,
      ]),
      ["fingerprint", fingerprint],
    ],
    fields: {
      model: source,
      kind: "model",
      samplingRate: config.samplingRate,
      frameRate: config.frameRate,
      frameSize: config.frameSize,
      codebooks: numQuantizers,
      part,
      semanticCodebooks: config.numSemanticQuantizers,
      codebookSize: config.codebookSize,
      bits,
      memory: memory.total,
      fingerprint,
    },
  };
}

/** A row where there is something to say. */
function row<T>(name: string, value: T | undefined | 0, text: (value: T) => string): [string, string][] {
  return value ? [[name, text(value)]] : [];
}
