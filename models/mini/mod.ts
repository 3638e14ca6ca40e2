/**
 * The embedded model: the Mimi architecture at small widths, 7.8 MB, trained on freely licensed speech. See README.md
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
  sha256: "db51575d5a20e12694fc2bc92029b00c65ec5752f9338583e7f8a77d2c6cc2d8",
};
