/** A process that loads a model and prints its fingerprint: `load.ts SOURCE ENDPOINT CACHE`. */
import process from "node:process";
import { MimiModel } from "../../mod.ts";

const [source, endpoint, cache] = process.argv.slice(2);
const { fingerprint } = await MimiModel.fromPretrained(source, { endpoint, cache });
process.stdout.write(fingerprint, () => process.exit());
