// The worker's program where sources run unbuilt in a Node that cannot read TypeScript: a thread needs tsx of its own.
import { register } from "tsx/esm/api";

register();
await import("./worker.ts");
