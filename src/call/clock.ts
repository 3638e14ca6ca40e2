/**
 * When samples are asked for, without the hurry and delay of the messages that ask for them.
 *
 * @module
 */

/** Share of a new measurement; and seconds of error beyond which time has not passed evenly, but stood still or jumped. */
const SMOOTHING = 1 / 64, JUMP = 0.2;

/** Fits a straight line through times at which samples were asked for. */
export class PlayClock {
  #offset: number | undefined;

  /**
   * The time at which the sample at `position` is asked for.
   *
   * @param position samples before it, in seconds.
   * @param now what the clock says, seconds.
   */
  at(position: number, now: number): number {
    const error = this.#offset === undefined ? Infinity : now - position - this.#offset;
    this.#offset = Math.abs(error) > JUMP ? now - position : this.#offset! + error * SMOOTHING;
    return position + this.#offset;
  }
}
