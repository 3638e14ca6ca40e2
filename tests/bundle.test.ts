/** What bundlers for browsers make of the entries. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { bundle, ROOT } from "../scripts/bundle.ts";
import { KERNELS } from "../src/backends/wasm/kernels.wasm.ts";

const { exports } = JSON.parse(await readFile(`${ROOT}package.json`, "utf8"));
/** Entries that browsers have no use for. */
const ELSEWHERE = ["./native"];
const entries = Object.keys(exports).filter((name) => exports[name].types && !ELSEWHERE.includes(name))
  .map((name) => exports[name].types.replace("./dist/", "").replace(".d.ts", ".ts"));

for (const file of entries) {
  test(`${file} asks for nothing that only Node has`, async () => {
    await bundle({ file }); // fails at a static import of node:fs
  });
}

test("a static import of node:fs would be found", async () => {
  await assert.rejects(bundle({ text: 'import "node:fs"', folder: "." }), /Could not resolve "node:fs"/);
});

test("what an application does not use is left out", async () => {
  const whole = await bundle({ file: "mod.ts" });
  assert.ok(whole.includes(KERNELS));
  assert.doesNotMatch(whole, /onnxruntime|Gemm/, "other backends come with their own entries");
  assert.equal(await bundle({ text: 'import "./mod.ts"', folder: "." }), "");
  for (const name of ["AudioCodes", "MimiConfig", "MimiFeatureExtractor", "LoadError"]) {
    const part = await bundle({ text: `export { ${name} } from "./mod.ts"`, folder: "." });
    assert.ok(
      !part.includes(KERNELS) && part.length < whole.length / (name === "MimiFeatureExtractor" ? 2 : 4),
      `${name} brings ${part.length} characters`,
    );
  }
});

test("a browser downloads at most a fiftieth of what onnxruntime-web is", async () => {
  const ours = sizeOf(await bundle({ file: "mod.ts" }, { minify: true }));
  const folder = `${ROOT}node_modules/onnxruntime-web/dist/`;
  const theirs = await Promise.all(
    ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"].map(
      async (name) => sizeOf(await readFile(folder + name)),
    ),
  );
  const total = theirs.reduce((a, b) => a + b);
  console.log(`# ${ours} bytes, onnxruntime-web ${total}: 1 / ${(total / ours).toFixed(0)} (gzip)`);
  assert.ok(50 * ours <= total, `${ours} of ${total} bytes`);
});

const sizeOf = (bytes: string | Uint8Array) => gzipSync(bytes, { level: 9 }).length;
