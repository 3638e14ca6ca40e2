/**
 * `mimi-audio/backend`: what a backend of one's own is made with.
 *
 * A {@link Backend} compiles a {@link Network}, which is an array of layers as plain data, into a {@link Program} that takes
 * streams through it. The functions say what follows from the data: which tensors a layer reads, what a stream remembers, how
 * many positions leave a layer. `examples/backend` has one in less than 100 lines, around another; `tests/support/oracle.ts` is one of plain loops.
 *
 * @module mimi-audio/backend
 */
export type {
  Backend,
  CompileOptions,
  Determinism,
  Ports,
  Precision,
  Program,
  ProgramMemory,
  State,
  StateData,
  TensorSource,
} from "../core/backend.ts";
export { DeviceLostError } from "../core/errors.ts";
export { cosSin, ropeAngle, ropeFrequencies } from "../core/math.ts";
export * from "../core/network.ts";
