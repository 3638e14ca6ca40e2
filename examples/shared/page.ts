/** What both pages do with their elements. */
import { explain } from "./explain.ts";

/** An element of the page, by its id. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

export function show(id: string, text: string): void {
  const to = element(id);
  if (to.textContent !== text) to.textContent = text;
}

/** A message that stays until the next one, read out at once; none takes it away. */
export function complain(error: unknown): void {
  const alert = element("alert");
  alert.textContent = error === undefined ? "" : typeof error === "string" ? error : explain(error);
  alert.hidden = error === undefined;
}

/** A button whose action may fail; it cannot be pressed again before that is over. */
export function onPress(id: string, action: () => void | Promise<void>): void {
  const button = element<HTMLButtonElement>(id);
  button.addEventListener("click", async () => {
    button.disabled = true;
    complain(undefined);
    try {
      await action();
    } catch (error) {
      complain(error);
    } finally {
      button.disabled = false;
    }
  });
}

/** The model that the address names, `?model=kyutai/mimi`, or else the embedded one. */
export function askedModel(): string {
  return new URLSearchParams(location.search).get("model") ?? "mini";
}
