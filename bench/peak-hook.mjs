/**
 * For `node --import`: when the process ends, writes its peak resident set size in bytes to the file $BENCH_PEAK_FILE.
 *
 * The kernel's VmHWM and not `process.resourceUsage().maxRSS`, which on Linux starts with the parent's peak.
 */
import { readFileSync, writeFileSync } from "node:fs";

process.on("exit", () => {
  const status = readFileSync("/proc/self/status", "utf8");
  writeFileSync(process.env.BENCH_PEAK_FILE, String(Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)[1]) * 1024));
});
