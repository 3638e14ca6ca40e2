/** Numbers and tables for people. */

/** `3.14 s`, `12:05 min`, `1:02:03 h`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(2)} s`;
  const whole = Math.round(seconds), pad = (n: number) => String(Math.floor(n)).padStart(2, "0");
  return whole < 3600
    ? `${Math.floor(whole / 60)}:${pad(whole % 60)} min`
    : `${Math.floor(whole / 3600)}:${pad(whole % 3600 / 60)}:${pad(whole % 60)} h`;
}

/** `0.9 kbps`, `112.5 bps`; from bits a second. */
export function formatBitrate(bits: number): string {
  return bits < 500 ? `${bits} bps` : `${Number((bits / 1000).toFixed(3))} kbps`;
}

/** Lines of a name and a value; a name that repeats is said once. */
export function table(rows: [string, string][]): string {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value], i) => `${(rows[i - 1]?.[0] === name ? "" : name).padEnd(width)}  ${value}`).join(
    "\n",
  );
}
