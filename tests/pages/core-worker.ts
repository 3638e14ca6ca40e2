/** A worker that makes round trips. */
import { roundTrip } from "./core.ts";

addEventListener("message", async ({ data }: MessageEvent<Parameters<typeof roundTrip>>) => {
  postMessage(await roundTrip(...data));
});
