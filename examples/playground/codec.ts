/** The codec of the page: a model in a worker, and what it makes of a clip. */
import { AudioCodes, MimiModel, type ModelSource, type Precision } from "mimi-audio";

/** Speech and what the codec made of it, [samples] at the model's rate. */
export interface Clip {
  /** What the codes mean something to; it may be closed. */
  model: Pick<MimiModel, "config" | "fingerprint">;
  /** Absent for codes from a file. */
  original?: Float32Array;
  codes: AudioCodes;
  /** Samples that the codes stand for. */
  length: number;
  decoded: Float32Array;
  /** Milliseconds a frame; undefined where it was not done. */
  encode?: number;
  decode: number;
}

/** Frames of codes, each [codebooks]. */
export function* framesOf({ data, shape: [, codebooks, frames] }: AudioCodes): Generator<Uint16Array> {
  for (let t = 0; t < frames; t++) {
    yield Uint16Array.from({ length: codebooks }, (_, k) => data[k * frames + t]);
  }
}

export type Engine = "wasm" | "webgpu";

/** Loads a model: off this thread, or onto the GPU, which works by itself and in f32 alone. */
export async function loadModel(
  source: ModelSource,
  { engine, precision, signal, onProgress }: {
    engine: Engine;
    precision: Precision;
    signal: AbortSignal;
    onProgress(share: number): void;
  },
): Promise<MimiModel> {
  const options = {
    signal,
    onProgress: ({ loaded, total }: { loaded: number; total?: number }) => onProgress(total ? loaded / total : 0),
  };
  if (engine === "wasm") return await MimiModel.fromPretrained(source, { ...options, precision, worker: true });
  const { webgpu } = await import("mimi-audio/webgpu");
  return await MimiModel.fromPretrained(source, { ...options, backend: webgpu() });
}

/**
 * Encodes and decodes frame by frame, as a live stream would.
 *
 * @param onFrame told each frame of codes as it comes, and how many there will be.
 */
export async function code(
  model: MimiModel,
  original: Float32Array,
  codebooks: number,
  onFrame: (codes: Uint16Array, frames: number) => void,
): Promise<Clip> {
  using encoder = model.createEncoder({ numQuantizers: codebooks });
  const { frameSize } = model.config, all = Math.ceil(original.length / frameSize), frames: Uint16Array[] = [];
  const start = performance.now();
  for (let at = 0; at < all * frameSize; at += frameSize) {
    const last = at + frameSize >= original.length;
    const codes = await encoder.encode(original.subarray(at, at + frameSize));
    for (const part of last ? [codes, await encoder.finish()] : [codes]) {
      for (const frame of framesOf(part)) {
        frames.push(frame);
        onFrame(frame, all);
      }
    }
  }
  const encode = (performance.now() - start) / Math.max(1, frames.length), codes = AudioCodes.fromFrames(frames);
  return { ...await play(model, codes, original.length), original, encode };
}

/** Decodes codes, frame by frame as well. */
export async function play(model: MimiModel, codes: AudioCodes, length: number): Promise<Clip> {
  using decoder = model.createDecoder();
  const decoded = new Float32Array(codes.shape[2] * model.config.frameSize), start = performance.now();
  let at = 0;
  for (const frame of framesOf(codes)) {
    const { audioValues: { data } } = await decoder.decode({ data: frame, shape: [1, frame.length, 1] });
    decoded.set(data, at);
    at += data.length;
  }
  const decode = (performance.now() - start) / Math.max(1, codes.shape[2]);
  return { model, codes, length, decoded: decoded.subarray(0, length), decode };
}

export function bufferOf(samples: Float32Array, sampleRate: number): AudioBuffer {
  const buffer = new AudioBuffer({ length: Math.max(1, samples.length), sampleRate });
  buffer.copyToChannel(samples as Float32Array<ArrayBuffer>, 0);
  return buffer;
}
