/** What the pages, the bot and the signalling server say to each other: JSON over a WebSocket. */

/** From the server. */
export type FromServer =
  /** Somebody else is in the room; who was there first makes the offer. */
  | { type: "joined"; offers: boolean }
  | { type: "left" }
  /** Two are in the room already. */
  | { type: "full" };

/** From one peer to the other; the server only passes it on. */
export type Signal =
  | { type: "description"; description: RTCSessionDescriptionInit }
  | { type: "candidate"; candidate: RTCIceCandidateInit };

/** Where a room is: `/signal?room=name`. */
export const SIGNAL_PATH = "/signal";
