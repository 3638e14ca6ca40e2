/**
 * Blobs as files of a folder, safe between processes.
 *
 * @module
 */
import { LoadError, reasonOf } from "../core/errors.ts";
import { pause } from "./http.ts";
import * as runtime from "./runtime.ts";
import { inTurn, type Shelf } from "./shelf.ts";

/** Milliseconds between two looks at a lock, between two signs of life of its holder, and after which it is dead. */
const LOOK = 50, SIGN = 1000, DEAD = 10_000;
const TEMPORARY = /^\..*\.tmp$/;

/** @param folder absolute path; made when something is kept. */
export async function folderShelf(folder: string): Promise<Shelf> {
  const [fs, path] = await Promise.all([runtime.fs(), runtime.path()]);
  const at = (name: string) => path.join(folder, name);
  const keeping = async <T>(action: () => Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (cause) {
      const hint = "choose another folder with MIMI_CACHE or the option cache, or none with cache: false";
      throw new LoadError("ERR_WRITE", `${folder}: the download cannot be kept (${reasonOf(cause)}); ${hint}.`, {
        cause,
      });
    }
  };
  return {
    names: async () => (await fs.readdir(folder).catch(() => [])).filter((name) => !TEMPORARY.test(name)),
    get: (name, room) => read(at(name), room).catch(() => undefined),
    put: (name, bytes) =>
      keeping(async () => {
        const temporary = at(`.${name}.${crypto.randomUUID()}.tmp`);
        for (let attempt = 0;; attempt++) {
          await fs.mkdir(folder, { recursive: true });
          try {
            await fs.writeFile(temporary, bytes, { flag: "wx" });
            await fs.rename(temporary, at(name));
            return true;
          } catch (error) {
            await fs.rm(temporary, { force: true }).catch(() => {});
            // Somebody may just have cleared the folder.
            if ((error as { code?: string }).code !== "ENOENT" || attempt === 3) throw error;
          }
        }
      }),
    remove: (name) => fs.rm(at(name), { force: true }).catch(() => {}), // what is wrong with it is seen again
    clear: () => keeping(() => fs.rm(folder, { recursive: true, force: true, maxRetries: 5 })), // others may be writing
    lock: (signal, body) =>
      inTurn(folder, signal, async () => {
        const release = await keeping(() => acquire(`${folder}.lock`, signal)).catch((error) => {
          signal?.throwIfAborted();
          throw error;
        });
        try {
          return await body();
        } finally {
          await release();
        }
      }),
  };
}

/** A whole file. @throws where it cannot be read. */
async function read(file: string, room: Uint8Array = new Uint8Array(0)): Promise<Uint8Array> {
  const handle = await (await runtime.fs()).open(file, "r");
  try {
    const { size } = await handle.stat(), bytes = size <= room.length ? room.subarray(0, size) : new Uint8Array(size);
    let at = 0;
    for (let n = 1; n > 0 && at < size; at += n) n = (await handle.read(bytes, at, size - at, at)).bytesRead;
    return bytes.subarray(0, at);
  } finally {
    await handle.close();
  }
}

/**
 * Makes a lock file, which says who holds it and is touched as long as its holder lives. One whose holder is gone is taken
 * over. Should two ever hold it, both download; what they keep is the same.
 */
async function acquire(file: string, signal: AbortSignal | undefined): Promise<() => Promise<void>> {
  const [fs, path, os] = await Promise.all([runtime.fs(), runtime.path(), runtime.os()]);
  const mine = JSON.stringify({ pid: process.pid, host: os.hostname(), id: crypto.randomUUID() });
  await fs.mkdir(path.dirname(file), { recursive: true });
  for (;;) {
    try {
      await fs.writeFile(file, mine, { flag: "wx" });
      break;
    } catch (error) {
      if ((error as { code?: string }).code !== "EEXIST") throw error;
    }
    const theirs = await fs.readFile(file, "utf8").catch(() => "");
    if (await isOld(file) || isGone(theirs, os.hostname())) await takeAway(file, theirs);
    else await pause(LOOK, signal);
  }
  const timer = setInterval(() => {
    const now = new Date();
    fs.utimes(file, now, now).catch(() => {});
  }, SIGN);
  timer.unref?.();
  return async () => {
    clearInterval(timer);
    if (await fs.readFile(file, "utf8").catch(() => "") === mine) await fs.rm(file, { force: true });
  };
}

/** Whether a file has not been touched for longer than a lock's holder leaves it alone. */
async function isOld(file: string): Promise<boolean> {
  return Date.now() - (await (await runtime.fs()).stat(file).catch(() => ({ mtimeMs: Infinity }))).mtimeMs > DEAD;
}

/** Removes a dead lock, and not the one that somebody else has put in its place meanwhile. */
async function takeAway(file: string, theirs: string): Promise<void> {
  const fs = await runtime.fs(), guard = `${file}.guard`;
  try {
    await fs.writeFile(guard, "", { flag: "wx" });
  } catch {
    if (await isOld(guard)) await fs.rm(guard, { force: true });
    return await pause(LOOK);
  }
  try {
    if (await fs.readFile(file, "utf8").catch(() => undefined) === theirs) await fs.rm(file, { force: true });
  } finally {
    await fs.rm(guard, { force: true });
  }
}

/** Whether a lock's holder was a process of this machine that has ended. */
function isGone(holder: string, here: string): boolean {
  try {
    const { pid, host } = JSON.parse(holder);
    if (host !== here) return false;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as { code?: string }).code === "ESRCH";
  }
}
