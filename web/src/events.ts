// The chat's wire contract: the messages between this page and the server in the Socket.IO namespace `/chat`.
//
// Connecting. CONNECT carries `auth: Auth`. The server refuses a missing or malformed one with CONNECT_ERROR.
//
// Entering. A socket is in no room before its first `enter`, and in one room at a time after it. Entering
// another room leaves the former one. The server adds the socket to the room before it takes the snapshot for
// the acknowledgement, so no message is lost between the two. The page merges messages by `id`. To
// synchronise again, or to change the name, the page enters the same room again.
//
// Messages. In each room they are numbered 1, 2, 3, … without gaps. `message` goes to everyone in the room
// except its sender, who gets the number and time in the acknowledgement. If a page does not know whether a
// message arrived, it sends it again with the same `clientId`. The server remembers the last 1000 pairs of
// (member id, clientId) of each room. It answers a repeated message with the first number, and does not send
// it to the others again.
//
// Reconnecting. The page connects again, enters with `epoch` and `after`, gets the messages it missed, and
// then sends the messages that were not acknowledged. A connection with the same `visitor` replaces the older
// one: the older socket gets `replaced` and is disconnected, and nobody sees the visitor leave.
//
// Pictures. `history` describes pictures without their bytes (a Socket.IO packet holds at most 10
// attachments). The page asks for them by `picture`. The server keeps 64 MiB of pictures in all, and drops
// the oldest first.

/**
 * The data of CONNECT. `visitor` is a secret of this page, [A-Za-z0-9-]{16,64}. Others see only the member id
 * that is made from it.
 */
export interface Auth {
  visitor: string;
}

/**
 * `id` is opaque. It is the same for the same `visitor` as long as the server runs, and does not reveal it.
 */
export interface Member {
  id: string;
  name: string;
}

export interface RoomCount {
  name: string;
  count: number;
}

export type PictureType = "image/png" | "image/jpeg" | "image/gif" | "image/webp";

/** `width` and `height` in pixels, 1 to 16384, as the sender's page measured them; `size` in bytes. */
export interface Picture {
  type: PictureType;
  name: string;
  width: number;
  height: number;
  size: number;
}

/** Has `text`, or `image`. `at` is Unix time in milliseconds. */
export interface Message {
  room: string;
  id: number;
  clientId: string;
  from: Member;
  at: number;
  text?: string;
  image?: Picture;
}

/** Any acknowledgement may have this type instead. `message` is a sentence for the visitor. */
export interface Refusal {
  error: RefusalCode;
  message: string;
}

export type RefusalCode =
  | "bad-request" // not the shape this contract asks for
  | "bad-name"
  | "bad-room"
  | "bad-text"
  | "bad-image" // not one of the four types, by name or by first bytes
  | "too-large"
  | "too-fast" // try again in a second: no more than 10 messages a second for each member, in bursts of 20
  | "too-many-rooms"
  | "not-entered" // `say`, `image` or `picture` before the first `enter`
  | "gone"; // the picture is no longer kept

/** `after`: the page has every message of this `epoch` up to this number, and needs only later ones. */
export interface Enter {
  room: string;
  name: string;
  epoch?: string;
  after?: number;
}

/**
 * `epoch` names this life of the room's numbering. If it differs, the server has forgotten the room, and
 * numbers start again.
 * `history`: at most the last 50 messages, oldest first. If the request named the room's `epoch`, only
 * numbers above `after`.
 * `last`: the number of the room's newest message, 0 if there is none. `version`: see `Members`.
 */
export interface Entered {
  room: string;
  epoch: string;
  you: Member;
  history: Message[];
  last: number;
  version: number;
  count: number;
  members: Member[];
  rooms: RoomCount[];
}

/**
 * A whole snapshot, so that a lost one does no harm. There are `count` members, and `members` holds the first
 * 100. `version` only grows while the server runs. The page ignores a snapshot older than the shown one.
 */
export interface Members {
  room: string;
  version: number;
  count: number;
  members: Member[];
}

/**
 * The rooms to list, at most 100: first the standing ones (`lobby`, `ideas`, `pictures`), then those with
 * members, the fullest first.
 */
export interface Rooms {
  version: number;
  rooms: RoomCount[];
}

export interface Said {
  id: number;
  at: number;
}

export interface Say {
  room: string;
  clientId: string;
  text: string;
}

export interface SendImage extends Omit<Picture, "size"> {
  room: string;
  clientId: string;
}

export interface Typing {
  room: string;
  member: Member;
  on: boolean;
}

export interface ClientEvents {
  enter(request: Enter, ack: (reply: Entered | Refusal) => void): void;
  /**
   * To any room, entered or not. A message is delivered to the room it was written in, even if its writer has
   * left that room.
   */
  say(message: Say, ack: (reply: Said | Refusal) => void): void;
  image(message: SendImage, data: ArrayBuffer, ack: (reply: Said | Refusal) => void): void;
  picture(which: { room: string; id: number }, ack: (reply: ArrayBuffer | Refusal) => void): void;
  /** Volatile. It is about the room that the socket is in. */
  typing(on: boolean): void;
  /** Acknowledged at once, without data. The page measures the time. */
  rtt(ack: () => void): void;
}

export interface ServerEvents {
  /** A picture's bytes come as the second argument. */
  message(message: Message, data?: ArrayBuffer): void;
  /** Sent to the room at each change of its members. */
  members(snapshot: Members): void;
  /** Sent to the namespace after a change of a count. Changes may be merged for up to a second. */
  rooms(snapshot: Rooms): void;
  /** Volatile, sent to the room except the one who types. It expires after six seconds. */
  typing(news: Typing): void;
  /** Another connection of the same visitor took its place. The server disconnects this socket next. */
  replaced(): void;
}

export const LIMITS = {
  /** Characters (Unicode scalar values), not only white space. */
  text: 2000,
  /** Characters, trimmed, not empty, no control characters. */
  name: 32,
  /** Characters of [a-z0-9-], not empty. */
  room: 32,
  /** Bytes; Engine.IO's default maximum payload is 1 MB. */
  image: 900_000,
  /** Characters of a picture's file name. The page shortens longer ones. */
  imageName: 100,
  /** Characters of [A-Za-z0-9-]. */
  clientId: 64,
  history: 50,
} as const;

export const PICTURE_TYPES: readonly PictureType[] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

export const LOBBY = "lobby";

export function isRefusal(reply: unknown): reply is Refusal {
  return typeof reply === "object" && reply !== null && "error" in reply;
}
