import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Plugin, UserConfig } from "vite";

const dist = (file: string) => fileURLToPath(new URL(`../../dist/${file}`, import.meta.url));

/** Puts the licences of all code in the page, and the embedded model's card, beside it. */
const licences: Plugin = {
  name: "licences",
  async generateBundle() {
    for (const [fileName, path] of [["LICENSES.txt", "LICENSES.txt"], ["MODEL.md", "models/mini/README.md"]]) {
      this.emitFile({ type: "asset", fileName, source: await readFile(dist(path)) });
    }
  },
};

/** There are no documents beside the page until `npm run build:site` has made them. */
const noDocuments: Plugin = {
  name: "no-documents",
  apply: "serve",
  transformIndexHtml: (html) => html.replace(/<a href="docs[^]*?<\/a>/, ""),
};

/** The page uses the built package, as an application would: `npm run build` comes first. */
const config: UserConfig = {
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "./",
  resolve: {
    alias: {
      "mimi-audio/nodes": dist("src/nodes/mod.js"),
      "mimi-audio/file": dist("src/file/mod.js"),
      "mimi-audio/webgpu": dist("src/backends/onnx/webgpu.js"),
      "mimi-audio": dist("mod.js"),
    },
  },
  // Workers, worklets and weights are files of their own, so that no policy needs data: addresses.
  plugins: [licences, noDocuments],
  build: {
    license: { fileName: "LICENSES-PACKAGES.md" },
    outDir: fileURLToPath(new URL("../../site", import.meta.url)),
    emptyOutDir: true,
    assetsInlineLimit: 0,
    target: "es2023",
  },
  server: { headers: { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" } },
};
export default config;
