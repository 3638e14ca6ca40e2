/** A call between two browsers: microphone, codes, data channel, codes, ear; and what there is to see and change on the way. */
import { MimiModel } from "mimi-audio";
import { type ReceivedVoice, receiveVoice, sendVoice, type SentVoice, transformChannel } from "mimi-audio/call";
import { refusal } from "../shared/explain.ts";
import { Level } from "../shared/level.ts";
import { askedModel, complain, element, onPress, show } from "../shared/page.ts";
import { Raster } from "../shared/raster.ts";
import { type FromServer, type Signal, SIGNAL_PATH } from "./protocol.ts";

const ROOM = new URLSearchParams(location.search).get("room") ?? "lobby";
const [quality, redundancy, loss] = ["quality", "redundancy", "loss"].map((id) => element<HTMLInputElement>(id));
const COLUMNS = 125;
let model: MimiModel | undefined, sentCodes: Raster | undefined, receivedCodes: Raster | undefined;

async function loadModel(): Promise<MimiModel> {
  const loaded = await MimiModel.fromPretrained(askedModel(), {
    worker: true,
    numQuantizers: 8,
    onProgress: ({ loaded, total }) =>
      total && show("status", `Loading the model: ${Math.round(100 * loaded / total)} %`),
  });
  const { numQuantizers, config: { codebookSize } } = loaded;
  quality.max = String(numQuantizers);
  sentCodes = new Raster(element("sent"), numQuantizers, codebookSize, COLUMNS);
  receivedCodes = new Raster(element("received"), numQuantizers, codebookSize, COLUMNS);
  show("about", `Model ${askedModel()}, room ${ROOM}, ${crossOriginIsolated ? "" : "not "}cross-origin isolated.`);
  return loaded;
}

function showSettings(): void {
  const books = Number(quality.value), frames = Number(redundancy.value);
  show("rate", `${books} codebook${books > 1 ? "s" : ""}`);
  show("repeats", frames === 0 ? "none" : `${frames} earlier frame${frames > 1 ? "s" : ""}`);
  show("lossRate", `${loss.value} %`);
}

/** The way to the other side: descriptions and candidates over a WebSocket, then a data channel. */
class Connection {
  readonly #socket: WebSocket;
  #peer: RTCPeerConnection | undefined;
  /** Messages are handled one after the other. */
  #last: Promise<void> = Promise.resolve();
  readonly #onChannel: (channel: RTCDataChannel) => void;

  /** @param onChannel called for each channel that opens: whenever somebody joins. */
  constructor(onChannel: (channel: RTCDataChannel) => void) {
    this.#onChannel = onChannel;
    const address = new URL(`${SIGNAL_PATH}?room=${encodeURIComponent(ROOM)}`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this.#socket = new WebSocket(address);
    this.#socket.onmessage = ({ data }) => {
      this.#last = this.#last.then(() => this.#hear(JSON.parse(data))).catch(complain);
    };
    this.#socket.onerror = () => complain("The signalling server cannot be reached.");
  }

  #say(signal: Signal): void {
    this.#socket.send(JSON.stringify(signal));
  }

  async #hear(message: FromServer | Signal): Promise<void> {
    switch (message.type) {
      case "joined":
        show("status", "Connecting …");
        this.#open();
        if (message.offers) await this.#describe();
        return;
      case "left":
        return show("status", "The other side hung up. Waiting for somebody …");
      case "full":
        return complain(`Room ${ROOM} is full.`);
      case "candidate":
        return await this.#peer!.addIceCandidate(message.candidate);
      case "description":
        await this.#peer!.setRemoteDescription(message.description);
        if (message.description.type === "offer") await this.#describe();
    }
  }

  #open(): void {
    this.#peer?.close();
    const peer = this.#peer = new RTCPeerConnection();
    peer.onicecandidate = ({ candidate }) =>
      candidate && this.#say({ type: "candidate", candidate: candidate.toJSON() });
    const channel = peer.createDataChannel("voice", { negotiated: true, id: 1, ordered: false, maxRetransmits: 0 });
    channel.addEventListener("open", () => this.#onChannel(channel));
  }

  async #describe(): Promise<void> {
    await this.#peer!.setLocalDescription();
    this.#say({ type: "description", description: this.#peer!.localDescription!.toJSON() });
  }

  close(): void {
    this.#socket.close();
    this.#peer?.close();
  }
}

/** A microphone and an ear; whoever is at the other side may change. */
class Call {
  readonly #context: AudioContext;
  readonly #stream: MediaStream;
  readonly #connection: Connection;
  #sent: SentVoice | undefined;
  #received: ReceivedVoice | undefined;
  #levels: { in: Level; out: Level } | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #before = { sentBytes: 0, receivedBytes: 0, at: performance.now() };
  #running = true;
  /** One channel after the other: the next may open while the first voices are made. */
  #talking: Promise<void> = Promise.resolve();

  static async open(model: MimiModel): Promise<Call> {
    const context = new AudioContext({ latencyHint: "interactive" });
    try {
      await context.resume();
      return new Call(model, context, await navigator.mediaDevices.getUserMedia({ audio: true }));
    } catch (error) {
      await context.close();
      throw error;
    }
  }

