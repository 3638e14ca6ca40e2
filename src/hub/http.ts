/**
 * One request for a file or a part of it, and how often it is made again.
 *
 * @module
 */
import { LoadError } from "../core/errors.ts";

/** How patient a download is. Data and no constants, so that tests need not wait. */
export const PATIENCE: { delays: number[]; stall: number; longest: number } = {
  /** Milliseconds before each further attempt, where the server does not say how long (`Retry-After`). */
  delays: [500, 1000, 2000, 4000],
  /** Milliseconds without a byte after which a connection is given up. */
  stall: 30_000,
  /** Milliseconds that a server may ask to wait. */
  longest: 60_000,
};

/** A failure that another attempt may not meet. */
export class TransientError extends LoadError {
  /** Milliseconds that the server asks to wait. */
  readonly after: number | undefined;
  constructor(message: string, options: ErrorOptions & { after?: number } = {}) {
    super("ERR_NETWORK", message, options);
    this.after = options.after;
  }
}

export interface GetOptions {
  /** Bytes that are asked for, both counted from 0, `to` exclusive; all without it. A server may send all anyway. */
  range?: { from: number; to: number };
  /** Sent as a bearer token; not on to other origins. */
  token?: string;
  signal?: AbortSignal;
  /** Bytes that are taken of the file at most. */
  most: number;
}

/** What a server answered, its body still to come. */
export interface Answer {
  /** Whether it is the part that was asked for, and not the whole file. */
  isPart: boolean;
  /** First byte that comes. */
  from: number;
  /** Byte after the last one that comes; undefined where the server does not say. */
  to: number | undefined;
  /** Bytes of the whole file; undefined where the server does not say. */
  size: number | undefined;
  /** Changes when the file does: `ETag`, else `Last-Modified`. */
  validator: string | undefined;
  /** The body in pieces; ends normally only when everything came. */
  pieces(): AsyncGenerator<Uint8Array, void, undefined>;
  /** Leaves the body. */
  cancel(): Promise<void>;
}

/**
 * Does something again, after a pause, as long as it fails with a {@link TransientError}.
 *
 * @throws {LoadError} the last failure. @throws the signal's reason when aborted.
 */
export async function retrying<T>(signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
  for (let attempt = 0;; attempt++) {
    signal?.throwIfAborted();
    try {
      return await action();
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof TransientError)) throw error;
      const { delays, longest } = PATIENCE, { after } = error;
      if (attempt >= delays.length || (after ?? 0) > longest) {
        const wish = after === undefined ? "" : ` The server asks to wait ${Math.ceil(after / 1000)} s.`;
        throw new LoadError("ERR_NETWORK", `${error.message} Tried ${attempt + 1} times.${wish}`, { cause: error });
      }
      // Some chance in it, so that many who failed together do not come back together.
      await pause(after ?? delays[attempt] * (0.5 + Math.random() / 2), signal);
    }
  }
}

