/**
 * What the command line understands.
 *
 * @module
 */
import { parseArgs } from "node:util";

export const HELP: string = `mimi - a neural speech codec: 24 kHz speech to about 1 kbps and back

  mimi encode IN.wav OUT.mimi [--model mini] [--codebooks 8]   speech to codes
  mimi decode IN.mimi OUT.wav [--model mini]                   codes to speech
  mimi info [FILE.mimi | MODEL]                                what a file or a model is
  mimi demo [--out demo]                                       a sample there and back, with a picture

  --model MODEL      mini (embedded, offline), a folder such as ./model, or a repository such as kyutai/mimi
  --codebooks N      codebooks to use, default 8: more sound better and take more bits
  --out FOLDER       where demo writes its files, default demo
  --help, --version

WAV files are mono, 16 bit, 24000 Hz. To make one: ffmpeg -i IN -ac 1 -ar 24000 -c:a pcm_s16le OUT.wav`;

/** The caller asked for something that the command line does not have. The program ends with exit code 2. */
export class UsageError extends Error {
  override readonly name: string = "UsageError";
}

/** A command line that was understood. */
export type Call =
  | { command: "help" | "version" }
  | { command: "encode"; input: string; output: string; model: string; codebooks: number }
  | { command: "decode"; input: string; output: string; model: string }
  | { command: "info"; subject: string }
  | { command: "demo"; out: string };

/** Arguments and options of each command. */
const COMMANDS: Record<string, { takes: string; least: number; most: number; options: string[] }> = {
  encode: { takes: "IN.wav OUT.mimi", least: 2, most: 2, options: ["model", "codebooks"] },
  decode: { takes: "IN.mimi OUT.wav", least: 2, most: 2, options: ["model"] },
  info: { takes: "[FILE.mimi | MODEL]", least: 0, most: 1, options: [] },
  demo: { takes: "no arguments", least: 0, most: 0, options: ["out"] },
};

/** @throws {UsageError} */
export function parseCall(args: string[]): Call {
  const { values, positionals: [command, ...rest] } = parse(args);
  if (values.help) return { command: "help" };
  if (values.version) return { command: "version" };
  if (command === undefined) throw new UsageError("no command given; there are encode, decode, info and demo");
  if (!Object.hasOwn(COMMANDS, command)) {
    throw new UsageError(`unknown command "${command}"; there are encode, decode, info and demo`);
  }
  const { takes, least, most, options } = COMMANDS[command];
  if (rest.length < least || rest.length > most) {
    throw new UsageError(`${command} takes ${takes}, got ${rest.join(" ") || "nothing"}`);
  }
  const stray = Object.keys(values).find((option) => !options.includes(option));
  if (stray) throw new UsageError(`${command} has no option --${stray}`);
  const { model = "mini", codebooks = "8", out = "demo" } = values;
  switch (command) {
    case "encode":
      if (!/^[1-9]\d{0,3}$/.test(codebooks)) {
        throw new UsageError(`--codebooks must be a number from 1, got "${codebooks}"`);
      }
      return { command, input: rest[0], output: rest[1], model, codebooks: Number(codebooks) };
    case "decode":
      return { command, input: rest[0], output: rest[1], model };
    case "info":
      return { command, subject: rest[0] ?? "mini" };
    default:
      return { command: "demo", out };
  }
}

interface Values {
  model?: string;
  codebooks?: string;
  out?: string;
  help?: boolean;
  version?: boolean;
}

function parse(args: string[]): { values: Values; positionals: string[] } {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        model: { type: "string" },
        codebooks: { type: "string" },
        out: { type: "string" },
        help: { type: "boolean", short: "h" },
        version: { type: "boolean", short: "v" },
      },
    });
    return { values: { ...values }, positionals };
  } catch (error) {
    throw new UsageError((error as Error).message.split(". ")[0], { cause: error });
  }
}
