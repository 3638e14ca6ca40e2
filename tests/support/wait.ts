/** Waiting: for what happens rather than for a time, in pages and outside of them. */

export const seconds = (n: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, n * 1000));

/** Waits until something is so. Throws where it is not within 30 s. */
export async function until(condition: () => boolean | Promise<boolean>, what = `${condition}`): Promise<void> {
  for (const end = performance.now() + 30_000; !(await condition()); await seconds(0.05)) {
    if (performance.now() > end) throw new Error(`not within 30 s: ${what}`);
  }
}

/** Waits until a figure has stood still for half a second, and returns it. Throws where it does not within 30 s. */
export async function settled(figure: () => number | Promise<number>): Promise<number> {
  let last = await figure(), still = 0;
  await until(async () => {
    const now = await figure();
    still = now === last ? still + 1 : 0;
    last = now;
    return still > 10;
  }, `${figure} stands still`);
  return last;
}
