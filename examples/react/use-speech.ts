/** A voice for React components: codes in, sound out. */
import { type AudioCodes, MimiModel, type ModelSource } from "mimi-audio";
import { MimiDecoderNode, registerMimi } from "mimi-audio/nodes";
import { useCallback, useEffect, useRef, useState } from "react";

export interface Speech {
  state: "silent" | "loading" | "speaking";
  /** Why the last speech failed, if it did. */
  error: Error | undefined;
  /**
   * Plays frames as they come, in place of what plays; call it in a click or a key press, or the browser stays silent.
   * Resolves when the last one was heard, or it was stopped or failed.
   */
  speak(frames: AsyncIterable<AudioCodes> | Iterable<AudioCodes>): Promise<void>;
  /** Fades out and forgets what waits. */
  stop(): void;
}

/**
 * The model is loaded with the first speech and given back with the component, or when `source` changes.
 *
 * @param source a model as `MimiModel.fromPretrained` takes it; one object or string from one render to the next.
 */
export function useSpeech(source: ModelSource = "mini"): Speech {
  const [state, setState] = useState<Speech["state"]>("silent"), [error, setError] = useState<Error>();
  const voice = useRef<Promise<Voice>>(undefined);
  /** The speech that is heard; what an earlier one still does is of no interest. */
  const turn = useRef(0);

  const leave = useCallback(() => {
    turn.current++;
    void voice.current?.then(({ close }) => close(), () => {});
    voice.current = undefined;
  }, []);
  // Effects run twice in strict mode: what they clean up, `speak` opens again.
  useEffect(() => leave, [source, leave]);

  const speak = useCallback(async (frames: AsyncIterable<AudioCodes> | Iterable<AudioCodes>) => {
    const mine = ++turn.current, isOver = () => turn.current !== mine;
    setError(undefined);
    setState("loading");
    try {
      const { decoder } = await (voice.current ??= openVoice(source)); // the context is made in the click
      if (isOver()) return;
      decoder.clear();
      setState("speaking");
      for await (const codes of frames) {
        if (isOver()) return;
        decoder.enqueue(codes);
      }
      await decoder.end();
    } catch (cause) {
      if (isOver()) return;
      leave(); // the next speech gets a new voice
      setError(cause as Error);
      setState("silent");
    }
    if (!isOver()) setState("silent");
  }, [source, leave]);

  const stop = useCallback(() => {
    turn.current++;
    setState("silent");
    void voice.current?.then(({ decoder }) => decoder.clear({ fade: 0.05 }), () => {});
  }, []);

  return { state, error, speak, stop };
}

interface Voice {
  decoder: MimiDecoderNode;
  close(): void;
}

async function openVoice(source: ModelSource): Promise<Voice> {
  const context = new AudioContext();
  let model: MimiModel | undefined;
  const close = () => {
    model?.close();
    void context.close();
  };
  try {
    await context.resume();
    model = await MimiModel.fromPretrained(source, { part: "decoder", worker: true });
    await registerMimi(context, { model });
    const decoder = new MimiDecoderNode(context, { mode: "playback" });
    decoder.connect(context.destination);
    return { decoder, close };
  } catch (error) {
    close();
    throw error;
  }
}
