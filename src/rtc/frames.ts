/**
 * Frames around the one that is played next: what is known of each. As many as a ring holds, whatever comes.
 *
 * @module
 */

/** Frames that are held: half of them earlier than the next one, half later. */
export const HELD = 128;

/** What is known of a frame. */
export interface KnownFrame {
  frame: number;
  /** [codebooks]; undefined while none came. */
  codes: Uint16Array | undefined;
  /** Whether these are all the codes that were sent of it, not a few for redundancy. */
  whole: boolean;
  /** Whether they came in a packet of another frame. */
  recovered: boolean;
  /** Whether the sender says that there is nothing to hear. */
  silent: boolean;
}

export class FrameStore {
  readonly #ring: KnownFrame[] = Array.from({ length: HELD }, () => blank(-1));

  /** What is known; the frame must be near those that were asked for before. */
  get(frame: number): KnownFrame | undefined {
    const known = this.#ring[place(frame)];
    return known.frame === frame ? known : undefined;
  }

  codes(frame: number): Uint16Array | undefined {
    return this.get(frame)?.codes;
  }

  /** Keeps codes, the best that came; returns whether they are the first of their frame. */
  put(frame: number, codes: Uint16Array, whole: boolean, recovered: boolean): boolean {
    const known = this.#at(frame), first = known.codes === undefined;
    if (first || (whole && !known.whole) || (whole === known.whole && codes.length > known.codes!.length)) {
      Object.assign(known, { codes, whole, recovered });
    }
    return first;
  }

  silence(frame: number): void {
    this.#at(frame).silent = true;
  }

  clear(): void {
    for (let i = 0; i < HELD; i++) this.#ring[i] = blank(-1);
  }

  #at(frame: number): KnownFrame {
    const at = place(frame);
    if (this.#ring[at].frame !== frame) this.#ring[at] = blank(frame);
    return this.#ring[at];
  }
}

function blank(frame: number): KnownFrame {
  return { frame, codes: undefined, whole: false, recovered: false, silent: false };
}

function place(frame: number): number {
  return ((frame % HELD) + HELD) % HELD;
}
