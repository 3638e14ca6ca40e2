import { fileURLToPath } from "node:url";
import type { UserConfig } from "vite";

const dist = (file: string) => fileURLToPath(new URL(`../../dist/${file}`, import.meta.url));

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
  build: {
    outDir: fileURLToPath(new URL("../../site", import.meta.url)),
    emptyOutDir: true,
    assetsInlineLimit: 0,
    target: "es2023",
  },
  server: { headers: { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" } },
};
export default config;
