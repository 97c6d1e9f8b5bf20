// The shown messages. Rows are kept by key, so that a waiting message becomes a delivered one in place.
import type { Chat } from "../chat.ts";
import type { Message, Picture } from "../events.ts";
import type { Item } from "../outbox.ts";
import { messageKey } from "../timeline.ts";
import { avatar, byId, make, setText } from "./dom.ts";
import { openViewer } from "./viewer.ts";

/** Messages of one person with less time between them are shown under one name. */
const ONE_BREATH = 5 * 60_000;
/** Within this many pixels of the end, the log scrolls to new messages. */
const NEAR_END = 80;
/** The pixels that a picture may take; fewer on a narrow page. */
const PICTURE_WIDTH = 420;
const PICTURE_HEIGHT = 300;

interface Shown {
  key: string;
  message?: Message;
  item?: Item;
  note?: string;
}

export class Log {
  readonly #chat: () => Chat;
  readonly #scroller = byId("log", HTMLDivElement);
  readonly #list = byId("rows", HTMLOListElement);
  readonly #empty = byId("empty", HTMLParagraphElement);
  readonly #newest = byId("newest", HTMLButtonElement);
  #rows = new Map<string, { element: HTMLLIElement; look: string }>();
  #room = "";
  #unseen = 0;
  #follows = true;

