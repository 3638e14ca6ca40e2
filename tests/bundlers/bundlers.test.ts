/**
 * The package, built and packed, in a small application: as bundlers build it, as Vite serves it to developers, and without
 * a bundler. Each is opened in Chromium and must give the samples of Node. Run by `npm run test:bundlers`, since it installs
 * Vite and webpack.
 */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { after, before } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify, stripVTControlCharacters } from "node:util";
import { ROOT } from "../../scripts/bundle.ts";
import { inBrowser, type TestBrowser } from "../support/browser.ts";
import { noBrowser } from "../support/chromium.ts";
import { TESTS } from "../support/files.ts";

const test = inBrowser();
/** Vite 7 is Rollup's and esbuild's, Vite 8 Rolldown's. */
const VERSIONS = ["vite@8.3.8", "vite7@npm:vite@7.3.8", "webpack@5.112.2", "webpack-cli@7.3.1"];

let folder = "";
before(async () => {
  if (noBrowser) return;
  folder = await mkdtemp(join(tmpdir(), "mimi-bundlers-"));
  await cp(new URL("bundlers/", TESTS), folder, { recursive: true });
  await writeFile(join(folder, "package.json"), '{ "type": "module", "private": true }');
  await run("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", folder], ROOT);
  const tarball = (await readdir(folder)).find((name) => name.endsWith(".tgz"));
  await run("npm", ["install", "--silent", "--no-audit", "--no-fund", `./${tarball}`, ...VERSIONS]);
});
after(async () => {
  if (folder) await rm(folder, { recursive: true, force: true });
});

async function run(command: string, args: string[], cwd: string = folder): Promise<void> {
  await promisify(execFile)(command, args, { cwd });
}

const at = (name: string) => pathToFileURL(join(folder, name));
const tool = (path: string) => join(folder, "node_modules", path);

interface App {
  decode(source?: "mini", options?: { worker?: boolean }): Promise<number[]>;
  play(): Promise<number>;
  render(): Promise<number>;
}

/** Everything that looks for a file of the package finds it: models, the worker, the worklets. */
async function assertWorks(browser: TestBrowser, address: string): Promise<void> {
  const page = await browser.open<App>(address);
  const samples = await inNode();
  assert.deepEqual(await page.call("decode"), samples);
  assert.deepEqual(await page.call("decode", "mini"), samples);
  assert.deepEqual(await page.call("decode", "mini", { worker: true }), samples);
  assert.equal(await page.call("play"), 13);
  assert.equal(await page.call("render"), 5000 - 1920);
}

let samples: Promise<number[]> | undefined;
function inNode(): Promise<number[]> {
  return samples ??= (async () => {
    const script = 'await import("./app.js"); console.log(JSON.stringify(await page.decode()));';
    const options = { cwd: folder };
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], options);
    return JSON.parse(stdout);
  })();
}

for (const vite of ["vite", "vite7"]) {
  test(`${vite} build, under a strict content security policy`, async (browser) => {
    await run(process.execPath, [tool(`${vite}/bin/vite.js`), "build", "--outDir", vite]);
    await assertWorks(browser, (await browser.serve({ "/": at(`${vite}/`) }, { csp: "wasm" })).url);
  });

  test(`${vite} for developers`, async (browser) => {
    // Vite 7 moves a package into a bundle of its own, and leaves its files behind.
    const config = 'export default { optimizeDeps: { exclude: ["mimi-audio"] } };';
    if (vite === "vite7") await writeFile(join(folder, "vite.config.js"), config);
    const args = [tool(`${vite}/bin/vite.js`), "--host", "127.0.0.1", "--port", "0"];
    const server = spawn(process.execPath, args, { cwd: folder });
    try {
      const address = await new Promise<string>((resolve, reject) => {
        let said = "";
        server.stdout.on("data", (text) => {
          const [found] = /http:\/\/[\d.:]+/.exec(stripVTControlCharacters(said += text)) ?? [];
          if (found) resolve(found);
        });
        server.on("close", () => reject(new Error(said)));
      });
      await assertWorks(browser, address);
    } finally {
      server.kill();
    }
  });
}

test("webpack", async (browser) => {
  await run(tool(".bin/webpack"), ["--mode", "production", "--entry", "./app.js", "--output-path", "webpack"]);
  const { url } = await browser.serve({ "/index.html": '<script src="main.js"></script>', "/": at("webpack/") });
  await assertWorks(browser, url);
});

test("esbuild, with six files copied beside its bundle", async (browser) => {
  const bundler = join(ROOT, "node_modules/.bin/esbuild");
  await run(bundler, ["app.js", "--bundle", "--minify", "--format=esm", "--outdir=esbuild"]);
  for (
    const name of [
      "models/mini/config.json",
      "models/mini/preprocessor_config.json",
      "models/mini/model.safetensors",
      "src/worker.js",
      "src/nodes/worklet.js",
      "src/nodes/worklet-offline.js",
    ]
  ) await cp(at(`node_modules/mimi-audio/dist/${name}`), at(`esbuild/${basename(name)}`));
  const { url } = await browser.serve({ "/app/index.html": at("index.html"), "/app/": at("esbuild/") });
  await assertWorks(browser, `${url}/app/index.html`);
});

const importMap = (origin: string) => {
  const imports = {
    "mimi-audio": `${origin}/mimi-audio/dist/mod.js`,
    "mimi-audio/mini": `${origin}/mimi-audio/dist/models/mini/mod.js`,
    "mimi-audio/nodes": `${origin}/mimi-audio/dist/src/nodes/mod.js`,
    "@noble/hashes/": `${origin}/@noble/hashes/`,
  };
  return `<script type="importmap">${JSON.stringify({ imports })}</script><script type="module" src="app.js"></script>`;
};

test("no bundler: an import map", async (browser) => {
  const { url } = await browser.serve({
    "/index.html": importMap(""),
    "/app.js": at("app.js"),
    "/": at("node_modules/"),
  });
  await assertWorks(browser, url);
});

test("no bundler: an import map, and the package on another origin", async (browser) => {
  const { url: origin } = await browser.serve({ "/": at("node_modules/") }, { cors: true });
  const { url } = await browser.serve({ "/index.html": importMap(origin), "/app.js": at("app.js") });
  await assertWorks(browser, url);
});
