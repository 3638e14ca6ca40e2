// Compiles the kernels twice, without and with relaxed SIMD, and inlines them: src/backends/wasm/kernels/kernels.ts ->
// src/backends/wasm/kernels.wasm.ts and kernels-relaxed.wasm.ts. With --check it only compares, for CI.
import { readFile, writeFile } from "node:fs/promises";
import asc from "assemblyscript/asc";

const FOLDER = new URL("../src/backends/wasm/", import.meta.url);
const BUILDS = [
  { out: "kernels.wasm.ts", name: "KERNELS", features: ["simd", "bulk-memory"], what: "The compiled kernels" },
  {
    out: "kernels-relaxed.wasm.ts",
    name: "RELAXED_KERNELS",
    features: ["simd", "bulk-memory", "relaxed-simd"],
    what: "The same with relaxed SIMD",
  },
];

async function compile(features) {
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
    ...features.flatMap((feature) => ["--enable", feature]),
  ], {
    readFile: (name) => readFile(new URL(`kernels/${name}`, FOLDER), "utf8").catch(() => null),
    writeFile: (name, contents) => void (files[name] = contents),
    listFiles: () => [],
  });
  if (!error) return files["kernels.wasm"];
  console.error(String(stderr));
  process.exit(1);
}

for (const { out, name, features, what } of BUILDS) {
  const bytes = await compile(features), path = new URL(out, FOLDER);
  const text = `// Generated from kernels/kernels.ts by \`npm run build:wasm\`. Do not edit.

/** ${what} (${bytes.length} bytes), base64. */
export const ${name}: string =
  "${Buffer.from(bytes).toString("base64")}";
`;
  if (!process.argv.includes("--check")) {
    await writeFile(path, text);
    console.log(`${out} written (${bytes.length} bytes).`);
  } else if (await readFile(path, "utf8") === text) console.log(`${out} is up to date (${bytes.length} bytes).`);
  else {
    console.error(`${out} is not what kernels/kernels.ts compiles to: run \`npm run build:wasm\`.`);
    process.exit(1);
  }
}
