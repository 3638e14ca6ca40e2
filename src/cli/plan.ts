/**
 * From the names on a command line to tasks: which files there are, and where what they become goes.
 *
 * @module
 */
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { CODE_FORMATS, formatOf } from "./codes.ts";
import { STANDARD } from "./files.ts";
import type { Task } from "./job.ts";
import { readManifest } from "./manifest.ts";
import { type ConvertCall, isOutput, UsageError } from "./usage.ts";

/** What is taken from a folder. A file that is named itself may be called anything. */
export const ENDINGS: Record<ConvertCall["command"], RegExp> = {
  encode: /\.(wave?|flac|mp3|aac|m4a|mp4|og[ag]|opus|webm|aiff?)$/i,
  decode: new RegExp(`\\.(${CODE_FORMATS.join("|")})$`, "i"),
};

/** An input, and what it is called below the folder that was named: all of its name where it was named itself. */
interface Found {
  input: string;
  place: string;
  output?: string;
}

/**
 * The tasks of a call, in the order of its inputs.
 *
 * @throws {UsageError} where two outputs, an output and an input, or the report and any of them, would be the same file, and where nobody asked for a
 *   file that is there to be replaced.
 * @throws {LoadError} where a folder or a manifest cannot be read.
 */
export async function plan(call: ConvertCall): Promise<Task[]> {
  const { command, out, resume } = call, found = await findInputs(call);
  const single = out !== undefined && isOutput(command, out) && !(await isFolder(out));
  if (single && found.length !== 1) {
    throw new UsageError(`${found.length} files cannot become one, ${out}; name a folder with -o`);
  }
  const ending = command === "encode" ? `.${call.format ?? "mimi"}` : ".wav";
  const outputOf = ({ input, place, output }: Found): string => {
    if (output !== undefined) return output;
    if (single) return out;
    if (input === STANDARD) throw new UsageError("what comes from stdin needs the name of a file, or -, with -o");
    const stem = place.replace(/\.[^./\\]*$/, "");
    if (out !== undefined) return join(out, stem + ending);
    return join(dirname(input), basename(stem) + (command === "decode" ? `.decoded${ending}` : ending));
  };
  const tasks = found.map((file): Task => {
    const output = outputOf(file);
    if (!isOutput(command, output)) {
      throw new UsageError(`${output}: the name of an output of ${command} ends in ${endingsOf(command)}`);
    }
    return { input: file.input, output, format: formatOf(output) ?? call.format ?? "mimi" };
  });
  checkStandard(tasks, call.json);
  checkApart(tasks, call);
  if (out === undefined && !resume) {
    for (const [i, { output }] of tasks.entries()) {
      if (found[i].output === undefined && await stat(output).catch(() => undefined)) {
        throw new UsageError(`${output} is there already; --resume leaves it out, -o says where to write instead`);
      }
    }
  }
  return tasks;
}

/** There is one stdin and one stdout. */
function checkStandard(tasks: readonly Task[], json: boolean): void {
  if (tasks.length > 1 && tasks.some(({ input, output }) => input === STANDARD || output === STANDARD)) {
    throw new UsageError("- stands for stdin or stdout, so it cannot be one of several files");
  }
  if (json && tasks.some(({ output }) => output === STANDARD)) {
    throw new UsageError("--json and the output cannot both go to stdout; take --report");
  }
}

/** Outputs must differ from one another and from all inputs, and so must the report. */
function checkApart(tasks: readonly Task[], { manifest, report }: ConvertCall): void {
  const inputs = new Set(tasks.map(({ input }) => resolve(input))), from = new Map<string, string>();
  if (manifest !== undefined) inputs.add(resolve(manifest));
  for (const { input, output } of tasks) {
    if (output === STANDARD) continue;
    const path = resolve(output), other = from.get(path);
    if (other !== undefined) {
      throw new UsageError(
        `${other} and ${input} would both become ${output}; write them to two folders, or name outputs in a manifest`,
      );
    }
    if (inputs.has(path)) throw new UsageError(`${output} would be written over an input`);
    from.set(path, input);
  }
  if (report === undefined) return;
  const path = resolve(report), other = from.get(path);
  if (inputs.has(path)) throw new UsageError(`the report ${report} would be written over an input`);
  if (other !== undefined) throw new UsageError(`the report and ${other} would both become ${report}`);
}

function endingsOf(command: ConvertCall["command"]): string {
  return command === "encode" ? CODE_FORMATS.map((format) => `.${format}`).join(", ") : ".wav";
}

async function findInputs({ command, inputs, manifest }: ConvertCall): Promise<Found[]> {
  if (manifest !== undefined) {
    return (await readManifest(manifest)).map((line) => ({ ...line, place: basename(line.input) }));
  }
  const found: Found[] = [];
  for (const input of inputs) {
    // What is not there fails when its turn comes, and the others go on.
    if (input === STANDARD || !(await isFolder(input))) found.push({ input, place: basename(input) });
    else {found.push(
        ...(await filesIn(input, ENDINGS[command])).map((path) => ({ input: path, place: relative(input, path) })),
      );}
  }
  if (found.length === 0) throw new UsageError(`there is nothing to ${command} in ${inputs.join(", ")}`);
  return found;
}

/** Files below a folder with one of the endings, in the order of their names; hidden ones are left out. */
async function filesIn(folder: string, endings: RegExp): Promise<string[]> {
  const entries = (await readdir(folder, { withFileTypes: true })).filter(({ name }) => !name.startsWith("."));
  entries.sort((a, b) => a.name < b.name ? -1 : 1);
  const files: string[] = [];
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) files.push(...await filesIn(path, endings));
    else if (endings.test(entry.name)) files.push(path);
  }
  return files;
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then((s) => s.isDirectory(), () => false);
}
