/**
 * The parameters of the nodes, as both worklets register them.
 *
 * @module
 */

/** As an AudioWorkletProcessor describes a parameter. */
export interface ParameterDescriptor {
  name: string;
  defaultValue: number;
  minValue: number;
  maxValue: number;
  automationRate: "a-rate" | "k-rate";
}

/** Codebooks of a frame. */
export const NUM_QUANTIZERS: ParameterDescriptor = {
  name: "numQuantizers",
  defaultValue: 8,
  minValue: 1,
  maxValue: 1024,
  automationRate: "k-rate",
};

/** How much of the original is heard in place of what the codec makes of it. */
const BYPASS: ParameterDescriptor = {
  name: "bypass",
  defaultValue: 0,
  minValue: 0,
  maxValue: 1,
  automationRate: "a-rate",
};

/** Probability that a frame is lost. */
const LOSS: ParameterDescriptor = { name: "loss", defaultValue: 0, minValue: 0, maxValue: 1, automationRate: "k-rate" };

/** Of a codec node. */
export const CODEC_PARAMETERS: ParameterDescriptor[] = [NUM_QUANTIZERS, BYPASS, LOSS];

/**
 * Number of the encoder whose codes an offline decoder plays, 0 for none. What is set before a render is there with its first
 * quantum, which a message to a processor need not be; every f32 up to 2^24 is an integer of its own.
 */
export const SOURCE: ParameterDescriptor = {
  name: "source",
  defaultValue: 0,
  minValue: 0,
  maxValue: 2 ** 24,
  automationRate: "k-rate",
};
