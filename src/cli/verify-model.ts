/**
 * `mimi verify MODEL AUDIO`: whether a model computes here what it should, in every way in which it can run.
 *
 * The reference is the wasm backend in f32 on the whole recording; every engine decodes its codes. What others have
 * published of a recording is held against it.
 *
 * @module
 */
import { wasm } from "../../mod.ts";
import type { Backend, Precision } from "../core/backend.ts";
import type { AudioCodes } from "../core/codes.ts";
import { MimiConfig } from "../core/config.ts";
import { MimiRangeError } from "../core/errors.ts";
import type { MimiModel as CoreModel } from "../core/model.ts";
import { concatFloats } from "../core/tensor.ts";
import { MimiModel } from "../load.ts";
import {
  type Difference,
  difference,
  equalCodes,
  formatDifference,
  formatShare,
  readMono,
  sumOfCodes,
} from "./agreement.ts";
import { joinCodes } from "./codes.ts";
import { formatSeconds, table } from "./format.ts";
import type { Surroundings } from "./program.ts";
import { bar, StatusLine } from "./progress.ts";
import { PUBLISHED, publishedAs, TOLERANCE } from "./published.ts";
import type { VerifyModelCall } from "./usage.ts";

/** Seconds of audio at most: all of it is in memory. */
const MOST_SECONDS = 600;
/** Codebooks whose sums are told. */
const SUMMED = [8, 32];

/** How near an engine must come to the reference. */
interface Bound {
  /** Least share of codes that are equal. */
  codes: number;
  /** Largest difference of a sample. */
  error: number;
}

/** What runs a model, and in which precision. */
interface Contender {
  backend: () => Backend | Promise<Backend>;
  precision: Precision;
  /** Where it may differ by any amount, it has none. */
  bound?: Bound;
}

/** The bits of wasm are the same everywhere. */
const EXACT: Bound = { codes: 1, error: 0 };
/** Others round otherwise, and two entries that are nearly as near change places (docs/backends.md). */
const CLOSE: Bound = { codes: 0.99, error: 1e-4 };

/** What is tried; the first is the reference. */
const CONTENDERS: readonly Contender[] = [
  { backend: wasm, precision: "f32", bound: EXACT },
  { backend: wasm, precision: "int12" },
  { backend: wasm, precision: "int8" },
  { backend: async () => (await import("../backends/onnx/native.ts")).native(), precision: "f32", bound: CLOSE },
  { backend: async () => (await import("../backends/onnx/onnx-wasm.ts")).onnxWasm(), precision: "f32", bound: CLOSE },
];

/** What one way of running the model gave, held against the reference. */
interface Row extends Difference {
  way: string;
  /** Share of codes that are those of the reference. */
  codes: number;
  /** Whether that is as near as it must be; `null` where any amount is allowed. */
  right: boolean | null;
}

interface Result {
  codes: AudioCodes;
  samples: Float32Array;
}

/** @returns the exit code: 1 where an engine is further off than it may be, or a published sum is missed. */
export async function verifyModel(call: VerifyModelCall, { print, signal }: Surroundings): Promise<number> {
  const { audio } = call, rows: Row[] = [], absent: { name: string; why: string }[] = [];
  let reference: Result | undefined, about: Pick<CoreModel, "config" | "fingerprint" | "numQuantizers"> | undefined;
  for (const { backend: make, precision, bound } of CONTENDERS) {
    const backend = await make(), available = await backend.available();
    if (available !== true) {
      absent.push({ name: backend.name, why: available });
      continue;
    }
    const model = await load(call.model, backend, precision, signal);
    try {
      if (call.published && model.numQuantizers < Math.min(...SUMMED)) {
        throw new MimiRangeError(
          "ERR_NUM_QUANTIZERS",
          `${call.model}: sums are published of ${SUMMED.join(" and ")} codebooks, it has ${model.numQuantizers}.`,
        );
      }
      const { samplingRate } = (about ??= model).config, pcm = await readMono(audio, samplingRate, signal);
      if (pcm.length > MOST_SECONDS * samplingRate) {
        const long = formatSeconds(pcm.length / samplingRate);
        throw new MimiRangeError("ERR_OUT_OF_RANGE", `${audio}: ${long} are too long, at most ${MOST_SECONDS} s.`);
      }
      for (const [how, run] of Object.entries(WAYS)) {
        const result = await run(model, pcm, reference?.codes, signal), way = wayOf(backend, precision, how);
        if (reference) rows.push({ way, ...compare(reference, result, bound) });
        reference ??= result;
      }
    } finally {
      model.close();
    }
  }
  const finding = judge(call, about!, reference!, rows, absent);
  await print(`${call.json ? JSON.stringify(finding) : describeFinding(finding)}\n`);
  return finding.right ? 0 : 1;
}

const wayOf = ({ name }: Backend, precision: Precision, how: string) => `${name}, ${precision}, ${how}`;

async function load(name: string, backend: Backend, precision: Precision, signal: AbortSignal): Promise<CoreModel> {
  const status = new StatusLine();
  try {
    return await MimiModel.fromPretrained(name, {
      ...{ backend, precision, signal, part: "both", selfTest: false }, // this is one
      onProgress: ({ loaded, total }) => status.show(() => `download ${bar(total ? loaded / total : 0)}`),
    });
  } finally {
    status.clear();
  }
}

