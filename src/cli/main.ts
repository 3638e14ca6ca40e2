#!/usr/bin/env node
/**
 * The command line: `mimi encode | decode | info | demo`.
 *
 * @module
 */
import process from "node:process";
import { type LoadOptions, MimiModel } from "../load.ts";
import { decodeFile } from "./decode.ts";
import { demo } from "./demo.ts";
import { encodeFile } from "./encode.ts";
import { info } from "./info.ts";
import { progressBar } from "./progress.ts";
import { type Call, HELP, parseCall, UsageError } from "./usage.ts";
import { VERSION } from "./version.ts";

/** Runs one command; what it prints goes to stdout. */
async function run(call: Call, signal: AbortSignal): Promise<void> {
  const download = progressBar("download"), work = progressBar(call.command);
  const options: LoadOptions = { signal, onProgress: ({ loaded, total }) => download.show(total ? loaded / total : 0) };
  const job = { signal, onProgress: work.show };
  // A bar on the terminal is taken away before anything else is said.
  const load = async (model: string, more: LoadOptions) => {
    try {
      return await MimiModel.fromPretrained(model, { ...options, ...more });
    } finally {
      download.done();
    }
  };
  try {
    switch (call.command) {
      case "help":
        return console.log(HELP);
      case "version":
        return console.log(VERSION);
      case "encode":
        await encodeFile(
          call.input,
          call.output,
          call.codebooks,
          () => load(call.model, { part: "encoder", numQuantizers: call.codebooks }),
          job,
        );
        return;
      case "decode":
        await decodeFile(call.input, call.output, () => load(call.model, { part: "decoder" }), job);
        return;
      case "info":
        return console.log(await info(call.subject, (source) => load(source, {})));
      case "demo":
        return console.log(await demo(call.out, signal));
    }
  } finally {
    work.done();
  }
}

/** Runs a command line. Returns the exit code: 0, 1 for an error, 2 for wrong usage, 130 where it was interrupted. */
async function main(args: string[]): Promise<number> {
  const interrupted = new AbortController(), interrupt = () => interrupted.abort();
  process.once("SIGINT", interrupt);
  try {
    await run(parseCall(args), interrupted.signal);
    return 0;
  } catch (error) {
    if (interrupted.signal.aborted) return 130;
    const usage = error instanceof UsageError, message = error instanceof Error ? error.message : String(error);
    console.error(`mimi: ${message.replace(/\s*\n\s*/g, " ")}${usage ? "; see mimi --help" : ""}`);
    return usage ? 2 : 1;
  } finally {
    process.off("SIGINT", interrupt);
  }
}

process.exitCode = await main(process.argv.slice(2));
