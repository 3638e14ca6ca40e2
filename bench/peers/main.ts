/**
 * `npm run bench:peers`: Mimi's other implementations and this one, on the same weights and the same audio, in one run, each
 * in a process of its own with one thread, in turn. Options: `--rounds N` (default 7), `--plot FILE.svg`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { MimiModel } from "../../mod.ts";
import { writeFullModel } from "../full-model.ts";
import { signal } from "../signal.ts";
import { median, quantile } from "../stats.ts";
import { printNote, printTable } from "../table.ts";
import type { Timing } from "./engine.ts";
import { type Bar, bars } from "./plot.ts";

const FRAME = 1920, FILE_FRAMES = 125, CODEBOOKS = 8, LIVE_FRAMES = 25, WARM_UP = 25;

/** What is compared; the first two kinds are what ratios are of. */
const PYTHON = ["rustymimi", "transformers", "moshi"];
const OURS = ["f32", "int12", "int8"];
const ONNX = [
  "graph on onnxruntime-web",
  "graph on onnxruntime-node",
  "export on onnxruntime-web",
  "export on onnxruntime-node",
];
const HERE = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/** An engine's process. */
class Peer {
  readonly name: string;
  readonly live: number[] = [];
  readonly encode: number[] = [];
  readonly decode: number[] = [];
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  streams = false;
  version = "";

  constructor(name: string, folder: string) {
    const args = [name, folder, String(CODEBOOKS)], python = process.env.PEERS_PYTHON ?? "python3";
    this.name = name;
    this.#process = PYTHON.includes(name)
      ? spawn(python, [HERE("engine.py"), ...args], { stdio: ["pipe", "pipe", "pipe"] })
      : spawn(process.execPath, ["--import", "tsx", HERE("engine.ts"), ...args], { stdio: ["pipe", "pipe", "pipe"] });
    let complaint = "";
    this.#process.stderr!.on("data", (text) => complaint = (complaint + text).slice(-3000));
    this.#process.on("exit", (code) => code && console.error(`${name} ended with ${code}:\n${complaint}`));
    this.#answers = createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  async start(): Promise<boolean> {
    const { done, value } = await this.#answers.next();
    if (done) return false;
    const { version, live } = JSON.parse(value);
    this.version = version;
    this.streams = live;
    return true;
  }

  async ask(command: string): Promise<unknown> {
    this.#process.stdin!.write(`${command}\n`);
    const { done, value } = await this.#answers.next();
    if (done) throw new Error(`${this.name} did not answer ${command}`);
    return JSON.parse(value);
  }

  stop(): void {
    this.#process.stdin!.end();
    this.#process.kill();
  }

  /** What it is called in tables. */
  get title(): string {
    const name = OURS.includes(this.name)
      ? `mimi-audio, ${this.name}`
      : this.name.replace(/^graph/, "mimi-audio's graph")
        .replace(/^export/, "transformers' export");
    return this.version ? `${name} ${this.version}` : name;
  }
}

