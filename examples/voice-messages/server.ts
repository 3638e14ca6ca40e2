/**
 * Voice messages in the space of a text message: audio of any format goes in, what is kept of it are codes, 900 bits a second
 * of the embedded model, and WAV comes out. `npm run example:messages`:
 *
 *   curl --data-binary @speech.wav http://localhost:8080/messages      {"id": "...", "seconds": 3.1, "bytes": 414}
 *   curl http://localhost:8080/messages/ID > message.wav
 */
import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, open, readFile, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { isMimiError, MimiModel } from "mimi-audio";
import { readAudio, toMono } from "mimi-audio/audio";
import { bitsOf, ContainerWriter, openContainer, toPCM16, wavHeader } from "mimi-audio/file";

const CODEBOOKS = 8, LONGEST = 300;
/** Bytes of an upload: five minutes of 48 kHz in stereo. */
const MOST_BYTES = LONGEST * 48000 * 4;

// In a worker, so that the server answers others while it codes.
const model = await MimiModel.fromPretrained("mini", { worker: true });
const { samplingRate, frameSize, codebookSize } = model.config;
const folder = process.argv[2] ?? await mkdtemp(join(tmpdir(), "voice-messages-"));
await mkdir(folder, { recursive: true });

class Refused extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function* limited(request: IncomingMessage): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > MOST_BYTES) throw new Refused(413, `messages have at most ${MOST_BYTES} bytes`);
    yield chunk;
  }
}

/** Codes audio while it comes in; a message is there when all of it is. */
async function store(request: IncomingMessage): Promise<{ id: string; seconds: number; bytes: number }> {
  const audio = await readAudio(limited(request), { name: "the message" }), id = randomUUID();
  const path = join(folder, `${id}.mimi`), { fingerprint } = model, bits = bitsOf(codebookSize);
  const writer = new ContainerWriter({ samplingRate, frameSize, codebooks: CODEBOOKS, bits, fingerprint });
  const file = await open(path, "wx"), encoder = model.createEncoder({ numQuantizers: CODEBOOKS });
  try {
    let samples = 0;
    await file.write(writer.header());
    for await (const pcm of toMono(audio, samplingRate)) {
      samples += pcm.length;
      if (samples > LONGEST * samplingRate) throw new Refused(413, `messages last at most ${LONGEST} s`);
      await file.write(writer.write(await encoder.encode(pcm)));
    }
    await file.write(writer.write(await encoder.finish()));
    await file.write(writer.finish(samples));
    return { id, seconds: samples / samplingRate, bytes: (await file.stat()).size };
  } catch (error) {
    await rm(path);
    throw error;
  } finally {
    await file.close();
    encoder.close();
  }
}

/** Decodes while it goes out. */
async function send(id: string, response: ServerResponse): Promise<void> {
  const bytes = /^[0-9a-f-]{36}$/.test(id) && await readFile(join(folder, `${id}.mimi`)).catch(() => undefined);
  if (!bytes) throw new Refused(404, "there is no such message");
  const { samples, blocks } = await openContainer(new Uint8Array(bytes)), decoder = model.createDecoder();
  response.writeHead(200, { "content-type": "audio/wav", "content-length": 44 + 2 * samples });
  response.write(wavHeader(samplingRate, samples));
  try {
    for await (const { codes, samples } of blocks()) {
      const { audioValues } = await decoder.decode(codes);
      response.write(toPCM16(audioValues.data.subarray(0, samples)));
    }
    response.end();
  } finally {
    decoder.close();
  }
}

const server = createServer(async (request, response) => {
  const reply = (status: number, body: unknown) =>
    response.writeHead(status, { "content-type": "application/json" }).end(`${JSON.stringify(body)}\n`);
  try {
    const [, where, id] = new URL(request.url!, "http://localhost").pathname.split("/");
    if (where !== "messages") throw new Refused(404, "there are /messages and /messages/ID");
    if (request.method === "POST" && !id) reply(201, await store(request));
    else if (request.method === "GET" && id) await send(id, response);
    else throw new Refused(405, "POST audio to /messages, GET /messages/ID");
  } catch (error) {
    const message = (error as Error).message;
    if (response.headersSent) response.destroy();
    else if (error instanceof Refused) reply(error.status, { error: message });
    else reply(isMimiError(error) ? 400 : 500, { error: message });
    if (!request.complete) request.destroy();
  }
});
server.listen(Number(process.env.PORT ?? 8080), "localhost", () => {
  console.log(`Post audio to http://localhost:${(server.address() as AddressInfo).port}/messages (Ctrl+C ends it).`);
});
