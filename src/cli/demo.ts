/**
 * `mimi demo`: a sample of speech to codes and back with the embedded model, and a picture of it. Needs no network.
 *
 * @module
 */
import { copyFile, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { AudioCodes } from "../core/codes.ts";
import { LoadError } from "../core/errors.ts";
import { type ContainerHeader, readContainer } from "../file/container.ts";
import { readWav } from "../file/wav.ts";
import { MimiModel } from "../load.ts";
import { decodeFile } from "./decode.ts";
import { encodeFile } from "./encode.ts";
import { formatBitrate, table } from "./format.ts";
import { picture } from "./picture.ts";

/** An Italian telephone prompt by Carlo Flora, CC-BY 3.0; mono, 16 bit, 24 kHz. */
const SAMPLE = new URL("../../models/mini/it-cannot-complete.wav", import.meta.url);
const CODEBOOKS = 8;

/**
 * Writes original.wav, speech.mimi, decoded.wav and picture.svg into a folder.
 *
 * @returns a summary for people.
 */
export async function demo(out: string, signal?: AbortSignal): Promise<string> {
  const paths = {
    original: join(out, "original.wav"),
    codes: join(out, "speech.mimi"),
    decoded: join(out, "decoded.wav"),
    picture: join(out, "picture.svg"),
  };
  try {
    await mkdir(out, { recursive: true });
    await copyFile(fileURLToPath(SAMPLE), paths.original);
  } catch (cause) {
    throw new LoadError("ERR_NOT_FOUND", `${out}: cannot be written (${(cause as Error).message}).`, { cause });
  }

  using model = await MimiModel.fromPretrained("mini", { numQuantizers: CODEBOOKS });
  const loaded = () => Promise.resolve(model);
  const [{ header, end }, encoding] = await timed(() =>
    encodeFile(paths.original, paths.codes, CODEBOOKS, loaded, { signal })
  );
  const [, decoding] = await timed(() => decodeFile(paths.codes, paths.decoded, loaded, { signal }));

  const { samplingRate, frameSize } = header, { config } = model, seconds = end.samples / samplingRate;
  const rate = formatBitrate(CODEBOOKS * header.bits * config.frameRate);
  await writeFile(
    paths.picture,
    picture({
      title: "Speech to codes and back",
      subtitle:
        `Model "mini", ${CODEBOOKS} codebooks of ${config.codebookSize} entries, ${rate} (the 16-bit original: ${
          formatBitrate(samplingRate * 16)
        })`,
      samplingRate,
      frameSize,
      codebookSize: config.codebookSize,
      semantic: config.numSemanticQuantizers,
      original: await readAudio(paths.original),
      decoded: await readAudio(paths.decoded),
      codes: await readCodes(paths.codes),
    }),
  );

  const line = async (
    path: string,
    what: string,
  ): Promise<[string, string]> => [path, `${String((await stat(path)).size).padStart(7)} bytes  ${what}`];
  const speed = (ms: number) => `${(seconds * 1000 / ms).toFixed(1)} times real time (${ms.toFixed(0)} ms)`;
  return `${seconds.toFixed(1)} seconds of speech, to codes and back:

${
    indent(table([
      await line(paths.original, "the recording"),
      await line(paths.codes, summary(header, end.frames)),
      await line(paths.decoded, "what the codes sound like"),
      await line(paths.picture, "both, and the codes, to look at in a browser"),
    ]))
  }

${
    indent(table([
      ["bitrate", `${rate}; the recording has ${formatBitrate(samplingRate * 16)}`],
      ["encoding", speed(encoding)],
      ["decoding", speed(decoding)],
    ]))
  }

The model here is "mini", which comes with this package: the architecture of Mimi at small widths, trained on
freely licensed speech. It shows how things work, offline. For the sound of Kyutai's own model, which is much larger and
downloaded once (385 MB), name it: mimi encode IN.wav OUT.mimi --model kyutai/mimi

The recording is a prompt of the Asterisk project, spoken by Carlo Flora, CC-BY 3.0.`;
}

function summary({ codebooks, bits }: ContainerHeader, frames: number): string {
  return `the codes: ${frames} frames of ${codebooks} codes of ${bits} bits`;
}

async function timed<T>(task: () => Promise<T>): Promise<[T, number]> {
  const start = performance.now(), result = await task();
  return [result, performance.now() - start];
}

/** All samples of a short WAV file. */
async function readAudio(path: string): Promise<Float32Array> {
  const { length = 0, pieces } = await readWav([await readFile(path)], { name: path }),
    audio = new Float32Array(length);
  let at = 0;
  for await (const [piece] of pieces) {
    audio.set(piece, at);
    at += piece.length;
  }
  return audio;
}

/** All codes of a short `.mimi` file. */
async function readCodes(path: string): Promise<AudioCodes> {
  const { blocks } = await readContainer(await readFile(path), { name: path });
  for await (const { codes } of blocks()) return codes; // one block holds them
  throw new LoadError("ERR_NOT_FOUND", `${path}: holds no frames.`);
}

function indent(lines: string): string {
  return lines.replace(/^/gm, "  ");
}
