// The messages of one room as the page shows them: in the order of their numbers, each once, with notes
// between them. Pure: the input is a message or an answer to `enter`, the output is `rows`.
import type { Entered, Message } from "./events.ts";

export type Row =
  | { kind: "message"; key: string; message: Message }
  | { kind: "note"; key: string; text: string };

/** Older rows beyond this number are removed. */
const ROWS_KEPT = 300;

export function messageKey(memberId: string, clientId: string): string {
  return `${memberId}/${clientId}`;
}

export class Timeline {
  readonly room: string;
  rows: Row[] = [];
  /** The life of the room's numbering; empty until the first answer to `enter`. */
  epoch = "";
  /** Every message up to this number is here, or was never available. */
  through = 0;

  /** The first row of this epoch. The rows before it have numbers of another epoch. */
  #start = 0;
  /** The numbers above `through` that are here. */
  #ids = new Set<number>();
  #notes = 0;

  constructor(room: string) {
    this.room = room;
  }

  /** True if a message between others is missing, because it is late or lost. */
  get hasHole(): boolean {
    return this.#ids.size > 0;
  }

  /**
   * Takes the answer to `enter`. Returns the number of new messages, and of those no longer in the server's
   * history.
   */
  resync(entered: Entered): { added: number; lost: number } {
    const first = this.epoch === "";
    if (entered.epoch !== this.epoch) {
      if (!first && this.rows.length > 0) this.note("The server started afresh. What is above is kept on this page only.");
      this.epoch = entered.epoch;
      this.through = 0;
      this.#start = this.rows.length;
      this.#ids.clear();
    }
    const oldest = entered.history[0]?.id ?? entered.last + 1;
    const lost = this.through > 0 ? Math.max(0, oldest - this.through - 1) : 0;
    if (lost > 0) this.note(lost === 1 ? "One message is no longer kept." : `${lost} messages are no longer kept.`);
    this.through = Math.max(this.through, oldest - 1);
    let added = 0;
    for (const message of entered.history) if (this.add(message)) added += 1;
    this.#advance();
    return { added, lost };
  }

  /** Puts a message in its place. Returns false if it is already there. */
  add(message: Message): boolean {
    const key = messageKey(message.from.id, message.clientId);
    if (this.rows.some((row) => row.key === key)) return false;
    if (message.id > this.through) this.#ids.add(message.id);
    let place = this.rows.length;
    while (place > this.#start) {
      const before = this.rows[place - 1];
      if (before?.kind === "message" && before.message.id < message.id) break;
      // A note keeps its place, unless the message belongs before another one above the note.
      if (before?.kind === "note" && !this.#laterAbove(place - 1, message.id)) break;
      place -= 1;
    }
    this.rows.splice(place, 0, { kind: "message", key, message });
    this.#advance();
    this.#trim();
    return true;
  }

  note(text: string): void {
    this.#notes += 1;
    this.rows.push({ kind: "note", key: `note/${this.#notes}`, text });
  }

  #laterAbove(place: number, id: number): boolean {
    for (let i = place - 1; i >= this.#start; i -= 1) {
      const row = this.rows[i];
      if (row?.kind === "message") return row.message.id > id;
    }
    return false;
  }

  #advance(): void {
    while (this.#ids.delete(this.through + 1)) this.through += 1;
    for (const id of this.#ids) if (id <= this.through) this.#ids.delete(id);
  }

  #trim(): void {
    const excess = this.rows.length - ROWS_KEPT;
    if (excess <= 0) return;
    this.rows.splice(0, excess);
    this.#start = Math.max(0, this.#start - excess);
  }
}
