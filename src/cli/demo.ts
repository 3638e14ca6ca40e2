/**
 * `mimi demo`: a sample of speech to codes and back with the embedded model, and a picture of it. Needs no network.
 *
 * @module
 */
import { copyFile, mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { LoadError } from "../core/errors.ts";
import { bitsOf } from "../file/container.ts";
import { MimiModel } from "../load.ts";
import { decodeFile } from "./decode.ts";
import { encodeFile } from "./encode.ts";
import { formatBitrate, table } from "./format.ts";
import { bitrate } from "./info.ts";
import { draw } from "./plot.ts";

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
  const loaded = () => Promise.resolve(model), { config } = model, settings = { codebooks: CODEBOOKS, resume: false };
  const [{ seconds, frames }, encoding] = await timed(() =>
    encodeFile({ input: paths.original, output: paths.codes, format: "mimi" }, settings, loaded, { signal })
  );
  const [, decoding] = await timed(() =>
    decodeFile({ input: paths.codes, output: paths.decoded }, settings, loaded, { signal })
  );
  const by = { name: "mini", model, codebooks: CODEBOOKS };
  await writeFile(paths.picture, await draw(paths.original, "Speech to codes and back", by, signal));

  const rate = formatBitrate(bitrate(config, CODEBOOKS)), original = formatBitrate(config.samplingRate * 16);
  const line = async (
    path: string,
    what: string,
  ): Promise<[string, string]> => [path, `${String((await stat(path)).size).padStart(7)} bytes  ${what}`];
  const speed = (ms: number) => `${(seconds * 1000 / ms).toFixed(1)} times real time (${ms.toFixed(0)} ms)`;
  return `${seconds.toFixed(1)} seconds of speech, to codes and back:

${
    indent(table([
      await line(paths.original, "the recording"),
      await line(
        paths.codes,
        `the codes: ${frames} frames of ${CODEBOOKS} codes of ${bitsOf(config.codebookSize)} bits`,
      ),
      await line(paths.decoded, "what the codes sound like"),
      await line(paths.picture, "both, and the codes, to look at in a browser"),
    ]))
  }

${
    indent(table([
      ["bitrate", `${rate}; the recording has ${original}`],
      ["encoding", speed(encoding)],
      ["decoding", speed(decoding)],
    ]))
  }

The model here is "mini", which comes with this package: the architecture of Mimi at small widths, trained on
freely licensed speech. It shows how things work, offline. For the sound of Kyutai's own model, which is much larger and
downloaded once (385 MB), name it: mimi encode IN.wav OUT.mimi --model kyutai/mimi

The recording is a prompt of the Asterisk project, spoken by Carlo Flora, CC-BY 3.0.`;
}

async function timed<T>(task: () => Promise<T>): Promise<[T, number]> {
  const start = performance.now(), result = await task();
  return [result, performance.now() - start];
}

function indent(lines: string): string {
  return lines.replace(/^/gm, "  ");
}
