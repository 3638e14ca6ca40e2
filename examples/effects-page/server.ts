/** `npm run example:effects`: serves the page on localhost. */
import { serveExample } from "../shared/serve.ts";

// standardized-audio-context adds worklets from Blobs.
await serveExample("effects-page", { files: ["models/mini/it-cannot-complete.wav"], blobs: true });
