/**
 * The embedded model: the Mimi architecture at small widths, 7.9 MB, trained on freely licensed speech. See README.md
 * beside it for its data, licence and quality.
 *
 * @module mimi-audio/mini
 */
import type { ModelFiles } from "../../src/hub/source.ts";

/** Its files, found in a way that bundlers understand: `MimiModel.fromPretrained(mini)`. */
export const mini: ModelFiles = {
  config: new URL("./config.json", import.meta.url),
  weights: new URL("./model.safetensors", import.meta.url),
  preprocessor: new URL("./preprocessor_config.json", import.meta.url),
  sha256: "f0b0165ed1d116a092159b67547c6487f118f8176706cab5742a5a9ed51292db",
};
