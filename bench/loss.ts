/**
 * What loss does to speech, and redundancy against it: frames exact and concealed of a long call, and STOI and mel distance of a
 * sentence that is said again and again, against itself without loss. Beside silence, the last frame again, and Opus at 6 kbps with
 * its own concealment. Draws the curves into docs/loss.svg.
 */
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { createDecoder, createEncoder } from "libopus-wasm";
import { MimiModel } from "../mod.ts";
import { voicePacketBytes, VoiceReceiver, VoiceSender } from "../src/rtc/mod.ts";
import { bitsOf } from "../src/core/bits.ts";
import { decodeClean, framesOf, hear, hearSimply, sentence } from "../tests/support/loss.ts";
import { constantDelay, gilbert, type Loss, randomLoss, runCall } from "../tests/support/network.ts";
import { melDistance, stoi } from "../tests/support/quality.ts";
import { random } from "../tests/support/random.ts";
import { numbered, SilentDecoder, THIN } from "../tests/support/voice.ts";
import { type Curve, drawCurves } from "./curves.ts";
import { printNote, printTable } from "./table.ts";

const SEED = Number(process.env.SEED) || 1, CODEBOOKS = 8, PASSES = 3, CALL = 20_000;
const REDUNDANCIES = [0, 1, 2, 3];
/** How packets are lost. */
const NETWORKS: [name: string, share: number, make: (rng: ReturnType<typeof random>) => Loss][] = [
  ...[0.05, 0.1, 0.2, 0.3, 0.5].map((share): [string, number, (rng: ReturnType<typeof random>) => Loss] => [
    `${100 * share} %, random`,
    share,
    (rng) => randomLoss(rng, share),
  ]),
  ...[3, 8].map((burst): [string, number, (rng: ReturnType<typeof random>) => Loss] => [
    `20 %, bursts of ${burst}`,
    0.2,
    (rng) => gilbert(rng, 0.2, burst),
  ]),
];

export async function loss(): Promise<void> {
  printCalls();
  await printSpeech();
}

/** A call of 27 minutes with the jitter buffer as it is by default: what arrives, and how long it is waited for. */
function printCalls(): void {
  const rows: string[][] = [];
  for (const [name, , make] of NETWORKS) {
    for (const redundancy of REDUNDANCIES) {
      const rng = random(`calls, ${name}, redundancy ${redundancy}`, SEED),
        network = { loss: make(rng), delay: constantDelay(0.05) };
      const receiver = new VoiceReceiver(THIN, { decoder: new SilentDecoder() }),
        sender = new VoiceSender(THIN, { redundancy });
      runCall({
        model: THIN,
        network,
        rng,
        frames: CALL,
        quantum: 15,
        send: (frame, time) => sender.send(numbered(frame), time),
        push(bytes, time) {
          receiver.push(bytes, time);
          const answer = receiver.answer();
          if (answer) sender.receive(answer, time);
        },
        pull: (n, time) => void receiver.pull(n, time),
      });
      const { frames: { received, recovered }, network: { lost, expected }, delay } = receiver.stats;
      const exact = received + recovered, percent = (n: number) => `${(100 * n / CALL).toFixed(2)} %`;
      rows.push([
        name,
        String(redundancy),
        `${(100 * lost / expected).toFixed(1)} %`,
        percent(exact),
        percent(CALL - exact),
        `${(1000 * delay).toFixed(0)} ms`,
      ]);
    }
  }
  printTable(
    `${CALL} frames of 8 x 11 bits, seed ${SEED}: frames with all their codes, and the rest; buffer behind the fastest packet, of which 20 ms are the size of a pull`,
    ["loss", "redundancy", "packets lost", "exact", "concealed", "buffer"],
    rows,
  );
}

interface Score {
  /** STOI and mel distance against the same without loss, and STOI against what was said. */
  stoi: number;
  mel: number;
  said: number;
}

interface Contestant {
  name: string;
  /** Bits a second, headers included. */
  wire: number;
  hear(lost: boolean[]): Float32Array;
  clean: Float32Array;
  said: Float32Array;
}