  constructor(chat: () => Chat) {
    this.#chat = chat;
    this.#newest.addEventListener("click", () => this.toEnd());
    this.#scroller.addEventListener("scroll", () => {
      this.#follows = this.#distanceToEnd() < NEAR_END;
      if (this.#follows) this.#seen();
    });
    new ResizeObserver(() => {
      if (this.#follows) this.#jump();
    }).observe(this.#scroller);
    // When a picture loads, its row gets taller after the drawing.
    new ResizeObserver(() => {
      if (this.#follows) this.#jump();
    }).observe(this.#list);
  }

  toEnd(): void {
    this.#jump();
    this.#seen();
  }

  draw(): void {
    const chat = this.#chat();
    if (chat.room !== this.#room) this.#clear(chat.room);
    const shown = this.#collect(chat);
    const kept = new Set(shown.map((row) => row.key));
    for (const [key, row] of this.#rows) if (!kept.has(key)) this.#remove(chat, key, row.element);
    let previous: Shown | undefined;
    let place: Element | null = this.#list.firstElementChild;
    for (const row of shown) {
      const element = this.#drawRow(chat, row, previous);
      if (element === place) place = element.nextElementSibling;
      else this.#list.insertBefore(element, place);
      previous = row;
    }
    this.#drawEmpty(chat, shown.length === 0);
    if (this.#follows) this.#jump();
  }

  /** A message came. The log scrolls to it, or says that there is something new. */
  noteNew(): void {
    if (this.#follows) return;
    this.#unseen += 1;
    this.#newest.hidden = false;
    setText(this.#newest, this.#unseen === 1 ? "One new message ↓" : `${this.#unseen} new messages ↓`);
  }

  #collect(chat: Chat): Shown[] {
    const shown: Shown[] = chat.timeline.rows.map((row) =>
      row.kind === "note" ? { key: row.key, note: row.text } : { key: row.key, message: row.message },
    );
    for (const item of chat.outbox.items) {
      if (item.room !== chat.room) continue;
      shown.push({ key: messageKey(chat.you?.id ?? "", item.clientId), item });
    }
    return shown;
  }

  #drawRow(chat: Chat, row: Shown, previous: Shown | undefined): HTMLLIElement {
    const joined = follows(chat, row, previous);
    const day = row.note === undefined && dayOf(row) !== (previous ? dayOf(previous) : "") ? dayOf(row) : "";
    const picture = this.#picture(chat, row);
    const look = JSON.stringify([joined, day, picture, row.item?.state, row.item?.problem, row.message?.id, row.note]);
    const known = this.#rows.get(row.key);
    if (known?.look === look) return known.element;
    const element = known?.element ?? make("li");
    element.replaceChildren();
    if (day) element.append(make("p", "day", make("span", "", day)));
    if (row.note !== undefined) element.append(make("p", "note", row.note));
    else element.append(entry(chat, row, joined && !day, picture));
    element.dataset["state"] = row.item?.state ?? (row.note === undefined ? "delivered" : "note");
    if (row.message) element.dataset["id"] = String(row.message.id);
    this.#rows.set(row.key, { element, look });
    return element;
  }

  #picture(chat: Chat, row: Shown): string | undefined {
    const { item, message } = row;
    if (item?.image && item.data) return chat.pictures.unsent(row.key, item.image, item.data);
    if (!message?.image) return undefined;
    const shown = chat.pictures.show(message, () => this.draw());
    return typeof shown === "string" ? shown : shown.url;
  }

  #drawEmpty(chat: Chat, empty: boolean): void {
    this.#empty.hidden = !empty;
    if (!empty) return;
    const invitation = "Nothing has been said here yet. Say hello, or open this page in a second window and talk to yourself.";
    setText(this.#empty, chat.entered ? invitation : "Connecting…");
  }

  #remove(chat: Chat, key: string, element: HTMLLIElement): void {
    element.remove();
    this.#rows.delete(key);
    chat.pictures.release(key);
  }

  #clear(room: string): void {
    this.#room = room;
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#follows = true;
    this.#seen();
  }

  #seen(): void {
    this.#unseen = 0;
    this.#newest.hidden = true;
  }

  #distanceToEnd(): number {
    return this.#scroller.scrollHeight - this.#scroller.scrollTop - this.#scroller.clientHeight;
  }

  #jump(): void {
    this.#follows = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}

function authorOf(chat: Chat, row: Shown): { id: string; name: string } {
  return row.message?.from ?? chat.you ?? { id: "", name: chat.name };
}

function timeOf(row: Shown): number {
  return row.message?.at ?? row.item?.at ?? 0;
}

function follows(chat: Chat, row: Shown, previous: Shown | undefined): boolean {
  if (!previous || previous.note !== undefined || row.note !== undefined) return false;
  const one = authorOf(chat, row);
  const other = authorOf(chat, previous);
  return one.id === other.id && one.name === other.name && timeOf(row) - timeOf(previous) < ONE_BREATH;
}

function dayOf(row: Shown): string {
  if (row.note !== undefined) return "";
  const date = new Date(timeOf(row));
  if (date.toDateString() === new Date().toDateString()) return "";
  return date.toLocaleDateString(undefined, { weekday: "long", day: "numeric", month: "long" });
}

function entry(chat: Chat, row: Shown, joined: boolean, picture: string | undefined): HTMLElement {
  const author = authorOf(chat, row);
  const mine = row.item !== undefined || author.id === chat.you?.id;
  const article = make("article", `message${mine ? " mine" : ""}${joined ? " joined" : ""}`);
  const when = new Date(timeOf(row));
  const time = make("time", "", when.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = when.toISOString();
  const who = make("p", joined ? "who unseen" : "who", make("b", "", author.name), ...(mine ? [" ", make("i", "", "you")] : []));
  if (joined) article.append(time);
  else {
    article.append(avatar(author.id, author.name));
    who.append(" ", time);
  }
  article.append(who);
  const text = row.message?.text ?? row.item?.text;
  if (text !== undefined) article.append(make("p", "text", ...linked(text)));
  const image = row.message?.image ?? row.item?.image;
  if (image) article.append(pictureOf(image, picture));
  if (row.item) article.append(fate(chat, row.item));
  return article;
}

function pictureOf(image: Picture, picture: string | undefined): HTMLElement {
  if (picture === "gone") return make("p", "gone", `${image.name}: this picture is no longer kept.`);
  const element = make("img");
  // The shown size is known before the bytes come, so that nothing moves when they do.
  const scale = Math.min(1, PICTURE_WIDTH / image.width, PICTURE_HEIGHT / image.height);
  element.width = Math.round(image.width * scale);
  element.height = Math.round(image.height * scale);
  element.alt = image.name;
  if (picture && picture !== "coming") element.src = picture;
  const button = make("button", "picture", element);
  button.type = "button";
  button.setAttribute("aria-label", `Picture ${image.name}, show it large`);
  button.addEventListener("click", () => {
    if (element.src) openViewer(element.src, image.name);
  });
  return button;
}

/** The state of a message that is not delivered yet. */
function fate(chat: Chat, item: Item): HTMLElement {
  if (item.state !== "failed") {
    return make("p", "fate", item.state === "sending" ? "Sending…" : "Waiting for the connection");
  }
  const again = make("button", "plain", "Try again");
  const discard = make("button", "plain", "Discard");
  again.type = discard.type = "button";
  again.addEventListener("click", () => chat.retry(item.clientId));
  discard.addEventListener("click", () => chat.discard(item.clientId));
  return make("p", "fate failed", `Not sent. ${item.problem ?? ""} `, again, " ", discard);
}

/** The text with its web addresses as links. */
function linked(text: string): (Node | string)[] {
  return text.split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}'])/u).map((part, index) => {
    if (index % 2 === 0) return part;
    const link = make("a", "", part);
    link.href = part;
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    return link;
  });
}
