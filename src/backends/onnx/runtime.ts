/**
 * As much of ONNX Runtime's JavaScript API (onnxruntime-common) as the backends use, so that its packages are needed only
 * where a backend is.
 *
 * @module
 */

/** A tensor on the host or a device. */
export interface OrtTensor {
  readonly data: unknown;
  readonly dims: readonly number[];
  getData(): Promise<unknown>;
  dispose(): void;
}

export interface OrtSession {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}

/** The module: `onnxruntime-node`, `onnxruntime-web` and its parts. */
export interface Ort {
  Tensor: new (type: string, data: Float32Array | Int32Array, dims: readonly number[]) => OrtTensor;
  InferenceSession: { create(model: Uint8Array, options: Record<string, unknown>): Promise<OrtSession> };
  env: {
    versions: { node?: string; web?: string };
    wasm: { numThreads?: number; wasmPaths?: string };
  };
}