async function printSpeech(): Promise<void> {
  using model = await MimiModel.fromPretrained("mini", { numQuantizers: CODEBOOKS });
  const speech = await sentence(),
    frames = await framesOf(model, speech, CODEBOOKS),
    { frameRate, frameSize } = model.config;
  const clean = await decodeClean(model, frames), bits = bitsOf(model.config.codebookSize);
  const said = new Float32Array(clean.length);
  said.set(speech.subarray(0, said.length));
  const wire = (redundancy: number, falling = false) =>
    8 * frameRate * voicePacketBytes(CODEBOOKS, bits, redundancy, falling);
  const mimi = (
    name: string,
    redundancy: number,
    hear: (lost: boolean[]) => Float32Array,
    falling = false,
  ): Contestant => ({
    name,
    wire: wire(redundancy, falling),
    hear,
    clean,
    said,
  });
  const contestants: Contestant[] = [
    mimi("silence", 0, (lost) => hearSimply(model, frames, lost, "silence")),
    mimi("last frame again", 0, (lost) => hearSimply(model, frames, lost, "repeat")),
    ...REDUNDANCIES.map((redundancy) =>
      mimi(
        `concealment, redundancy ${redundancy}`,
        redundancy,
        (lost) => hear(model, frames, lost, { redundancy }).audio,
      )
    ),
    mimi("redundancy 3, falling", 3, (lost) => hear(model, frames, lost, { redundancy: 3, falling: true }).audio, true),
    mimi("redundancy 1, heard too late", 1, (lost) => hear(model, frames, lost, { redundancy: 1, wait: 0 }).audio),
    ...await opusContestants(said, frameSize, frameRate, wire),
  ];
  const curves: Curve[] = contestants.map(({ name }) => ({ name, points: [] }));
  for (const [network, share, make] of NETWORKS) {
    const rows = contestants.map((contestant, c) => {
      const score: Score = { stoi: 0, mel: 0, said: 0 };
      for (let pass = 0; pass < PASSES; pass++) {
        // All contestants meet the same loss; the first frames come, so that there is something to go on from.
        const rng = quietly(SEED + pass), lost = makeLost(make(rng), frames.length), audio = contestant.hear(lost);
        score.stoi += stoi(contestant.clean, audio, 24000) / PASSES;
        score.mel += melDistance(contestant.clean, audio, 24000) / PASSES;
        score.said += stoi(contestant.said, audio, 24000) / PASSES;
      }
      if (network.endsWith("random")) curves[c].points.push([100 * share, score.stoi]);
      return [
        contestant.name,
        `${(contestant.wire / 1000).toFixed(1)} kbps`,
        score.stoi.toFixed(3),
        `${score.mel.toFixed(2)} dB`,
        score.said.toFixed(3),
      ];
    });
    printTable(
      `${network} lost, the embedded model at ${CODEBOOKS} codebooks of ${bits} bits, ${PASSES} x ${frames.length} frames, seeds ${SEED} to ${
        SEED + PASSES - 1
      }`,
      ["", "on the wire", "STOI", "mel distance", "STOI against the original"],
      rows,
    );
  }
  const file = new URL("../docs/loss.svg", import.meta.url);
  await writeFile(
    file,
    drawCurves({
      title: "Intelligibility under random loss",
      subtitle: `STOI against the same codec without loss; one sentence, ${PASSES} patterns of loss, packets of 80 ms`,
      x: "packets lost (%)",
      y: "STOI",
      curves,
    }),
  );
  printNote(
    'STOI and mel distance: against the same codec\'s own audio without loss. "Heard too late" waits for no redundancy: it repairs the decoder only. ' +
      `The wire carries 6 bytes a packet beyond codes, before UDP; Mimi's full size has 11 bits a code. Plot: ${
        fileURLToPath(file)
      }`,
  );
  await printConvergence(model, frames, clean);
  await printJoins(model, speech);
}

function quietly(seed: number): ReturnType<typeof random> {
  const log = console.log;
  console.log = () => {};
  try {
    return random("", seed);
  } finally {
    console.log = log;
  }
}

function makeLost(loss: Loss, n: number): boolean[] {
  return Array.from({ length: n }, (_, i) => loss() && i > 2);
}

/**
 * Opus in packets of two frames of 40 ms, so that the same ones are lost: at 6 kbps, the same with the packet before in each, and with
 * redundancy within the bits that the first takes, as near as the encoder comes.
 */
