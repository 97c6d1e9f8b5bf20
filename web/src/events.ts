// The chat's wire contract: what travels between this page and the server in the Socket.IO namespace `/chat`.
//
// Connecting. CONNECT carries `auth: Auth`. The server refuses a missing or malformed one with CONNECT_ERROR.
//
// Entering. A socket is in no room until its first `enter`, and in one room at a time after it; entering
// another leaves the former. The server lets the socket into the room before it takes the snapshot it
// acknowledges with, so that no message falls between the two; the page merges by `id`. Entering the same
// room again is how the page re-synchronises and how a visitor changes name.
//
// Messages. In each room they are numbered 1, 2, 3, … without gaps. `message` goes to everyone in the room
// but its sender, who learns number and time from the acknowledgement. A visitor who is unsure whether a
// message arrived sends it again with the same `clientId`; the server, which remembers the last 1000 pairs of
// (member id, clientId) of each room, answers with the first one's number and tells nobody twice.
//
// Reconnecting. The page connects anew, enters with `epoch` and `after`, gets what it missed, then sends what
// was not acknowledged. A connection with the `visitor` of another takes its place: the older socket gets
// `replaced`, is disconnected, and nobody sees the visitor leave.
//
// Pictures. `history` describes pictures without their bytes (a Socket.IO packet holds at most 10
// attachments); the page asks for them by `picture`. The server keeps 64 MiB of them in all, dropping the
// oldest.

/** What CONNECT carries. `visitor` is a secret of this page, [A-Za-z0-9-]{16,64}; others only see the member id made of it. */
export interface Auth {
  visitor: string;
}

/** `id`: opaque, the same for the same `visitor` as long as the server runs, and telling nothing about it. */
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

/** Any acknowledgement may be this instead. `message` is a sentence for the visitor. */
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

/** `after`: the page has every message of this `epoch` up to this number, and asks only for later ones. */
export interface Enter {
  room: string;
  name: string;
  epoch?: string;
  after?: number;
}

/**
 * `epoch` names this life of the room's numbering: another one means that the server forgot the room and numbers start anew.
 * `history`: the last 50 messages at most, oldest first, and of those only numbers above `after` where `epoch` is the room's.
 * `last`: number of the room's newest message, 0 for none. `version`: see `Members`.
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
 * A whole snapshot, so that one that got lost does no harm: `count` people, of whom `members` holds the first 100.
 * `version` only grows while the server runs; a snapshot older than the one on show is ignored.
 */
export interface Members {
  room: string;
  version: number;
  count: number;
  members: Member[];
}

/** The rooms to list: the standing ones (`lobby`, `ideas`, `pictures`), then those with people, most people first; 100 at most. */
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
  /** To any room, entered or not: a message written in one room is still delivered when its writer has moved on. */
  say(message: Say, ack: (reply: Said | Refusal) => void): void;
  image(message: SendImage, data: ArrayBuffer, ack: (reply: Said | Refusal) => void): void;
  picture(which: { room: string; id: number }, ack: (reply: ArrayBuffer | Refusal) => void): void;
  /** Volatile; about the room the socket is in. */
  typing(on: boolean): void;
  /** Acknowledged at once, with nothing: the page takes the time. */
  rtt(ack: () => void): void;
}

export interface ServerEvents {
  /** A picture's bytes come as the second argument. */
  message(message: Message, data?: ArrayBuffer): void;
  /** To the room, whenever who is in it changed. */
  members(snapshot: Members): void;
  /** To the namespace, whenever a count changed; may be held back and merged for up to a second. */
  rooms(snapshot: Rooms): void;
  /** Volatile, to the room but the one who types. Off after six seconds without news. */
  typing(news: Typing): void;
  /** Another connection of the same visitor took over; the server disconnects this socket next. */
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
  /** Characters of a picture's file name; the page shortens. */
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
