/** Calls in a real Chromium, over real peer connections: with itself, and with Node. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { openPeer, readSpeech, record, releasePeers, speak } from "../examples/call/node-peer.ts";
import { MimiModel } from "../mod.ts";
import { IncomingVoice, OutgoingVoice } from "../src/call/mod.ts";
import { assertHeard, assertLossTold } from "./support/call.ts";
import { inBrowser, LOOPBACK, type TestBrowser, type TestPage } from "./support/browser.ts";
import { noBrowser } from "./support/chromium.ts";
import { nodesSite, unpack } from "./support/nodes-site.ts";
import { noPeers } from "./support/peers.ts";

type Page = TestPage<typeof import("./pages/call.ts")>;
const test = inBrowser({ live: true, args: LOOPBACK });
if (!noPeers) after(releasePeers);

const mini = await MimiModel.fromPretrained("mini");

async function page(browser: TestBrowser, isolated: boolean): Promise<{ url: string; page: Page }> {
  const { url } = await browser.serve(await nodesSite("call"), { isolated });
  const page: Page = await browser.open<typeof import("./pages/call.ts")>(url);
  await page.call("load", `${url}/mini/`);
  return { url, page };
}

/** What a page heard is what came to it. */
async function assertPageHeard(
  { track, packets, stats }: Pick<
    Awaited<ReturnType<typeof import("./pages/call.ts").talk>>,
    "track" | "packets" | "stats"
  >,
): Promise<void> {
  const bytes = packets.map((packet) => new Uint8Array(unpack(packet)));
  const result = await assertHeard(mini, new Float32Array(unpack(track)), bytes, stats);
  if (result) console.log(`${result.found} of ${result.all} pieces bit for bit, ${stats.underruns} underruns`);
}

for (const isolated of [true, false]) {
  const loss = isolated ? 0 : 0.3;
  test(`Chromium to Chromium, ${isolated ? "isolated" : "not isolated, 30 % lost"}: heard is what came`, async (browser) => {
    const { page: p } = await page(browser, isolated);
    const call = await p.call("callHere", { sampleRate: 24000, seconds: 3, loss, redundancy: isolated ? 0 : 2 });
    assert.equal(call.kind, "audio");
    assert.deepEqual(call.states, [["connected"], ["connected"]]);
    assert.ok(call.reports.length >= 2, `${call.reports.length} reports came`);
    assertLossTold(call.stats, call.dropped);
    if (loss) {
      assert.ok(Math.max(...call.reports.map((report) => report.loss)) > 0.15, "the sender is told of it");
      assert.ok(call.stats.frames.recovered > 5, "redundancy is made use of");
    }
    await assertPageHeard(call);
  });
}

test("mute, another device, sleep, reconnection, a peer that vanishes", async (browser) => {
  const { page: p } = await page(browser, true),
    r = await p.call("life") as {
      events: string[];
      states: string[][];
      loud: number;
      hushed: number;
      mutedBytes: number;
      mutedState: string;
      slept: number;
      delayAfterSleep: number;
      asleepState: string;
      sentMeanwhile: number;
      closed: string;
    };
  assert.deepEqual(r.events, ["mute", "unmute", "trackended"]);
  // Packets that were under way when a connection closed may connect it for a moment once more.
  const settled = r.states.map((states) =>
    states.filter((state, i) =>
      state !== "connected" || states[i - 1] !== "disconnected" || states[i + 1] !== "connecting"
    )
  );
  assert.deepEqual(settled, [
    ["connected", "disconnected", "connecting", "connected", "disconnected", "closed"],
    ["connected", "disconnected", "connecting", "connected", "closed"],
  ]);
  assert.ok(r.loud > 0.02 && r.hushed < 0.005, `heard ${r.loud}, muted ${r.hushed}`);
  assert.ok(r.mutedBytes < 60, `${r.mutedBytes} bytes in a second of silence`);
  assert.deepEqual([r.mutedState, r.asleepState], ["connected", "connected"]);
  assert.ok(r.slept > 24000, `${r.slept} samples passed unheard`);
  assert.ok(r.delayAfterSleep < 1, `${r.delayAfterSleep} s of delay are left of the sleep`);
  assert.ok(r.sentMeanwhile > 5, `${r.sentMeanwhile} packets`);
  assert.equal(r.closed, "InvalidStateError ERR_INVALID_STATE");
});

