/** The script that renders a file, run by the runtime that runs this test: Node, Deno or Bun. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { readWav, toPCM16, wavHeader } from "../src/file/mod.ts";
import { TESTS } from "./support/files.ts";

const ROOT = fileURLToPath(new URL("../", TESTS)), SCRIPT = "examples/render/render.ts";
const flags = "Deno" in globalThis
  ? ["run", "-A"]
  : "Bun" in globalThis
  ? []
  : ["--import", "tsx", "--import", "./tests/support/with-resolvers.mjs"];

const run = (...args: string[]) => promisify(execFile)(process.execPath, [...flags, SCRIPT, ...args], { cwd: ROOT });

async function samplesOf(path: string): Promise<{ samplingRate: number; samples: number[] }> {
  const { samplingRate, pieces } = await readWav(await readFile(path)), samples: number[] = [];
  for await (const [piece] of pieces) samples.push(...piece);
  return { samplingRate, samples };
}

test("a file through filter, codec and compressor", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mimi-render-")), input = join(folder, "in.wav");
  try {
    const { samples: speech } = await samplesOf(fileURLToPath(new URL("../models/mini/it-cannot-complete.wav", TESTS)));
    const some = Float32Array.from(speech.slice(10000, 16000));
    await writeFile(input, [wavHeader(24000, some.length), toPCM16(some)]);
    const rendered: number[][] = [];
    for (const codebooks of ["8", "1"]) {
      const output = join(folder, `out-${codebooks}.wav`), { stdout } = await run(input, output, codebooks);
      assert.match(stdout, new RegExp(`out-${codebooks}\\.wav: 0\\.25 s at 24000 Hz, ${codebooks} codebooks`));
      const { samplingRate, samples } = await samplesOf(output);
      assert.deepEqual([samplingRate, samples.length], [24000, some.length]);
      assert.ok(samples.some((v) => Math.abs(v) > 0.02), "speech is in the file");
      rendered.push(samples);
    }
    assert.notDeepEqual(rendered[0], rendered[1], "quality is to be heard");
  } finally {
    await rm(folder, { recursive: true });
  }
});
