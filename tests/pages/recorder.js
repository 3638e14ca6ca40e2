// Records what comes in, input by input, first channels only, and says with which sample of the context it begins.
class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.parts = [];
    this.port.onmessage = () => {
      this.port.postMessage({ from: this.from, parts: this.parts });
      this.parts = [];
      this.stopped = true;
    };
  }
  process(inputs) {
    if (this.stopped) return false;
    this.from ??= currentFrame;
    this.parts.push(inputs.map(([channel]) => channel ? channel.slice() : new Float32Array(128)));
    return true;
  }
}
registerProcessor("recorder", Recorder);
