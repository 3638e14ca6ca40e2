/**
 * What others have published about Kyutai's weights: sums of the codes of recordings, from the integration test of
 * transformers (`tests/models/mimi/test_modeling_mimi.py`).
 *
 * @module
 */

export type PublishedName = "librispeech" | "obama";

export interface Published {
  /** Which recording, and where it is. */
  what: string;
  /** Sums of codes by the number of codebooks. */
  sums: Record<number, number>;
}

export const PUBLISHED: Record<PublishedName, Published> = {
  librispeech: {
    what: "hf-internal-testing/librispeech_asr_dummy, clean, the last of validation",
    sums: { 8: 426176, 32: 1795819 },
  },
  obama: {
    what: "hf-internal-testing/dummy-audio-samples, obama_first_45_secs.mp3",
    sums: { 8: 4621433, 32: 18446927 },
  },
};

/** How far a sum may be from the published one, relatively: other decoders of MP3 and resamplers were used. */
export const TOLERANCE = 0.003;

/** The recording that a file is by its name. */
export function publishedAs(file: string): PublishedName | undefined {
  return /obama_first_45_secs/i.test(file) ? "obama" : undefined;
}
