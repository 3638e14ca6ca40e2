/**
 * How far a load is.
 *
 * @module
 */

/** How far a load is, over all of its files. */
export interface Progress {
  /** Name or address of the file that bytes came of. */
  file: string;
  /** Bytes so far, those that were in the cache included. */
  loaded: number;
  /** Bytes that the load needs; undefined until it is known. */
  total: number | undefined;
}

/** Adds up the files of one load. */
export class Meter {
  readonly #report: ((progress: Progress) => void) | undefined;
  readonly #files = new Map<string, { loaded: number; total: number | undefined }>();

  constructor(report?: (progress: Progress) => void) {
    this.#report = report;
  }

  /**
   * A file of the load.
   *
   * @param total bytes of it that are needed; undefined where that is not known yet.
   */
  set(file: string, loaded: number, total: number | undefined): void {
    this.#files.set(file, { loaded: Math.max(loaded, this.#files.get(file)?.loaded ?? 0), total });
  }

  /** The load does without a file. */
  remove(file: string): void {
    this.#files.delete(file);
  }

  /** Bytes of a file came: {@link set}, and a report where it says something new. */
  came(file: string, loaded: number, total: number | undefined): void {
    if (loaded <= (this.#files.get(file)?.loaded ?? 0)) return;
    this.set(file, loaded, total);
    const files = [...this.#files.values()];
    this.#report?.({
      file,
      loaded: files.reduce((n, { loaded }) => n + loaded, 0),
      total: files.reduce(
        (n: number | undefined, { total }) => n === undefined || total === undefined ? undefined : n + total,
        0,
      ),
    });
  }
}
