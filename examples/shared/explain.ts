/** What went wrong, for people. */
import { isMimiError } from "mimi-audio";

/** By the names of a browser's own errors, and by the codes of this library's. */
const MESSAGES: Record<string, string> = {
  NotFoundError: "No microphone was found. Plug one in and try again.",
  NotAllowedError: "The microphone was not allowed. Allow it for this page, in the address bar, and try again.",
  NotReadableError: "The microphone cannot be used; another program may have it.",
  SecurityError: "The browser does not allow this here.",
  ERR_WORKER: "The worker with the codec ended or did not start.",
  ERR_WORKLET: "The audio worklet did not start.",
  ERR_NOT_FOUND: "The model was not found.",
  ERR_NETWORK: "The model could not be downloaded.",
  ERR_CHANGED: "The model changed while it was downloaded. Try again.",
  ERR_INTEGRITY: "The model was damaged on its way. Try again.",
};

export function explain(error: unknown): string {
  const { name, message } = error as Error, known = MESSAGES[isMimiError(error) ? error.code : name];
  // What the policy of a page or an old browser refuses says so itself.
  return known ? `${known} (${message})` : message;
}

/** Why a page cannot do audio here, if it cannot. */
export function refusal(): string | undefined {
  if (!globalThis.isSecureContext) {
    return "This page is not in a secure context: open it over https, or from localhost, to use microphone and worklets.";
  }
  if (!("AudioWorkletNode" in globalThis)) return "This browser has no AudioWorklet.";
  if (!("WebAssembly" in globalThis)) return "This browser has no WebAssembly.";
}
