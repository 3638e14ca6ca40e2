/** Several things measured side by side, so that what the machine does meanwhile meets all of them alike. */

/** One thing to measure. */
export interface Contestant {
  /** Runs in a row in each round; while they last, its weights may stay in the caches. */
  runs: number;
  /** What is timed. */
  run(): void | Promise<void>;
  /** Before the runs of a round, not timed. */
  prepare?(): void | Promise<void>;
  /** Runs at the start of each round that do not count: they bring back what the others pushed out of the caches. */
  warmUp: number;
}

/** Milliseconds of every run of every contestant, in `rounds` rounds. */
export async function measureRounds(contestants: readonly Contestant[], rounds: number): Promise<number[][]> {
  const times: number[][] = contestants.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, contestant] of contestants.entries()) {
      await contestant.prepare?.();
      for (let n = -contestant.warmUp; n < contestant.runs; n++) {
        const start = performance.now(), pending = contestant.run();
        if (pending) await pending;
        if (n >= 0) times[i].push(performance.now() - start);
      }
    }
  }
  return times;
}
