/**
 * `mimi info`: what a `.mimi` file or a model is.
 *
 * @module
 */
import { stat } from "node:fs/promises";
import type { MimiConfig } from "../core/config.ts";
import type { MimiModel } from "../core/model.ts";
import { bitsOf, type ContainerEnd, type ContainerHeader, readContainer } from "../file/container.ts";
import { readChunks } from "./files.ts";
import { formatBitrate, formatSeconds, table } from "./format.ts";

/** A text about a `.mimi` file, where `subject` is a file that is no checkpoint or has that ending, or about a model. */
export async function info(subject: string, loadModel: (source: string) => Promise<MimiModel>): Promise<string> {
  const isFile = await stat(subject).then((s) => s.isFile(), () => false);
  return subject.endsWith(".mimi") || (isFile && !subject.endsWith(".safetensors"))
    ? await aboutFile(subject)
    : aboutModel(subject, await loadModel(subject));
}

/** Bits a second of `codebooks` codebooks. */
export function bitrate(config: MimiConfig, codebooks: number): number {
  return codebooks * Math.log2(config.codebookSize) * config.frameRate;
}

async function aboutFile(path: string): Promise<string> {
  const { header, blocks } = await readContainer(readChunks(path), { name: path }), found = blocks();
  let next = await found.next();
  while (!next.done) next = await found.next(); // finds out whether it is whole
  return table(fileRows(path, header, next.value));
}

function fileRows(path: string, header: ContainerHeader, { frames, samples }: ContainerEnd): [string, string][] {
  const { samplingRate, frameSize, codebooks, bits, fingerprint } = header;
  return [
    ["file", path],
    ["duration", `${formatSeconds(samples / samplingRate)} (${samples} samples at ${samplingRate} Hz)`],
    ["frames", `${frames} of ${frameSize} samples`],
    ["codebooks", `${codebooks}, ${bits} bits a code`],
    ["bitrate", formatBitrate(codebooks * bits * samplingRate / frameSize)],
    ["fingerprint", fingerprint],
  ];
}

function aboutModel(source: string, model: MimiModel): string {
  const { config, fingerprint, memory } = model;
  const counts = [1, 2, 4, 8, 16, 32, 64].filter((k) => k >= config.numSemanticQuantizers && k <= config.numQuantizers);
  return table([
    ["model", source === "mini" ? "mini (embedded: the Mimi architecture at small widths)" : source],
    ["audio", `${config.samplingRate} Hz, mono`],
    ["frames", `${config.frameRate} a second, ${config.frameSize} samples each`],
    [
      "codebooks",
      `${config.numQuantizers} (${config.numSemanticQuantizers} semantic) of ${config.codebookSize} entries, ${
        bitsOf(config.codebookSize)
      } bits a code`,
    ],
    [
      "transformers",
      `${config.numHiddenLayers} layers of width ${config.hiddenSize}, window of ${config.slidingWindow}`,
    ],
    ["memory", `${(memory.total / 1e6).toFixed(1)} MB`],
    ...counts.map((
      k,
    ): [string, string] => ["bitrate", `${formatBitrate(bitrate(config, k))} with ${k} codebook${k === 1 ? "" : "s"}`]),
    ["fingerprint", fingerprint],
  ]);
}
