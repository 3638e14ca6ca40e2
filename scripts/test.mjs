// Runs the tests under Node: `npm test`, or `npm test -- streaming layers` for some of them.
// Node 20 has no globs for --test, so the files are listed here.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url)), asked = process.argv.slice(2);
const files = readdirSync(`${root}/tests`)
  .filter((name) => name.endsWith(".test.ts"))
  .filter((name) => asked.length === 0 || asked.some((word) => name.includes(word)))
  .map((name) => `tests/${name}`);
if (files.length === 0) {
  console.error(`no test file matches ${asked.join(", ")}`);
  process.exit(1);
}
// Live audio in a browser takes its seconds, whatever the machine: these files go one after another, so that they do not
// starve each other, and all others beside them. What the others print follows at the end.
const usesBrowser = (file) => readFileSync(`${root}/${file}`, "utf8").includes("inBrowser(");
const inBrowser = files.filter(usesBrowser), others = files.filter((file) => !usesBrowser(file));
const [major, minor] = process.versions.node.split(".").map(Number);
const oneByOne = major > 20 || minor >= 10 ? ["--test-concurrency=1"] : []; // an option since 20.10
const runs = await Promise.all([
  run(inBrowser, { options: oneByOne, stdout: "inherit" }),
  run(others, { stdout: inBrowser.length > 0 ? "pipe" : "inherit" }),
]);
for (const { printed } of runs) process.stdout.write(printed);
["tests in a browser", "other tests"].forEach((name, i) => runs[i].status !== 0 && console.error(`failed: ${name}`));
process.exitCode = Math.max(...runs.map(({ status }) => status));

function run(files, { options = [], stdout }) {
  if (files.length === 0) return { status: 0, printed: "" };
  const printed = [];
  const child = spawn(process.execPath, ["--import", "tsx", "--test", "--test-reporter=spec", ...options, ...files], {
    cwd: root,
    stdio: ["inherit", stdout, "inherit"],
  });
  child.stdout?.on("data", (data) => printed.push(data));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => resolve({ status: status ?? 1, printed: Buffer.concat(printed) }));
  });
}
