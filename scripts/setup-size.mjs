// What `npm ci` costs: installs into a copy with an empty cache, and prints megabytes and seconds.
import { execFileSync } from "node:child_process";
import { cpSync, lstatSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folder = mkdtempSync(join(tmpdir(), "mimi-setup-")), cache = join(folder, ".cache");
const bytes = (path) =>
  readdirSync(path, { recursive: true }).reduce(
    (sum, name) => sum + lstatSync(join(path, name), { throwIfNoEntry: false })?.size ?? sum,
    0,
  );
try {
  for (const name of ["package.json", "package-lock.json"]) {
    cpSync(new URL(`../${name}`, import.meta.url), join(folder, name));
  }
  const start = performance.now();
  execFileSync("npm", ["ci", "--silent", "--no-audit", "--no-fund", "--cache", cache], {
    cwd: folder,
    stdio: "inherit",
  });
  const seconds = (performance.now() - start) / 1000;
  console.log(
    `npm ci: ${(bytes(cache) / 1e6).toFixed(0)} MB downloaded, ${
      (bytes(join(folder, "node_modules")) / 1e6).toFixed(0)
    } MB unpacked, ${seconds.toFixed(1)} s`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
