/**
 * Keeps libraries from printing. Decoders of audio say on the console what they stumble over; what matters of it comes as
 * an error, and one line of ours says so.
 *
 * @module
 */

/** From here on the console prints nothing; the command line writes to stdout and stderr itself. */
export function quietLibraries(): void {
  for (const method of ["log", "info", "warn", "error", "debug"] as const) console[method] = () => {};
}
