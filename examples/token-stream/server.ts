/** `npm run example:tokens`: serves the page on localhost, and frames of codes over a WebSocket. */
import { createReadStream } from "node:fs";
import { type AudioCodes, MimiModel } from "mimi-audio";
import { WebSocketServer } from "ws";
import { ROOT } from "../../scripts/bundle.ts";
import { readWav } from "../../src/file/wav.ts";
import { serveExample } from "../shared/serve.ts";
import { packFrame, type ToPage, type ToServer } from "./protocol.ts";

/** Milliseconds between two frames of 80 ms. */
const PACE = 20;
const CODEBOOKS = 8;
/** How often the sentence is said. */
const REPEATS = 3;

/** The embedded speech as a speech model would say it: frame by frame. */
async function speech(): Promise<{ frames: number[][]; fingerprint: string }> {
  const model = await MimiModel.fromPretrained("mini", { part: "encoder", numQuantizers: CODEBOOKS });
  const { pieces } = await readWav(createReadStream(`${ROOT}models/mini/it-cannot-complete.wav`));
  const encoder = model.createEncoder(), frames: number[][] = [];
  const keep = ({ data, shape: [, codebooks, length] }: AudioCodes) => {
    for (let t = 0; t < length; t++) frames.push(Array.from({ length: codebooks }, (_, k) => data[k * length + t]));
  };
  for await (const [pcm] of pieces) keep(await encoder.encode(pcm));
  keep(await encoder.finish());
  model.close();
  return { frames: Array.from({ length: REPEATS }, () => frames).flat(), fingerprint: model.fingerprint };
}

const { frames, fingerprint } = await speech();
const sockets = new WebSocketServer({ server: await serveExample("token-stream"), path: "/tokens", maxPayload: 1024 });
sockets.on("connection", (socket) => {
  let timer: NodeJS.Timeout | undefined;
  const say = (message: ToPage) => socket.send(JSON.stringify(message));
  const play = (answer: number) => {
    let next = 0;
    say({ type: "begin", answer, fingerprint, frames: frames.length });
    timer = setInterval(() => {
      if (next < frames.length) return socket.send(packFrame(answer, frames[next++]));
      say({ type: "end", answer });
      clearInterval(timer);
    }, PACE);
  };
  socket.on("message", (text) => {
    const message = parse(String(text));
    if (!message) return socket.close(1007);
    clearInterval(timer);
    if (message.type === "play") play(message.answer);
  });
  socket.on("error", () => socket.terminate());
  socket.on("close", () => clearInterval(timer));
});

/** What a page said, if it is anything that a page says. */
function parse(text: string): ToServer | undefined {
  try {
    const message = JSON.parse(text);
    if (message.type === "stop") return message;
    if (message.type === "play" && Number.isInteger(message.answer) && message.answer >>> 16 === 0) return message;
  } catch {
    // not JSON
  }
}
