/** Examples, served by the commands that serve them. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { TESTS } from "./files.ts";

const ROOT = new URL("../", TESTS);

/** Starts an example's server; `body` gets the address that it prints. */
export async function example(
  name: string,
  body: (url: string) => Promise<void>,
  args: string[] = [],
): Promise<void> {
  const server: ChildProcess = spawn(process.execPath, ["--import", "tsx", `examples/${name}/server.ts`, ...args], {
    cwd: fileURLToPath(ROOT),
    env: { ...process.env, PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(server, "exit");
  try {
    const line = once(createInterface(server.stdout!), "line").then(([text]) => text as string);
    const said = await Promise.race([line, ended.then(() => "")]);
    const url = /http:\/\/localhost:\d+\//.exec(said)?.[0];
    assert.ok(url, `the server says where it is: ${said}`);
    await body(url);
  } finally {
    server.kill();
    await ended;
  }
}
