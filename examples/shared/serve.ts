/**
 * Serves a page of this folder the way that an application would be served: bundled, cross-origin isolated, under a strict
 * content security policy.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, extname } from "node:path";
import process from "node:process";
import { bundle, bundleStandalone, ROOT } from "../../scripts/bundle.ts";

const HEADERS: Record<string, string> = {
  "cache-control": "no-store",
  // Isolated pages share memory with workers; everything works without as well.
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  // https: is for models of the hub, ws: for the stream of tokens.
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self' https: ws:",
  ].join("; "),
};

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".wav": "audio/wav",
};

/** Where the library looks for its files from a bundle: beside the bundle. */
const MODEL = ["config.json", "model.safetensors"];

export interface ExampleOptions {
  /** Files of the project that the page loads too, by their own names. */
  files?: string[];
  /** And what is made for it, by its name. */
  texts?: Record<string, string>;
  /** Whether scripts may be Blobs. */
  blobs?: boolean;
}

/** Serves `examples/<name>` on localhost, at a free port or the one that the environment's PORT names, and says where. */
export async function serveExample(
  name: string,
  { files: more = [], texts = {}, blobs = false }: ExampleOptions = {},
): Promise<Server> {
  const folder = `${ROOT}examples/${name}/`;
  const files: Record<string, string | Uint8Array> = {
    "/index.html": await readFile(`${folder}index.html`),
    "/style.css": await readFile(`${ROOT}examples/shared/style.css`),
    "/main.js": await bundle({ file: existsSync(`${folder}main.tsx`) ? `${folder}main.tsx` : `${folder}main.ts` }),
    "/worker.js": await bundleStandalone("src/worker.ts"),
    "/worklet.js": await bundleStandalone("src/nodes/worklet.ts"),
    "/worklet-offline.js": await bundleStandalone("src/nodes/worklet-offline.ts"),
  };
  for (const file of more) files[`/${basename(file)}`] = await readFile(ROOT + file);
  for (const [name, text] of Object.entries(texts)) files[`/${name}`] = text;
  for (const file of MODEL) files[`/${file}`] = await readFile(`${ROOT}models/mini/${file}`);
  const headers = blobs
    ? {
      ...HEADERS,
      "content-security-policy": HEADERS["content-security-policy"].replace("script-src", "script-src blob:"),
    }
    : HEADERS;
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, "http://localhost"), path = pathname === "/" ? "/index.html" : pathname;
    if (!Object.hasOwn(files, path)) return response.writeHead(404, headers).end();
    const type = TYPES[extname(path)] ?? "application/octet-stream";
    response.writeHead(200, { ...headers, "content-type": type }).end(files[path]);
  });
  await new Promise<void>((resolve, reject) => {
    server.on("error", reject);
    server.listen(Number(process.env.PORT ?? 0), "localhost", resolve);
  });
  console.log(`Open http://localhost:${(server.address() as AddressInfo).port}/ (Ctrl+C ends it).`);
  return server;
}
