/** Level meters. */

/** The loudest sample of the newest 40 ms or so that go through a node, 0 to 1. */
export class Level {
  readonly #analyser: AnalyserNode;
  readonly #samples: Float32Array<ArrayBuffer>;

  constructor(node: AudioNode) {
    this.#analyser = new AnalyserNode(node.context, { fftSize: 2048 });
    this.#samples = new Float32Array(this.#analyser.fftSize);
    node.connect(this.#analyser);
  }

  read(): number {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    return this.#samples.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  }
}
