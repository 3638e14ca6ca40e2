/** An audio worklet that sends what it hears, mono, to the page. */
class Recorder extends AudioWorkletProcessor {
  process([[samples]]) {
    if (samples) this.port.postMessage(samples.slice());
    return true;
  }
}
registerProcessor("recorder", Recorder);
