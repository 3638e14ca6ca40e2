/**
 * Whether a codec from outside is one: what it gets wrong is said before anything is loaded with it.
 *
 * @module
 */
import type { Codec, CodecConfig } from "./codec.ts";
import { describe, MimiTypeError } from "./errors.ts";
import { isTail } from "./handles.ts";
import type { Network } from "./network.ts";

const isFunction = (value: unknown) => typeof value === "function";

/** Checks the fields of a codec. @throws {MimiTypeError} `ERR_INVALID_ARGUMENT` naming the field. */
export function checkCodec(where: string, codec: unknown): asserts codec is Codec<CodecConfig> {
  const { modelType, tail, parseConfig, encoder, decoder, layouts } = (codec ?? {}) as Partial<Codec<CodecConfig>>;
  const check = (field: string, ok: boolean, expected: string, got: unknown) => {
    if (!ok) invalid(`${where}: codec${field} must be ${expected}, got ${describe(got)}.`);
  };
  check("", typeof codec === "object" && codec !== null, "a Codec", codec);
  check(".modelType", typeof modelType === "string", "the model_type of its config.json", modelType);
  check(".tail", isTail(tail), '"transformers" or "zeros"', tail);
  check(".parseConfig", isFunction(parseConfig), "a function", parseConfig);
  check(".encoder", encoder === undefined || isFunction(encoder), "a function, or left out", encoder);
  check(".decoder", isFunction(decoder), "a function", decoder);
  check(".layouts", Array.isArray(layouts) && layouts.length > 0, "an array of layouts", layouts);
  for (const [i, layout] of layouts!.entries()) {
    const { name, sign, ignores, place } = layout ?? {}, at = `.layouts[${i}]`;
    check(`${at}.name`, typeof name === "string", "a text", name);
    check(`${at}.sign`, sign instanceof RegExp, "a RegExp", sign);
    check(`${at}.ignores`, isFunction(ignores), "a function", ignores);
    check(`${at}.place`, isFunction(place), "a function", place);
  }
}

/** Checks what `parseConfig` of a codec gave. @throws {MimiTypeError} `ERR_INVALID_ARGUMENT`. */
export function checkParsed(where: string, { modelType }: Codec<CodecConfig>, config: unknown): void {
  const rate = (config as CodecConfig | null | undefined)?.samplingRate;
  if (typeof rate === "number" && Number.isFinite(rate) && rate > 0) return;
  invalid(
    `${where}: codec ${modelType}: parseConfig must give a configuration with a samplingRate in Hz, got ${
      describe(config && typeof config === "object" ? rate : config)
    }.`,
  );
}

/** Checks that both networks have frames of one size. @throws {MimiTypeError} `ERR_INVALID_ARGUMENT`. */
export function checkFrameSizes(
  where: string,
  { modelType }: Codec<CodecConfig>,
  encoder: Network,
  decoder: Network,
): void {
  if (encoder.frameSize === decoder.frameSize) return;
  invalid(
    `${where}: codec ${modelType}: frames of encoder and decoder must have as many samples, ` +
      `got ${encoder.frameSize} and ${decoder.frameSize}.`,
  );
}

function invalid(message: string): never {
  throw new MimiTypeError("ERR_INVALID_ARGUMENT", message);
}
