/** Every backend that this runtime can run, for tests that all of them must pass. */
import { test } from "node:test";
import type { Backend } from "../../mod.ts";
import { wasm } from "../../mod.ts";
import { metered, type Reading } from "../../examples/backend/metered.ts";
import { native } from "../../src/backends/onnx/native.ts";
import { onnxWasm } from "../../src/backends/onnx/onnx-wasm.ts";

/** Readings of the example, so that a test may look at them. */
export const readings: Reading[] = [];

const ALL: readonly Backend[] = [
  wasm(),
  native(),
  onnxWasm(),
  metered(wasm(), (reading) => void readings.push(reading)),
];

/** The backends, each with why it cannot run here, where it cannot. */
export const BACKENDS: readonly { backend: Backend; skip: string | false }[] = await Promise.all(
  ALL.map(async (backend) => {
    const available = await backend.available();
    return { backend, skip: available !== true && available };
  }),
);

/**
 * A test for each backend; skipped by name where it cannot run. WebGPU needs a page: see `webgpu.test.ts`.
 *
 * @param among leaves backends out, by their name.
 */
export function onEveryBackend(
  title: string,
  body: (backend: Backend) => Promise<void>,
  among: (name: string) => boolean = () => true,
): void {
  for (const { backend, skip } of BACKENDS) {
    if (!among(backend.name)) continue;
    test(`${backend.name}: ${title}${skip ? ` (skipped: ${skip})` : ""}`, { skip }, () => body(backend));
  }
}
