/**
 * `mimi decode`: a `.mimi` file to a WAV file, in constant memory.
 *
 * @module
 */
import { FormatError, InvalidStateError } from "../core/errors.ts";
import type { MimiModel } from "../core/model.ts";
import { bitsOf, type ContainerEnd, type ContainerHeader, readContainer } from "../file/container.ts";
import { toPCM16, wavHeader } from "../file/wav.ts";
import { type Output, readChunks, writeWhole } from "./files.ts";
import type { Job } from "./job.ts";

/**
 * Decodes a `.mimi` file to exactly the samples that it stands for.
 *
 * @param loadModel called when the file's header is found to be good.
 * @returns the header and the end of what was read.
 * @throws {InvalidStateError} `ERR_WRONG_MODEL` for codes of another model.
 */
export async function decodeFile(
  input: string,
  output: string,
  loadModel: () => Promise<MimiModel>,
  { onProgress, signal }: Job = {},
): Promise<{ header: ContainerHeader; end: ContainerEnd }> {
  const chunks = readChunks(input, onProgress);
  try {
    const { header, blocks } = await readContainer(chunks, { name: input }), model = await loadModel();
    checkModel(input, header, model);
    return await writeWhole(output, async (out: Output) => {
      using decoder = model.createDecoder();
      await out.write(wavHeader(header.samplingRate, 0)); // the number of samples is known in the end
      const found = blocks();
      let next = await found.next();
      for (; !next.done; next = await found.next()) {
        signal?.throwIfAborted();
        const { codes, samples } = next.value, { data } = (await decoder.decode(codes)).audioValues;
        await out.write(toPCM16(data.subarray(0, samples)));
      }
      const end = next.value;
      await out.patch(wavHeader(header.samplingRate, end.samples), 0);
      return { header, end };
    });
  } finally {
    await chunks.return();
  }
}

function checkModel(input: string, header: ContainerHeader, { fingerprint, config, numQuantizers }: MimiModel): void {
  if (header.fingerprint !== fingerprint) {
    throw new InvalidStateError(
      "ERR_WRONG_MODEL",
      `${input}: encoded by the model with fingerprint ${header.fingerprint}; this one has ${fingerprint}. Name the right one with --model.`,
    );
  }
  const check = (what: string, found: number, expected: number) => {
    if (found !== expected) {
      throw new FormatError("ERR_CONTAINER", `${input}: ${what} is ${found}, this model has ${expected}.`);
    }
  };
  check("the sampling rate", header.samplingRate, config.samplingRate);
  check("the frame size", header.frameSize, config.frameSize);
  check("the number of bits of a code", header.bits, bitsOf(config.codebookSize));
  if (header.codebooks > numQuantizers) {
    throw new FormatError(
      "ERR_CONTAINER",
      `${input}: it uses ${header.codebooks} codebooks, this model has ${numQuantizers}.`,
    );
  }
}
