/**
 * A smoke test of the library as a Deno user writes one, with `@std/assert` as deno.json maps it. Where the registry that
 * has it cannot be reached, the test says so and is skipped. (Deno only: npm test leaves this file out.)
 */
import { MimiModel } from "../mod.ts";

// Not a literal, so that only a run needs the registry and not a type check.
const name = "@std/assert";
const assertions = await import(name).catch((error: Error) => error.message.split("\n")[0]);

Deno.test({
  name: typeof assertions === "string"
    ? `@std/assert cannot be loaded (${assertions})`
    : "the embedded model, with @std/assert",
  ignore: typeof assertions === "string",
  async fn() {
    const { assertEquals } = assertions as { assertEquals: (a: unknown, b: unknown) => void };
    const model = await MimiModel.fromPretrained("mini");
    const { audioCodes } = await model.encode(new Float32Array(24000), { numQuantizers: 8 });
    assertEquals(audioCodes.shape, [1, 8, 13]);
    assertEquals((await model.decode(audioCodes)).audioValues.shape, [1, 1, 13 * 1920]);
    model.close();
  },
});
