/**
 * `mimi encode` and `mimi decode` for any number of files: plans, runs, and says what became of each.
 *
 * @module
 */
import process from "node:process";
import { removeTemporaries } from "./files.ts";
import type { Failure, Outcome } from "./job.ts";
import { Report } from "./manifest.ts";
import { plan } from "./plan.ts";
import type { Surroundings } from "./program.ts";
import { bar, StatusLine, Tally, weigh } from "./progress.ts";
import { runTasks } from "./run.ts";
import type { ConvertCall } from "./usage.ts";

/** What the program ends with: everything done, some files failed, done with warnings. */
const DONE = 0, FAILED = 1, WARNED = 3;

/**
 * Converts files.
 *
 * @returns the exit code.
 */
export async function convert(call: ConvertCall, { print, say, signal }: Surroundings): Promise<number> {
  const { command, model, backend, precision, codebooks, resume, jobs } = call, tasks = await plan(call);
  const status = new StatusLine(), sizes = process.stderr.isTTY ? await weigh(tasks) : tasks.map(() => 0);
  const tally = new Tally(command, sizes, performance.now()), draw = () => tally.line(performance.now());
  const tell = (line: string) => {
    status.clear();
    say(line);
  };
  let failed = 0, warned = 0;
  const report = await Report.open(call.report, call.json ? print : undefined);
  const onEnd = (index: number, end: Outcome | Failure) => {
    const done = "error" in end ? undefined : end;
    tally.end(index, done && !done.resumed ? done.seconds : 0);
    report.add(end);
    if ("error" in end) {
      failed++;
      tell(end.error.message);
    } else if (end.warnings.length > 0) {
      warned++;
      for (const { message } of end.warnings) tell(`warning: ${message}`);
    }
    status.show(draw);
  };
  try {
    if (resume) await removeTemporaries(tasks.map(({ output }) => output));
    await runTasks(tasks, { command, model, backend, precision, codebooks, resume }, jobs, {
      signal,
      onEnd,
      onDownload: (fraction) => status.show(() => `download ${bar(fraction)}`),
      onProgress(index, progress) {
        tally.update(index, progress);
        status.show(draw);
      },
    });
  } finally {
    status.clear();
    await report.close();
  }
  if (tasks.length > 1 && failed > 0) say(`${failed} of ${tasks.length} files failed`);
  return failed > 0 ? FAILED : warned > 0 ? WARNED : DONE;
}
