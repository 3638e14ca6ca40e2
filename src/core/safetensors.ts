/**
 * A strict reader of safetensors over byte ranges. It follows the rules of the format's own implementation
 * (huggingface/safetensors, `safetensors/src/tensor.rs`): every byte belongs to exactly one tensor, every length is
 * checked before anything is read or allocated.
 *
 * @module
 */
import { FormatError } from "./errors.ts";
import { type Integers, isIntegerType, toIntegers } from "./integers.ts";
import { sizeOf } from "./network.ts";

/** Random access to bytes: a file, a range-capable server, or an array in memory. */
export interface ByteSource {
  /** Shown in error messages. */
  readonly name: string;
  /** Total bytes. */
  readonly size: number;
  /** Exactly `length` bytes from `offset`. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Fetches what is going to be read, in as few requests as possible; what else is read comes when it is read. */
  prepare?(ranges: readonly { offset: number; length: number }[]): Promise<void>;
  /** Forgets the copy of a download that was kept and that these bytes come from. */
  discard?(): Promise<void>;
  /** Lets go of what is open. No read follows. */
  close?(): Promise<void>;
}

/** Bytes that are in memory already. */
export function bytesInMemory(bytes: Uint8Array, name: string = "bytes in memory"): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
  };
}

/** Bits per value of the format's data types. */
const DTYPE_BITS: Record<string, number> = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  F64: 64,
  I64: 64,
  U64: 64,
  C64: 64,
};
const MAX_HEADER = 100_000_000;

/** One tensor of a file. */
export interface TensorInfo {
  name: string;
  dtype: string;
  shape: number[];
  /** Bytes from the start of the file. */
  offset: number;
  length: number;
}

/** An opened file: its table of contents, and its tensors as f32 or integers on request. */
export class Safetensors {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly #source: ByteSource;

  private constructor(source: ByteSource, tensors: Map<string, TensorInfo>, metadata: Record<string, string>) {
    this.#source = source;
    this.tensors = tensors;
    this.metadata = metadata;
  }

  /**
   * Reads and checks the header.
   *
   * @throws {FormatError} `ERR_SAFETENSORS` where a rule of the format is broken.
   */
  static async open(source: ByteSource): Promise<Safetensors> {
    const fail = (what: string): never => {
      throw new FormatError("ERR_SAFETENSORS", `${source.name}: not a valid safetensors file: ${what}.`);
    };
    if (source.size < 8) fail(`it has ${source.size} bytes, a header length alone takes 8`);
    const head = await readExactly(source, 0, 8);
    const length = Number(new DataView(head.buffer, head.byteOffset, 8).getBigUint64(0, true));
    if (length > MAX_HEADER) fail(`its header claims ${length} bytes, at most ${MAX_HEADER} are allowed`);
    if (8 + length > source.size) fail(`its header claims ${length} bytes, the file has ${source.size}`);
    const header = parseHeader(await readExactly(source, 8, length), fail);

    const tensors: TensorInfo[] = [];
    let metadata: Record<string, string> = {};
    for (const [name, entry] of Object.entries(header)) {
      if (name === "__metadata__") metadata = checkMetadata(entry, fail);
      else tensors.push(checkEntry(name, entry, fail));
    }
    tensors.sort((a, b) => a.offset - b.offset || a.length - b.length);
    let end = 0;
    for (const t of tensors) {
      if (t.offset !== end) {
        fail(`tensor "${t.name}" starts at byte ${t.offset} of the data, expected ${end} (a hole or an overlap)`);
      }
      end = t.offset + t.length;
      t.offset += 8 + length;
    }
    if (8 + length + end !== source.size) {
      fail(`its tensors end at byte ${8 + length + end}, the file has ${source.size}`);
    }
    return new Safetensors(source, new Map(tensors.map((t) => [t.name, t])), metadata);
  }

  /** Where the bytes come from, for messages. */
  get name(): string {
    return this.#source.name;
  }