function compare(reference: Result, { codes, samples }: Result, bound: Bound | undefined): Omit<Row, "way"> {
  const equal = equalCodes(reference.codes, codes), off = difference(reference.samples, samples);
  return { codes: equal, ...off, right: bound ? equal >= bound.codes && off.maxError <= bound.error : null };
}

interface Finding {
  model: string;
  audio: string;
  fingerprint: string;
  frames: number;
  codebooks: number;
  seconds: number;
  rows: Row[];
  /** Engines that are not there, and why. */
  absent: { name: string; why: string }[];
  sums: { codebooks: number; sum: number }[];
  /** Which published recording it is taken for. */
  recording: string | undefined;
  /** `off` is relative to `expected`. */
  published: { codebooks: number; expected: number; off: number; right: boolean }[];
  right: boolean;
}

function judge(
  { model, audio, published }: VerifyModelCall,
  { config, fingerprint, numQuantizers }: Pick<CoreModel, "config" | "fingerprint" | "numQuantizers">,
  { codes, samples }: Result,
  rows: Row[],
  absent: Finding["absent"],
): Finding {
  const frames = codes.shape[2],
    sums = SUMMED.filter((k) => k <= numQuantizers)
      .map((codebooks) => ({ codebooks, sum: sumOfCodes(codes, codebooks) }));
  // Figures of Kyutai's weights say nothing about others.
  const isKyutais = JSON.stringify(config) === JSON.stringify(new MimiConfig());
  const known = published ?? (isKyutais ? publishedAs(audio) : undefined);
  const held = !known ? [] : sums.map(({ codebooks, sum }) => {
    const expected = PUBLISHED[known].sums[codebooks], off = sum / expected - 1;
    return { codebooks, expected, off, right: Math.abs(off) <= TOLERANCE };
  });
  return {
    ...{ model, audio, fingerprint, frames, codebooks: numQuantizers, seconds: samples.length / config.samplingRate },
    ...{ rows, absent, sums, recording: known && PUBLISHED[known].what, published: held },
    right: rows.every(({ right }) => right !== false) && held.every(({ right }) => right),
  };
}

function describeFinding({ model, audio, fingerprint, frames, codebooks, seconds, ...rest }: Finding): string {
  const { rows, absent, sums, recording, published, right } = rest, row = (...cells: [string, string]) => cells;
  return table([
    ["model", `${model}, fingerprint ${fingerprint}`],
    ["audio", `${audio}: ${formatSeconds(seconds)}, ${frames} frames of ${codebooks} codes`],
    ["reference", wayOf(wasm(), CONTENDERS[0].precision, Object.keys(WAYS)[0])],
    ...rows.map(({ way, codes, right, ...difference }) =>
      row(
        way,
        `${formatShare(codes)} of codes equal; ${formatDifference(difference)}${right === false ? ": too far" : ""}`,
      )
    ),
    ...absent.map(({ name, why }) => row(name, `not here: ${why}`)),
    ...sums.map(({ codebooks, sum }) => row("sum of codes", `${sum} with ${codebooks} codebooks`)),
    ...(recording ? [row("recording", recording)] : []),
    ...published.map(({ codebooks, expected, off, right }) =>
      row(
        "published",
        `${expected} with ${codebooks} codebooks: ${(100 * off).toFixed(2)} % off, ${right ? "right" : "too far"}`,
      )
    ),
    ["verdict", right ? "right" : "not what it should be"],
  ]);
}

type Way = (model: CoreModel, pcm: Float32Array, codes: AudioCodes | undefined, signal: AbortSignal) => Promise<Result>;

/** Ways through a model. Codes that are given are decoded in place of the model's own. */
const WAYS: Record<string, Way> = {
  "the whole recording": async (model, pcm, codes) => {
    const { audioCodes } = await model.encode(pcm);
    return { codes: audioCodes, samples: (await model.decode(codes ?? audioCodes)).audioValues.data };
  },
  "one frame a step": inFrames,
};

/** The same as streams that take a frame at a time. */
async function inFrames(
  model: CoreModel,
  pcm: Float32Array,
  given: AudioCodes | undefined,
  signal: AbortSignal,
): Promise<Result> {
  using encoder = model.createEncoder();
  using decoder = model.createDecoder();
  const { frameSize } = model.config, parts: AudioCodes[] = [], samples: Float32Array[] = [];
  for (let at = 0; at < pcm.length; at += frameSize) {
    signal.throwIfAborted();
    parts.push(await encoder.encode(pcm.subarray(at, at + frameSize)));
  }
  parts.push(await encoder.finish());
  const codes = joinCodes(parts.filter(({ shape }) => shape[2] > 0), model.numQuantizers);
  for (const frame of framesOf(given ?? codes)) {
    signal.throwIfAborted();
    samples.push((await decoder.decode(frame)).audioValues.data);
  }
  return { codes, samples: concatFloats(samples) };
}

/** Codes frame by frame. */
function* framesOf({ data, shape: [, codebooks, frames] }: AudioCodes): Generator<AudioCodes> {
  for (let t = 0; t < frames; t++) {
    yield { data: Uint16Array.from({ length: codebooks }, (_, k) => data[k * frames + t]), shape: [1, codebooks, 1] };
  }
}
