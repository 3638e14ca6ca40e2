/**
 * An ONNX graph that grows node by node, and its file.
 *
 * Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), names of operators and
 * attributes those of ONNX's operator set 20.
 *
 * @module
 */
import { bytes, float, int, message } from "./protobuf.ts";

/** Types of elements, by their number in TensorProto.DataType. */
const TYPES = { float32: 1, int32: 6, int64: 7 } as const;
export type ElementType = keyof typeof TYPES;

const IR_VERSION = 10, OPSET = 20;
const ATTRIBUTE_FLOAT = 1, ATTRIBUTE_INT = 2, ATTRIBUTE_INTS = 7;
const EXTERNAL = 1;
/** Constants of this many bytes lie beside the model's file, as runtimes take them over without parsing; shapes must not. */
const LEAST_EXTERNAL = 1024;

/** A value in the graph, by its name. */
export type Value = string;

/** A list is INTS, an integer INT, and a number marked as such FLOAT. */
export type Attribute = number | readonly number[] | { float: number };

/** A dimension: its size, or a name where each run has its own. */
export type Dimension = number | string;

interface Node {
  op: string;
  inputs: Value[];
  outputs: Value[];
  attributes: Record<string, Attribute>;
}

interface Port {
  name: Value;
  type: ElementType;
  shape: readonly Dimension[];
}

interface Constant {
  name: Value;
  type: ElementType;
  shape: readonly number[];
  data: Uint8Array;
}

/** A model as runtimes take it: its file, and large constants as if they were files beside it. */
export interface OnnxModel {
  model: Uint8Array;
  externalData: { path: string; data: Uint8Array }[];
}

/** Nodes in the order in which they run, with inputs, outputs and constants. */
export class Graph {
  readonly #nodes: Node[] = [];
  readonly #inputs: Port[] = [];
  readonly #outputs: Port[] = [];
  readonly #constants: Constant[] = [];
  readonly #integers = new Map<string, Value>();
  #values = 0;

  input(name: Value, type: ElementType, shape: readonly Dimension[]): Value {
    this.#inputs.push({ name, type, shape });
    return name;
  }

  /** Makes a value an output as well; nodes may use it further. */
  output(value: Value, type: ElementType, shape: readonly Dimension[]): Value {
    this.#outputs.push({ name: value, type, shape });
    return value;
  }

  /** A constant. The array becomes part of the model and must not change. */
  constant(values: Float32Array, shape: readonly number[]): Value {
    const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength), name = this.#fresh("constant");
    this.#constants.push({ name, type: "float32", shape, data });
    return name;
  }

  /** Integers as operators want them for shapes and places; the same ones are one constant. */
  integers(...values: number[]): Value {
    const key = values.join();
    let name = this.#integers.get(key);
    if (name === undefined) {
      name = this.#fresh("integers");
      this.#integers.set(key, name);
      const data = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
      this.#constants.push({ name, type: "int64", shape: [values.length], data });
    }
    return name;
  }

  /** A node with one output. */
  op(op: string, inputs: Value[], attributes: Record<string, Attribute> = {}): Value {
    const output = this.#fresh(op);
    this.#nodes.push({ op, inputs, outputs: [output], attributes });
    return output;
  }

  #fresh(kind: string): Value {
    return `${kind}_${this.#values++}`;
  }

  /** The model's file, and its large constants. */
  build(): OnnxModel {
    const externalData: OnnxModel["externalData"] = [];
    const tensor = ({ name, type, shape, data }: Constant): Uint8Array[] => {
      const head = [...shape.map((size) => int(1, size)), int(2, TYPES[type]), bytes(8, name)];
      if (type !== "float32" || data.length < LEAST_EXTERNAL) return [...head, bytes(9, data)];
      externalData.push({ path: name, data });
      const place = { location: name, offset: "0", length: String(data.length) };
      const entries = Object.entries(place).map(([key, value]) => bytes(13, [bytes(1, key), bytes(2, value)]));
      return [...head, ...entries, int(14, EXTERNAL)];
    };
    const graph = [
      ...this.#nodes.map((node, i) => bytes(1, nodeProto(node, i))),
      bytes(2, "network"),
      ...this.#constants.map((constant) => bytes(5, tensor(constant))),
      ...this.#inputs.map((port) => bytes(11, valueInfo(port))),
      ...this.#outputs.map((port) => bytes(12, valueInfo(port))),
    ];
    const opset = bytes(8, [bytes(1, ""), int(2, OPSET)]);
    return { model: message([int(1, IR_VERSION), bytes(7, graph), opset]), externalData };
  }
}

function nodeProto({ op, inputs, outputs, attributes }: Node, index: number): Uint8Array[] {
  return [
    ...inputs.map((name) => bytes(1, name)),
    ...outputs.map((name) => bytes(2, name)),
    bytes(3, `${index} ${op}`),
    bytes(4, op),
    ...Object.entries(attributes).map(([name, value]) => bytes(5, attributeProto(name, value))),
  ];
}

function attributeProto(name: string, value: Attribute): Uint8Array[] {
  if (typeof value === "number") return [bytes(1, name), int(3, value), int(20, ATTRIBUTE_INT)];
  if ("float" in value) return [bytes(1, name), float(2, value.float), int(20, ATTRIBUTE_FLOAT)];
  return [bytes(1, name), ...value.map((v) => int(8, v)), int(20, ATTRIBUTE_INTS)];
}

function valueInfo({ name, type, shape }: Port): Uint8Array[] {
  const dims = shape.map((size) => bytes(1, typeof size === "number" ? [int(1, size)] : [bytes(2, size)]));
  return [bytes(1, name), bytes(2, [bytes(1, [int(1, TYPES[type]), bytes(2, dims)])])];
}
