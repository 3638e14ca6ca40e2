/**
 * A server with repositories and files, which counts the bytes that it sends, and misbehaves where a test asks it to.
 *
 * ```ts
 * const hub = await HubServer.start();
 * const { weights } = hub.repository("a/model", { "config.json": config, "model.safetensors": bytes });
 * hub.twist(weights, ({ count, cutAfter }) => count === 0 && cutAfter(1000));
 * ```
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Bytes of any length that need not exist before they are asked for. */
export interface Content {
  length: number;
  subarray(from: number, to: number): Uint8Array;
}

export interface Call {
  request: IncomingMessage;
  response: ServerResponse;
  /** Requests for this path before this one. */
  count: number;
  /** What is asked for; the whole file without a range. */
  from: number;
  to: number;
  ranged: boolean;
  /** Answers as a server should, with other headers or another body if given. */
  answer(headers?: Record<string, string | number>, body?: Uint8Array): true;
  /** Answers with another status. */
  status(code: number, headers?: Record<string, string | number>, body?: string): true;
  /** Announces everything, sends `bytes` bytes of it and breaks the connection. */
  cutAfter(bytes: number): true;
}

/** Answers in place of the server; where it returns nothing, the server does. */
export type Twist = (call: Call) => unknown;

interface Served {
  content: Content;
  etag?: string;
  ranges: boolean;
}

export class HubServer {
  readonly url: string;
  /** Bytes of bodies that were sent, by path. */
  readonly sent: Map<string, number> = new Map();
  /** Everything that was asked for. */
  readonly requests: { path: string; range: string | undefined; token: string | undefined }[] = [];
  readonly #server: Server;
  readonly #files = new Map<string, Served>();
  readonly #twists = new Map<string, Twist>();

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(): Promise<HubServer> {
    let hub: HubServer | undefined;
    const server = createServer((request, response) => hub!.#serve(request, response));
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    return hub = new HubServer(server);
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** A file with an ETag, in ranges or without. */
  file(path: string, content: Content, { etag = '"1"', ranges = true }: Partial<Omit<Served, "content">> = {}): void {
    this.#files.set(path, { content, etag, ranges });
  }

  remove(path: string): void {
    this.#files.delete(path);
  }

  twist(path: string, twist?: Twist): void {
    if (twist) this.#twists.set(path, twist);
    else this.#twists.delete(path);
    for (let i = 0; i < this.requests.length; i++) if (this.requests[i].path === path) this.requests.splice(i--, 1);
    this.sent.delete(path);
  }

  /**
   * A repository as huggingface.co has it: a listing with the SHA-256 of its weights, and files at a commit.
   *
   * @returns the paths of its listing and its weights.
   */
  repository(
    name: string,
    files: Record<string, Content>,
    { commit = "a".repeat(40), revision = "main", sha256 }: { commit?: string; revision?: string; sha256?: string } =
      {},
  ): { listing: string; weights: string } {
    const siblings = Object.entries(files).map(([rfilename, content]) => {
      this.file(`/${name}/resolve/${commit}/${rfilename}`, content, { etag: `"${rfilename} ${commit}"` });
      const size = content.length, whole = () => createHash("sha256").update(content.subarray(0, size)).digest("hex");
      return rfilename.endsWith(".json")
        ? { rfilename, size }
        : { rfilename, size, lfs: { size, sha256: sha256 ?? whole(), pointerSize: 134 } };
    });
    const listing = `/api/models/${name}/revision/${encodeURIComponent(revision)}`;
    this.file(listing, new TextEncoder().encode(JSON.stringify({ sha: commit, siblings })));
    return { listing, weights: `/${name}/resolve/${commit}/model.safetensors` };
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url!.split("?")[0], { range, authorization: token } = request.headers;
    const count = this.requests.filter((earlier) => earlier.path === path).length;
    this.requests.push({ path, range, token });
    const counted = (bytes: Uint8Array) => {
      this.sent.set(path, (this.sent.get(path) ?? 0) + bytes.length);
      return bytes;
    };
    const served = this.#files.get(path),
      { content, etag, ranges } = served ?? { content: new Uint8Array(0), ranges: false };
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [], ranged = ranges && first !== undefined;
    const from = ranged ? Number(first) : 0, to = ranged ? Math.min(Number(last) + 1, content.length) : content.length;
    const head = (headers: Record<string, string | number> = {}) => ({
      "content-length": to - from,
      ...(etag && { etag }),
      ...(ranged && { "content-range": `bytes ${from}-${to - 1}/${content.length}` }),
      ...headers,
    });
    const status: Call["status"] = (code, headers = {}, body = "no") => {
      response.writeHead(code, headers).end(body);
      return true;
    };
    const answer: Call["answer"] = (headers, body = content.subarray(from, to)) => {
      if (ranged && from >= content.length) return status(416);
      response.writeHead(ranged ? 206 : 200, head(headers)).end(counted(body));
      return true;
    };
    const cutAfter: Call["cutAfter"] = (bytes) => {
      response.writeHead(ranged ? 206 : 200, head());
      response.write(counted(content.subarray(from, Math.min(to, from + bytes))), () => {
        setTimeout(() => response.destroy(), 20);
      });
      return true;
    };
    const call = { request, response, count, from, to, ranged, answer, status, cutAfter };
    if (this.#twists.get(path)?.(call)) return;
    if (served) answer();
    else status(404);
  }
}
