/**
 * Events with types.
 *
 * @module
 */

/** An EventTarget that knows the types of its events. */
export class TypedEventTarget<Events extends object> extends EventTarget {
  /** Calls a listener with each event of that name. */
  override addEventListener<Type extends keyof Events & string>(
    type: Type,
    listener: ((event: Events[Type]) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  /** Calls a listener with each event of that name. */
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(type: string, listener: EventListener | null, options?: AddEventListenerOptions): void {
    super.addEventListener(type, listener, options);
  }

  /** Calls a listener no more. */
  override removeEventListener<Type extends keyof Events & string>(
    type: Type,
    listener: ((event: Events[Type]) => void) | null,
    options?: boolean | EventListenerOptions,
  ): void;
  /** Calls a listener no more. */
  override removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
  override removeEventListener(type: string, listener: EventListener | null, options?: EventListenerOptions): void {
    super.removeEventListener(type, listener, options);
  }
}
