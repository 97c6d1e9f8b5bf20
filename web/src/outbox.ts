// The messages that the server has not yet acknowledged, in order. Only one message is under way at a time,
// so the order survives any cut. If its outcome is unknown, it is sent again with the same `clientId`, which
// the server recognises. Texts survive a reload of the page; pictures do not.
import type { Message, Picture } from "./events.ts";

export interface Item {
  clientId: string;
  room: string;
  at: number;
  text?: string;
  image?: Picture;
  data?: ArrayBuffer;
  /** `sending`: given to the connection. `failed`: the server refused, for the reason in `problem`. */
  state: "waiting" | "sending" | "failed";
  problem?: string;
}

/** The part of `Storage` that is used. */
export interface Store {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

const KEY = "switchboard.unsent";

export class Outbox {
  items: Item[];
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
    this.items = restore(store);
  }

  add(item: Omit<Item, "state">): void {
    this.items.push({ ...item, state: "waiting" });
    this.#save();
  }

  /** The next item to send, unless one is already under way. */
  next(): Item | undefined {
    if (this.items.some((item) => item.state === "sending")) return undefined;
    return this.items.find((item) => item.state === "waiting");
  }

  /** The connection broke. It is unknown whether the item under way arrived, so it will be sent again. */
  interrupt(): void {
    for (const item of this.items) if (item.state === "sending") item.state = "waiting";
  }

  /** The server has it. */
  remove(clientId: string): Item | undefined {
    const place = this.items.findIndex((item) => item.clientId === clientId);
    if (place < 0) return undefined;
    const [item] = this.items.splice(place, 1);
    this.#save();
    return item;
  }

  /** Drops the items that are in the server's history. */
  settle(memberId: string, history: readonly Message[]): void {
    for (const message of history) if (message.from.id === memberId) this.remove(message.clientId);
  }

  fail(item: Item, problem: string): void {
    item.state = "failed";
    item.problem = problem;
  }

  retry(clientId: string): void {
    const item = this.items.find((candidate) => candidate.clientId === clientId);
    if (item?.state === "failed") item.state = "waiting";
  }

  #save(): void {
    const texts = this.items.filter((item) => item.text !== undefined);
    const kept = texts.map(({ clientId, room, at, text }) => ({ clientId, room, at, text }));
    try {
      this.#store.setItem(KEY, JSON.stringify(kept));
    } catch {
      // If the store is full or forbidden, texts do not survive a reload.
    }
  }
}

function restore(store: Store): Item[] {
  try {
    const kept: unknown = JSON.parse(store.getItem(KEY) ?? "[]");
    if (!Array.isArray(kept)) return [];
    return kept.filter(isText).map((item) => ({ ...item, state: "waiting" }));
  } catch {
    return [];
  }
}

function isText(item: Partial<Item> | null): item is Omit<Item, "state"> & { text: string } {
  return (
    typeof item?.clientId === "string" &&
    typeof item.room === "string" &&
    typeof item.at === "number" &&
    typeof item.text === "string"
  );
}
