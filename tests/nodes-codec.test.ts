/** The codec as an effect in a live context of a real Chromium. */
import assert from "node:assert/strict";
import { MimiModel, resample } from "../mod.ts";
import { inBrowser } from "./support/browser.ts";
import { nodesSite, unpack } from "./support/nodes-site.ts";
import { lateness } from "./support/renders.ts";

const test = inBrowser({ live: true }), mini = await MimiModel.fromPretrained("mini"), { samplingRate } = mini.config;

for (
  const { sampleRate, isolated } of [{ sampleRate: 24000, isolated: true }, { sampleRate: 44100, isolated: false }]
) {
  const how = `${sampleRate} Hz, ${isolated ? "" : "not "}isolated`;
  test(`coded audio and the original are late by the same samples: ${how}`, async (browser) => {
    const { url } = await browser.serve(await nodesSite("nodes-codec"), { isolated });
    const page = await browser.open<typeof import("./pages/nodes-codec.ts")>(url);
    await page.call("load", `${url}/mini/`);
    const { tracks, latency, stats, errors } = await page.call("codecs", sampleRate, 2.5);
    const [source, coded, bypassed] = tracks.map((track) => new Float32Array(unpack(track)));
    assert.deepEqual(errors, []);
    assert.equal(latency, Math.ceil(lateness(mini, sampleRate) + 0.5 * sampleRate));

    // The bypassed node has the default buffer; what was recorded of it before it was connected is silence.
    const less = Math.ceil(lateness(mini, sampleRate) + 0.08 * sampleRate);
    const start = bypassed.findIndex((v) => v !== 0);
    assert.ok(start >= less);
    for (let i = start; i < bypassed.length; i++) {
      if (bypassed[i] !== source[i - less]) assert.fail(`sample ${i}: ${bypassed[i]}, expected ${source[i - less]}`);
    }

    // The stream begins where the first sound comes from, which is one that fades in.
    const first = coded.findIndex((v) => v !== 0), origin = first - latency, fade = Math.round(0.005 * sampleRate);
    assert.ok(origin >= 0, "speech comes out, not too early");
    const { audioCodes } = await mini.encode(resample(source.subarray(origin), sampleRate, samplingRate), {
      tail: "zeros",
      numQuantizers: 8,
    });
    const { audioValues } = await mini.decode(audioCodes);
    const expected = resample(audioValues.data, samplingRate, sampleRate);
    let compared = 0, gap = first - 1;
    const differs: number[] = [];
    for (let i = first; i < coded.length; i++) {
      if (coded[i] === 0) gap = i;
      else if (coded[i] === expected[i - first]) compared++;
      else if (i - gap > fade) differs.push(i);
    }
    // Before a gap audio fades out.
    const odd = differs.filter((i) => !coded.subarray(i, i + fade + 1).includes(0));
    assert.deepEqual(odd.slice(0, 3), [], "samples that are neither exact nor part of a fade");
    console.log(`${how}: ${compared} samples equal, ${stats.underrunSamples} of silence`);
    assert.ok(compared > sampleRate / 2);
    assert.ok(stats.frames > 10);
    assert.equal(stats.lostFrames + stats.nonFiniteSamples + stats.lostSamples, 0);
  });
}

test("parameters, counters and the end of a codec node", async (browser) => {
  const { url } = await browser.serve(await nodesSite("nodes-codec"));
  const page = await browser.open<typeof import("./pages/nodes-codec.ts")>(url);
  await page.call("load", `${url}/tiny/`);
  const { stats, bypass, loss } = await page.call("closing");
  assert.deepEqual([bypass, loss], [[0, 1], [0.25, 1]]);
  assert.deepEqual(stats, { frames: 0, lostFrames: 0, nonFiniteSamples: 0, lostSamples: 0, underrunSamples: 0 });
});
