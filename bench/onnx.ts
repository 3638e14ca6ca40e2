/**
 * Writes ONNX models of one node, as much protobuf as that takes.
 *
 * Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
 */

/** A node `y = op(x, weight, bias)` with constant weights. */
export interface OneNode {
  op: "Conv" | "ConvTranspose" | "MatMul";
  /** Attributes; lists are INTS, numbers INT. */
  attributes: Record<string, number | number[]>;
  input: number[];
  output: number[];
  constants: { shape: number[]; values: Float32Array }[];
}

type Bytes = Uint8Array<ArrayBuffer>;

const FLOAT = 1, ATTRIBUTE_INT = 2, ATTRIBUTE_INTS = 7;
const IR_VERSION = 8, OPSET = 13;

function concat(parts: readonly Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Uint8Array.of(...bytes, value);
}

/** A field with a number. */
function int(field: number, value: number): Bytes {
  return concat([varint(field * 8), varint(value)]);
}

/** A field with bytes: raw data, text, or a message made of fields. */
function bytes(field: number, content: Uint8Array | string | readonly Uint8Array[]): Bytes {
  const data = typeof content === "string"
    ? new TextEncoder().encode(content)
    : content instanceof Uint8Array
    ? content
    : concat(content);
  return concat([varint(field * 8 + 2), varint(data.length), data]);
}

/** AttributeProto */
function attribute(name: string, value: number | number[]): Uint8Array[] {
  return Array.isArray(value)
    ? [bytes(1, name), ...value.map((v) => int(8, v)), int(20, ATTRIBUTE_INTS)]
    : [bytes(1, name), int(3, value), int(20, ATTRIBUTE_INT)];
}

/** ValueInfoProto of an f32 tensor. */
function valueInfo(name: string, shape: readonly number[]): Uint8Array[] {
  const dims = shape.map((size) => bytes(1, [int(1, size)]));
  return [bytes(1, name), bytes(2, [bytes(1, [int(1, FLOAT), bytes(2, dims)])])];
}

/** TensorProto */
function tensor(name: string, shape: readonly number[], values: Float32Array): Uint8Array[] {
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return [...shape.map((size) => int(1, size)), int(2, FLOAT), bytes(8, name), bytes(9, raw)];
}

/** The model's file: input "x", output "y". */
export function onnxModel({ op, attributes, input, output, constants }: OneNode): Bytes {
  const names = constants.map((_, i) => `c${i}`);
  const node = [
    ...["x", ...names].map((name) => bytes(1, name)),
    bytes(2, "y"),
    bytes(4, op),
    ...Object.entries(attributes).map(([name, value]) => bytes(5, attribute(name, value))),
  ];
  const graph = [
    bytes(1, node),
    bytes(2, "layer"),
    ...constants.map(({ shape, values }, i) => bytes(5, tensor(names[i], shape, values))),
    bytes(11, valueInfo("x", input)),
    bytes(12, valueInfo("y", output)),
  ];
  return concat([int(1, IR_VERSION), bytes(7, graph), bytes(8, [bytes(1, ""), int(2, OPSET)])]);
}
