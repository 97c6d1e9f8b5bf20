// Who this page is: a secret for the tab, a name for the browser, a room for the address.
import { LIMITS, LOBBY } from "./events.ts";

const VISITOR = "switchboard.visitor";
const NAME = "switchboard.name";

const MANNERS = ["Quiet", "Brisk", "Amber", "Early", "Gentle", "Lucky", "Nimble", "Plain", "Steady", "Swift", "Warm", "Wry"];
const BIRDS = ["Heron", "Wren", "Finch", "Lark", "Plover", "Swift", "Kestrel", "Linnet", "Magpie", "Robin", "Siskin", "Tern"];

/** The same over reloads of this tab, so that the server takes a reload for the same visitor. */
export function visitorSecret(): string {
  return remembered(sessionStorage, VISITOR, randomId);
}

export function visitorName(): string {
  return remembered(localStorage, NAME, () => `${oneOf(MANNERS)} ${oneOf(BIRDS)}`);
}

export function rememberName(name: string): void {
  store(localStorage, NAME, name);
}

/** 128 bits that nobody guesses. (`crypto.randomUUID` is missing from pages over plain HTTP, as from a phone to a laptop.) */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A name the server takes, or undefined. */
export function asName(typed: string): string | undefined {
  const name = typed.replace(/\p{Cc}/gu, "").trim();
  return name === "" || [...name].length > LIMITS.name ? undefined : name;
}

/** The room a visitor means by what was typed; undefined where nothing is left of it. */
export function asRoom(typed: string): string | undefined {
  const plain = typed.normalize("NFKD").toLowerCase();
  const room = plain.replace(/\p{M}/gu, "").replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
  return room.slice(0, LIMITS.room) || undefined;
}

export function roomOfAddress(): string {
  try {
    return asRoom(decodeURIComponent(location.hash.slice(1))) ?? LOBBY;
  } catch {
    return LOBBY;
  }
}

function oneOf(words: readonly string[]): string {
  return words[Math.floor(Math.random() * words.length)] ?? "";
}

function remembered(storage: Storage, key: string, invent: () => string): string {
  const known = storage.getItem(key);
  if (known) return known;
  const value = invent();
  store(storage, key, value);
  return value;
}

function store(storage: Storage, key: string, value: string): void {
  try {
    storage.setItem(key, value);
  } catch {
    // A full or forbidden store: the value lasts as long as the page.
  }
}
