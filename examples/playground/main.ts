/** The playground: what is pressed, chosen and dropped, and what is shown of it. */
import type { MimiModel, ModelSource, Precision } from "mimi-audio";
import { bitsOf } from "mimi-audio/file";
import { refusal } from "../shared/explain.ts";
import { complain, element, onPress, show } from "../shared/page.ts";
import { Raster } from "../shared/raster.ts";
import { type Clip, code, type Engine, framesOf, loadModel, play } from "./codec.ts";
import { mimiOf, readAudio, type ReadCodes, readCodes, readSafetensors, safetensorsOf, save, wavOf } from "./files.ts";
import type { Live } from "./live.ts";
import { type Heard, Player } from "./player.ts";
import type { Wave } from "./views.ts";

/** A clip, and what files that are saved of it are called. */
interface NamedClip extends Clip {
  name: string;
}

const PRECISIONS: Precision[] = ["f32", "int12", "int8"];
/** Frames of a picture of a live stream: 10 s. */
const LIVE_FRAMES = 125;

const codebooks = element<HTMLInputElement>("codebooks"), loss = element<HTMLInputElement>("loss");
const precision = element<HTMLSelectElement>("precision"), chosen = element<HTMLSelectElement>("model");
const engine = element<HTMLSelectElement>("engine");
const player = new Player();
/** Models from files that were dropped, by their value in the list. */
const dropped = new Map<string, ModelSource>();
let waves: Promise<Record<Heard, Wave>> | undefined;
let model: MimiModel | undefined, raster: Raster | undefined, live: Live | undefined;
/** What is there to hear and save. */
let clip: NamedClip | undefined;
let abort = new AbortController(), task: Promise<unknown> = Promise.resolve();

const heard = () => document.querySelector<HTMLInputElement>("input[name=heard]:checked")!.value as Heard;
const tracks = ({ original, decoded }: Clip) => ({ original, decoded });

/** One thing at a time; a new one ends the one before. */
function run(action: (signal: AbortSignal) => Promise<void>): Promise<void> {
  abort.abort();
  abort = new AbortController();
  const { signal } = abort;
  complain(undefined);
  const next = task.catch(() => {}).then(async () => {
    try {
      await action(signal);
    } catch (error) {
      if (signal.aborted) return show("status", "Cancelled.");
      complain(error);
      show("status", "");
    } finally {
      if (abort.signal === signal) busy(undefined);
    }
  });
  task = next;
  return next;
}

function busy(share: number | undefined): void {
  const progress = element<HTMLProgressElement>("progress");
  progress.hidden = element("cancel").hidden = share === undefined;
  progress.value = share ?? 0;
}

/** The model that is chosen, loaded when it is first needed. */
async function ready(signal: AbortSignal): Promise<MimiModel> {
  if (model) return model;
  show("status", "Loading the model.");
  busy(0);
  const loaded = await loadModel(dropped.get(chosen.value) ?? chosen.value, {
    engine: engine.value as Engine,
    precision: precision.value as Precision,
    signal,
    onProgress: busy,
  });
  const { numQuantizers, config, memory, fingerprint, backend } = model = loaded;
  codebooks.max = String(numQuantizers);
  raster ??= new Raster(element("codes"), numQuantizers, config.codebookSize, LIVE_FRAMES);
  showRate();
  const megabytes = (memory.total / 1e6).toFixed(0);
  const { label } = chosen.selectedOptions[0];
  show("about", `Model ${label}, ${backend}, ${loaded.precision}, ${megabytes} MB, fingerprint ${fingerprint}.`);
  return loaded;
}

function showRate(): void {
  const books = Number(codebooks.value), lost = Number(loss.value);
  const bits = bitsOf(model?.config.codebookSize ?? 512);
  const kbps = (books * bits * (model?.config.frameRate ?? 12.5) / 1000).toFixed(2);
  show("rate", `${books}, ${kbps} kbps`);
  show("lost", lost ? `${lost} %` : "none");
  codebooks.ariaValueText = element("rate").textContent!;
  loss.ariaValueText = element("lost").textContent!;
}

/** Of codes from a file nothing can be chosen any more. */
function showSliders(): void {
  codebooks.disabled = loss.disabled = !live && clip !== undefined && !clip.original;
}

/** Speech through the codec. */
async function speech(original: Float32Array, name: string, signal: AbortSignal): Promise<void> {
  const loaded = await ready(signal), books = Number(codebooks.value), lost = Number(loss.value) / 100;
  let done = 0;
  raster!.clear(Math.max(1, Math.ceil(original.length / loaded.config.frameSize)), books);
  show("status", "Encoding.");
  const made = await code(loaded, original, books, (codes, frames) => {
    signal.throwIfAborted();
    raster!.push(codes);
    busy(++done / frames);
  });
  signal.throwIfAborted();
  if (lost > 0) {
    show("status", "Decoding what is left of the frames.");
    const { lossy } = await import("./loss.ts");
    made.decoded = await lossy(loaded, original, books, lost);
  }
  await present({ ...made, name }, signal);
}

