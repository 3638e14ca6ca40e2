/**
 * Values that are there at once, or later: what one piece of code gives over synchronous and asynchronous backends.
 *
 * @module
 */

export type Maybe<T> = T | Promise<T>;

/** Goes on at once with a value, or when a promise has one: synchronous backends stay synchronous. */
export function andThen<T, U>(value: Maybe<T>, next: (value: T) => Maybe<U>): Maybe<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}
