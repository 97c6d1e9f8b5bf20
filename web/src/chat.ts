// The chat without its views: one visitor, one shown room, the unsent messages, and their recovery after a
// lost connection. A view reads the public fields, and `changed` tells it about changes.
import { Connection } from "./connection.ts";
import {
  isRefusal,
  LOBBY,
  type Entered,
  type Member,
  type Members,
  type Message,
  type Picture,
  type RoomCount,
  type Rooms,
  type Typing,
} from "./events.ts";
import { randomId } from "./identity.ts";
import { Outbox, type Item } from "./outbox.ts";
import { Pictures } from "./pictures.ts";
import { Timeline } from "./timeline.ts";

/** How long others are shown as typing after their last typing event. */
const TYPING_FOR = 6_000;
/** How often the page tells the server that the visitor is still typing. */
const TYPING_EVERY = 3_000;
/** How long a gap between messages may last before the page asks for the missing one. */
const HOLE_PATIENCE = 2_000;
const PAUSE_WHEN_TOO_FAST = 1_000;

export interface ChatEvents {
  changed(): void;
  /** Another visitor has just posted in the shown room. */
  message(message: Message): void;
  /** A sentence that the visitor should see and hear. */
  notice(text: string): void;
  /** A message was refused. Its row already says so. */
  refused(why: string): void;
  /** The server refused the shown room. The visitor stays in this one. */
  turnedAway(to: string): void;
}

export class Chat {
  readonly connection: Connection;
  readonly outbox = new Outbox(sessionStorage);
  readonly pictures: Pictures;
  timeline: Timeline;
  name: string;
  you: Member | undefined;
  members: Member[] = [];
  memberCount = 0;
  rooms: RoomCount[] = [{ name: LOBBY, count: 0 }];
  /** The visitors who are typing, each with the time when that expires. */
  typing = new Map<string, { member: Member; timer: number }>();
  /** Whether this connection has entered the shown room. */
  entered = false;

  #membersVersion = 0;
  #roomsVersion = 0;
  #away: number | undefined;
  #saidTyping = 0;
  #holeTimer: number | undefined;
  #early: [Message, ArrayBuffer | undefined][] = [];
  readonly #tell: ChatEvents;

