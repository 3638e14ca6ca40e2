// Checks the packed package, installs it into an empty folder and uses it as a user would: API, embedded model, files,
// worker, nodes, types, command line.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url)), folder = mkdtempSync(join(tmpdir(), "mimi-package-"));
const run = (command, args, cwd = folder) =>
  execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
try {
  run("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder], root);
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"));
  // Whether package.json's exports, files and types are what Node and bundlers resolve.
  run("npx", ["--yes", "publint@0.3.25", "--strict", tarball]);
  run("npx", ["--yes", "@arethetypeswrong/cli@0.18.5", "--profile", "esm-only", tarball]);
  writeFileSync(join(folder, "package.json"), '{ "type": "module", "private": true }');
  run("npm", ["install", "--silent", "--no-audit", "--no-fund", `./${tarball}`]);
  writeFileSync(
    join(folder, "use.ts"),
    `
import { AudioCodes, MimiModel, type MimiError } from "mimi-audio";
import { readAudio, toMono } from "mimi-audio/audio";
import { codesFromNpy, codesToNpy, type ContainerHeader, ContainerWriter, readContainer } from "mimi-audio/file";
import { mini } from "mimi-audio/mini";
import { type Backend } from "mimi-audio/backend";
import { native } from "mimi-audio/native";
import { onnxWasm } from "mimi-audio/onnx-wasm";
import { webgpu } from "mimi-audio/webgpu";
import { type EncodedFrame, MimiDecoderNode, MimiEncoderNode, registerMimi } from "mimi-audio/nodes";
import { IncomingVoice, type ReceivedVoice, receiveVoice, sendVoice } from "mimi-audio/call";
import { VoiceReceiver, VoiceSender } from "mimi-audio/rtc";
const model: MimiModel = await MimiModel.fromPretrained(mini, { numQuantizers: 8 });
const { audioCodes }: { audioCodes: AudioCodes } = await model.encode(new Float32Array(5000));
const { audioValues } = await model.decode(audioCodes);
const failure: MimiError | undefined = await model.encode(new Float32Array(0)).then(() => undefined, (error) => error);
const header: ContainerHeader = { samplingRate: 24000, frameSize: 1920, codebooks: 8, bits: 9, fingerprint: model.fingerprint };
const writer = new ContainerWriter(header), parts = [writer.header(), writer.write(audioCodes), writer.finish(5000)];
for await (const { codes, samples } of (await readContainer(parts)).blocks()) {
  console.log(samples, codesFromNpy(codesToNpy(codes)).data.join() === audioCodes.data.join());
}
const flac = await readAudio([new TextEncoder().encode("fLaC")]).catch((error: MimiError) => error);
console.log(flac instanceof Error && flac.message.includes("npm install audio-decode"), typeof toMono);
const worker = await MimiModel.fromPretrained("mini", { worker: true });
const same = (await worker.encode(new Float32Array(5000), { numQuantizers: 8 })).audioCodes.data.join() === audioCodes.data.join();
worker.close();
export async function play(context: AudioContext, frame: EncodedFrame): Promise<number> {
  await registerMimi(context, { model: worker });
  const encoder = new MimiEncoderNode(context), decoder: AudioNode = new MimiDecoderNode(context, { mode: "playback" });
  encoder.connect(decoder).connect(context.destination);
  return encoder.numQuantizers.value + frame.codes.data[0];
}
export async function talk(context: AudioContext, channel: RTCDataChannel, track: MediaStreamTrack): Promise<MediaStreamTrack> {
  await sendVoice(track, channel, { model: worker, context });
  const voice: ReceivedVoice = await receiveVoice(channel, { model: worker, context });
  return voice.track;
}
try {
  new IncomingVoice(model, {} as WebSocket);
  throw new Error("that is no channel");
} catch (error) {
  if ((error as MimiError).code !== "ERR_INVALID_ARGUMENT") throw error;
}
const receiver = new VoiceReceiver(model, { decoder: model.createDecoderSync() }), sender = new VoiceSender(model);
for (const packet of sender.send({ data: new Uint16Array(8), shape: [1, 8, 1] }, 0)) receiver.push(packet, 0);
if (receiver.pull(4800, 0.1).every((v) => v === 0) || !receiver.answer()) throw new Error("no voice");
// Their packages are not installed here, nor is there a GPU.
const backends: Backend[] = [native(), onnxWasm(), webgpu()], reasons = await Promise.all(backends.map((b) => b.available()));
console.log(reasons.map((reason) => /npm install onnxruntime|no WebGPU/.exec(String(reason))?.[0]).join());
let nodes = "";
try {
  new MimiEncoderNode({} as AudioContext);
} catch (error) {
  nodes = (error as MimiError).code;
}
console.log(audioCodes.shape.join(), audioValues.shape.join(), failure?.code, same, nodes);
`,
  );
  const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  run(process.execPath, [
    tsc,
    "use.ts",
    "--target",
    "es2022",
    "--module",
    "nodenext",
    "--strict",
    "--lib",
    "es2023,dom",
  ]);
  const output = run(process.execPath, ["use.js"]).trim();
  if (
    output !==
      "5000 true\ntrue function\nnpm install onnxruntime,npm install onnxruntime,no WebGPU\n1,8,3 1,1,5760 ERR_EMPTY_INPUT true ERR_NOT_SUPPORTED"
  ) {
    throw new Error(`the installed package printed ${output}`);
  }
  const dist = join(folder, "node_modules/mimi-audio/dist"),
    licences = readFileSync(join(dist, "LICENSES.txt"), "utf8");
  for (const file of ["src/worker.js", "src/nodes/worklet.js", "src/nodes/worklet-offline.js"]) {
    await checkStandalone(join(dist, file), licences);
  }
  if (!run("npx", ["mimi", "info", "mini"]).includes("0.9")) {
    throw new Error("mimi info does not name the bitrate of the embedded model");
  }
  // Workers of the built package, and their results in the order in which they come.
  const sample = join(root, "models/mini/it-cannot-complete.wav");
  for (const name of ["a.wav", "b.wav"]) copyFileSync(sample, join(folder, name));
  const report = run("npx", ["mimi", "encode", "a.wav", "b.wav", "-o", "codes", "--jobs", "2", "--json"]);
  const frames = report.trim().split("\n").map((line) => JSON.parse(line).frames);
  if (frames.join() !== "40,40") throw new Error(`mimi encode --jobs 2 printed ${report}`);
  console.log(`the packed package installs and runs: ${output.replaceAll("\n", "; ")}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** A file that a browser loads by its address must need no other, and say whose code is in it. */
async function checkStandalone(file, licences) {
  const text = readFileSync(file, "utf8"), { build } = await import("esbuild");
  // Nothing but Node's own modules, which a browser never asks for.
  const { metafile: { outputs } } = await build({
    entryPoints: [file],
    bundle: true,
    write: false,
    metafile: true,
    format: "esm",
    outfile: "out.js",
    external: ["*"],
    logLevel: "error",
  });
  const imports = outputs["out.js"].imports.map(({ path }) => path).filter((path) => !path.startsWith("node:"));
  if (imports.length > 0) throw new Error(`${file} imports ${imports.join(", ")}`);
  const [, contents] = /^\/\*! mimi-audio [\d.]+ \(MIT\)\. Contains (.+)\. \*\/\n/.exec(text) ?? [];
  if (!contents?.includes("ringbuf.js") || !contents.includes("MPL-2.0, https://github.com/padenot/ringbuf.js")) {
    throw new Error(`${file} does not say what it contains: ${text.slice(0, 200)}`);
  }
  for (const part of contents.split(/(?<=\)), /)) {
    if (!licences.includes(part.split(" (")[0])) throw new Error(`LICENSES.txt does not name ${part}`);
  }
}
