// Builds dist: JavaScript and declarations beside each other, files that browsers load by themselves whole, with the
// licences of what is in them, the embedded model where its module looks for it.
import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { bundleWithIngredients, standaloneSources } from "./bundle.ts";

const root = fileURLToPath(new URL("..", import.meta.url)), dist = `${root}/dist`;
rmSync(dist, { recursive: true, force: true });
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
execFileSync(process.execPath, [tsc, "--project", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
const licences = new Map();
for (const source of standaloneSources()) {
  const file = source.replace(/\.ts$/, ".js"), output = `${dist}/${file}`;
  const { text, ingredients } = await bundleWithIngredients(source);
  writeFileSync(output, text);
  for (const part of ingredients) {
    const { files } = licences.get(part.name) ?? licences.set(part.name, { part, files: [] }).get(part.name);
    files.push(file);
  }
}
writeFileSync(`${dist}/LICENSES.txt`, licenceNote([...licences.values()]));
for (const name of readdirSync(`${root}/models/mini`)) {
  if (!name.endsWith(".ts")) cpSync(`${root}/models/mini/${name}`, `${dist}/models/mini/${name}`);
}
chmodSync(`${dist}/src/cli/main.js`, 0o755);
console.log("built dist");

/** What others wrote that is inside our files, where its source code is, and under which licence it may be used. */
function licenceNote(parts) {
  const rule = "-".repeat(80);
  return [
    "mimi-audio itself is under the MIT licence, see LICENSE. Some files of this folder contain code of other packages,",
    "unchanged but for being minified. Their source code is at the addresses given.",
    ...parts.map(({ part, files }) =>
      [
        rule,
        `${part.name} ${part.version}, ${part.license}, in ${files.join(" and ")}`,
        `${part.source}`,
        "",
        part.text.trim(),
      ].join("\n")
    ),
  ].join("\n") + "\n";
}
