/**
 * `mimi plot`: a picture of a file. Audio is shown beside what its codes sound like, codes as what they sound like.
 *
 * @module
 */
import { basename } from "node:path";
import type { AudioCodes } from "../core/codes.ts";
import { MimiRangeError } from "../core/errors.ts";
import type { MimiModel as CoreModel } from "../core/model.ts";
import { concatFloats } from "../core/tensor.ts";
import { readAudio, toMono } from "../file/audio.ts";
import { ByteReader } from "../file/bytes.ts";
import { MimiModel } from "../load.ts";
import { joinCodes, readCodes, sniff } from "./codes.ts";
import { checkModel } from "./decode.ts";
import { nameOf, readChunks, writeOutput } from "./files.ts";
import { formatBitrate } from "./format.ts";
import { bitrate } from "./info.ts";
import { picture } from "./picture.ts";
import type { PlotCall } from "./usage.ts";

/** Seconds of audio in a picture, at most: all of it is in memory, and nobody could tell one word from another. */
const MOST_SECONDS = 1800;

/** Draws a file. */
export async function plot(
  { input, out, model: name, precision, codebooks }: PlotCall,
  signal: AbortSignal,
): Promise<void> {
  using model = await MimiModel.fromPretrained(name, { precision, signal });
  const svg = await draw(input, basename(nameOf(input)), { name, model, codebooks }, signal);
  signal.throwIfAborted();
  await writeOutput(out, async (output) => await output.write(new TextEncoder().encode(svg)));
}

/**
 * The picture of a file, as the text of an SVG file.
 *
 * @param by the model, what it is called, and the codebooks that audio is encoded with.
 */
export async function draw(
  input: string,
  title: string,
  { name, model, codebooks }: { name: string; model: CoreModel; codebooks: number },
  signal?: AbortSignal,
): Promise<string> {
  const { config } = model, { samplingRate, frameSize, codebookSize, numSemanticQuantizers: semantic } = config;
  const { codes, recordings } = await read(input, model, codebooks, signal), rate = bitrate(config, codes.shape[1]);
  return picture({
    title,
    subtitle: `Model "${name}", ${codes.shape[1]} codebooks of ${codebookSize} entries, ${formatBitrate(rate)} ` +
      `(as audio of 16 bits: ${formatBitrate(samplingRate * 16)})`,
    samplingRate,
    frameSize,
    codebookSize,
    semantic,
    recordings,
    codes,
  });
}

type Drawn = Pick<Parameters<typeof picture>[0], "codes" | "recordings">;

async function read(input: string, model: CoreModel, codebooks: number, signal?: AbortSignal): Promise<Drawn> {
  const name = nameOf(input), reader = new ByteReader(readChunks(input, { signal }));
  try {
    if (sniff(await reader.peek(16))) {
      const codes = await readAllCodes(name, reader, model), { audioValues } = await model.decode(codes);
      return { codes, recordings: [{ name: "Decoded", audio: audioValues.data }] };
    }
    const original = await readAllAudio(name, reader, model);
    const { audioCodes, audioValues } = await model.forward(original, { numQuantizers: codebooks });
    return {
      codes: audioCodes,
      recordings: [{ name: "Original", audio: original }, {
        name: "Decoded",
        audio: audioValues.data.subarray(0, original.length),
      }],
    };
  } finally {
    await reader.close();
  }
}

async function readAllCodes(name: string, reader: ByteReader, model: CoreModel): Promise<AudioCodes> {
  const { info, blocks } = await readCodes(reader.rest(), { name }), pieces: AudioCodes[] = [];
  checkModel(name, info, model);
  const { frameSize, samplingRate } = model.config;
  for await (const { first, codes } of blocks(frameSize)) {
    checkLength(name, (first + codes.shape[2]) * frameSize / samplingRate);
    pieces.push(codes);
  }
  if (pieces.length === 0) nothing(name);
  return joinCodes(pieces, pieces[0].shape[1]);
}

async function readAllAudio(
  name: string,
  reader: ByteReader,
  { config: { samplingRate } }: CoreModel,
): Promise<Float32Array> {
  const pieces: Float32Array[] = [];
  let length = 0;
  for await (const pcm of toMono(await readAudio(reader.rest(), { name }), samplingRate)) {
    pieces.push(pcm);
    checkLength(name, (length += pcm.length) / samplingRate);
  }
  if (length === 0) nothing(name);
  return concatFloats(pieces);
}

function checkLength(name: string, seconds: number): void {
  if (seconds > MOST_SECONDS) {
    throw new MimiRangeError(
      "ERR_OUT_OF_RANGE",
      `${name}: it is longer than ${MOST_SECONDS} s, which is too much for a picture.`,
    );
  }
}

function nothing(name: string): never {
  throw new MimiRangeError("ERR_EMPTY_INPUT", `${name}: there is nothing in it to draw.`);
}
