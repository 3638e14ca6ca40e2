/** What tests ask of nodes that fail, or whose context or model goes away, in a page. */
import { MimiModel } from "../../mod.ts";
import { MimiDecoderNode, MimiEncoderNode, registerMimi } from "../../src/nodes/mod.ts";
import { seconds, settled, until } from "../support/wait.ts";
import { errorsOf, failure, FRAME, liveContext, load, model, pack, Recording, tone } from "./audio.ts";

export { load };

/** What the test gives the page. */
declare const globalThis: {
  /** Ends the worker as if it had crashed. */
  kill(): Promise<void>;
  /** How many workers run. */
  workers(): Promise<number>;
  /** Whether the server has the file of a path. */
  offer(path: string, there: boolean): Promise<void>;
  /** Gives the server the files of `by` for those of `path`. */
  replace(path: string, by: string): Promise<void>;
};

/** An error's name and code where a node tells of one. */
async function told(errors: string[]): Promise<string> {
  await until(() => errors.length > 0);
  return errors.map((error) => error.split(":")[0]).join();
}

/** What a context's nodes do when it is closed, when the model is, and when they are. */
export async function over(how: "context" | "model" | "node"): Promise<Record<string, unknown>> {
  const context = await liveContext(24000), encoder = new MimiEncoderNode(context);
  const decoder = new MimiDecoderNode(context, { mode: "playback" }), errors = [encoder, decoder].map(errorsOf);
  const reader = encoder.readable.getReader(), writer = decoder.writable.getWriter();
  tone(context).connect(encoder).connect(decoder).connect(context.destination);
  await reader.read();
  decoder.enqueue(Array.from({ length: 8 }, () => Array(80).fill(1)));
  const write = failure(() => writer.write([[1]])), end = failure(() => decoder.end());
  if (how === "context") await context.close();
  else if (how === "model") model!.close();
  else for (const node of [encoder, decoder, encoder, decoder]) node.close();
  let done = false;
  while (!done) done = (await reader.read()).done;
  const late = new MimiEncoderNode(
    await liveContext(24000, { model: await MimiModel.fromPretrained("/tiny/", { worker: true }) }),
  );
  late.close();
  const result = {
    write: await write,
    end: await end,
    stats: await failure(() => encoder.getStats()),
    restart: await failure(() => decoder.restart()),
    clear: await failure(() => decoder.clear()),
    connect: await failure(() => encoder.connect(decoder)),
    make: how === "node" ? "" : await failure(() => new MimiDecoderNode(context)),
    register: how === "node" ? "" : await failure(() => registerMimi(context, { model: model! })),
    neverRead: (await late.readable.getReader().read()).done,
    errors: errors.flat(),
  };
  if (how !== "context") await context.close();
  return result;
}

/** The worker dies; what waits is told, and a restart that cannot be leaves the nodes as they are. */
export async function hardRestart(): Promise<Record<string, unknown>> {
  const context = await liveContext(24000), encoder = new MimiEncoderNode(context);
  const decoder = new MimiDecoderNode(context, { mode: "playback" }), left = new MimiDecoderNode(context);
  const errors = [encoder, decoder].map(errorsOf), recording = new Recording(context, [decoder]);
  tone(context).connect(encoder).connect(decoder);
  const writer = decoder.writable.getWriter();
  decoder.enqueue(Array.from({ length: 8 }, () => Array(60).fill(3)));
  const write = failure(() => writer.write([[1]])), end = failure(() => decoder.end());
  await until(() => decoder.playedFrames > 6);
  await globalThis.kill();
  const first = await told(errors[0]), at = context.currentTime;
  const played = () => decoder.stats.playedSamples, before = await settled(played);
  await globalThis.offer("/worker.js", false);
  const noWorker = await failure(() => encoder.restart());
  await globalThis.offer("/worker.js", true);
  await globalThis.offer("/mini/", false);
  const noModel = await Promise.all([encoder, decoder].map((node) => failure(() => node.restart())));
  await globalThis.offer("/mini/", true);
  const still = await failure(() => decoder.enqueue([[1]]));
  const closing = failure(() => left.restart());
  left.close();
  await Promise.all([encoder.restart(), decoder.restart(), decoder.restart()]);
  const resumed = context.currentTime, writable = decoder.writable.getWriter();
  await writable.write(Array.from({ length: 8 }, () => [5, 6, 7]));
  await until(() => played() > before + 4 * FRAME);
  const { from, tracks: [track] } = await recording.stop();
  await context.suspend();
  await settled(played);
  const after = decoder.stats, out = after.playedSamples + after.underrunSamples + after.idleSamples;
  const result = {
    first,
    write: await write,
    end: await end,
    noWorker,
    noModel,
    still,
    closing: await closing,
    closed: await failure(() => left.enqueue([[1]])),
    played: after.playedSamples - before,
    out,
    since: Math.round(context.currentTime * 24000),
    silent: [at, resumed].map((t) => Math.round(t * 24000) - from),
    track: pack(track),
    errors: errors.map((each) => each.length),
  };
  for (const node of [encoder, decoder]) node.close();
  await context.close();
  return result;
}

