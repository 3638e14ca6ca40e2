/**
 * From a network to a program in ONNX Runtime.
 *
 * @module
 */
import type { CompileOptions, Program, TensorSource } from "../../core/backend.ts";
import { describe, DeviceLostError, EngineError, NotSupportedError, reasonOf } from "../../core/errors.ts";
import { latentChannels, type Network } from "../../core/network.ts";
import { nextTurn } from "../../core/turn.ts";
import { lower, type LowerOptions } from "./lower.ts";
import { OnnxProgram } from "./program.ts";
import type { Ort, OrtSession } from "./runtime.ts";

/** A runtime and how its sessions are made. */
export interface Target extends LowerOptions {
  /** Name of the backend. */
  name: string;
  ort: Ort;
  /** Options of ONNX Runtime's `InferenceSession`. */
  session: Record<string, unknown>;
  /** What the sessions work on, where it may be lost: resolves with the reason when it is. */
  lost?: Promise<string>;
  /** Called when the program is closed. */
  onClose?(): void;
}

/**
 * Calls of each runtime that wait for each other: in the builds for browsers, sessions that are made at the same time mix up
 * external data of the same name, and two at work on a GPU fail.
 */
const turns = new WeakMap<Ort, Promise<unknown>>();

/** Runs a call when the ones before it have ended. */
export function inTurn<T>(ort: Ort, call: () => Promise<T>): Promise<T> {
  const result = (turns.get(ort) ?? Promise.resolve()).then(call);
  turns.set(ort, result.catch(() => {}));
  return result;
}

/**
 * Compiles a network.
 *
 * @throws {NotSupportedError} for another precision than `f32`, and for a codec with latents.
 * @throws {EngineError} `ERR_BACKEND` where ONNX Runtime refuses it, such as for want of memory.
 * @throws {DeviceLostError} where its device is lost meanwhile; the program's steps as well.
 */
export async function compileWith(
  target: Target,
  network: Network,
  tensors: TensorSource,
  { precision }: CompileOptions,
): Promise<Program> {
  const { name, ort, past, session: options, lost, onClose } = target;
  if (precision !== "f32") {
    throw new NotSupportedError(
      `The ${name} backend has no precision ${
        describe(precision)
      }, only "f32": ask for that; weights of integers are widened.`,
    );
  }
  if (latentChannels(network) !== undefined) {
    throw new NotSupportedError(`The ${name} backend runs codecs with codes, this one has latents; use wasm.`);
  }
  const lowered = await lower(network, tensors, { past }), { model, externalData, slots } = lowered;
  const ended = lost?.then((reason) => {
    throw new DeviceLostError(`The device of the ${name} backend was lost: ${reason}.`);
  });
  ended?.catch(() => {}); // told to whoever asks next
  const working = async <T>(what: string, call: () => Promise<T>): Promise<T> => {
    try {
      return await inTurn(ort, () => ended ? Promise.race([ended, call()]) : call());
    } catch (cause) {
      if (cause instanceof DeviceLostError) throw cause;
      // A call on a device may fail before it is known that the device is gone.
      if (ended) await Promise.race([ended, nextTurn()]);
      throw new EngineError("ERR_BACKEND", `The ${name} backend could not ${what}: ${reasonOf(cause)}`, { cause });
    }
  };
  const locations = Object.fromEntries(slots.map(({ output }) => [output, "gpu-buffer"]));
  const session: OrtSession = await working("take the model", () =>
    ort.InferenceSession.create(model, {
      ...options,
      externalData,
      ...(past === "device" && { preferredOutputLocation: locations }),
    }));
  return new OnnxProgram(network, lowered, {
    ort,
    run: (feeds) => working("run a step", () => session.run(feeds())),
    read: (tensors) => working("read a stream", () => Promise.all(tensors.map((tensor) => tensor.getData()))),
    release: () => void working("end", () => session.release()).catch(() => {}).finally(onClose),
  });
}
