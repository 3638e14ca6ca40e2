/** A decoder node fed by a WebSocket, and a listener who interrupts. */
import { AudioCodes, MimiModel } from "mimi-audio";
import { MimiDecoderNode, registerMimi } from "mimi-audio/nodes";
import { refusal } from "../shared/explain.ts";
import { Level } from "../shared/level.ts";
import { complain, element, onPress, show } from "../shared/page.ts";
import { Raster } from "../shared/raster.ts";
import { type ToPage, type ToServer, unpackFrame } from "./protocol.ts";

/** A socket and a decoder, for any number of answers one after the other. */
class Player {
  readonly #decoder: MimiDecoderNode;
  readonly #socket: WebSocket;
  readonly #raster: Raster;
  readonly #level: Level;
  /** The answer that plays; frames of others are not wanted any more. */
  #answer = 0;
  #received = 0;
  /** Frames that the decoder had played before this answer. */
  #before = 0;

  static async open(): Promise<Player> {
    const context = new AudioContext();
    await context.resume();
    const model = await MimiModel.fromPretrained("mini", { part: "decoder", numQuantizers: 8, worker: true });
    await registerMimi(context, { model });
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/tokens`);
    socket.binaryType = "arraybuffer";
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", () => reject(new Error("The server of tokens does not answer.")));
    });
    show("about", `Model mini, ${crossOriginIsolated ? "" : "not "}cross-origin isolated.`);
    return new Player(context, socket);
  }

  constructor(context: AudioContext, socket: WebSocket) {
    const decoder = this.#decoder = new MimiDecoderNode(context, { mode: "playback" }), { model } = decoder;
    decoder.connect(context.destination);
    decoder.addEventListener("error", ({ error }) => {
      complain(error);
      player = undefined; // the next press of the button makes another
      this.close();
    });
    this.#socket = socket;
    this.#level = new Level(decoder);
    this.#raster = new Raster(element("codes"), model.numQuantizers, model.config.codebookSize, 1);
    socket.addEventListener("message", ({ data }) => {
      if (typeof data === "string") void this.#order(JSON.parse(data));
      else this.#take(data);
    });
    socket.addEventListener("close", () => {
      if (player !== this) return;
      player = undefined;
      complain("The server went away.");
      this.close();
    });
    this.#draw();
  }

  #send(message: ToServer): void {
    this.#socket.send(JSON.stringify(message));
  }

  #take(data: ArrayBuffer): void {
    const { answer, codes } = unpackFrame(data);
    if (answer !== this.#answer) return;
    this.#received++;
    this.#raster.push(codes);
    this.#decoder.enqueue(AudioCodes.fromFrames([codes]));
  }

  async #order(message: ToPage): Promise<void> {
    if (message.answer !== this.#answer) return;
    if (message.type === "begin") {
      // Codes mean something to the model that made them only.
      if (message.fingerprint !== this.#decoder.model.fingerprint) return complain("The server uses another model.");
      return this.#raster.clear(message.frames);
    }
    try {
      await this.#decoder.end();
    } catch {
      return; // the node's error event tells
    }
    if (message.answer === this.#answer) this.#over("Played to the end.");
  }

  #over(text: string): void {
    this.#answer = -1;
    show("status", text);
    show("play", "Replay");
    element<HTMLButtonElement>("barge-in").disabled = true;
  }

  play(answer: number): void {
    // What still plays of an earlier answer makes way for this one.
    this.#decoder.clear();
    this.#answer = answer;
    this.#received = 0;
    this.#before = this.#decoder.playedFrames;
    this.#send({ type: "play", answer });
    show("status", "Playing.");
    element<HTMLButtonElement>("barge-in").disabled = false;
  }

  /** The listener has something to say. */
  bargeIn(): void {
    this.#decoder.clear({ fade: 0.05 });
    this.#send({ type: "stop" });
    this.#over("Interrupted.");
  }

  #draw(): void {
    if (player !== undefined && player !== this) return;
    const { playedFrames, bufferedFrames, stats } = this.#decoder, played = playedFrames - this.#before;
    element<HTMLMeterElement>("level").value = this.#level.read();
    show("received", String(this.#received));
    show("played", String(Math.round(played)));
    show("buffered", String(Math.round(bufferedFrames)));
    show("underruns", String(stats.underruns));
    this.#raster.playedTo(played);
    requestAnimationFrame(() => this.#draw());
  }

  close(): void {
    const { context, model } = this.#decoder;
    this.#over("Not connected.");
    show("play", "Play");
    this.#socket.close();
    this.#decoder.close();
    model.close();
    void (context as AudioContext).close();
  }
}

let player: Player | undefined, answers = 0;

onPress("play", async () => {
  const why = refusal();
  if (why) return complain(why);
  show("status", "Connecting …");
  try {
    player ??= await Player.open();
  } catch (error) {
    show("status", "Not connected.");
    throw error;
  }
  player.play(++answers);
});
onPress("barge-in", () => player?.bargeIn());
complain(refusal());
