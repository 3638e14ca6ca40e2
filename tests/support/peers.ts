/** Whether Node can have peer connections here: npm has binaries of node-datachannel for most platforms, not for all. */
import { reasonOf } from "../../src/core/errors.ts";

/** Why tests with peers in Node are skipped, if they are. */
export const noPeers: string | undefined = await import("node-datachannel").then(
  () => undefined,
  (error) => `node-datachannel does not load here: ${reasonOf(error)}`,
);
