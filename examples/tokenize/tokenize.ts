/**
 * A folder of speech to tokens for a language model: a line of JSON a frame, [codebooks] codes each, in a file beside each
 * recording's name. Runs in Deno, Node and Bun:
 *
 *   deno run -A examples/tokenize/tokenize.ts recordings/ tokens/ 8
 */
import { mkdir, open, readdir, readFile } from "node:fs/promises";
import { join, parse } from "node:path";
import process from "node:process";
import { MimiModel } from "mimi-audio";
import { readAudio, toMono } from "mimi-audio/audio";

const [from, to, codebooks = "8", source = "mini"] = process.argv.slice(2);
if (!to) {
  console.error("usage: tokenize.ts FOLDER OUT [codebooks] [model]");
  process.exit(2);
}
const model = await MimiModel.fromPretrained(source, { part: "encoder", numQuantizers: Number(codebooks) });
await mkdir(to, { recursive: true });
let failed = 0;
for (const name of (await readdir(from)).filter((name) => /\.(wav|flac|mp3|m4a|ogg|opus)$/i.test(name)).sort()) {
  const encoder = model.createEncoder();
  try {
    const audio = await readAudio(new Uint8Array(await readFile(join(from, name))), { name });
    const file = await open(join(to, `${parse(name).name}.jsonl`), "w");
    let frames = 0;
    const write = async ({ data, shape: [, k, n] }: Awaited<ReturnType<typeof encoder.encode>>) => {
      for (let t = 0; t < n; t++) {
        await file.write(`${JSON.stringify(Array.from({ length: k }, (_, i) => data[i * n + t]))}\n`);
      }
      frames += n;
    };
    try {
      for await (const pcm of toMono(audio, model.config.samplingRate)) await write(await encoder.encode(pcm));
      await write(await encoder.finish());
    } finally {
      await file.close();
    }
    console.log(`${name}: ${frames} frames of ${codebooks} tokens`);
  } catch (error) {
    failed++;
    console.error(`${name}: ${(error as Error).message}`);
  } finally {
    encoder.close();
  }
}
model.close();
process.exitCode = failed ? 1 : 0;
