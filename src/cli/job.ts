/** What a long-running command tells and hears. */
export interface Job {
  /** Told how much is done, from 0 to 1. */
  onProgress?: (fraction: number) => void;
  /** Stops it; then it throws the signal's reason and leaves no output behind. */
  signal?: AbortSignal;
}
