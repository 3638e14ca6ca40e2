// Runs the tests under Node: `npm test`, or `npm test -- streaming layers` for some of them.
// Node 20 has no globs for --test, so the files are listed here.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
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
const { status } = spawnSync(process.execPath, ["--import", "tsx", "--test", ...files], {
  cwd: root,
  stdio: "inherit",
});
process.exit(status ?? 1);
