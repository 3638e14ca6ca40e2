// Compiles the kernels and inlines them: src/backends/wasm/kernels/kernels.ts -> src/backends/wasm/kernels.wasm.ts.
// With --check it only compares, for CI.
import { readFile, writeFile } from "node:fs/promises";
import asc from "assemblyscript/asc";

const FOLDER = new URL("../src/backends/wasm/", import.meta.url);
const OUT = new URL("kernels.wasm.ts", FOLDER);

const files = {};
const { error, stderr } = await asc.main([
  "kernels.ts",
  "--outFile",
  "kernels.wasm",
  "-O3",
  "--noAssert",
  "--runtime",
  "stub",
  "--importMemory",
  "--memoryBase",
  "1024",
  "--use",
  "abort=",
  "--enable",
  "simd",
  "--enable",
  "bulk-memory",
], {
  readFile: (name) => readFile(new URL(`kernels/${name}`, FOLDER), "utf8").catch(() => null),
  writeFile: (name, contents) => void (files[name] = contents),
  listFiles: () => [],
});
if (error) {
  console.error(String(stderr));
  process.exit(1);
}
const bytes = files["kernels.wasm"];
const base64 = Buffer.from(bytes).toString("base64");
const text = `// Generated from kernels/kernels.ts by \`npm run build:wasm\`. Do not edit.

/** The compiled kernels (${bytes.length} bytes), base64. */
export const KERNELS: string =
  "${base64}";
`;
if (process.argv.includes("--check")) {
  if (await readFile(OUT, "utf8") !== text) {
    console.error("kernels.wasm.ts is not what kernels/kernels.ts compiles to: run `npm run build:wasm`.");
    process.exit(1);
  }
  console.log(`kernels.wasm.ts is up to date (${bytes.length} bytes).`);
} else {
  await writeFile(OUT, text);
  console.log(`kernels.wasm.ts written (${bytes.length} bytes).`);
}
