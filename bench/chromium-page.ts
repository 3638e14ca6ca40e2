/** What `bench/chromium.ts` does in the page. */
import { type Determinism, MimiModel, type Precision } from "../mod.ts";
import { type Contestant, measureRounds } from "./rounds.ts";
import { signal } from "./signal.ts";
import { median } from "./stats.ts";

const FRAME = 1920, CODEBOOKS = 8, FRAMES = 125, ROUNDS = 7, LIVE_RUNS = 10;
const kept: MimiModel[] = [];

/** Loads a decoder and starts a stream; bytes of `model.memory`. */
export async function decoder(source: string, precision: Precision): Promise<number> {
  const model = await MimiModel.fromPretrained(source, { part: "decoder", numQuantizers: CODEBOOKS, precision });
  const stream = model.createDecoderSync();
  for (let i = 0; i < 20; i++) stream.decode({ data: new Uint16Array(CODEBOOKS), shape: [1, CODEBOOKS, 1] });
  kept.push(model);
  return model.memory.total;
}

/** Milliseconds a frame with each of the options: encode and decode live, encode and decode a file. */
export async function times(
  source: string,
  ways: readonly { precision: Precision; determinism: Determinism }[],
): Promise<number[][]> {
  const models: MimiModel[] = [];
  for (const way of ways) models.push(await MimiModel.fromPretrained(source, { numQuantizers: CODEBOOKS, ...way }));
  const audio = signal(0, FRAMES * FRAME), { audioCodes } = await models[0].encode(audio);
  const contestants = models.flatMap((model): Contestant[] => {
    const encoder = model.createEncoderSync(), decoder = model.createDecoderSync();
    let at = 0, latest = encoder.encode(audio.subarray(0, FRAME));
    const encode = () => {
      at = (at + 1) % FRAMES;
      latest = encoder.encode(audio.subarray(at * FRAME, (at + 1) * FRAME));
    };
    return [
      { runs: LIVE_RUNS, warmUp: 2, run: encode },
      { runs: LIVE_RUNS, warmUp: 2, run: () => void decoder.decode(latest) },
      { runs: 1, warmUp: 0, run: async () => void await model.encode(audio) },
      { runs: 1, warmUp: 0, run: async () => void await model.decode(audioCodes) },
    ];
  });
  const all = await measureRounds(contestants, ROUNDS);
  const perFrame = all.map((t, i) => i % 4 < 2 ? median(t) : median(t) / FRAMES);
  for (const model of models) model.close();
  return ways.map((_, i) => perFrame.slice(4 * i, 4 * i + 4));
}
