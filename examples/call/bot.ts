/**
 * A peer in Node that answers: it says its sentence over and over, and keeps what it hears.
 *
 * `npm run example:bot -- ws://localhost:8080 bot heard.wav` joins the room "bot" of a server; open the page with `?room=bot`.
 */
import { writeFile } from "node:fs/promises";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { MimiModel } from "mimi-audio";
import { IncomingVoice, OutgoingVoice } from "mimi-audio/call";
import { WebSocket } from "ws";
import { toPCM16, wavHeader } from "../../src/file/wav.ts";
import { openPeer, type Peer, readSpeech, record, speak } from "./node-peer.ts";
import { type FromServer, type Signal, SIGNAL_PATH } from "./protocol.ts";

export interface BotOptions {
  /** Where the newest call is kept as WAV, if it should be. */
  file?: string;
  /** Whether only addresses of this machine are tried. */
  local?: boolean;
}

export async function joinAsBot(server: string, room: string, { file, local }: BotOptions = {}): Promise<void> {
  const model = await MimiModel.fromPretrained("mini"), speech = await readSpeech();
  const socket = new WebSocket(`${server}${SIGNAL_PATH}?room=${encodeURIComponent(room)}`);
  const say = (signal: Signal) => socket.send(JSON.stringify(signal));
  let peer: Peer | undefined, hangUp = () => {};

  async function begin(offers: boolean): Promise<void> {
    hangUp();
    const mine = peer = await openPeer({ local });
    hangUp = () => mine.close(); // as long as there is no call
    if (offers) await describe(await mine.offer());
    mine.opened.then((channel) => {
      if (peer !== mine) return; // somebody else has come
      const outgoing = new OutgoingVoice(model, channel, { redundancy: 1 }),
        incoming = new IncomingVoice(model, channel);
      const speaking = speak(outgoing, model, speech), recording = record(incoming, model);
      console.log("The bot is in a call.");
      hangUp = () => {
        hangUp = () => {};
        speaking.stop();
        const heard = recording.stop(), { received, recovered, concealed } = incoming.stats.frames;
        for (const end of [outgoing, incoming]) end.close();
        mine.close();
        console.log(`The bot heard ${received} frames, ${recovered} by redundancy; ${concealed} were concealed.`);
        if (!file) return;
        const pcm = toPCM16(heard), head = wavHeader(model.config.samplingRate, heard.length);
        void writeFile(file, [head, pcm]).catch((error) => console.error(`bot: ${error.message}`));
      };
    });
  }

  async function describe(description: RTCSessionDescriptionInit): Promise<void> {
    say({ type: "description", description });
    for (const candidate of await peer!.candidates()) say({ type: "candidate", candidate });
  }

  async function hear(message: FromServer | Signal): Promise<void> {
    if (message.type === "joined") await begin(message.offers);
    else if (message.type === "left") hangUp();
    else if (message.type === "full") throw new Error(`room ${room} is full.`);
    else if (message.type === "candidate") await peer!.addCandidate(message.candidate);
    else if (message.type === "description" && message.description.type === "offer") {
      await describe(await peer!.answer(message.description));
    } else if (message.type === "description") await peer!.accept(message.description);
  }

  let last: Promise<void> = Promise.resolve();
  socket.on("message", (text) => {
    last = last.then(() => hear(JSON.parse(String(text)))).catch((error) => console.error(`bot: ${error.message}`));
  });
  socket.on("close", () => hangUp());
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [server = "ws://localhost:8080", room = "bot", file = "heard.wav"] = process.argv.slice(2);
  try {
    await joinAsBot(server, room, { file });
    console.log(`The bot waits in room ${room} of ${server}.`);
  } catch (error) {
    const { message, code } = error as Error & { code?: string };
    console.error(`bot: ${server} cannot be reached (${message || code}).`);
    process.exitCode = 1;
  }
}
