/**
 * `mimi encode`: a file of audio to a file of codes, in constant memory.
 *
 * @module
 */
import type { MimiModel } from "../core/model.ts";
import { readAudio, toMono } from "../file/audio.ts";
import { bitsOf } from "../file/container.ts";
import { WRITERS } from "./codes.ts";
import { nameOf, type Output, readChunks, writeOutput } from "./files.ts";
import type { Job, Outcome, Settings, Task } from "./job.ts";
import { encodedBefore } from "./resume.ts";

/**
 * Encodes a file.
 *
 * @param loadModel called when the file is found to be audio.
 */
export async function encodeFile(
  { input, output, format }: Task,
  { codebooks, resume }: Pick<Settings, "codebooks" | "resume">,
  loadModel: () => Promise<MimiModel>,
  { onProgress, signal }: Job = {},
): Promise<Outcome> {
  if (resume) {
    const done = await encodedBefore({ input, output }, codebooks, await loadModel());
    if (done) return done;
  }
  let read = 0;
  const chunks = readChunks(input, { signal, onRead: (bytes) => read = bytes });
  try {
    const audio = await readAudio(chunks, { name: nameOf(input) });
    const model = await loadModel(), { config: { samplingRate, frameSize, codebookSize }, fingerprint } = model;
    return await writeOutput(output, async (out: Output) => {
      using encoder = model.createEncoder({ numQuantizers: codebooks });
      const writer = WRITERS[format]({ samplingRate, frameSize, codebooks, bits: bitsOf(codebookSize), fingerprint });
      let samples = 0, bytes = 0;
      const put = async (part: Uint8Array) => {
        bytes += part.length;
        await out.write(part);
      };
      await put(writer.begin());
      for await (const pcm of toMono(audio, samplingRate)) {
        signal?.throwIfAborted();
        samples += pcm.length;
        await put(writer.write(await encoder.encode(pcm)));
        onProgress?.({ bytes: read, seconds: samples / samplingRate });
      }
      signal?.throwIfAborted();
      await put(writer.write(await encoder.finish()));
      await put(writer.finish(samples));
      return {
        input,
        output,
        samples,
        seconds: samples / samplingRate,
        frames: Math.ceil(samples / frameSize),
        codebooks,
        fingerprint,
        bytes,
        warnings: [],
        resumed: false,
      };
    });
  } finally {
    await chunks.return();
  }
}
