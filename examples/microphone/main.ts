/** The microphone through the codec, and what there is to hear, see and change on the way. */
import { MimiModel } from "mimi-audio";
import { MimiDecoderNode, MimiEncoderNode, registerMimi } from "mimi-audio/nodes";
import { refusal } from "../shared/explain.ts";
import { Level } from "../shared/level.ts";
import { askedModel, complain, element, onPress, show } from "../shared/page.ts";
import { Raster } from "../shared/raster.ts";

const quality = element<HTMLInputElement>("quality");
let model: MimiModel | undefined, raster: Raster | undefined;

async function loadModel(): Promise<MimiModel> {
  const loaded = await MimiModel.fromPretrained(askedModel(), {
    worker: true,
    onProgress: ({ loaded, total }) =>
      total && show("status", `Loading the model: ${Math.round(100 * loaded / total)} %`),
  });
  const { numQuantizers, config } = loaded;
  quality.max = String(numQuantizers);
  quality.value = String(Math.min(8, numQuantizers));
  raster = new Raster(element("codes"), numQuantizers, config.codebookSize, 125);
  showRate(loaded);
  show("about", `Model ${askedModel()}, ${crossOriginIsolated ? "" : "not "}cross-origin isolated.`);
  return loaded;
}

function showRate({ config }: MimiModel): void {
  const books = Number(quality.value), bits = 32 - Math.clz32(config.codebookSize - 1);
  const kbps = (books * bits * config.frameRate / 1000).toFixed(2),
    text = `${books} codebook${books > 1 ? "s" : ""}, ${kbps} kbps`;
  show("rate", text);
  quality.ariaValueText = text;
}

/** One microphone, from start to stop. */
class Session {
  readonly #context: AudioContext;
  readonly #stream: MediaStream;
  readonly #encoder: MimiEncoderNode;
  readonly #decoder: MimiDecoderNode;
  readonly #gains: Record<string, GainNode>;
  readonly #levels: Record<"in" | "out", Level>;
  #frames = 0;
  #running = true;

  static async open(model: MimiModel): Promise<Session> {
    const context = new AudioContext({ latencyHint: "interactive" });
    try {
      await context.resume();
      await registerMimi(context, { model });
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: true, noiseSuppression: false, autoGainControl: false },
      });
      return new Session(context, stream);
    } catch (error) {
      await context.close();
      throw error;
    }
  }

  constructor(context: AudioContext, stream: MediaStream) {
    this.#context = context;
    this.#stream = stream;
    this.#encoder = new MimiEncoderNode(context, { numQuantizers: Number(quality.value) });
    this.#decoder = new MimiDecoderNode(context);
    this.#gains = { codec: new GainNode(context), original: new GainNode(context) };
    context.createMediaStreamSource(stream).connect(this.#encoder);
    this.#encoder.connect(this.#decoder).connect(this.#gains.codec).connect(context.destination);
    this.#encoder.connect(this.#gains.original).connect(context.destination);
    this.#levels = { in: new Level(this.#encoder), out: new Level(this.#decoder) };
    for (const node of [this.#encoder, this.#decoder]) {
      node.addEventListener("error", ({ error }) => {
        complain(error);
        element("again").hidden = false;
      });
    }
    stream.getAudioTracks()[0].addEventListener("ended", () => {
      complain("The microphone went away.");
      void stop();
    });
    this.listen();
    void this.#read();
    this.#draw();
  }

  async #read(): Promise<void> {
    const reader = this.#encoder.readable.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#frames++;
      raster!.push(value.codes.data);
      show("codebooks", String(value.codes.shape[1]));
    }
  }

  #draw(): void {
    if (!this.#running) return;
    for (const side of ["in", "out"] as const) element<HTMLMeterElement>(side).value = this.#levels[side].read();
    const { baseLatency, outputLatency = 0 } = this.#context;
    const seconds = this.#encoder.latency + this.#decoder.latency + baseLatency + outputLatency;
    show("latency", `${Math.round(1000 * seconds)} ms`);
    show("frames", String(this.#frames));
    show("underruns", String(this.#decoder.stats.underruns));
    requestAnimationFrame(() => this.#draw());
  }

  /** What is heard; a short ramp, so that it does not click. */
  listen(): void {
    const chosen = document.querySelector<HTMLInputElement>("input[name=listen]:checked")!.value;
    for (const [name, { gain }] of Object.entries(this.#gains)) {
      gain.setTargetAtTime(name === chosen ? 1 : 0, this.#context.currentTime, 0.01);
    }
  }

  /** Counts from the next frame on. */
  setQuality(codebooks: number): void {
    this.#encoder.numQuantizers.value = codebooks;
  }

  async restart(): Promise<void> {
    await Promise.all([this.#encoder.restart(), this.#decoder.restart()]);
  }

  async close(): Promise<void> {
    this.#running = false;
    for (const track of this.#stream.getTracks()) track.stop();
    this.#encoder.close();
    this.#decoder.close();
    await this.#context.close();
  }
}

let session: Session | undefined;

function showSession(text: string): void {
  show("status", text);
  element("start").hidden = session !== undefined;
  element("stop").hidden = session === undefined;
  element("again").hidden = true;
}

async function stop(): Promise<void> {
  const ending = session;
  session = undefined;
  await ending?.close();
  for (const side of ["in", "out"]) element<HTMLMeterElement>(side).value = 0;
  showSession("Stopped.");
}

onPress("start", async () => {
  const why = refusal();
  if (why) return complain(why);
  try {
    show("status", "Loading the model …");
    model ??= await loadModel();
    show("status", "Waiting for the microphone …");
    session = await Session.open(model);
    raster!.clear();
    showSession("Running.");
    element("stop").focus();
  } catch (error) {
    showSession("Not running.");
    throw error;
  }
});
onPress("stop", async () => {
  await stop();
  element("start").focus();
});
onPress("again", async () => {
  await session?.restart();
  element("again").hidden = true;
});
quality.addEventListener("input", () => {
  if (model) showRate(model);
  session?.setQuality(Number(quality.value));
});
for (const choice of document.querySelectorAll("input[name=listen]")) {
  choice.addEventListener("change", () => session?.listen());
}
complain(refusal());
