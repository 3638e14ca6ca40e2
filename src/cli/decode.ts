/**
 * `mimi decode`: a file of codes to a WAV file, in constant memory.
 *
 * @module
 */
import { FormatError, InvalidStateError } from "../core/errors.ts";
import type { MimiModel } from "../core/model.ts";
import type { CodesInfo } from "../file/codes-safetensors.ts";
import { bitsOf, type FileWarning } from "../file/container.ts";
import { MOST_WAV_SAMPLES, toPCM16, wavHeader } from "../file/wav.ts";
import { readCodes } from "./codes.ts";
import { nameOf, type Output, readChunks, writeOutput } from "./files.ts";
import type { Job, Outcome, Settings, Task } from "./job.ts";
import { decodedBefore } from "./resume.ts";

/** Frames that are decoded at a time: 1.28 s of audio. */
const BATCH = 16;
/** Samples of silence that are written at a time. */
const SILENCE = 1 << 16;

/**
 * Decodes a file to exactly the samples that it stands for. Frames that were lost become silence, so that everything stays
 * at its time, and what follows them is decoded as a beginning.
 *
 * @param loadModel called when the file's beginning is found to be good.
 * @throws {InvalidStateError} `ERR_WRONG_MODEL` for codes of another model.
 */
export async function decodeFile(
  { input, output }: Pick<Task, "input" | "output">,
  { resume }: Pick<Settings, "resume">,
  loadModel: () => Promise<MimiModel>,
  { onProgress, signal }: Job = {},
): Promise<Outcome> {
  if (resume) {
    const done = await decodedBefore({ input, output }, await loadModel());
    if (done) return done;
  }
  let read = 0;
  const name = nameOf(input), warnings: FileWarning[] = [];
  const chunks = readChunks(input, { signal, onRead: (bytes) => read = bytes });
  try {
    const { info, blocks } = await readCodes(chunks, { name, onWarning: (warning) => warnings.push(warning) });
    const model = await loadModel(), { config: { samplingRate, frameSize }, fingerprint } = model;
    checkModel(name, info, model);
    return await writeOutput(output, async (out: Output) => {
      using decoder = model.createDecoder();
      let samples = 0, silent = 0, bytes = 0, next = 0, codebooks = info.codebooks ?? 0;
      const put = async (part: Uint8Array) => {
        bytes += part.length;
        await out.write(part);
      };
      /** Silence up to a sample of the recording. */
      const silence = async (end: number) => {
        silent += end - samples;
        if (silent > MOST_WAV_SAMPLES) { // a few bytes can claim millions of hours
          throw new FormatError(
            "ERR_CONTAINER",
            `${name}: ${silent} of its samples up to ${end} are lost, more than a WAV file can hold.`,
          );
        }
        while (samples < end) {
          signal?.throwIfAborted();
          const n = Math.min(SILENCE, end - samples);
          await put(new Uint8Array(2 * n));
          samples += n;
        }
      };
      await put(wavHeader(samplingRate)); // nobody knows yet how many samples there are
      const found = blocks(frameSize);
      let block = await found.next();
      for (; !block.done; block = await found.next()) {
        const { first, codes: { data, shape: [, rows, frames] } } = block.value,
          end = first * frameSize + block.value.samples;
        if (first > next) {
          await silence(first * frameSize);
          await decoder.reset();
        }
        for (let t = 0; t < frames; t += BATCH) {
          signal?.throwIfAborted();
          const n = Math.min(BATCH, frames - t), part = new Uint16Array(rows * n);
          for (let k = 0; k < rows; k++) part.set(data.subarray(k * frames + t, k * frames + t + n), k * n);
          const { audioValues } = await decoder.decode({ data: part, shape: [1, rows, n] });
          const audio = audioValues.data.subarray(0, end - samples);
          await put(toPCM16(audio));
          samples += audio.length;
          onProgress?.({ bytes: read, seconds: samples / samplingRate });
        }
        [next, codebooks] = [first + frames, rows];
      }
      await silence(block.value.samples);
      // A file that is too long to say it is left as a pipe would leave it.
      if (samples <= MOST_WAV_SAMPLES) await out.patch?.(wavHeader(samplingRate, samples), 0);
      return {
        input,
        output,
        samples,
        seconds: samples / samplingRate,
        frames: block.value.frames,
        codebooks,
        fingerprint,
        bytes,
        warnings,
        resumed: false,
      };
    });
  } finally {
    await chunks.return();
  }
}

/** Holds what a file says about its codes against the model. */
export function checkModel(name: string, info: CodesInfo, { fingerprint, config, numQuantizers }: MimiModel): void {
  if (info.fingerprint !== undefined && info.fingerprint !== fingerprint) {
    throw new InvalidStateError(
      "ERR_WRONG_MODEL",
      `${name}: encoded by the model with fingerprint ${info.fingerprint}; this one has ${fingerprint}. Name the right one with --model.`,
    );
  }
  const check = (what: string, found: number | undefined, expected: number) => {
    if (found !== undefined && found !== expected) {
      throw new FormatError("ERR_CONTAINER", `${name}: ${what} is ${found}, this model has ${expected}.`);
    }
  };
  check("the sampling rate", info.samplingRate, config.samplingRate);
  check("the frame size", info.frameSize, config.frameSize);
  check("the number of bits of a code", info.bits, bitsOf(config.codebookSize));
  if (info.codebooks !== undefined && info.codebooks > numQuantizers) {
    throw new FormatError(
      "ERR_CONTAINER",
      `${name}: it uses ${info.codebooks} codebooks, this model has ${numQuantizers}.`,
    );
  }
}
