/** What examples in documents take for granted: names that a reader understands without their declaration. */
declare const samples: Float32Array, left: Float32Array, right: Float32Array;
declare const microphone: AsyncIterable<Float32Array>;
declare function play(samples: Float32Array): void;
declare function log(...what: unknown[]): void;
declare function send(...what: unknown[]): void;

declare const context: AudioContext, stream: MediaStream, socket: WebSocket;
declare const channel: RTCDataChannel, track: MediaStreamTrack, secret: Uint8Array<ArrayBuffer>;
declare const room: import("../src/call/mod.ts").LiveKitRoom;
declare const dataProducer: import("../src/call/mod.ts").MediasoupProducer;
declare const dataConsumer: import("../src/call/mod.ts").MediasoupConsumer;
declare const model: import("../mod.ts").MimiModel;
declare const speech: AsyncIterable<import("../mod.ts").AudioCodes>;
declare const encoder: import("../src/nodes/mod.ts").MimiEncoderNode;
declare const decoder: import("../src/nodes/mod.ts").MimiDecoderNode;
