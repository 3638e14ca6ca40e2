/**
 * `mimi encode`: a WAV file to a `.mimi` file, in constant memory.
 *
 * @module
 */
import { FormatError } from "../core/errors.ts";
import type { MimiModel } from "../core/model.ts";
import { bitsOf, type ContainerHeader, containerHeader, packFrames } from "../file/container.ts";
import { readWav } from "../file/wav.ts";
import { type Output, readChunks, writeWhole } from "./files.ts";
import type { Job } from "./job.ts";

/**
 * Encodes a WAV file.
 *
 * @param loadModel called when the WAV file's header is found to be good.
 * @returns the header of what was written.
 */
export async function encodeFile(
  input: string,
  output: string,
  codebooks: number,
  loadModel: () => Promise<MimiModel>,
  { onProgress, signal }: Job = {},
): Promise<ContainerHeader> {
  const chunks = readChunks(input, onProgress);
  try {
    const wav = await readWav(chunks, { name: input }), model = await loadModel(), { config } = model;
    if (wav.samplingRate !== config.samplingRate) {
      throw new FormatError("ERR_WAV", `${input}: ${wav.samplingRate} Hz; this model takes ${config.samplingRate} Hz.`);
    }
    const layout: Omit<ContainerHeader, "samples"> = {
      samplingRate: config.samplingRate,
      frameSize: config.frameSize,
      codebooks,
      bits: bitsOf(config.codebookSize),
      fingerprint: model.fingerprint,
    };
    return await writeWhole(output, async (out: Output) => {
      using encoder = model.createEncoder({ numQuantizers: codebooks });
      let samples = 0;
      await out.write(containerHeader(layout)); // without the number of samples, which a pipe only tells in the end
      for await (const pcm of wav.samples) {
        signal?.throwIfAborted();
        samples += pcm.length;
        await out.write(packFrames(await encoder.encode(pcm), layout));
      }
      await out.write(packFrames(await encoder.finish(), layout));
      await out.patch(containerHeader({ ...layout, samples }), 0);
      return { ...layout, samples };
    });
  } finally {
    await chunks.return();
  }
}
