// The page's identity: a secret for the tab, a name for the browser, a room for the address.
import { LIMITS, LOBBY } from "./events.ts";

const VISITOR = "switchboard.visitor";
const NAME = "switchboard.name";

const MANNERS = ["Quiet", "Brisk", "Amber", "Early", "Gentle", "Lucky", "Nimble", "Plain", "Steady", "Swift", "Warm", "Wry"];
const BIRDS = ["Heron", "Wren", "Finch", "Lark", "Plover", "Swift", "Kestrel", "Linnet", "Magpie", "Robin", "Siskin", "Tern"];

/** The secret survives reloads of this tab, so the server recognises the same visitor after a reload. */
export function visitorSecret(): string {
  return remembered(sessionStorage, VISITOR, randomId);
}

export function visitorName(): string {
  return remembered(localStorage, NAME, () => `${oneOf(MANNERS)} ${oneOf(BIRDS)}`);
}

export function rememberName(name: string): void {
  store(localStorage, NAME, name);
}

/**
 * 128 random bits. (Pages over plain HTTP, for example from a phone to a laptop, have no
 * `crypto.randomUUID`.)
 */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A name that the server accepts, or undefined. */
export function asName(typed: string): string | undefined {
  const name = typed.replace(/\p{Cc}/gu, "").trim();
  return name === "" || [...name].length > LIMITS.name ? undefined : name;
}

/** The room name for the typed text. Undefined if no allowed character is left. */
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
    // If the store is full or forbidden, the value lasts as long as the page.
  }
}
