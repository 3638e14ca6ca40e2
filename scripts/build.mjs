// Builds dist: JavaScript and declarations beside each other, the embedded model where its module looks for it.
import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url)), dist = `${root}/dist`;
rmSync(dist, { recursive: true, force: true });
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
execFileSync(process.execPath, [tsc, "--project", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
for (const name of readdirSync(`${root}/models/mini`)) {
  if (!name.endsWith(".ts")) cpSync(`${root}/models/mini/${name}`, `${dist}/models/mini/${name}`);
}
chmodSync(`${dist}/src/cli/main.js`, 0o755);
console.log("built dist");
