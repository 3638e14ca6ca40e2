/**
 * An EventTarget that knows the types of its events.
 *
 * @module
 */
export class TypedEventTarget<Events extends object> extends EventTarget {
  override addEventListener<Type extends keyof Events & string>(
    type: Type,
    listener: ((event: Events[Type]) => void) | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  override addEventListener(type: string, listener: EventListener | null, options?: AddEventListenerOptions): void {
    super.addEventListener(type, listener, options);
  }

  override removeEventListener<Type extends keyof Events & string>(
    type: Type,
    listener: ((event: Events[Type]) => void) | null,
    options?: boolean | EventListenerOptions,
  ): void;
  override removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
  override removeEventListener(type: string, listener: EventListener | null, options?: EventListenerOptions): void {
    super.removeEventListener(type, listener, options);
  }
}
