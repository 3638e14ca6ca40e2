// As worklet-tsx.mjs, for offline contexts.
import { register } from "tsx/esm/api";

register();
await import("./worklet-offline.ts");
