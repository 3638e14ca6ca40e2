// Builds dist: JavaScript and declarations beside each other, files that browsers load by themselves whole, the embedded
// model where its module looks for it.
import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { bundleStandalone, standaloneSources } from "./bundle.ts";

const root = fileURLToPath(new URL("..", import.meta.url)), dist = `${root}/dist`;
rmSync(dist, { recursive: true, force: true });
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
execFileSync(process.execPath, [tsc, "--project", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
for (const source of standaloneSources()) {
  const output = `${dist}/${source.replace(/\.ts$/, ".js")}`;
  writeFileSync(output, await bundleStandalone(source));
  rmSync(`${output}.map`); // tsc's, of a file that is no more
}
for (const name of readdirSync(`${root}/models/mini`)) {
  if (!name.endsWith(".ts")) cpSync(`${root}/models/mini/${name}`, `${dist}/models/mini/${name}`);
}
chmodSync(`${dist}/src/cli/main.js`, 0o755);
console.log("built dist");
