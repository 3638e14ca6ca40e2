/**
 * `npm run example:pocket-tts -- [model] [recording] [out.wav]`: speech to the latents of Pocket TTS, and back to speech
 * frame by frame, as they come from its language model.
 *
 * The model is a `model.safetensors` of Pocket TTS or a folder with one; without one it is the English one on the Hugging
 * Face hub, for which `HF_TOKEN` must be the token of an account that has accepted its terms.
 */
import { Buffer } from "node:buffer";
import { createReadStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { basename, resolve } from "node:path";
import process from "node:process";
import { LatentModel, type Latents } from "mimi-audio";
import { ROOT } from "../../scripts/bundle.ts";
import { readAudio, toMono } from "../../src/file/audio.ts";
import { toPCM16, wavHeader } from "../../src/file/wav.ts";
import { pocketTts } from "./codec.ts";

const [source, recording = `${ROOT}models/mini/it-cannot-complete.wav`, out = "pocket-tts.wav"] = process.argv.slice(2);
const hub = { file: "languages/english/model.safetensors", config: {}, token: process.env.HF_TOKEN };

try {
  const model = source === undefined
    ? await LatentModel.fromPretrained("kyutai/pocket-tts", { codec: pocketTts, ...hub })
    : await LatentModel.fromPretrained(resolve(source), { codec: pocketTts });
  const encoder = model.createEncoder(), decoder = model.createDecoder(), { samplingRate } = model.config;
  const latents: Latents[] = [], pieces: Uint8Array[] = [];
  const pass = async ({ data, shape: [, frames, channels] }: Latents) => {
    for (let frame = 0; frame < frames; frame++) {
      const latent = { data: data.subarray(frame * channels, (frame + 1) * channels), shape: [1, channels] };
      latents.push(latent);
      pieces.push(toPCM16((await decoder.decode(latent)).audioValues.data));
    }
  };
  const audio = await readAudio(createReadStream(recording), { name: recording });
  for await (const pcm of toMono(audio, samplingRate)) await pass(await encoder.encode(pcm));
  await pass(await encoder.finish());
  model.close();

  const speech = Buffer.concat(pieces), samples = speech.length / 2, width = latents[0]?.data.length;
  await writeFile(out, Buffer.concat([wavHeader(samplingRate, samples), speech]));
  console.log(
    `${basename(recording)}: ${latents.length} latents of ${width} numbers, ${
      samples / samplingRate
    } s of speech in ${out}`,
  );
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
