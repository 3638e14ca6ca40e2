#!/usr/bin/env node
/**
 * The command line: `mimi encode | decode | info | verify | plot | pack | cache | demo`.
 *
 * @module
 */
import process from "node:process";
import { writeStdout } from "./files.ts";
import { program } from "./program.ts";
import { quietLibraries } from "./quiet.ts";

/** Exit codes of what stops a program: 128 and the number of the signal. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

quietLibraries();
const stopped = new AbortController();
let stoppedBy: number | undefined;
for (const [name, code] of Object.entries(SIGNALS)) {
  process.once(name, () => { // a second one ends the program at once
    stoppedBy = code;
    stopped.abort();
  });
}
const code = await program(process.argv.slice(2), {
  print: writeStdout,
  say: (line) => void process.stderr.write(`mimi: ${line.replace(/\s*\n\s*/g, " ")}\n`),
  signal: stopped.signal,
});
process.exit(stoppedBy ?? code); // stdin may still be open
