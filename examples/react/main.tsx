/** A component that speaks: the embedded recording, as a speech model would send it. */
import { AudioCodes } from "mimi-audio";
import { type ReactElement, StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { askedModel } from "../shared/page.ts";
import { useSpeech } from "./use-speech.ts";

/** Lines of JSON, a frame each, as they come. */
async function* spoken(): AsyncGenerator<AudioCodes> {
  const response = await fetch("speech.jsonl");
  let rest = "";
  const lines = response.body!.pipeThrough(new TextDecoderStream()).pipeThrough(
    new TransformStream<string, string>({
      transform(text, controller) {
        const [last, ...whole] = (rest + text).split("\n").reverse();
        rest = last;
        whole.reverse().forEach((line) => controller.enqueue(line));
      },
    }),
  );
  const reader = lines.getReader();
  for (let line; !(line = await reader.read()).done;) yield AudioCodes.fromFrames([JSON.parse(line.value)]);
}

function Speaker(): ReactElement {
  const { state, error, speak, stop } = useSpeech(askedModel());
  return (
    <section>
      <div className="row">
        <button className="main" type="button" onClick={() => speak(spoken())}>Speak</button>
        <button type="button" onClick={stop} disabled={state === "silent"}>Stop</button>
        <span role="status">{state}</span>
      </div>
      {error && <p role="alert">{error.message}</p>}
    </section>
  );
}

function App(): ReactElement {
  const [shown, setShown] = useState(true);
  return (
    <>
      <header>
        <h1>A component that speaks</h1>
        <p>Codes become a voice in this page, with a React hook. Taken away, the component gives everything back.</p>
      </header>
      <main>
        {shown && <Speaker />}
        <label>
          <input type="checkbox" checked={shown} onChange={() => setShown(!shown)} /> with the component
        </label>
      </main>
    </>
  );
}

createRoot(document.getElementById("app")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
