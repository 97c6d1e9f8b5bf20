// The side: rooms, people, the visitor's own name. On a phone it is a drawer over the page.
import type { Chat } from "../chat.ts";
import { asName, asRoom, rememberName } from "../identity.ts";
import { avatar, byId, make, setText } from "./dom.ts";

export class Side {
  readonly #chat: () => Chat;
  readonly #rooms = byId("rooms", HTMLUListElement);
  readonly #people = byId("people", HTMLUListElement);
  readonly #name = byId("name", HTMLInputElement);
  readonly #drawer = new Drawer();
  #roomsLook = "";
  #peopleLook = "";

  constructor(chat: () => Chat) {
    this.#chat = chat;
    this.#listenForRooms();
    this.#listenForName();
  }

  draw(): void {
    const chat = this.#chat();
    this.#drawRooms(chat);
    this.#drawPeople(chat);
    if (document.activeElement !== this.#name) this.#name.value = chat.name;
    setText(byId("room-title", HTMLHeadingElement), chat.room);
    const people = chat.memberCount === 1 ? "Only you are here" : `${chat.memberCount} people here`;
    setText(byId("room-count", HTMLParagraphElement), chat.memberCount === 0 ? "" : people);
    document.title = `${chat.room} · Switchboard`;
  }

  #drawRooms(chat: Chat): void {
    const rooms = chat.rooms.some((room) => room.name === chat.room)
      ? chat.rooms
      : [...chat.rooms, { name: chat.room, count: chat.memberCount }];
    const look = JSON.stringify([rooms, chat.room]);
    if (look === this.#roomsLook) return;
    this.#roomsLook = look;
    const focused = document.activeElement?.getAttribute("href");
    this.#rooms.replaceChildren(
      ...rooms.map(({ name, count }) => {
        const link = make("a", "", make("span", "name", name));
        link.href = `#${name}`;
        if (count > 0) link.append(make("span", "count", String(count)), make("span", "unseen", count === 1 ? " person" : " people"));
        if (name === chat.room) link.setAttribute("aria-current", "page");
        return make("li", "", link);
      }),
    );
    if (focused) this.#rooms.querySelector<HTMLElement>(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  #drawPeople(chat: Chat): void {
    const you = chat.you?.id;
    const look = JSON.stringify([chat.members, chat.memberCount, you]);
    if (look === this.#peopleLook) return;
    this.#peopleLook = look;
    const sorted = [...chat.members].sort((a, b) => Number(b.id === you) - Number(a.id === you) || a.name.localeCompare(b.name));
    const items = sorted.map((member) => {
      const item = make("li", "", avatar(member.id, member.name), make("span", "name", member.name));
      if (member.id === you) item.append(make("i", "", "you"));
      return item;
    });
    const more = chat.memberCount - chat.members.length;
    if (more > 0) items.push(make("li", "more", `and ${more} more`));
    this.#people.replaceChildren(...items);
    setText(byId("people-count", HTMLSpanElement), chat.memberCount > 0 ? String(chat.memberCount) : "");
  }

  #listenForRooms(): void {
    const form = byId("room-form", HTMLFormElement);
    const field = byId("room-name", HTMLInputElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const room = asRoom(field.value);
      if (!room) return;
      field.value = "";
      location.hash = room;
    });
    window.addEventListener("hashchange", () => this.#drawer.close());
  }

  #listenForName(): void {
    const save = () => {
      const name = asName(this.#name.value);
      const chat = this.#chat();
      if (name && name !== chat.name) {
        rememberName(name);
        chat.rename(name);
      } else this.#name.value = chat.name;
    };
    byId("name-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      save();
      this.#drawer.close();
      byId("text", HTMLTextAreaElement).focus();
    });
    this.#name.addEventListener("change", save);
    this.#name.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.#name.value = this.#chat().name;
      this.#name.blur();
    });
  }
}

class Drawer {
  readonly #side = byId("side", HTMLElement);
  readonly #shade = byId("shade", HTMLDivElement);
  readonly #open = byId("side-open", HTMLButtonElement);
  readonly #main = document.querySelector("main");

  constructor() {
    this.#open.addEventListener("click", () => this.#set(true));
    this.#shade.addEventListener("click", () => this.close());
    const shut = byId("side-close", HTMLButtonElement);
    shut.addEventListener("click", () => this.close());
    this.#side.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    // In a wide window the side is always shown, so nothing may stay covered behind it.
    window.matchMedia("(min-width: 761px)").addEventListener("change", () => this.close());
  }

  close(): void {
    if (!this.#side.classList.contains("open")) return;
    this.#set(false);
    this.#open.focus();
  }

  #set(open: boolean): void {
    this.#side.classList.toggle("open", open);
    this.#shade.hidden = !open;
    this.#open.setAttribute("aria-expanded", String(open));
    if (this.#main) this.#main.inert = open;
    if (open) byId("side-close", HTMLButtonElement).focus();
  }
}
