/** Encodes on the GPU, in a worker. */
import { MimiModel } from "../../mod.ts";
import { webgpu } from "../../src/backends/onnx/webgpu.ts";
import { importRuntime } from "./webgpu.ts";

onmessage = async ({ data: { source, input } }) => {
  try {
    const backend = webgpu({ ort: await importRuntime() });
    const model = await MimiModel.fromPretrained(source, { backend, part: "encoder", selfTest: false });
    const { audioCodes } = await model.encode(Float32Array.from(input));
    postMessage({ backend: model.backend, codes: [...audioCodes.data] });
    model.close();
  } catch (error) {
    postMessage(String(error));
  }
};