/** Waits. @throws the signal's reason when aborted. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = () => {
      signal?.removeEventListener("abort", stop);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
  });
}

/** Fetches a small file whole, trying again where that may help; errors as {@link get}. */
export async function getBytes(address: URL, options: Omit<GetOptions, "range">): Promise<Uint8Array<ArrayBuffer>> {
  return await retrying(options.signal, async () => {
    const parts: Uint8Array[] = [];
    for await (const bytes of (await get(address, options)).pieces()) parts.push(bytes);
    const whole = new Uint8Array(parts.reduce((n, { length }) => n + length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  });
}

/**
 * Asks once.
 *
 * @throws {LoadError} `ERR_NOT_FOUND` for 401, 403, 404, 410; `ERR_CHANGED` for 412 and 416; `ERR_NETWORK` otherwise, as a
 *   {@link TransientError} for 408, 425, 429, 5xx and connections that fail or stall.
 * @throws the signal's reason when aborted.
 */
export async function get(address: URL, options: GetOptions): Promise<Answer> {
  const { range, token, signal, most } = options;
  const file = withoutQuery(address.href), attempt = new Attempt(file, signal);
  const headers: Record<string, string> = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (range) headers.range = `bytes=${range.from}-${range.to - 1}`;
  const response = await attempt.guard(() => fetch(address, { headers, signal: attempt.signal }));
  const reader = response.body?.getReader();
  const cancel = async () => {
    attempt.end();
    await reader?.cancel().catch(() => {});
  };
  try {
    checkStatus(file, response, range !== undefined);
    if (range && response.headers.has("content-encoding")) {
      // Parts of compressed bytes are of no use, and Deno leaves compressed what was asked for as a part.
      await cancel();
      return await get(address, { ...options, range: undefined });
    }
    return { ...extent(file, response, range, most), validator: validatorOf(response), cancel, pieces };
  } catch (error) {
    await cancel();
    throw error;
  }

  async function* pieces(this: Answer): AsyncGenerator<Uint8Array, void, undefined> {
    const expected = this.to === undefined ? undefined : this.to - this.from, limit = expected ?? most;
    let came = 0;
    try {
      for (;;) {
        const { done, value } = reader ? await attempt.guard(() => reader.read()) : { done: true, value: undefined };
        if (done) break;
        came += value!.length;
        if (came > limit) {
          throw new LoadError("ERR_NETWORK", `${file}: more bytes came than the ${limit} that were expected.`);
        }
        yield value!;
      }
      if (expected !== undefined && came < expected) {
        throw new TransientError(`${file}: ${came} of ${expected} bytes came before the connection ended.`);
      }
    } finally {
      await cancel();
    }
  }
}

/** A connection that the caller or silence ends. */
class Attempt {
  readonly #file: string;
  readonly #controller = new AbortController();
  readonly #caller: AbortSignal | undefined;
  readonly #stop = () => this.#controller.abort(this.#caller!.reason);

  constructor(file: string, caller: AbortSignal | undefined) {
    this.#file = file;
    this.#caller = caller;
    caller?.throwIfAborted();
    caller?.addEventListener("abort", this.#stop);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(): void {
    this.#caller?.removeEventListener("abort", this.#stop);
  }

  /** Waits for the network, not for ever. */
  async guard<T>(action: () => Promise<T>): Promise<T> {
    let stalled = false;
    const timer = setTimeout(() => {
      stalled = true;
      this.#controller.abort();
    }, PATIENCE.stall);
    try {
      return await action();
    } catch (cause) {
      this.end();
      if (this.#caller?.aborted) throw this.#caller.reason;
      const reason = stalled ? `nothing came for ${PATIENCE.stall / 1000} s` : networkReason(cause);
      throw new TransientError(`${this.#file}: the connection failed (${reason}).`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }
}

const MISSING: Record<number, string> = {
  401: " It may need an access token: the option token, or HF_TOKEN.",
  403: " It may need an access token with more rights: the option token, or HF_TOKEN.",
  404: "",
  410: "",
};

function checkStatus(file: string, { status, statusText, headers, ok }: Response, ranged: boolean): void {
  const said = `${file}: the server answered ${status} ${statusText}.`.replace(" .", ".");
  if (status in MISSING) throw new LoadError("ERR_NOT_FOUND", said + MISSING[status]);
  if (status === 412 || ranged && status === 416) throw changed(file, said);
  if (status >= 500 || [408, 425, 429].includes(status)) {
    throw new TransientError(said, { after: retryAfter(headers.get("retry-after")) });
  }
  if (!ok) throw new LoadError("ERR_NETWORK", said);
  if (/^text\/html\b/i.test(headers.get("content-type") ?? "")) {
    throw new LoadError(
      "ERR_NOT_FOUND",
      `${file}: the server answered with a web page in place of the file; is the address right, or is a login needed?`,
    );
  }
}

/** The file is another one than it was. */
export function changed(file: string, how: string): LoadError {
  return new LoadError(
    "ERR_CHANGED",
    `${file}: the file on the server is not the one that this download began with (${how}) Load it again.`,
  );
}

/** Milliseconds; from seconds or a date (RFC 9110, 10.2.3). */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const time = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(time) ? Math.max(0, time) : undefined;
}

function validatorOf({ headers }: Response): string | undefined {
  return headers.get("etag") ?? headers.get("last-modified") ?? undefined;
}

/** Which bytes come, of how many. */
function extent(
  file: string,
  { status, headers }: Response,
  range: GetOptions["range"],
  most: number,
): Pick<Answer, "isPart" | "from" | "to" | "size"> {
  const check = (size: number, claim: string) => {
    if (Number.isSafeInteger(size) && size >= 0 && size <= most) return size;
    throw new LoadError("ERR_NETWORK", `${file}: the server announces ${claim} bytes, at most ${most} are taken.`);
  };
  if (status === 206) {
    // Pages of another origin may not see it, unless the server says so.
    const header = headers.get("content-range"), [, from, last, total] = CONTENT_RANGE.exec(header ?? "") ?? [];
    if (header === null && range) return { isPart: true, from: range.from, to: range.to, size: undefined };
    const size = total === "*" ? undefined : check(Number(total), header!);
    // Some servers, Vite's among them, take a range that ends at 0 for one of the whole file.
    if (size !== undefined && Number(from) === 0 && range?.from === 0 && Number(last) === size - 1) {
      return { isPart: size <= range.to, from: 0, to: size, size };
    }
    if (
      Number(from) !== range?.from || Number(last) >= (size ?? Infinity) || Number(last) < Number(from) ||
      Number(last) >= range.to
    ) {
      throw new LoadError(
        "ERR_NETWORK",
        `${file}: bytes ${range?.from} to ${range?.to} were asked for, the server sends "${header}".`,
      );
    }
    return { isPart: true, from: Number(from), to: Number(last) + 1, size };
  }
  // With a content encoding the length is that of the compressed bytes.
  const claim = headers.get("content-encoding") ? null : headers.get("content-length");
  const size = claim === null ? undefined : check(Number(claim), claim);
  return { isPart: false, from: 0, to: size, size };
}

const CONTENT_RANGE = /^bytes (\d+)-(\d+)\/(\d+|\*)$/;

/** Node wraps the reason of a failed fetch: `fetch failed`, cause `connect ECONNREFUSED 127.0.0.1:9`. */
function networkReason(cause: unknown): string {
  const { message, cause: inner } = cause as Error & { cause?: Error };
  return inner?.message ? `${message}: ${inner.message}` : message;
}

/** What may be shown and kept of an address: signatures, tokens and passwords are in the rest. Other texts stay as they are. */
export function withoutQuery(address: string): string {
  return address.replace(/^(https?:\/\/)(?:[^/?#]*@)?([^?#]*).*$/s, "$1$2");
}