async function opusContestants(
  said: Float32Array,
  frameSize: number,
  frameRate: number,
  wire: (redundancy: number) => number,
): Promise<Contestant[]> {
  const header = wire(0) / 8 / frameRate - CODEBOOKS * 9 / 8; // the same for all
  const make = async (name: string, bitrate: number, redundancy: number): Promise<Contestant> => {
    const half = frameSize / 2;
    const encoder = await createEncoder({
      sampleRate: 24000,
      channels: 1,
      application: 2048,
      bitrate,
      frameSize: half,
      vbr: false,
    });
    const packets = Array.from({ length: said.length / frameSize }, (_, n) =>
      [0, half].map((from) => {
        const start = n * frameSize + from;
        return encoder.encodeFloat(said.slice(start, start + half), { frameSize: half }).slice();
      }));
    const lookahead = encoder.getLookahead(),
      bytes = packets.flat().reduce((sum, { length }) => sum + length, 0) / packets.length;
    encoder.free();
    const decoder = await createDecoder({ sampleRate: 24000, channels: 1, maxFrameSize: half });
    const decode = (lost: boolean[]) => {
      const out = new Float32Array(said.length + frameSize);
      packets.forEach((packet, n) => {
        // Lost for good if the packets that repeat it are lost too.
        const gone = lost.slice(n, n + redundancy + 1).every(Boolean);
        packet.forEach((frame, i) => {
          out.set(gone ? decoder.decodePacketLossFloat(half) : decoder.decodeFloat(frame), n * frameSize + i * half);
        });
      });
      return out.slice(lookahead, lookahead + said.length);
    };
    const none = packets.map(() => false);
    decode(none); // from here on every pass begins with the same state: the end of the sentence
    const clean = decode(none);
    return {
      name,
      wire: 8 * frameRate * (header + bytes * (1 + redundancy)),
      hear(lost) {
        const audio = decode(lost);
        decode(none);
        return audio;
      },
      clean,
      said,
    };
  };
  return [
    await make("Opus, 6 kbps", 6000, 0),
    await make("Opus, 6 kbps, redundancy 1", 6000, 1),
    await make("Opus, redundancy 1 in as many bits", 3000, 1),
  ];
}

/** Signal to difference of a frame, summed up over several. */
class Difference {
  #own = 0;
  #off = 0;

  add(clean: Float32Array, heard: Float32Array, frame: number, frameSize: number): void {
    for (let i = frame * frameSize; i < (frame + 1) * frameSize; i++) {
      this.#own += clean[i] ** 2;
      this.#off += (heard[i] - clean[i]) ** 2;
    }
  }

  toString(): string {
    return `${(10 * Math.log10(this.#own / this.#off)).toFixed(1)} dB`;
  }
}

/** Frames behind a gap or a pause that are looked at. */
const AGES = [1, 2, 3, 4, 8, 16];

/** How soon the decoder is again what it would have been, where the codes never come. */
async function printConvergence(model: MimiModel, frames: Uint16Array[], clean: Float32Array): Promise<void> {
  const { frameSize } = model.config;
  const rows = [1, 3, 8].map((burst) => {
    const differences = AGES.map(() => new Difference());
    for (let start = 4; start + burst + Math.max(...AGES) <= frames.length; start += 2) {
      const { audio } = hear(model, frames, frames.map((_, n) => n >= start && n < start + burst));
      AGES.forEach((age, a) => differences[a].add(clean, audio, start + burst + age - 1, frameSize));
    }
    return [`${burst}`, ...differences.map(String)];
  });
  printTable(
    "After a gap that is never filled: signal to difference of the nth frame behind it, means over all places",
    ["frames lost", ...AGES.map((age) => `${age}.`)],
    rows,
  );
  printNote(
    "With the codes, however late, the next frame is bit for bit what it would have been: tests/voice.test.ts.",
  );
}

/** What it does to the words behind a pause that the decoder has not been fed it. */
async function printJoins(model: MimiModel, speech: Float32Array): Promise<void> {
  const { frameSize } = model.config, words = Math.ceil(speech.length / frameSize), rng = quietly(SEED);
  const rows: string[][] = [];
  for (const pause of [4, 12, 25, 100]) {
    // The words, a background of -60 dB, and the words again.
    const audio = rng.floats((2 * words + pause) * frameSize, 1e-3 * Math.sqrt(3)), again = words + pause;
    for (const start of [0, again]) speech.forEach((v, i) => audio[start * frameSize + i] += v);
    const frames = await framesOf(model, audio, CODEBOOKS), clean = await decodeClean(model, frames);
    const none = frames.map(() => false), second = (x: Float32Array) => x.subarray(again * frameSize);
    const { audio: heard, stats } = hear(model, frames, none, { speaks: (n) => n < words || n >= again });
    const differences = AGES.map((age) => {
      const difference = new Difference();
      difference.add(clean, heard, again + age - 1, frameSize);
      return String(difference);
    });
    rows.push([
      String(pause),
      String(stats.frames.silent),
      ...differences,
      stoi(second(clean), second(heard), 24000).toFixed(3),
      `${melDistance(second(clean), second(heard), 24000).toFixed(2)} dB`,
    ]);
  }
  printTable(
    "After a pause that is not sent: signal to difference of the nth frame behind it; all words behind it",
    ["frames of pause", "not sent", ...AGES.map((age) => `${age}.`), "STOI", "mel distance"],
    rows,
  );
}