  constructor(model: MimiModel, context: AudioContext, stream: MediaStream) {
    this.#context = context;
    this.#stream = stream;
    this.#connection = new Connection((channel) => {
      this.#talking = this.#talking.then(() => this.#talk(model, channel)).catch(complain);
    });
    this.#timer = setInterval(() => void this.#showFigures().catch(() => {}), 500);
    this.#draw();
  }

  async #talk(model: MimiModel, channel: RTCDataChannel): Promise<void> {
    if (!this.#running) return;
    const lossy = transformChannel(channel, {
      send: (message) => Math.random() < Number(loss.value) / 100 ? undefined : message,
    });
    if (this.#sent && this.#received) {
      this.#sent.replaceChannel(lossy);
      return this.#received.replaceChannel(channel);
    }
    const [track] = this.#stream.getAudioTracks(), context = this.#context;
    const received = this.#received = await receiveVoice(channel, { model, context });
    const sent = this.#sent = await sendVoice(track, lossy, { model, context });
    if (!this.#running) return this.#closeVoices(); // hung up meanwhile
    received.node.connect(context.destination);
    this.#levels = { in: new Level(sent.node as unknown as AudioNode), out: new Level(received.node) };
    this.applySettings();
    sent.addEventListener("frame", ({ detail }) => sentCodes!.push(detail.codes.subarray(0, sent.numQuantizers)));
    received.addEventListener("frame", ({ detail }) => receivedCodes!.push(detail.codes));
    sent.addEventListener("trackended", () => complain("The microphone went away."));
    for (const voice of [sent, received]) voice.addEventListener("statechange", () => this.#showState());
    this.#showState();
  }

  #showState(): void {
    if (!this.#running) return;
    const states = [this.#sent!.state, this.#received!.state], error = this.#sent!.error ?? this.#received!.error;
    if (error) complain(error);
    if (states.every((state) => state === "connected")) show("status", "Connected.");
    else if (states.includes("disconnected")) show("status", "The other side is silent. Waiting …");
    else show("status", "Connecting …");
  }

  async #showFigures(): Promise<void> {
    if (!this.#sent || !this.#received) return;
    const { sentBytes } = this.#sent.traffic, { receivedBytes } = this.#received.traffic, at = performance.now();
    const kbps = (bytes: number) => `${(8 * bytes / (at - this.#before.at)).toFixed(1)} kbps`;
    show("sentRate", kbps(sentBytes - this.#before.sentBytes));
    show("receivedRate", kbps(receivedBytes - this.#before.receivedBytes));
    this.#before = { sentBytes, receivedBytes, at };
    const { frames, network, delay } = await this.#received.getStats(), roundTrip = this.#sent.report?.roundTrip;
    if (roundTrip !== undefined) show("roundTrip", `${Math.round(1000 * roundTrip)} ms`);
    show("delay", `${Math.round(1000 * delay)} ms`);
    if (network.expected > 0) show("lost", `${Math.round(100 * network.lost / network.expected)} %`);
    show("recovered", String(frames.recovered));
    show("concealed", String(frames.concealed));
    show("frames", String(frames.received + frames.recovered + frames.partial));
  }

  #draw(): void {
    if (!this.#running) return;
    for (const side of ["in", "out"] as const) element<HTMLMeterElement>(side).value = this.#levels?.[side].read() ?? 0;
    requestAnimationFrame(() => this.#draw());
  }

  applySettings(): void {
    if (!this.#sent) return;
    this.#sent.numQuantizers = Number(quality.value);
    this.#sent.redundancy = Number(redundancy.value);
  }

  get muted(): boolean {
    return !this.#stream.getAudioTracks()[0].enabled;
  }
  set muted(muted: boolean) {
    this.#stream.getAudioTracks()[0].enabled = !muted;
  }

  #closeVoices(): void {
    this.#sent?.close();
    this.#received?.close();
  }

  async close(): Promise<void> {
    this.#running = false;
    clearInterval(this.#timer);
    this.#closeVoices();
    this.#connection.close();
    for (const track of this.#stream.getTracks()) track.stop();
    await this.#context.close();
  }
}

let call: Call | undefined;

function showCall(text: string): void {
  show("status", text);
  element("start").hidden = call !== undefined;
  for (const id of ["stop", "mute"]) element(id).hidden = call === undefined;
  element("mute").ariaPressed = "false";
  show("mute", "Mute");
}

onPress("start", async () => {
  const why = refusal();
  if (why) return complain(why);
  try {
    show("status", "Loading the model …");
    model ??= await loadModel();
    show("status", "Waiting for the microphone …");
    call = await Call.open(model);
    for (const raster of [sentCodes!, receivedCodes!]) raster.clear();
    showCall("Waiting for somebody …");
    element("stop").focus();
  } catch (error) {
    showCall("Not running.");
    throw error;
  }
});
onPress("stop", async () => {
  const ending = call;
  call = undefined;
  await ending?.close();
  for (const side of ["in", "out"]) element<HTMLMeterElement>(side).value = 0;
  showCall("Hung up.");
  element("start").focus();
});
onPress("mute", () => {
  call!.muted = !call!.muted;
  element("mute").ariaPressed = String(call!.muted);
  show("mute", call!.muted ? "Unmute" : "Mute");
});
for (const slider of [quality, redundancy, loss]) {
  slider.addEventListener("input", () => {
    showSettings();
    call?.applySettings();
  });
}
showSettings();
complain(refusal());