// Headless pages are never hidden. What being hidden may do to a call is that its page stands still, which is done here.
test("a page that stands still, as in the background: the call goes on with it", async (browser) => {
  const { page: p } = await page(browser, true), { states, heard, delay } = await p.call("stall");
  assert.deepEqual(states, ["connected", "connected"]);
  assert.ok(Number(heard) >= 12 && Number(delay) <= 0.7, `${heard} frames are heard after that, ${delay} s late`);
});

test("a worker that dies: both ends say so, and restart; they close with their context", async (browser) => {
  const { page: p } = await page(browser, true);
  await p.page.exposeFunction("kill", async () => {
    await p.page.workers()[0].evaluate(() => close()).catch(() => {}); // it does not live to answer
  });
  const { errors, again, frames, closed } = await p.call("death") as Record<string, unknown>;
  assert.deepEqual(errors, [["failed", "ERR_WORKER"], ["failed", "ERR_WORKER"]]);
  assert.deepEqual(again, ["connected", "connected"]);
  assert.ok(Number(frames) > 5, `${frames} frames are heard after that`);
  assert.deepEqual(closed, ["closed", "closed"]);
});

test("another model, and wrong calls", async (browser) => {
  const { url, page: p } = await page(browser, false);
  assert.deepEqual(await p.call("refusals", `${url}/tiny/`), {
    codes: [["failed", "InvalidStateError", "ERR_WRONG_MODEL"], ["failed", "InvalidStateError", "ERR_WRONG_MODEL"]],
    disconnected: "nothing closed",
    channel: "MimiTypeError ERR_INVALID_ARGUMENT",
    source: "MimiTypeError ERR_INVALID_ARGUMENT",
    silent: "MimiTypeError ERR_INVALID_ARGUMENT",
    foreign: "MimiTypeError ERR_INVALID_ARGUMENT",
    option: "MimiTypeError ERR_INVALID_ARGUMENT",
    quantizers: "MimiRangeError ERR_NUM_QUANTIZERS",
    buffer: "MimiRangeError ERR_OUT_OF_RANGE",
    late: "MimiRangeError ERR_OUT_OF_RANGE",
    timeout: "MimiRangeError ERR_OUT_OF_RANGE",
    replaced: "MimiTypeError ERR_INVALID_ARGUMENT",
  });
});

test("50 calls leave nothing behind", async (browser) => {
  const { page: p } = await page(browser, true);
  await p.call("manyCalls", 50);
  const devtools = await p.page.context().newCDPSession(p.page);
  let alive = Infinity;
  for (let i = 0; i < 20 && alive > 8; i++) {
    await devtools.send("HeapProfiler.collectGarbage");
    await new Promise((resolve) => setTimeout(resolve, 100));
    alive = await p.call("survivors");
  }
  assert.ok(alive <= 8, `${alive} of 200 objects are kept by something`);
});

test("Chromium to Node and back: each hears what came, bit for bit", async (browser) => {
  const { page: p } = await page(browser, false), peer = await openPeer({ local: true });
  let accept = () => {};
  const accepted = new Promise<void>((resolve) => accept = resolve);
  await p.page.exposeFunction("candidate", (candidate: RTCIceCandidateInit) => {
    void accepted.then(() => peer.addCandidate(candidate));
  });
  const ends: (() => void)[] = [() => peer.close()];
  try {
    const offer = await peer.offer();
    await peer.accept(await p.call("answer", offer));
    accept(); // candidates come after the description
    for (const candidate of await peer.candidates()) await p.call("addCandidate", candidate);
    const channel = await peer.opened, packets: Uint8Array[] = [];
    channel.addEventListener("message", ({ data }) => packets.push(new Uint8Array(data)));
    const outgoing = new OutgoingVoice(mini, channel, { dtx: false }), incoming = new IncomingVoice(mini, channel);
    const speech = await readSpeech(), speaking = speak(outgoing, mini, speech), recording = record(incoming, mini);
    ends.push(() => speaking.stop(), () => recording.stop(), () => outgoing.close(), () => incoming.close());
    const call = await p.call("talk", 2.8);
    speaking.stop();
    const heard = recording.stop(), { stats } = incoming;
    assert.deepEqual(call.states, [["connected"], ["connected"]]);
    assert.ok(
      call.report?.roundTrip !== undefined && call.report.roundTrip < 2,
      `round trip ${call.report?.roundTrip} s`,
    );
    await assertPageHeard(call);
    const result = await assertHeard(mini, heard, packets, stats);
    if (result) console.log(`in Node: ${result.found} of ${result.all} pieces bit for bit`);
    assert.ok(stats.packets.taken > 20, `${stats.packets.taken} packets came to Node`);
  } finally {
    for (const end of ends.reverse()) end();
  }
}, noBrowser || noPeers);