async function main(rounds: number, plot: string | undefined): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "mimi-peers-")), peers: Peer[] = [];
  try {
    await prepare(folder);
    for (const name of [...OURS, ...PYTHON, ...ONNX]) {
      const peer = new Peer(name, folder);
      if (await peer.start()) peers.push(peer);
      else printNote(`${name} is left out: it could not be started.`);
    }
    await check(peers, folder);
    for (const peer of peers) if (peer.streams) await peer.ask(`live ${WARM_UP}`);
    for (let round = 0; round < rounds; round++) await measure(peers);
    report(peers, rounds);
    if (plot !== undefined) await writeFile(plot, bars(charts(peers)));
  } finally {
    for (const peer of peers) peer.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes weights in both layouts, audio, and the codes that are decoded. */
async function prepare(folder: string): Promise<void> {
  await writeFullModel(folder);
  const audio = signal(0, FILE_FRAMES * FRAME);
  await writeFile(join(folder, "audio.f32"), audio);
  const model = await MimiModel.fromPretrained(folder, { numQuantizers: CODEBOOKS });
  await writeFile(join(folder, "codes.u16"), (await model.encode(audio)).audioCodes.data);
  model.close();
  const python = spawn(process.env.PEERS_PYTHON ?? "python3", [HERE("prepare.py"), folder, String(CODEBOOKS)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const code = await new Promise((resolve) => python.on("close", resolve));
  if (code !== 0) throw new Error(`prepare.py ended with ${code}`);
}

/** Whether all do the same work. */
async function check(peers: readonly Peer[], folder: string): Promise<void> {
  const outputs = [];
  for (const [i, peer] of peers.entries()) {
    await peer.ask(`check ${i}`);
    const [codes, audio] = await Promise.all([`${i}.codes`, `${i}.audio`].map((file) => readFile(join(folder, file))));
    outputs.push({ codes: new Uint16Array(codes.buffer), audio: new Float32Array(audio.buffer) });
  }
  const [reference] = outputs;
  printTable(
    "Whether it is the same work: codes and samples beside mimi-audio's in f32",
    ["", "codes equal", "largest difference of a sample", "SNR"],
    outputs.map(({ codes, audio }, i) => {
      const equal = reference.codes.filter((code, at) => code === codes[at]).length / reference.codes.length;
      let most = 0, power = 0, noise = 0;
      reference.audio.forEach((sample, at) => {
        const error = audio[at] - sample;
        most = Math.max(most, Math.abs(error));
        power += sample ** 2;
        noise += error ** 2;
      });
      const snr = noise === 0 ? "" : `${(10 * Math.log10(power / noise)).toFixed(1)} dB`;
      return [peers[i].title, `${(100 * equal).toFixed(2)} %`, most.toExponential(1), snr];
    }),
  );
}

async function measure(peers: readonly Peer[]): Promise<void> {
  for (const peer of peers) {
    if (!peer.streams) continue;
    await peer.ask("live 2"); // brings its weights back into the caches
    const { cpu } = await peer.ask(`live ${LIVE_FRAMES}`) as Timing;
    peer.live.push(1000 * cpu / LIVE_FRAMES);
  }
  for (const peer of peers) {
    const { encode, decode } = await peer.ask("file") as { encode: Timing; decode: Timing };
    peer.encode.push(1000 * encode.cpu / FILE_FRAMES);
    peer.decode.push(1000 * decode.cpu / FILE_FRAMES);
  }
}

/** Encode and decode of a file, round by round. */
const files = ({ encode, decode }: Peer) => encode.map((time, i) => time + decode[i]);
const spread = (values: readonly number[], digits: number) =>
  `${median(values).toFixed(digits)} (${quantile(values, 0.25).toFixed(digits)} to ${
    quantile(values, 0.75).toFixed(digits)
  })`;
/** Ratios of the same round. */
const ratios = (of: readonly number[], to: readonly number[] | undefined) =>
  to ? spread(of.map((time, i) => time / to[i]), 2) : "";

function report(peers: readonly Peer[], rounds: number): void {
  const find = (name: string) => peers.find((peer) => peer.name === name);
  const live = peers.filter(({ streams }) => streams);
  printTable(
    `Live, a frame a step: encode (${CODEBOOKS} codebooks) and decode, milliseconds of processor time a frame of 80 ms`,
    ["", "ms", "of rustymimi's", "of mimi-audio's graph on onnxruntime-web"],
    live.map((peer) => [
      peer.title,
      spread(peer.live, 1),
      ratios(peer.live, find("rustymimi")?.live),
      ratios(peer.live, find("graph on onnxruntime-web")?.live),
    ]),
  );
  const references = [
    "transformers",
    "export on onnxruntime-node",
    "graph on onnxruntime-web",
    "export on onnxruntime-web",
  ];
  printTable(
    `Whole files of 10 s: encode (${CODEBOOKS} codebooks) and decode, milliseconds of processor time a frame of 80 ms`,
    ["", "encode", "decode", "both", ...references.map((name) => `of ${find(name)?.title ?? name}`)],
    peers.map((peer) => [
      peer.title,
      ...[peer.encode, peer.decode, files(peer)].map((times) => spread(times, 1)),
      ...references.map((name) => ratios(files(peer), find(name) && files(find(name)!))),
    ]),
  );
  printNote(
    `Full-size random weights, one thread each, medians and quartiles of ${rounds} rounds in turn, ratios within a round. ` +
      `transformers has no streaming decoder. transformers.js runs transformers' export on onnxruntime-web in browsers and on ` +
      `onnxruntime-node elsewhere: this is that, without its own overhead.`,
  );
}

function charts(peers: readonly Peer[]): { title: string; bars: Bar[] }[] {
  const bar = (peer: Peer, values: readonly number[]): Bar => ({
    name: peer.title,
    ours: OURS.includes(peer.name),
    value: median(values),
    low: quantile(values, 0.25),
    high: quantile(values, 0.75),
  });
  return [
    {
      title: "Live: ms of processor time a frame of 80 ms, encode and decode",
      bars: peers.filter(({ streams }) => streams).map((peer) => bar(peer, peer.live)),
    },
    { title: "Whole files: ms a frame, encode and decode", bars: peers.map((peer) => bar(peer, files(peer))) },
  ];
}

const { values } = parseArgs({ options: { rounds: { type: "string" }, plot: { type: "string" } } });
console.log(`${cpus()[0]?.model ?? "unknown processor"}, ${process.platform} ${process.arch}, Node ${process.version}`);
await main(Number(values.rounds ?? 7), values.plot);