/** Shows what there is. */
async function present(made: NamedClip, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  clip = made;
  showSliders();
  element("play").textContent = "Play";
  const { frameSize, codebookSize, samplingRate } = made.model.config, [, books, frames] = made.codes.shape;
  if (!made.original) {
    codebooks.value = String(books);
    loss.value = "0";
    showRate();
  }
  const decibels = player.set(tracks(made), samplingRate);
  for (const id of ["play", "save-mimi", "save-safetensors", "save-wav"]) {
    element<HTMLButtonElement>(id).disabled = false;
  }
  show(
    "match",
    made.original && Math.abs(decibels) >= 0.05
      ? `codec ${decibels > 0 ? "+" : ""}${decibels.toFixed(1)} dB, so that both are as loud`
      : "",
  );
  show("encode", made.encode === undefined ? "–" : `${made.encode.toFixed(1)} ms`);
  show("decode", `${made.decode.toFixed(1)} ms`);
  show("frames", String(frames));
  const bytes = Math.ceil(frames * books * bitsOf(codebookSize) / 8);
  show("bytes", `${bytes} bytes`);
  // The pictures' library comes when there is something to show.
  waves ??= import("./views.ts").then(({ Wave }) => ({
    original: new Wave(element("original")),
    decoded: new Wave(element("decoded")),
  }));
  const shown = await waves;
  await Promise.all([
    shown.original.show(made.original, samplingRate),
    shown.decoded.show(made.decoded, samplingRate),
  ]);
  show("status", `${(frames * frameSize / samplingRate).toFixed(1)} s, ${frames} frames.`);
}

async function openCodes(read: ReadCodes, name: string, signal: AbortSignal): Promise<void> {
  const { codes, samples, fingerprint } = read;
  const loaded = await ready(signal);
  if (fingerprint !== loaded.fingerprint) {
    throw new Error(
      `These codes are of model ${fingerprint}, the one that is chosen is ${loaded.fingerprint}: choose the other one.`,
    );
  }
  raster!.clear(Math.max(1, codes.shape[2]), codes.shape[1]);
  for (const frame of framesOf(codes)) raster!.push(frame);
  const made = await play(loaded, codes, samples ?? codes.shape[2] * loaded.config.frameSize);
  await present({ ...made, name }, signal);
}

/** Files that were chosen or dropped: a model, codes, or audio. */
function open(files: File[]): Promise<void> {
  return run(async (signal) => {
    const address = (file: File) => new URL(URL.createObjectURL(file));
    const find = (ending: string) => files.find((file) => file.name.endsWith(ending)), weights = find(".safetensors");
    const [file] = files;
    await stopLive();
    if (find(".bin")) {
      const folder = Object.fromEntries(files.map((file) => [file.name, address(file)]));
      return useModel("a bundle", { folder });
    }
    const codes = weights
      ? await readSafetensors(weights)
      : file.name.endsWith(".mimi")
      ? await readCodes(file)
      : undefined;
    const name = file.name.replace(/\.\w+$/, "");
    if (codes) return await openCodes(codes, name, signal);
    if (weights) {
      const config = files.find(({ name }) => name === "config.json");
      return useModel(weights.name, { weights: address(weights), ...(config && { config: address(config) }) });
    }
    const { config } = await ready(signal);
    await speech(await readAudio(file, config.samplingRate), name, signal);
  });
}

/** What was dropped: a file, or those of a folder. */
async function filesOf(entry: FileSystemEntry | null, file: File | null): Promise<File[]> {
  if (!entry?.isDirectory) return file ? [file] : [];
  const reader = (entry as FileSystemDirectoryEntry).createReader(), files: File[] = [];
  const read = () => new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
  for (let some; (some = await read()).length > 0;) { // some at a time
    for (const each of some) {
      if (each.isFile) {
        files.push(await new Promise((resolve, reject) => (each as FileSystemFileEntry).file(resolve, reject)));
      }
    }
  }
  return files;
}

/** Puts a model into the list, and chooses it. */
function useModel(name: string, source: ModelSource): void {
  const value = `file ${dropped.size + 1}`;
  dropped.set(value, source);
  chosen.add(new Option(name, value, false, true));
  changeModel();
  show("status", `${name} is chosen; it is loaded when there is something to do.`);
}

function changeModel(): void {
  player.stop();
  element("play").textContent = "Play";
  model?.close();
  model = raster = undefined;
}

