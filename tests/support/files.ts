/** Files of the test folder, read the way the library reads weights. */
import { fileURLToPath } from "node:url";
import { bytesInMemory, Safetensors } from "../../src/core/safetensors.ts";
import { openFile, readJSON } from "../../src/hub/files.ts";

export const TESTS: URL = new URL("../", import.meta.url);

/** Path of a file in the test folder, fit for `fromPretrained`. */
export function testPath(name: string): string {
  return fileURLToPath(new URL(name, TESTS));
}

export async function testJSON(name: string): Promise<unknown> {
  return await readJSON(await openFile(testPath(name)));
}

export interface Golden {
  f32(name: string): Promise<Float32Array>;
  i32(name: string): Promise<Int32Array>;
  shape(name: string): number[];
  has(name: string): boolean;
}

/** Opens `goldens/<name>.safetensors`, which holds integers as well as floats. */
export async function openGolden(name: string): Promise<Golden> {
  const path = testPath(`goldens/${name}.safetensors`), source = await openFile(path);
  const bytes = await source.read(0, source.size);
  await source.close?.();
  const file = await Safetensors.open(bytesInMemory(bytes, path));
  return {
    f32: async (tensor) => (await file.read(tensor)).slice(),
    i32: async (tensor) => Int32Array.from(await file.integers(tensor) as Int32Array),
    shape: (tensor) => file.tensors.get(tensor)!.shape,
    has: (tensor) => file.tensors.has(tensor),
  };
}
