/**
 * What a codec is to the rest of the library: two networks that follow from a configuration, and the layouts in which its
 * weights are published. Mimi is one (`mimi.ts`); others come from outside.
 *
 * @module
 */
import type { Tail } from "./handles.ts";
import type { Network } from "./network.ts";

/** What every configuration says. */
export interface CodecConfig {
  /** Hz of the audio in and out. */
  readonly samplingRate: number;
}

/** Where a layout keeps a tensor: under another name, as some rows of a packed one, with rows in another order. */
export interface Placement {
  /** Names it may have in the file; the first is the usual one. */
  names: string[];
  /** The tensor is rows `from` to `from + count` of one with `of` rows. */
  rows?: {
    /** The first. */
    from: number;
    /** How many. */
    count: number;
    /** How many the one in the file has. */
    of: number;
  };
  /** Heads whose rows hold interleaved rotary pairs, to be brought to halves. */
  interleavedHeads?: number;
}

/** A published way of naming and packing the weights. */
export interface Layout<C extends CodecConfig> {
  /** For messages. */
  name: string;
  /** A tensor name that only this layout has. */
  sign: RegExp;
  /** Whether a tensor in the file may be there without being read, such as training state. */
  ignores(name: string): boolean;
  /** Where the tensor is that the networks call `name`. */
  place(name: string, config: C): Placement;
}

/** A codec of the family: causal networks at a fixed frame rate, one channel of audio. */
export interface Codec<C extends CodecConfig> {
  /** As `config.json` has it in `model_type`. */
  readonly modelType: string;
  /** What becomes of a last frame that is not full, unless a call says otherwise: as the codec's own code does. */
  readonly tail: Tail;
  /**
   * A checked configuration from a `config.json`; from an empty object that of the published model.
   *
   * @throws {FormatError} `ERR_CONFIG` naming the field, what was expected and what came.
   */
  parseConfig(json: unknown): C;
  /** Audio to frames; a codec may have none. `codebooks` limits how many are kept, where it has any. */
  encoder?(config: C, codebooks?: number): Network;
  /** Frames to audio. */
  decoder(config: C, codebooks?: number): Network;
  /** The first whose `sign` is among a file's tensors is the file's. */
  readonly layouts: readonly Layout<C>[];
}
