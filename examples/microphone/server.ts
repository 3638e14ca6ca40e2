/** `npm run example:microphone`: serves the page on localhost. */
import { serveExample } from "../shared/serve.ts";

await serveExample("microphone");
