/** A loopback server for test pages, with the headers that matter to workers, shared memory and WebAssembly. */
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname } from "node:path";

/**
 * What is served, by path: a text, bytes, the address of a file, or a function that answers what is posted; a path that ends
 * with a slash stands for a folder. `/` is `/index.html`, without one an empty page that loads `/page.js` where there is one. All else is 404.
 */
export type Site = Record<string, string | Uint8Array | URL | ((posted: string) => Promise<string>)>;

export interface Policy {
  /** Whether pages are cross-origin isolated, and so have SharedArrayBuffer; default false. */
  isolated?: boolean;
  /** A strict content security policy: with WebAssembly, without, or with blobs as well; default none. */
  csp?: "wasm" | "no-wasm" | "wasm-blob";
  /** Whether pages of other origins may read it; default false. */
  cors?: boolean;
  /** Whether parts of a file can be asked for, with an `ETag`; default false, as some hosts have it. */
  ranges?: boolean;
}

/** Strict policies: nothing inline, nothing from elsewhere. */
const POLICIES = {
  wasm: strict("'self' 'wasm-unsafe-eval'", "'self'"),
  "no-wasm": strict("'self'", "'self'"),
  "wasm-blob": strict("'self' blob: 'wasm-unsafe-eval'", "'self' blob:"),
};

function strict(script: string, worker: string): string {
  return `default-src 'none'; script-src ${script}; worker-src ${worker}; connect-src 'self'`;
}

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css; charset=utf-8",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".wav": "audio/wav",
  ".safetensors": "application/octet-stream",
};

export interface TestServer {
  /** Its origin, `http://127.0.0.1:port`. */
  url: string;
  /** Paths asked for so far. */
  requests: string[];
  close(): Promise<void>;
}

export async function serve(
  site: Site,
  { isolated = false, csp, cors = false, ranges = false }: Policy = {},
): Promise<TestServer> {
  const headers: Record<string, string> = { "cache-control": "no-store" }, requests: string[] = [];
  if (csp) headers["content-security-policy"] = POLICIES[csp];
  if (cors) headers["access-control-allow-origin"] = "*";
  if (isolated) {
    headers["cross-origin-opener-policy"] = "same-origin";
    headers["cross-origin-embedder-policy"] = "require-corp";
    headers["cross-origin-resource-policy"] = "same-origin";
  }
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url!, "http://localhost"), path = pathname === "/" ? "/index.html" : pathname;
    requests.push(pathname);
    const content = await find(site, path, request);
    const part = ranges && typeof content === "object" && /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    if (content === undefined) response.writeHead(404, headers).end();
    else if (part) {
      const [from, to] = [Number(part[1]), Math.min(Number(part[2]), content.length - 1)];
      response.writeHead(206, {
        ...headers,
        "content-range": `bytes ${from}-${to}/${content.length}`,
        etag: `"${content.length}"`,
      })
        .end(content.slice(from, to + 1));
    } else response.writeHead(200, { ...headers, "content-type": TYPES[extname(path)] ?? "text/plain" }).end(content);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () =>
      new Promise((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
}

async function find(
  site: Site,
  path: string,
  posted: AsyncIterable<Uint8Array>,
): Promise<string | Uint8Array | undefined> {
  const [name] = Object.keys(site).filter((name) => name === path || name.endsWith("/") && path.startsWith(name))
    .sort((a, b) => b.length - a.length);
  const content = site[name];
  if (typeof content === "function") {
    const parts: Uint8Array[] = [];
    for await (const part of posted) parts.push(part);
    return await content(Buffer.concat(parts).toString());
  }
  const found = content instanceof URL
    ? await readFile(new URL(path.slice(name.length), content)).catch(() => undefined)
    : content;
  return found ?? (path === "/index.html" ? page("/page.js" in site) : undefined);
}

function page(hasScript: boolean): string {
  const script = hasScript ? '<script type="module" src="/page.js"></script>' : "";
  return `<!doctype html><meta charset="utf-8"><title>test</title>${script}`;
}
