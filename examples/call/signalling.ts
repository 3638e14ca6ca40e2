/** A tiny signalling server: rooms for two, in which everything one says is passed to the other. */
import type { IncomingMessage, Server } from "node:http";
import { type WebSocket, WebSocketServer } from "ws";
import { type FromServer, SIGNAL_PATH } from "./protocol.ts";

export function signal(server: Server): void {
  const rooms = new Map<string, WebSocket[]>();
  const sockets = new WebSocketServer({ server, path: SIGNAL_PATH, maxPayload: 65536, verifyClient: isOwn });
  sockets.on("connection", (socket, request) => {
    const name = new URL(request.url!, "http://localhost").searchParams.get("room") ?? "";
    const room = rooms.get(name) ?? [], say = (to: WebSocket, what: FromServer) => to.send(JSON.stringify(what));
    socket.on("error", () => socket.terminate());
    if (room.length === 2) {
      say(socket, { type: "full" });
      return socket.close();
    }
    room.push(socket);
    rooms.set(name, room);
    if (room.length === 2) room.forEach((each, i) => say(each, { type: "joined", offers: i === 0 }));
    socket.on("message", (text) => {
      for (const other of room) if (other !== socket) other.send(String(text));
    });
    socket.on("close", () => {
      room.splice(room.indexOf(socket), 1);
      if (room.length === 0) rooms.delete(name);
      for (const other of room) say(other, { type: "left" });
    });
  });
}

/** Pages of other sites may not join: whoever waits in a room is heard. Programs have no origin. */
function isOwn({ origin, req }: { origin?: string; req: IncomingMessage }): boolean {
  return !origin || (URL.canParse(origin) && new URL(origin).host === req.headers.host);
}
