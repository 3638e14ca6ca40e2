/**
 * docs/start.md, followed to the letter: in an empty folder, from a registry that has the packed package. Whatever it runs in,
 * the program prints the same line. Run by `npm run test:guides` after a build, since it installs Vite and webpack.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { promisify, stripVTControlCharacters } from "node:util";
import { ROOT } from "../../scripts/bundle.ts";
import { withBrowser } from "../support/browser.ts";
import { noBrowser } from "../support/chromium.ts";
import { type Registry, startRegistry } from "../support/registry.ts";

const ADDRESS = /https?:\/\/localhost:\d+/;
const LINE = /^48000 samples, codes [\da-f-]+$/m;

interface Guide {
  title: string;
  /** Files to write, by name. */
  files: Map<string, string>;
  commands: string[];
}

/** A section's files are its blocks with a name in front (`` `name`: ``), its commands the blocks of `sh`. */
function guidesOf(text: string): Guide[] {
  const [intro, ...sections] = text.split(/^## /m);
  const parse = (section: string): Guide => ({
    title: section.slice(0, section.indexOf("\n")),
    files: new Map(
      [...section.matchAll(/`([\w./]+)`:\n\n```\w+\n(.*?)^```$/gms)].map(([, name, file]) => [name, file]),
    ),
    commands: [...section.matchAll(/^```sh\n(.*?)^```$/gms)].flatMap(([, lines]) => lines.trim().split("\n")),
  });
  const common = parse(intro).files;
  return sections.map(parse).filter(({ commands }) => commands.length > 0)
    .map((guide) => ({ ...guide, files: new Map([...common, ...guide.files]) }));
}

const text = await readFile(join(ROOT, "docs/start.md"), "utf8"), guides = guidesOf(text);
const skip = "Deno" in globalThis || "Bun" in globalThis ? "runs every runtime itself" : false;
const missing = async (command: string) => {
  try {
    await promisify(execFile)(command, ["--version"]);
    return false;
  } catch {
    return `no ${command} on PATH`;
  }
};

let folder = "", registry: Registry | undefined, expected: string | undefined;
before(async () => {
  if (skip) return;
  folder = await mkdtemp(join(tmpdir(), "mimi-guides-"));
  await promisify(execFile)("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder], {
    cwd: ROOT,
  });
  const tarball = (await readdir(folder)).find((name) => name.endsWith(".tgz"))!;
  registry = await startRegistry(JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")), join(folder, tarball));
});
after(async () => {
  registry?.close();
  if (folder) await rm(folder, { recursive: true, force: true });
});

/** Runs commands in a folder; the last one until it has ended or said where it serves. */
async function follow(commands: string[], cwd: string): Promise<{ said: string; server?: ChildProcess }> {
  // What an earlier run installed under the same version is not taken instead.
  const caches = {
    DENO_DIR: join(cwd, ".deno"),
    BUN_INSTALL_CACHE_DIR: join(cwd, ".bun"),
    npm_config_cache: join(cwd, ".npm"),
  };
  const env = { ...process.env, ...caches, NPM_CONFIG_REGISTRY: registry!.url, BROWSER: "none", NO_UPDATE_CHECK: "1" };
  let said = "";
  for (const command of commands) {
    said = "";
    const child = spawn(command, { cwd, env, shell: true, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const serves = await new Promise<boolean>((resolve, reject) => {
      const hear = (bytes: Uint8Array) => {
        said += stripVTControlCharacters(new TextDecoder().decode(bytes));
        if (command === commands.at(-1) && ADDRESS.test(said)) resolve(true);
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      child.on("error", reject);
      child.on("close", (code) => code === 0 ? resolve(false) : reject(new Error(`${command}: ${code}\n${said}`)));
    });
    if (serves) return { said, server: child };
  }
  return { said };
}

for (const { title, files, commands } of guides) {
  const page = [...files.keys()].some((name) => name.endsWith(".html")), [tool] = commands[0].split(" ");
  const reason = skip || await missing(tool) || (page && noBrowser);
  test(`${title}${reason ? ` (skipped: ${reason})` : ""}`, { skip: reason, timeout: 300_000 }, async () => {
    const here = join(folder, title.replaceAll(" ", "-"));
    for (const [name, content] of files) {
      await mkdir(dirname(join(here, name)), { recursive: true });
      await writeFile(join(here, name), content);
    }
    const { said, server } = await follow(commands, here);
    try {
      let line = LINE.exec(said)?.[0];
      if (page) {
        const [address] = ADDRESS.exec(said) ?? assert.fail(`no address in:\n${said}`);
        await withBrowser(async (browser) => {
          const { log, page } = await browser.open(address, { expected: [/favicon/] });
          for (const end = Date.now() + 60_000; !line && Date.now() < end;) {
            await page.waitForTimeout(100);
            line = log.map((entry) => LINE.exec(entry)?.[0]).find((found) => found);
          }
        });
      }
      assert.ok(line, `the program's line is not in:\n${said}`);
      assert.equal(line, expected ??= line);
    } finally {
      if (server?.pid) process.kill(-server.pid);
    }
  });
}

test("every guide was found", { skip }, () => {
  const titles = ["Node", "Deno", "Bun", "A page with Vite", "A page with webpack", "A page without a bundler"];
  assert.deepEqual(guides.map(({ title }) => title), titles);
});
