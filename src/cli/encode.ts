/**
 * `mimi encode`: a WAV file to a `.mimi` file, in constant memory.
 *
 * @module
 */
import { FormatError } from "../core/errors.ts";
import type { MimiModel } from "../core/model.ts";
import { bitsOf, type ContainerEnd, type ContainerHeader, ContainerWriter } from "../file/container.ts";
import { readWav } from "../file/wav.ts";
import { type Output, readChunks, writeWhole } from "./files.ts";
import type { Job } from "./job.ts";

/**
 * Encodes a WAV file.
 *
 * @param loadModel called when the WAV file's header is found to be good.
 * @returns the header and the end of what was written.
 */
export async function encodeFile(
  input: string,
  output: string,
  codebooks: number,
  loadModel: () => Promise<MimiModel>,
  { onProgress, signal }: Job = {},
): Promise<{ header: ContainerHeader; end: ContainerEnd }> {
  const chunks = readChunks(input, onProgress);
  try {
    const wav = await readWav(chunks, { name: input }), model = await loadModel(), { config } = model;
    if (wav.samplingRate !== config.samplingRate || wav.channels !== 1) {
      throw new FormatError(
        "ERR_WAV",
        `${input}: ${wav.channels} channels at ${wav.samplingRate} Hz; this model takes mono at ${config.samplingRate} Hz.`,
      );
    }
    const header: ContainerHeader = {
      samplingRate: config.samplingRate,
      frameSize: config.frameSize,
      codebooks,
      bits: bitsOf(config.codebookSize),
      fingerprint: model.fingerprint,
    };
    return await writeWhole(output, async (out: Output) => {
      using encoder = model.createEncoder({ numQuantizers: codebooks });
      const writer = new ContainerWriter(header);
      let samples = 0;
      await out.write(writer.header());
      for await (const [pcm] of wav.pieces) {
        signal?.throwIfAborted();
        samples += pcm.length;
        await out.write(writer.write(await encoder.encode(pcm)));
      }
      await out.write(writer.write(await encoder.finish()));
      await out.write(writer.finish(samples));
      return { header, end: { frames: writer.frames, samples, truncated: false } };
    });
  } finally {
    await chunks.return();
  }
}
