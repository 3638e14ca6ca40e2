/**
 * The program behind the command line: from arguments to an exit code.
 *
 * @module
 */
import { cache } from "./cache.ts";
import { convert } from "./convert.ts";
import { demo } from "./demo.ts";
import { info } from "./info.ts";
import { pack } from "./pack.ts";
import { plot } from "./plot.ts";
import { type Call, HELP, parseCall, UsageError } from "./usage.ts";
import { verify } from "./verify.ts";
import { verifyModel } from "./verify-model.ts";
import { VERSION } from "./version.ts";

const FAILED = 1, WRONG_USAGE = 2;

/** What a program talks to. */
export interface Surroundings {
  /** Writes results to stdout. */
  print(text: string): Promise<void>;
  /** Writes a line about what went wrong to stderr. */
  say(line: string): void;
  /** Stops everything; what is not finished is removed. */
  signal: AbortSignal;
}

/** Runs a command line. Returns the exit code; what went wrong is said, not thrown. */
export async function program(args: string[], around: Surroundings): Promise<number> {
  try {
    return await run(parseCall(args), around);
  } catch (error) {
    if (around.signal.aborted) return FAILED;
    const usage = error instanceof UsageError;
    around.say(`${error instanceof Error ? error.message : String(error)}${usage ? "; see mimi --help" : ""}`);
    return usage ? WRONG_USAGE : FAILED;
  }
}

async function run(call: Call, around: Surroundings): Promise<number> {
  switch (call.command) {
    case "help":
      await around.print(`${HELP}\n`);
      return 0;
    case "version":
      await around.print(`${VERSION}\n`);
      return 0;
    case "encode":
    case "decode":
      return await convert(call, around);
    case "info":
      return await info(call, around);
    case "verify":
      return await verify(call, around);
    case "verify-model":
      return await verifyModel(call, around);
    case "pack":
      return await pack(call, around);
    case "cache":
      return await cache(call, around);
    case "plot":
      await plot(call, around.signal);
      return 0;
    case "demo":
      await around.print(`${await demo(call.out, around.signal)}\n`);
      return 0;
  }
}
