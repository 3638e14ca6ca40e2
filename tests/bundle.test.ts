/** What bundlers for browsers make of the entries. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
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
