// The form for a message: text, and pictures that were picked, pasted or dropped, shown small until they are
// sent.
import type { Chat } from "../chat.ts";
import { LIMITS } from "../events.ts";
import { PictureError, prepare, type Prepared } from "../pictures.ts";
import { byId, make, setText } from "./dom.ts";

/** The number of characters left is shown from here on. */
const COUNT_FROM = LIMITS.text - 200;
const PICTURES_AT_ONCE = 6;

interface Held extends Prepared {
  url: string;
}

export class Composer {
  readonly #chat: () => Chat;
  readonly #notice: (text: string) => void;
  readonly #text = byId("text", HTMLTextAreaElement);
  readonly #tray = byId("tray", HTMLUListElement);
  readonly #file = byId("file", HTMLInputElement);
  #held: Held[] = [];

  /** `sent` is called after an item was passed on. `notice` shows and speaks a sentence. */
  constructor(chat: () => Chat, sent: () => void, notice: (text: string) => void) {
    this.#chat = chat;
    this.#notice = notice;
    this.#text.addEventListener("input", () => this.#onInput());
    this.#text.addEventListener("keydown", (event) => this.#onKey(event));
    byId("composer", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#send()) sent();
    });
    byId("pick", HTMLButtonElement).addEventListener("click", () => this.#file.click());
    this.#file.addEventListener("change", () => {
      void this.#take([...(this.#file.files ?? [])]);
      this.#file.value = "";
    });
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length === 0) return;
      event.preventDefault();
      void this.#take(files);
    });
    listenForDrops((files) => void this.#take(files));
  }

  draw(): void {
    this.#text.placeholder = `Message ${this.#chat().room}`;
  }

  focus(): void {
    this.#text.focus();
  }

  #onInput(): void {
    this.#chat().writing(this.#text.value);
    this.#fit();
  }

  #fit(): void {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
    const length = [...this.#text.value].length;
    const left = byId("left", HTMLSpanElement);
    setText(left, length > COUNT_FROM ? `${LIMITS.text - length} left` : "");
    left.classList.toggle("over", length > LIMITS.text);
  }

  #onKey(event: KeyboardEvent): void {
    // An Enter that only ends the composition of a character does not send.
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      byId("composer", HTMLFormElement).requestSubmit();
    } else if (event.key === "Escape") this.#hold([]);
  }

  #send(): boolean {
    const text = this.#text.value.trim();
    if ([...text].length > LIMITS.text) {
      this.#notice(`A message holds ${LIMITS.text} characters at most.`);
      return false;
    }
    if (text === "" && this.#held.length === 0) return false;
    const chat = this.#chat();
    for (const { image, data } of this.#held) chat.sendPicture(image, data);
    if (text !== "") chat.say(text);
    this.#hold([]);
    this.#text.value = "";
    this.#fit();
    this.#text.focus();
    return true;
  }

  async #take(files: File[]): Promise<void> {
    for (const file of files) {
      if (this.#held.length >= PICTURES_AT_ONCE) {
        this.#notice(`No more than ${PICTURES_AT_ONCE} pictures at once.`);
        break;
      }
      try {
        const prepared = await prepare(file);
        const url = URL.createObjectURL(new Blob([prepared.data], { type: prepared.image.type }));
        this.#hold([...this.#held, { ...prepared, url }]);
      } catch (error) {
        if (!(error instanceof PictureError)) throw error;
        this.#notice(error.message);
      }
    }
    this.#text.focus();
  }

  #hold(held: Held[]): void {
    for (const old of this.#held) if (!held.includes(old)) URL.revokeObjectURL(old.url);
    this.#held = held;
    this.#tray.hidden = held.length === 0;
    this.#tray.replaceChildren(...held.map((one) => this.#thumb(one)));
  }

  #thumb(one: Held): HTMLLIElement {
    const image = make("img");
    image.src = one.url;
    image.alt = one.image.name;
    const remove = make("button", "icon", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Remove ${one.image.name}`);
    remove.addEventListener("click", () => {
      this.#hold(this.#held.filter((other) => other !== one));
      this.#text.focus();
    });
    return make("li", "", image, remove);
  }
}

function listenForDrops(take: (files: File[]) => void): void {
  const veil = byId("drop", HTMLDivElement);
  const carriesFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    veil.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) veil.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    veil.hidden = true;
    if (!carriesFiles(event)) return;
    event.preventDefault();
    take([...(event.dataTransfer?.files ?? [])]);
  });
}