  constructor(visitor: string, name: string, room: string, tell: ChatEvents) {
    this.name = name;
    this.timeline = new Timeline(room);
    this.#tell = tell;
    this.connection = new Connection(visitor, () => tell.changed());
    const socket = this.connection.socket;
    this.pictures = new Pictures(socket);
    socket.on("connect", () => void this.#enter());
    socket.on("disconnect", () => this.#onDisconnect());
    socket.on("message", (message, data) => this.#onMessage(message, data));
    socket.on("members", (snapshot) => this.#onMembers(snapshot));
    socket.on("rooms", (snapshot) => this.#onRooms(snapshot));
    socket.on("typing", (news) => this.#onTyping(news));
    this.connection.connectNow();
  }

  get room(): string {
    return this.timeline.room;
  }

  goTo(room: string): void {
    if (room === this.room) return;
    this.timeline = new Timeline(room);
    this.entered = false;
    this.members = [];
    this.memberCount = 0;
    this.pictures.forget();
    this.#forgetTyping();
    this.#early = [];
    this.#away = undefined;
    this.#tell.changed();
    void this.#enter();
  }

  rename(name: string): void {
    this.name = name;
    void this.#enter();
  }

  say(text: string): void {
    this.#send({ clientId: randomId(), room: this.room, at: Date.now(), text });
  }

  sendPicture(image: Picture, data: ArrayBuffer): void {
    this.#send({ clientId: randomId(), room: this.room, at: Date.now(), image, data });
  }

  retry(clientId: string): void {
    this.outbox.retry(clientId);
    this.#flush();
    this.#tell.changed();
  }

  discard(clientId: string): void {
    this.outbox.remove(clientId);
    this.#tell.changed();
  }

  /** Call it at each change of the draft. If the draft is empty or sent, the typing is over. */
  writing(text: string): void {
    if (!this.entered) return;
    const on = text.trim() !== "";
    if (!on && this.#saidTyping === 0) return;
    if (on && Date.now() - this.#saidTyping < TYPING_EVERY) return;
    this.#saidTyping = on ? Date.now() : 0;
    this.connection.socket.volatile.emit("typing", on);
  }

  async #enter(): Promise<void> {
    if (!this.connection.connected) return;
    const timeline = this.timeline;
    const resume = timeline.epoch === "" ? {} : { epoch: timeline.epoch, after: timeline.through };
    let reply;
    try {
      reply = await this.connection.socket.emitWithAck("enter", { room: timeline.room, name: this.name, ...resume });
    } catch {
      return; // The connection broke; the next one enters again.
    }
    if (timeline !== this.timeline) return;
    if (isRefusal(reply)) {
      if (timeline.room !== LOBBY && reply.error !== "bad-name") this.#tell.turnedAway(LOBBY);
      this.#tell.notice(reply.message);
      return;
    }
    this.#onEntered(reply);
  }

  #onEntered(reply: Entered): void {
    this.entered = true;
    this.you = reply.you;
    this.outbox.settle(reply.you.id, reply.history);
    const { added } = this.timeline.resync(reply);
    this.#membersVersion = 0;
    this.#roomsVersion = 0;
    this.#onMembers(reply);
    this.#onRooms(reply);
    if (this.#away !== undefined) {
      this.timeline.note(awayNote(Date.now() - this.#away, added));
      this.#away = undefined;
    }
    const early = this.#early;
    this.#early = [];
    for (const [message, data] of early) this.#onMessage(message, data);
    this.#flush();
    this.#tell.changed();
  }

  #onDisconnect(): void {
    if (this.entered) this.#away = Date.now();
    this.entered = false;
    this.#saidTyping = 0;
    this.outbox.interrupt();
    this.#forgetTyping();
    clearTimeout(this.#holeTimer);
    this.#tell.changed();
  }

  #onMessage(message: Message, data?: ArrayBuffer): void {
    if (message.room !== this.room) return;
    if (this.timeline.epoch === "") {
      this.#early.push([message, data]);
      return;
    }
    if (data && message.image) this.pictures.keep(message, data);
    if (!this.timeline.add(message)) return;
    this.#setTyping(message.from, false);
    this.#watchHole();
    if (message.from.id !== this.you?.id) this.#tell.message(message);
    this.#tell.changed();
  }

  /** If a message between others stays missing, the page enters the room again to get it. */
  #watchHole(): void {
    clearTimeout(this.#holeTimer);
    if (!this.timeline.hasHole) return;
    this.#holeTimer = window.setTimeout(() => {
      if (this.timeline.hasHole && this.entered) void this.#enter();
    }, HOLE_PATIENCE);
  }

  #onMembers(snapshot: Members): void {
    if (snapshot.room !== this.room || snapshot.version < this.#membersVersion) return;
    this.#membersVersion = snapshot.version;
    this.members = snapshot.members;
    this.memberCount = snapshot.count;
    this.#tell.changed();
  }

  #onRooms(snapshot: Rooms): void {
    if (snapshot.version < this.#roomsVersion) return;
    this.#roomsVersion = snapshot.version;
    this.rooms = snapshot.rooms;
    this.#tell.changed();
  }

  #onTyping(news: Typing): void {
    if (news.room !== this.room || news.member.id === this.you?.id) return;
    this.#setTyping(news.member, news.on);
    this.#tell.changed();
  }

  #setTyping(member: Member, on: boolean): void {
    clearTimeout(this.typing.get(member.id)?.timer);
    this.typing.delete(member.id);
    if (!on) return;
    const timer = window.setTimeout(() => {
      this.typing.delete(member.id);
      this.#tell.changed();
    }, TYPING_FOR);
    this.typing.set(member.id, { member, timer });
  }

  #forgetTyping(): void {
    for (const { timer } of this.typing.values()) clearTimeout(timer);
    this.typing.clear();
  }

  #send(item: Omit<Item, "state">): void {
    this.writing("");
    this.outbox.add(item);
    this.#flush();
    this.#tell.changed();
  }

  #flush(): void {
    if (!this.entered) return;
    const item = this.outbox.next();
    if (item) void this.#deliver(item);
  }

  async #deliver(item: Item): Promise<void> {
    item.state = "sending";
    this.#tell.changed();
    let reply;
    try {
      reply = await this.#emit(item);
    } catch {
      return; // The connection broke: `interrupt` has put the item back.
    }
    if (!isRefusal(reply)) {
      this.#onDelivered(item, reply.id, reply.at);
    } else if (reply.error === "too-fast") {
      item.state = "waiting";
      setTimeout(() => this.#flush(), PAUSE_WHEN_TOO_FAST);
      return;
    } else {
      this.outbox.fail(item, reply.message);
      this.#tell.refused(reply.message);
    }
    this.#flush();
    this.#tell.changed();
  }

  #emit(item: Item) {
    const { room, clientId, text, image, data } = item;
    const socket = this.connection.socket;
    if (image && data) {
      const { type, name, width, height } = image;
      return socket.emitWithAck("image", { room, clientId, type, name, width, height }, data);
    }
    return socket.emitWithAck("say", { room, clientId, text: text ?? "" });
  }

  #onDelivered(item: Item, id: number, at: number): void {
    this.outbox.remove(item.clientId);
    if (item.room !== this.room || !this.you) return;
    const { room, clientId, text, image, data } = item;
    const content = image ? { image } : { text: text ?? "" };
    const message: Message = { room, id, clientId, from: this.you, at, ...content };
    if (data) this.pictures.keep(message, data);
    this.timeline.add(message);
    this.#watchHole();
  }
}

function awayNote(milliseconds: number, added: number): string {
  const seconds = Math.round(milliseconds / 1000);
  const away = seconds < 90 ? `${Math.max(1, seconds)} s` : `${Math.round(seconds / 60)} min`;
  const came = added === 0 ? "nothing was missed" : added === 1 ? "one message came meanwhile" : `${added} messages came meanwhile`;
  return `Back after ${away}; ${came}`;
}
