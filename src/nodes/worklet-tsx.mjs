// As src/worker-tsx.mjs, for the audio thread of an implementation of Web Audio in Node.
import { register } from "tsx/esm/api";

register();
await import("./worklet.ts");