/** The worker dies, and where the model came from there is another one now, then the right one again. */
export async function changedModel(): Promise<{ changed: string; back: string; codes: number }> {
  const context = await liveContext(24000), encoder = new MimiEncoderNode(context), errors = errorsOf(encoder);
  tone(context).connect(encoder);
  await globalThis.kill();
  await told(errors);
  await globalThis.replace("/mini/", "/tiny/");
  const changed = await failure(() => encoder.restart());
  await globalThis.replace("/mini/", "/mini/");
  const back = await failure(() => encoder.restart()), { value } = await encoder.readable.getReader().read();
  encoder.close();
  await context.close();
  return { changed, back, codes: value!.codes.data.length };
}

/** The worker dies, and while a new one is asked for, or starts, the model is closed. */
export async function closedInRestart(starts: boolean): Promise<{ restarts: string[]; later: string }> {
  const context = await liveContext(24000), encoder = new MimiEncoderNode(context), errors = errorsOf(encoder);
  const decoder = new MimiDecoderNode(context), reader = encoder.readable.getReader();
  tone(context).connect(encoder).connect(decoder);
  await globalThis.kill();
  await told(errors);
  await until(async () => await globalThis.workers() === 0);
  const restarts = [encoder, decoder].map((node) => failure(() => node.restart()));
  if (starts) await until(async () => await globalThis.workers() > 0);
  model!.close();
  while (!(await reader.read()).done);
  const result = { restarts: await Promise.all(restarts), later: await failure(() => encoder.restart()) };
  await until(async () => await globalThis.workers() === 0);
  await context.close();
  return result;
}

/** A worklet that throws while it loads, and one whose processors do; then the right one. */
export async function badWorklets(): Promise<Record<string, unknown>> {
  const context = await liveContext(24000, { workletUrl: "/empty.js" });
  const unregistered = [
    await failure(() => new MimiEncoderNode(context)),
    await failure(() => new MimiDecoderNode(context)),
  ];
  await registerMimi(context, { model: model! });
  const decoder = new MimiDecoderNode(context);
  decoder.close();
  await context.close();

  const throws = await failure(() =>
    liveContext(24000, { workletUrl: "/throws.js" }).then((c) => new MimiEncoderNode(c))
  );

  const broken = await liveContext(24000, { workletUrl: "/broken.js" });
  const nodes = [new MimiEncoderNode(broken), new MimiDecoderNode(broken)], errors = nodes.map(errorsOf);
  for (const node of nodes) node.connect(broken.destination);
  const processors = await Promise.all(errors.map(told));
  const restart = await Promise.all(nodes.map((node) => failure(() => node.restart())));
  for (const node of nodes) node.close();
  await broken.close();
  return { unregistered, throws, processors, restart };
}

const kept: WeakRef<object>[] = [];

/** Many nodes made and closed; returns the worker's memory after every tenth pair. */
export async function rounds(n: number): Promise<number[]> {
  const context = await liveContext(24000), source = tone(context), memory: number[] = [];
  for (let i = 0; i < n; i++) {
    const encoder = new MimiEncoderNode(context), decoder = new MimiDecoderNode(context);
    kept.push(new WeakRef(encoder), new WeakRef(decoder));
    source.connect(encoder).connect(decoder).connect(context.destination);
    void encoder.readable.getReader().read();
    if (i % 10 === 0) await seconds(0.1);
    source.disconnect(encoder);
    encoder.disconnect();
    decoder.disconnect();
    encoder.close();
    decoder.close();
    if (i % 10 === 9) {
      await seconds(0.2);
      const probe = model!.createEncoder();
      await probe.encode(new Float32Array(1));
      probe.close();
      memory.push(model!.memory.total);
    }
  }
  await seconds(0.5);
  return memory;
}

/** How many of the nodes of {@link rounds} are still there. Their context is open. */
export function survivors(): number {
  return kept.filter((node) => node.deref()).length;
}

/** Whether a frame goes through two nodes. */
export async function plays(options: { workletUrl?: string; blob?: boolean } = {}): Promise<number> {
  const context = await liveContext(24000, options), encoder = new MimiEncoderNode(context);
  const decoder = new MimiDecoderNode(context);
  tone(context).connect(encoder).connect(decoder).connect(context.destination);
  await until(() => decoder.stats.playedSamples > 0);
  const { playedSamples } = decoder.stats;
  await context.close();
  return playedSamples;
}
