/** The embedded recording as a speech model would say it. */
import { createReadStream } from "node:fs";
import { type AudioCodes, MimiModel } from "mimi-audio";
import { ROOT } from "../../scripts/bundle.ts";
import { readWav } from "../../src/file/wav.ts";

/** Its frames, with so many codes each, and the fingerprint of the model that they are of. */
export async function speech(codebooks: number): Promise<{ frames: number[][]; fingerprint: string }> {
  const model = await MimiModel.fromPretrained("mini", { part: "encoder", numQuantizers: codebooks });
  const { pieces } = await readWav(createReadStream(`${ROOT}models/mini/it-cannot-complete.wav`));
  const encoder = model.createEncoder(), frames: number[][] = [];
  const keep = ({ data, shape: [, codebooks, length] }: AudioCodes) => {
    for (let t = 0; t < length; t++) frames.push(Array.from({ length: codebooks }, (_, k) => data[k * length + t]));
  };
  for await (const [pcm] of pieces) keep(await encoder.encode(pcm));
  keep(await encoder.finish());
  model.close();
  return { frames, fingerprint: model.fingerprint };
}