async function stopLive(): Promise<Float32Array | undefined> {
  const session = live;
  live = undefined;
  showSliders();
  element("microphone").ariaPressed = "false";
  return await session?.close(model!.config.samplingRate);
}

async function microphone(signal: AbortSignal): Promise<void> {
  const said = await stopLive();
  if (said) return await speech(said, "microphone", signal);
  const loaded = await ready(signal);
  raster!.clear(LIVE_FRAMES);
  const { Live } = await import("./live.ts");
  live = await Live.open(loaded, {
    codebooks: Number(codebooks.value),
    loss: Number(loss.value) / 100,
    heard: heard(),
    onFrame: (codes) => raster?.push(codes),
    onError: complain,
    onEnd: () => void run(microphone),
  });
  showSliders();
  element("microphone").ariaPressed = "true";
  show("status", "Listening: you hear yourself, so use headphones. Press again to end.");
}

/** Plays what there is. */
async function listen(): Promise<void> {
  await player.start(tracks(clip!), clip!.model.config.samplingRate, (seconds) => void heardTo(seconds));
  performance.mark("heard");
}

/** Shows where the ear is; `undefined` when nothing is played any more. */
async function heardTo(seconds: number | undefined): Promise<void> {
  for (const wave of Object.values(await waves!)) wave.at(seconds ?? 0);
  raster?.playedTo(seconds === undefined ? Infinity : seconds * clip!.model.config.frameRate);
  element("play").textContent = seconds === undefined ? "Play" : "Stop";
}

/** The same speech once more, with other settings. */
function again(): void {
  const { original, name } = clip ?? {};
  if (!live && original) void run((signal) => speech(original, name!, signal));
}

for (const value of PRECISIONS) precision.add(new Option(value === "f32" ? "f32, as published" : value, value));
onPress("sample", () =>
  run(async (signal) => {
    performance.mark("pressed");
    await stopLive();
    const { config } = await ready(signal);
    const sample = await fetch(new URL("../../models/mini/it-cannot-complete.wav", import.meta.url));
    await speech(await readAudio(await sample.blob(), config.samplingRate), "it-cannot-complete", signal);
    await listen();
  }));
onPress("microphone", () => run(microphone));
onPress("cancel", () => abort.abort());
onPress("play", async () => {
  if (!player.playing) return await listen();
  player.stop();
  await heardTo(undefined);
});
onPress("save-mimi", () => save(mimiOf(clip!), `${clip!.name}.mimi`));
onPress("save-safetensors", () => save(safetensorsOf(clip!), `${clip!.name}.safetensors`));
onPress("save-wav", () => save(wavOf(clip!.decoded, clip!.model.config.samplingRate), `${clip!.name}.decoded.wav`));
element("file").addEventListener("change", ({ target }) => {
  const input = target as HTMLInputElement, files = [...input.files!];
  input.value = ""; // the same file may be chosen again
  if (files.length) void open(files);
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
for (const type of ["dragleave", "drop"]) addEventListener(type, () => document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  const items = [...event.dataTransfer?.items ?? []].filter(({ kind }) => kind === "file");
  // Entries and files can be asked for in this turn only.
  const parts = items.map((item) => filesOf(item.webkitGetAsEntry(), item.getAsFile()));
  void Promise.all(parts).then((found) => found.flat()).then(
    (files) => files.length ? open(files) : undefined,
    complain,
  );
});
for (const slider of [codebooks, loss]) {
  slider.addEventListener("input", () => {
    showRate();
    if (!live) return;
    live.codebooks = Number(codebooks.value);
    live.loss = Number(loss.value) / 100;
  });
  slider.addEventListener("change", again);
}
for (const list of [chosen, engine, precision]) {
  list.addEventListener("change", () =>
    void run(async (signal) => {
      await stopLive();
      changeModel();
      if (clip?.original) await speech(clip.original, clip.name, signal);
    }));
}
for (const choice of document.querySelectorAll<HTMLInputElement>("input[name=heard]")) {
  choice.addEventListener("change", () => {
    player.hear(heard());
    live?.hear(heard());
  });
}
showRate();
const why = refusal();
if (why) {
  complain(why);
  for (const button of document.querySelectorAll("button")) button.disabled = true;
}
const missing = [
  ...("gpu" in navigator ? [] : ["There is no WebGPU in this browser."]),
  ...(navigator.mediaDevices ? [] : ["There is no microphone: the page needs https or localhost for it."]),
  ...(crossOriginIsolated
    ? []
    : ["The page is not cross-origin isolated, so audio goes to the worker by messages, not shared memory."]),
];
show("missing", missing.join(" "));
engine.options[1].disabled = !("gpu" in navigator);