  /**
   * Values of a tensor as f32, or of `count` rows (first dimension) from row `from`. F32, F16 and BF16 are read.
   *
   * @throws {FormatError} `ERR_SAFETENSORS` for another data type.
   */
  async read(name: string, from: number = 0, count?: number): Promise<Float32Array> {
    const info = this.#find(name), rows = info.shape[0] ?? 1, rowBytes = rows ? info.length / rows : 0;
    const bytes = await readExactly(this.#source, info.offset + from * rowBytes, (count ?? rows - from) * rowBytes);
    switch (info.dtype) {
      case "F32":
        // A copy only where the bytes do not lie on a float's boundary.
        return bytes.byteOffset % 4 === 0
          ? new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
          : new Float32Array(new Uint8Array(bytes).buffer);
      case "BF16":
        return widen(bytes, (bits, out) => {
          const words = new Uint32Array(out.buffer);
          for (let i = 0; i < bits.length; i++) words[i] = bits[i] << 16;
        });
      case "F16":
        return widen(bytes, (bits, out) => {
          const table = (halves ??= halfTable());
          for (let i = 0; i < bits.length; i++) out[i] = table[bits[i]];
        });
      default:
        throw new FormatError(
          "ERR_SAFETENSORS",
          `${this.name}: tensor "${name}" has dtype ${info.dtype}; F32, F16 and BF16 can be read.`,
        );
    }
  }

  /**
   * Values of a tensor of integers, signed or not, of 8 to 64 bits.
   *
   * @throws {FormatError} `ERR_SAFETENSORS` for another data type.
   */
  async integers(name: string): Promise<Integers> {
    const { dtype } = this.#find(name);
    if (isIntegerType(dtype)) return toIntegers(await this.bytes(name), dtype);
    throw new FormatError("ERR_SAFETENSORS", `${this.name}: tensor "${name}" has dtype ${dtype}, expected integers.`);
  }

  /** The bytes of a tensor, as they are. */
  async bytes(name: string): Promise<Uint8Array> {
    const { offset, length } = this.#find(name);
    return await readExactly(this.#source, offset, length);
  }

  /** Fetches tensors that are going to be read, where they come from far. */
  async prepare(names: readonly string[]): Promise<void> {
    await this.#source.prepare?.(names.map((name) => this.#find(name)));
  }

  async close(): Promise<void> {
    await this.#source.close?.();
  }

  #find(name: string): TensorInfo {
    const info = this.tensors.get(name);
    if (!info) throw new FormatError("ERR_SAFETENSORS", `${this.name}: there is no tensor "${name}".`);
    return info;
  }
}

type Fail = (what: string) => never;

async function readExactly(source: ByteSource, offset: number, length: number): Promise<Uint8Array> {
  const bytes = await source.read(offset, length);
  if (bytes.byteLength !== length) {
    throw new FormatError(
      "ERR_SAFETENSORS",
      `${source.name}: ${length} bytes expected from byte ${offset}, ${bytes.byteLength} came (the file is cut off).`,
    );
  }
  return bytes;
}

function parseHeader(bytes: Uint8Array, fail: Fail): Record<string, unknown> {
  if (bytes[0] !== 0x7b) fail("its header does not start with {");
  let text = "", header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    header = JSON.parse(text);
  } catch (cause) {
    fail(`its header is not JSON in UTF-8 (${(cause as Error).message})`);
  }
  const twice = repeatedKey(text);
  if (twice !== undefined) fail(`its header has ${JSON.stringify(twice)} twice`);
  return header as Record<string, unknown>;
}

/** A name that a valid header has twice, or one of its entries: `JSON.parse` would keep the last. */
function repeatedKey(text: string): string | undefined {
  const keys = [new Set<string>(), new Set<string>()]; // of the header, and of the entry that is open
  let depth = 0, last = "";
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:]/g)) {
    if (token === "{" || token === "[") keys[depth++]?.clear();
    else if (token === "}" || token === "]") depth--;
    else if (token !== ":") last = token;
    else if (depth <= keys.length) {
      const key: string = JSON.parse(last), known = keys[depth - 1];
      if (known.has(key)) return key;
      known.add(key);
    }
  }
  return undefined;
}

function checkMetadata(entry: unknown, fail: Fail): Record<string, string> {
  if (typeof entry !== "object" || entry === null || Object.values(entry).some((v) => typeof v !== "string")) {
    fail("__metadata__ must map strings to strings");
  }
  return entry as Record<string, string>;
}

/** Checks one header entry; the offset that it returns still counts from the start of the data. */
function checkEntry(name: string, entry: unknown, fail: Fail): TensorInfo {
  const { dtype, shape, data_offsets: span } = (entry ?? {}) as Record<string, unknown>;
  const isSize = (v: unknown): v is number => Number.isSafeInteger(v) && (v as number) >= 0;
  if (typeof dtype !== "string" || !Object.hasOwn(DTYPE_BITS, dtype)) {
    fail(`tensor "${name}" has unknown dtype ${JSON.stringify(dtype)}`);
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) fail(`tensor "${name}" has a bad shape ${JSON.stringify(shape)}`);
  if (!Array.isArray(span) || span.length !== 2 || !span.every(isSize) || span[1] < span[0]) {
    fail(`tensor "${name}" has bad data_offsets ${JSON.stringify(span)}`);
  }
  const dims = shape as number[], [start, end] = span as number[];
  const bytes = sizeOf(dims) * (DTYPE_BITS[dtype as string] / 8);
  if (!Number.isSafeInteger(bytes) || bytes !== end - start) {
    fail(`tensor "${name}" is ${dtype} ${JSON.stringify(dims)}, ${bytes} bytes, and spans ${end - start}`);
  }
  return { name, dtype: dtype as string, shape: dims, offset: start, length: bytes };
}

function widen(bytes: Uint8Array, convert: (bits: Uint16Array, out: Float32Array) => void): Float32Array {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : new Uint8Array(bytes);
  const bits = new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 2);
  const out = new Float32Array(bits.length);
  convert(bits, out);
  return out;
}

let halves: Float32Array | undefined;

/** The f32 value of each of the 65536 IEEE 754 binary16 patterns. */
function halfTable(): Float32Array {
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const magnitude = exponent === 0
      ? fraction / 16777216
      : exponent === 31
      ? (fraction ? NaN : Infinity)
      : (1024 + fraction) * (exponent >= 25 ? 1 << (exponent - 25) : 1 / (1 << (25 - exponent)));
    table[bits] = bits & 0x8000 ? -magnitude : magnitude;
  }
  return table;
}
