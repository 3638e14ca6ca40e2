/** Waveform and spectrogram of the two recordings. */
import WaveSurfer from "wavesurfer.js";
import Spectrogram from "wavesurfer.js/plugins/spectrogram";
import { wavOf } from "./files.ts";

const HEIGHT = 64, SPECTROGRAM = 128;

/** A recording's picture. */
export class Wave {
  readonly #container: HTMLElement;
  #wave: WaveSurfer | undefined;

  constructor(container: HTMLElement) {
    this.#container = container;
  }

  async show(samples: Float32Array | undefined, samplingRate: number): Promise<void> {
    this.#wave?.destroy();
    this.#wave = undefined;
    if (!samples?.length) return;
    const { color } = getComputedStyle(document.querySelector("footer")!);
    const wave = this.#wave = WaveSurfer.create({
      container: this.#container,
      height: HEIGHT,
      waveColor: color,
      progressColor: color,
      cursorColor: getComputedStyle(document.body).color,
      cursorWidth: 2,
      interact: false,
      sampleRate: samplingRate,
      plugins: [Spectrogram.create({ height: SPECTROGRAM, fftSamples: 512, frequencyMax: 8000, colorMap: "roseus" })],
    });
    await wave.loadBlob(new Blob([wavOf(samples, samplingRate)], { type: "audio/wav" }));
  }

  /** Where the ear is, in seconds. */
  at(seconds: number): void {
    this.#wave?.setTime(seconds);
  }
}
