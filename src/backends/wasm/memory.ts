/**
 * The WebAssembly memory of one program: kernels, and an allocator that only ever grows.
 *
 * @module
 */
import type { Determinism } from "../../core/backend.ts";
import { MimiRangeError } from "../../core/errors.ts";
import { KERNELS } from "./kernels.wasm.ts";

/** `panel` is for 12 bits alone; the others ignore it. */
type IntegerGemm = (
  w: number,
  scales: number,
  bias: number,
  x: number,
  ldx: number,
  per: number,
  group: number,
  xs: number,
  y: number,
  ldy: number,
  M: number,
  pairs: number,
  T: number,
  accumulate: boolean,
  panel: number,
) => void;

/** The exported functions of kernels/kernels.ts; pointers and strides in bytes. */
export interface Kernels {
  gemm(
    w: number,
    ldw: number,
    panel: number,
    bias: number,
    x: number,
    ldx: number,
    y: number,
    ldy: number,
    M: number,
    K: number,
    T: number,
    accumulate: boolean,
    B: number,
    ldb: number,
  ): void;
  dot(
    w: number,
    ldw: number,
    bias: number,
    x: number,
    ldx: number,
    y: number,
    ldy: number,
    M: number,
    K: number,
    T: number,
    accumulate: boolean,
  ): void;
  to_int16(
    x: number,
    C: number,
    rows: number,
    step: number,
    groups: number,
    spread: number,
    out: number,
    scales: number,
  ): void;
  gemm_int8: IntegerGemm;
  gemm_int12: IntegerGemm;
  gemm_int16: IntegerGemm;
  nearest(
    x: number,
    T: number,
    dim: number,
    xs: number,
    scores: number,
    size: number,
    entries: number,
    half: number,
    byNorm: number,
    byScale: number,
    fixed: number,
    codes: number,
  ): void;
  elu(x: number, out: number, n: number): void;
  gelu(x: number, out: number, n: number): void;
  layer_norm(x: number, gain: number, bias: number, out: number, n: number, T: number, eps: number): void;
  add(y: number, x: number, n: number): void;
  argmax(x: number, n: number): number;
  move(to: number, from: number, bytes: number): void;
  zero(at: number, bytes: number): void;
  attention(
    qkv: number,
    T: number,
    start: number,
    tables: number,
    keys: number,
    values: number,
    R: number,
    window: number,
    heads: number,
    keyValueHeads: number,
    headDim: number,
    P: number,
    scores: number,
    zeros: number,
    out: number,
  ): void;
  depthwise_transpose(
    x: number,
    w: number,
    bias: number,
    out: number,
    C: number,
    stride: number,
    taps: number,
    T: number,
  ): void;
}

const PAGE = 65536;
const FIRST_FREE = 4096; // the kernels' own static data lies below
const ALIGN = 64;
/** Readable and writable bytes past the end of every buffer: kernels work on two vectors of 16 bytes at a time. */
const SLACK = 32;
/** Readable bytes past the end of all buffers: `gemm` asks for weights early. */
const READ_AHEAD = 32768;

let compiled: WebAssembly.Module | Promise<WebAssembly.Module> | undefined;
let relaxed: WebAssembly.Module | undefined;

async function compileKernels(): Promise<WebAssembly.Module> {
  try {
    return await (compiled ??= WebAssembly.compile(fromBase64(KERNELS)));
  } catch (error) {
    compiled = undefined; // it may work another time
    throw error;
  }
}

/** The kernels with relaxed SIMD, or those without where the engine does not know it. */
async function compileRelaxed(): Promise<WebAssembly.Module> {
  if (!relaxed) {
    const bytes = fromBase64((await import("./kernels-relaxed.wasm.ts")).RELAXED_KERNELS);
    relaxed = await (WebAssembly.validate(bytes) ? WebAssembly.compile(bytes) : compileKernels());
  }
  return relaxed;
}

/**
 * Compiles the kernels before it returns; from then on nothing that this backend does waits for anything but promises that
 * are settled. For audio worklets, which must be ready when their next quantum comes.
 */
export function compileKernelsNow(): void {
  compiled = new WebAssembly.Module(fromBase64(KERNELS));
}

/** Audio worklets have no `atob`. */
function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const bytes = new Uint8Array(Math.floor(text.replace(/=+$/, "").length * 3 / 4));
  for (let i = 0, at = 0, bits = 0; at < bytes.length; i++) {
    bits = bits << 6 | digits.indexOf(text[i]);
    if (i % 4 > 0) bytes[at++] = bits >> (6 - 2 * (i % 4));
  }
  return bytes;
}

/** Whether this engine can compile the kernels (it needs WebAssembly with fixed-width SIMD). */
export async function kernelsAvailable(): Promise<true | string> {
  if (typeof WebAssembly === "undefined") return "this runtime has no WebAssembly";
  try {
    await compileKernels();
    return true;
  } catch (error) {
    return `WebAssembly SIMD does not compile here (${
      (error as Error).message
    }); a content security policy needs 'wasm-unsafe-eval'`;
  }
}

/** Linear memory with kernels on it. Pointers are byte offsets; views are made anew after growth. */
export class Memory {
  readonly kernels: Kernels;
  readonly #memory: WebAssembly.Memory;
  #top = FIRST_FREE;
  #f32: Float32Array;

  private constructor(module: WebAssembly.Module) {
    this.#memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
    this.kernels = new WebAssembly.Instance(module, { env: { memory: this.#memory } }).exports as unknown as Kernels;
    this.#f32 = new Float32Array(this.#memory.buffer);
  }

  /** @param determinism see `CompileOptions`. */
  static async create(determinism: Determinism = "exact"): Promise<Memory> {
    return new Memory(await (determinism === "exact" ? compileKernels() : compileRelaxed()));
  }

  /** Bytes taken from the system. */
  get total(): number {
    return this.#memory.buffer.byteLength;
  }

  /** Bytes handed out so far. */
  get used(): number {
    return this.#top;
  }

  /** Room for `n` f32 values, zeroed, at a multiple of 64 bytes. */
  allocate(n: number): number {
    const at = this.#top, end = Math.ceil((at + n * 4 + SLACK) / ALIGN) * ALIGN;
    if (end + READ_AHEAD > this.total) {
      try {
        this.#memory.grow(Math.ceil((end + READ_AHEAD - this.total) / PAGE));
      } catch (cause) {
        throw new MimiRangeError(
          "ERR_OUT_OF_RANGE",
          `The wasm backend needs ${end} bytes of memory, which this runtime does not give (at most 4 GiB are possible).`,
          { cause },
        );
      }
      this.#f32 = new Float32Array(this.#memory.buffer);
    }
    this.#top = end;
    return at;
  }

  /** A view of `n` values; valid until the next allocation. */
  view(at: number, n: number): Float32Array {
    return this.#f32.subarray(at >>> 2, (at >>> 2) + n);
  }

  /** Allocates room for bytes and fills it. */
  storeBytes(bytes: Uint8Array): number {
    const at = this.allocate(Math.ceil(bytes.length / 4));
    new Uint8Array(this.#memory.buffer, at, bytes.length).set(bytes);
    return at;
  }

  /** A view of `n` unsigned integers of 32 bits; valid until the next allocation. */
  integers(at: number, n: number): Uint32Array {
    return new Uint32Array(this.#memory.buffer, at, n);
  }

  /** Allocates and fills. */
  store(values: Float32Array): number {
    const at = this.allocate(values.length);
    this.view(at, values.length).set(values);
    return at;
  }
}
