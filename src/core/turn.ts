/**
 * The next turn of the event loop.
 *
 * @module
 */

let channel: MessageChannel | undefined;
const waiting: (() => void)[] = [];

/**
 * Resolves after everything that happened by now has been handled: messages that have arrived, promises that have
 * settled. Browsers delay nested timers by 4 ms, and by a second in the background, so a timer is the last resort.
 */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === "function") setImmediate(resolve);
    else if (typeof MessageChannel === "function") {
      if (!channel) {
        channel = new MessageChannel();
        channel.port1.onmessage = () => waiting.shift()?.();
      }
      waiting.push(resolve);
      channel.port2.postMessage(undefined);
    } else setTimeout(resolve, 0);
  });
}
