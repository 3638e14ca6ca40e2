/**
 * The library as a Deno user tests it, with `@std/assert` as deno.json maps it. Skipped, and named so, where that cannot be
 * loaded: in Node and Bun, which do not read deno.json, and where the registry that has it is out of reach.
 */
import { test } from "node:test";
import { MimiModel } from "../mod.ts";

// Not a literal, so that only a run needs the registry and not a type check.
const name = "@std/assert";
const assertions = await import(name).catch((error: Error) => error.message.split("\n")[0]);
const skip = typeof assertions === "string" ? `@std/assert cannot be loaded: ${assertions}` : false;

test(`the embedded model, with @std/assert${skip ? ` (skipped: ${skip})` : ""}`, { skip }, async () => {
  const { assertEquals } = assertions as { assertEquals: (a: unknown, b: unknown) => void };
  const model = await MimiModel.fromPretrained("mini");
  const { audioCodes } = await model.encode(new Float32Array(24000), { numQuantizers: 8 });
  assertEquals(audioCodes.shape, [1, 8, 13]);
  assertEquals((await model.decode(audioCodes)).audioValues.shape, [1, 1, 13 * 1920]);
  model.close();
});
