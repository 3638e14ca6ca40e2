/**
 * What both nodes do: a processor in the worklet and a task in the worker, joined by ports; their failures; their end.
 *
 * @module
 */
import { EngineError, InvalidStateError } from "../core/errors.ts";
import type { MimiModel } from "../core/model.ts";
import type { Engine } from "../engine/engine.ts";
import { type ErrorData, errorFromData } from "../engine/protocol.ts";
import { type AudioLink, ringBytes } from "./messages.ts";
import type { Registration } from "./register.ts";

/** The part of an audio node that is used, whoever implements it. */
export interface NodeLike {
  /** To the processor. */
  readonly port: MessagePort;
  /** Where it belongs. */
  readonly context: {
    /** Hz. */
    readonly sampleRate: number;
    /** `"closed"` where nothing can be made any more. */
    readonly state: string;
  };
  /** Tells listeners of an event. */
  dispatchEvent(event: Event): boolean;
  /** Calls a listener with each event of that name. */
  addEventListener(type: string, listener: (event: Event) => void): void;
}

/** What a node dispatches when it fails; Node has no `ErrorEvent`. */
export function errorEvent(error: Error): Event {
  const { message } = error;
  return typeof ErrorEvent === "function"
    ? new ErrorEvent("error", { error, message })
    : Object.assign(new Event("error"), { error, message });
}

/** Joins a node's three parts. */
export abstract class NodeCore<ToTask, FromTask> {
  readonly model: MimiModel;
  protected readonly node: NodeLike;
  /** To the task; there once attached. */
  protected control!: MessagePort;
  readonly #engine: Engine;
  readonly #onEnd = (error?: Error): void => error ? this.fail(error) : this.close();
  readonly #onState = (): void => {
    if (this.node.context.state === "closed") this.close();
  };
  /** Chromium calls this event "error" and gives it no `error`, which those of this class have. */
  readonly #onProcessorError = (event: Event): void => {
    const { error, message } = event as ErrorEvent;
    if (event.type === "error" && error) return;
    event.stopImmediatePropagation();
    this.#broken = new EngineError(
      "ERR_WORKLET",
      `${this.name}: its processor in the audio worklet failed (${message}); the node stays silent, make a new one.`,
    );
    this.fail(this.#broken);
  };
  #state: "open" | "failed" | "closed" = "open";
  /** Of the processor, for which there is no second life. */
  #broken: EngineError | undefined;

  constructor(node: NodeLike, { model, engine }: Registration) {
    this.model = model;
    this.node = node;
    this.#engine = engine;
    engine.ends.add(this.#onEnd);
    for (const type of ["processorerror", "error"]) node.addEventListener(type, this.#onProcessorError);
    (node.context as unknown as EventTarget).addEventListener?.("statechange", this.#onState);
  }

  /** As users know it. */
  protected abstract readonly name: string;
  /** What the worker is asked to open. */
  protected abstract readonly setup: { kind: string };
  /** Samples that may be under way between processor and task. */
  protected abstract readonly capacity: number;
  protected abstract receive(message: FromTask): void;
  protected abstract ended(error: Error | undefined): void;

  /** Opens a task in the worker; returns the processor's end of the link to it. */
  protected attach(): { link: AudioLink; transfer: Transferable[] } {
    const control = new MessageChannel(), audio = new MessageChannel(), { capacity } = this;
    const ring = globalThis.crossOriginIsolated ? new SharedArrayBuffer(ringBytes(capacity)) : undefined;
    this.control = control.port1;
    this.control.onmessage = ({ data }: MessageEvent<FromTask | { type: "failed"; error: ErrorData }>) => {
      const message = data as { type: string; error: ErrorData };
      if (message.type === "failed") this.fail(errorFromData(message.error));
      else this.receive(data as FromTask);
    };
    this.#engine.openNode(this.setup, control.port2, { port: audio.port2, ring, capacity }).catch((e) => this.fail(e));
    return { link: { port: audio.port1, ring, capacity }, transfer: [audio.port1] };
  }

  protected tell(message: ToTask, transfer: Transferable[] = []): void {
    this.control.postMessage(message, transfer);
  }

  /** @throws {InvalidStateError} on a node that is closed or has failed. */
  checkOpen(method: string): string {
    const where = `${this.name}.${method}`;
    if (this.#state === "open") return where;
    const what = this.#state === "closed" ? "is closed" : "has failed; see its error event, and restart()";
    throw new InvalidStateError("ERR_INVALID_STATE", `${where}: the node ${what}.`);
  }

  get failed(): boolean {
    return this.#state === "failed";
  }

  get closed(): boolean {
    return this.#state === "closed";
  }

  /** The node goes silent and says why. */
  fail(error: Error): void {
    if (this.#state !== "open") return;
    this.#state = "failed";
    this.#leaveTask();
    this.node.port.postMessage({ type: "detach" });
    this.ended(error);
    this.node.dispatchEvent(errorEvent(error));
  }

  /** A new worker if the old one is gone, and a new task in it. */
  async restart(): Promise<void> {
    const check = () => {
      if (this.closed) this.checkOpen("restart");
      if (this.#broken) throw this.#broken;
    };
    check();
    await this.#engine.restart();
    check();
    if (this.#state === "open") return;
    this.#state = "open";
    this.start();
  }

  protected abstract start(): void;

  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#engine.ends.delete(this.#onEnd);
    (this.node.context as unknown as EventTarget).removeEventListener?.("statechange", this.#onState);
    this.#leaveTask();
    this.node.port.postMessage({ type: "close" });
    this.node.port.close(); // an open one would keep the node
    this.ended(undefined);
  }

  #leaveTask(): void {
    this.control.postMessage({ type: "close" });
    this.control.close();
  }
}
