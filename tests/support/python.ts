/** Python, for what documents show in it. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** Runs python3; rejects where it ends with an error. */
export const python = (...args: string[]): Promise<{ stdout: string; stderr: string }> =>
  promisify(execFile)("python3", args);

/** Why there is none here, or `false`. */
export const noPython: string | false = await python("--version").then(() => false, () => "there is no python3");
