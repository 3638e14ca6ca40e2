/** `npm run example:react`: serves the page on localhost, with codes of speech. */
import { serveExample } from "../shared/serve.ts";
import { speech } from "../shared/speech.ts";

const { frames } = await speech(8);
await serveExample("react", {
  texts: { "speech.jsonl": frames.map((codes) => `${JSON.stringify(codes)}\n`).join("") },
});
