/**
 * `npm run example:call`: serves the page on localhost, with signalling. `--bot` puts a peer that answers into the room
 * "bot", `--bot=local` one that knows only this machine's own address, for browsers that use it.
 */
import type { AddressInfo } from "node:net";
import process from "node:process";
import { serveExample } from "../shared/serve.ts";
import { joinAsBot } from "./bot.ts";
import { signal } from "./signalling.ts";

const server = await serveExample("call");
signal(server);
const bot = process.argv.find((argument) => argument === "--bot" || argument === "--bot=local");
if (bot) {
  const { port } = server.address() as AddressInfo;
  await joinAsBot(`ws://localhost:${port}`, "bot", { local: bot === "--bot=local" });
}
