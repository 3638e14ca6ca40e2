/**
 * Where tests find a browser: `MIMI_CHROMIUM`, else the Chromium that npm brings for Linux on x64, else one that is installed.
 * Tests run it under Node only, where Playwright is at home.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export interface Chromium {
  executablePath: string;
  env: Record<string, string>;
}

const INSTALLED = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
];
/** The libraries that come with the Chromium of npm ask for glibc 2.34: Debian 12, Ubuntu 22.04. */
const fromNpm = process.platform === "linux" && process.arch === "x64" && glibc() >= 34;
const installed = process.env.MIMI_CHROMIUM || (fromNpm ? undefined : INSTALLED.find((path) => existsSync(path)));

/** Why there is no browser for tests here; `false` where there is one. */
export const noBrowser: string | false = "Deno" in globalThis || "Bun" in globalThis
  ? "browser tests run under Node"
  : !fromNpm && !installed
  ? `no Chromium from npm for ${process.platform} ${process.arch}: install one, or name it in MIMI_CHROMIUM`
  : false;

/** The minor version of glibc 2, 0 where there is another C library. */
function glibc(): number {
  const { header } = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } ?? {};
  return Number(header?.glibcVersionRuntime?.split(".")[1] ?? 0);
}

export async function findChromium(): Promise<Chromium> {
  if (installed) return { executablePath: installed, env: {} };
  const folder = await unpack();
  return {
    executablePath: `${folder}/chromium`,
    env: { LD_LIBRARY_PATH: `${folder}/al2023/lib:${folder}`, FONTCONFIG_PATH: `${folder}/fonts` },
  };
}

/** Unpacks the package once: under a name of our own, then renamed, so that a folder of that name is always whole. */
async function unpack(): Promise<string> {
  const { version } = createRequire(import.meta.url)("../../node_modules/@sparticuz/chromium/package.json");
  const cache = fileURLToPath(new URL("../../node_modules/.cache/", import.meta.url));
  const folder = `${cache}chromium-${version}`, part = `${folder}.${process.pid}.part`;
  if (existsSync(folder)) return folder;
  await mkdir(part, { recursive: true });
  try {
    // The package unpacks into the folder for temporary files, and its shared libraries only where it believes to be on the
    // machines it is made for.
    await promisify(execFile)(
      process.execPath,
      [
        "--input-type=module",
        "--eval",
        'import chromium from "@sparticuz/chromium"; await chromium.executablePath();',
      ],
      { cwd: cache, env: { ...process.env, TMPDIR: part, AWS_LAMBDA_JS_RUNTIME: "nodejs20.x" } },
    );
    // Its own configuration names folders of these machines.
    await writeFile(
      `${part}/fonts/fonts.conf`,
      '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">' +
        '<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>\n',
    );
    await chmod(`${part}/chromium`, 0o755); // for whoever runs the tests, not only for us
    await rename(part, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error; // else another run was faster
  } finally {
    await rm(part, { recursive: true, force: true });
  }
  return folder;
}
