/**
 * Codes to and from safetensors files: one tensor `audio_codes` [batch, codebooks, frames] of i64, which is what
 * `decode` of Hugging Face transformers takes, with what is known about them as metadata.
 *
 * @module
 */
import { type AudioCodes, type AudioCodesInput, toAudioCodes } from "../core/codes.ts";
import { checkOptions, describe, FormatError, MimiRangeError, MimiTypeError } from "../core/errors.ts";
import { Safetensors } from "../core/safetensors.ts";
import { type ByteSourceInput, toSource } from "./bytes.ts";
import { CODE_LIMIT, codesOf, type NameOptions } from "./codes.ts";

const TENSOR = "audio_codes";
/** Names of the metadata; the values are strings, as the format demands. */
const NAMES: Record<Exclude<keyof CodesInfo, "fingerprint">, string> = {
  samplingRate: "sampling_rate",
  frameSize: "frame_size",
  codebooks: "codebooks",
  bits: "bits",
  samples: "samples",
};
const NUMBERS = Object.keys(NAMES) as (keyof typeof NAMES)[];

/** What can be known about codes. */
export interface CodesInfo {
  /** 16 hexadecimal characters; see `MimiModel.fingerprint`. */
  fingerprint?: string;
  /** Hz of the audio. */
  samplingRate?: number;
  /** Samples that a frame stands for. */
  frameSize?: number;
  /** Codes of a frame. */
  codebooks?: number;
  /** Bits of a code: log2 of the codebook size. */
  bits?: number;
  /** Samples of the audio, not rounded up to frames. */
  samples?: number;
}

/**
 * The bytes of a safetensors file.
 *
 * @param codes [batch, codebooks, frames].
 * @param info written as metadata: `fingerprint`, `sampling_rate`, `frame_size`, `codebooks`, `bits`, `samples`.
 * @throws {MimiTypeError | MimiRangeError} `ERR_INVALID_ARGUMENT`, `ERR_OUT_OF_RANGE`, `ERR_CODE_OUT_OF_RANGE`.
 */
export function codesToSafetensors(codes: AudioCodesInput, info: CodesInfo = {}): Uint8Array {
  const where = "codesToSafetensors", { data, shape } = toAudioCodes(where, codes, CODE_LIMIT);
  const header = new TextEncoder().encode(JSON.stringify({
    __metadata__: metadataOf(where, { ...info, codebooks: shape[1] }),
    [TENSOR]: { dtype: "I64", shape, data_offsets: [0, data.length * 8] },
  }));
  const start = 8 + Math.ceil(header.length / 8) * 8, bytes = new Uint8Array(start + data.length * 8);
  new DataView(bytes.buffer).setUint32(0, start - 8, true);
  bytes.fill(0x20, 8, start); // spaces, so that the data is aligned
  bytes.set(header, 8);
  const words = new Uint32Array(bytes.buffer, start); // low and high halves
  for (let i = 0; i < data.length; i++) words[2 * i] = data[i];
  return bytes;
}

/**
 * Codes [batch, codebooks, frames] and what is known about them from a safetensors file with a tensor `audio_codes` of
 * integers of any size, [codebooks, frames] or [batch, codebooks, frames]. Other tensors are left alone.
 *
 * @param input bytes in memory, a `Blob`, or a source.
 * @throws {FormatError} `ERR_SAFETENSORS`.
 * @throws {MimiRangeError} `ERR_CODE_OUT_OF_RANGE` for an integer that is not from 0 to 65535.
 */
export async function codesFromSafetensors(
  input: ByteSourceInput,
  options: NameOptions = {},
): Promise<{ audioCodes: AudioCodes; info: CodesInfo }> {
  const file = await Safetensors.open(toSource(input, options.name));
  const fail = (what: string): never => {
    throw new FormatError("ERR_SAFETENSORS", `${file.name}: ${what}.`);
  };
  const tensor = file.tensors.get(TENSOR);
  if (!tensor) {
    return fail(`there is no tensor "${TENSOR}" (it has ${[...file.tensors.keys()].slice(0, 5).join(", ")})`);
  }
  const audioCodes = codesOf(
    file.name,
    await file.integers(TENSOR),
    tensor.shape,
    (what) => fail(`tensor "${TENSOR}" has ${what}`),
  );
  return { audioCodes, info: infoOf(file.metadata, fail) };
}

function metadataOf(where: string, info: CodesInfo): Record<string, string> {
  checkOptions(`${where}: info`, info, ["fingerprint", ...NUMBERS]);
  const metadata: Record<string, string> = {}, { fingerprint } = info;
  if (fingerprint !== undefined) {
    if (typeof fingerprint !== "string") {
      throw new MimiTypeError(
        "ERR_INVALID_ARGUMENT",
        `${where}: info.fingerprint must be a string, got ${describe(fingerprint)}.`,
      );
    }
    metadata.fingerprint = fingerprint;
  }
  for (const field of NUMBERS) {
    const value = info[field];
    if (value === undefined) continue;
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new MimiRangeError(
        "ERR_OUT_OF_RANGE",
        `${where}: info.${field} must be an integer from 0, got ${describe(value)}.`,
      );
    }
    metadata[NAMES[field]] = String(value);
  }
  return metadata;
}

function infoOf(metadata: Readonly<Record<string, string>>, fail: (what: string) => never): CodesInfo {
  const info: CodesInfo = {};
  if (Object.hasOwn(metadata, "fingerprint")) info.fingerprint = metadata.fingerprint;
  for (const field of NUMBERS) {
    const name = NAMES[field];
    if (!Object.hasOwn(metadata, name)) continue;
    const text = metadata[name], value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
      fail(`its metadata says ${name} ${describe(text)}, expected an integer`);
    }
    info[field] = value;
  }
  return info;
}
