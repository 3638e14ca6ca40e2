/** `npm run example:tokens`: serves the page on localhost, and frames of codes over a WebSocket. */
import { WebSocketServer } from "ws";
import { serveExample } from "../shared/serve.ts";
import { speech } from "../shared/speech.ts";
import { packFrame, type ToPage, type ToServer } from "./protocol.ts";

/** Milliseconds between two frames of 80 ms. */
const PACE = 20;
const CODEBOOKS = 8;
/** How often the sentence is said. */
const REPEATS = 3;

const { frames: once, fingerprint } = await speech(CODEBOOKS);
const frames = Array.from({ length: REPEATS }, () => once).flat();
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
