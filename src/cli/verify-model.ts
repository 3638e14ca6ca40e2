/**
 * `mimi verify MODEL AUDIO`: whether a model computes here what it should, in every way in which it can run.
 *
 * The reference is the wasm backend in f32 on the whole recording. What others have published of a recording is held
 * against it.
 *
 * @module
 */
import { wasm } from "../../mod.ts";
import type { Backend } from "../core/backend.ts";
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

/** What is tried; the first is the reference. */
const BACKENDS: readonly Backend[] = [wasm()];

/** What one way of running the model gave, held against the reference. */
interface Row extends Difference {
  way: string;
  /** Share of codes that are those of the reference. */
  codes: number;
}

interface Result {
  codes: AudioCodes;
  samples: Float32Array;
}

/** @returns the exit code: 1 where bits differ that must not, or a published sum is missed. */
export async function verifyModel(call: VerifyModelCall, { print, signal }: Surroundings): Promise<number> {
  const { audio } = call, rows: Row[] = [];
  let reference: Result | undefined, about: Pick<CoreModel, "config" | "fingerprint" | "numQuantizers"> | undefined;
  for (const backend of BACKENDS) {
    if (await backend.available() !== true) continue;
    const model = await load(call.model, backend, signal);
    try {
      const { samplingRate } = (about ??= model).config, pcm = await readMono(audio, samplingRate, signal);
      if (pcm.length > MOST_SECONDS * samplingRate) {
        const long = formatSeconds(pcm.length / samplingRate);
        throw new MimiRangeError("ERR_OUT_OF_RANGE", `${audio}: ${long} are too long, at most ${MOST_SECONDS} s.`);
      }
      for (const [how, run] of Object.entries(WAYS)) {
        const result = await run(model, pcm, signal), way = `${backend.name}, f32, ${how}`;
        if (reference) rows.push({ way, ...compare(reference, result) });
        reference ??= result;
      }
    } finally {
      model.close();
    }
  }
  const finding = judge(call, about!, reference!, rows);
  await print(`${call.json ? JSON.stringify(finding) : describeFinding(finding)}\n`);
  return finding.right ? 0 : 1;
}

async function load(name: string, backend: Backend, signal: AbortSignal): Promise<CoreModel> {
  const status = new StatusLine();
  try {
    return await MimiModel.fromPretrained(name, {
      ...{ backend, signal, part: "both" },
      onProgress: ({ loaded, total }) => status.show(() => `download ${bar(total ? loaded / total : 0)}`),
    });
  } finally {
    status.clear();
  }
}

function compare(reference: Result, { codes, samples }: Result): Omit<Row, "way"> {
  return { codes: equalCodes(reference.codes, codes), ...difference(reference.samples, samples) };
}

interface Finding {
  model: string;
  audio: string;
  fingerprint: string;
  frames: number;
  codebooks: number;
  seconds: number;
  rows: Row[];
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
    ...{ rows, sums, recording: known && PUBLISHED[known].what, published: held },
    right: rows.every(({ codes, snr }) => codes === 1 && snr === null) && held.every(({ right }) => right),
  };
}

function describeFinding({ model, audio, fingerprint, frames, codebooks, seconds, ...rest }: Finding): string {
  const { rows, sums, recording, published, right } = rest, row = (...cells: [string, string]) => cells;
  return table([
    ["model", `${model}, fingerprint ${fingerprint}`],
    ["audio", `${audio}: ${formatSeconds(seconds)}, ${frames} frames of ${codebooks} codes`],
    ["reference", `${BACKENDS[0].name}, f32, ${Object.keys(WAYS)[0]}`],
    ...rows.map(({ way, codes, ...difference }) =>
      row(way, `${formatShare(codes)} of codes equal; ${formatDifference(difference)}`)
    ),
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

/** Ways through a model, which must not differ in a bit. */
const WAYS: Record<string, (model: CoreModel, pcm: Float32Array, signal: AbortSignal) => Promise<Result>> = {
  "the whole recording": async (model, pcm) => {
    const { audioCodes } = await model.encode(pcm);
    return { codes: audioCodes, samples: (await model.decode(audioCodes)).audioValues.data };
  },
  "one frame a step": inFrames,
};

/** The same as streams that take a frame at a time. */
async function inFrames(
  model: CoreModel,
  pcm: Float32Array,
  signal: AbortSignal,
): Promise<Result> {
  using encoder = model.createEncoder();
  using decoder = model.createDecoder();
  const { frameSize } = model.config;
  const codes: AudioCodes[] = [], samples: Float32Array[] = [];
  const take = async (part: AudioCodes) => {
    if (part.shape[2] === 0) return;
    codes.push(part);
    samples.push((await decoder.decode(part)).audioValues.data);
  };
  for (let at = 0; at < pcm.length; at += frameSize) {
    signal.throwIfAborted();
    await take(await encoder.encode(pcm.subarray(at, at + frameSize)));
  }
  await take(await encoder.finish());
  return { codes: joinCodes(codes, model.numQuantizers), samples: concatFloats(samples) };
}
