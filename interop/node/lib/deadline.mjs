// Waits without sleeping: every wait is for an event or a condition, and has a deadline whose error names the
// missing event.

import { setTimeout as tick } from "node:timers/promises";

/**
 * Milliseconds that a test waits for an event that should happen at once. Generous, because the machine may
 * be busy.
 */
export const SOON = 15_000;

/** Milliseconds for a whole test, for waits without their own deadline (an ack that never comes). */
export const TEST_LIMIT = 120_000;

/** Milliseconds between two checks of a condition that has no event. */
const LOOK_AGAIN = 15;

/** The promise's value, or an error that names `what` after `ms` milliseconds. */
export function within(promise, what, ms = SOON) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Evaluates `condition` (may be async) until it is truthy and returns that value. */
export async function until(condition, what, ms = SOON) {
  const end = performance.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`${what}: not within ${ms} ms`);
    await tick(LOOK_AGAIN);
  }
}

/** A promise and its resolver. */
export function deferred() {
  let resolve, reject;
  const promise = new Promise((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** The next `event` of an emitter, as its list of arguments. */
export function once(emitter, event, ms = SOON) {
  return within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), `event "${event}"`, ms);
}

/** The items that arrived and were not yet taken, in order. */
export class Queue {
  #items = [];
  #waiting = [];
  #ended;

  push(item) {
    const waiter = this.#waiting.shift();
    if (waiter) waiter.resolve(item);
    else this.#items.push(item);
  }

  /** Nothing more will come. Everyone who waits, now or later, gets an error with this reason. */
  end(reason) {
    this.#ended ??= reason;
    for (const waiter of this.#waiting.splice(0)) waiter.reject(new Error(this.#ended));
  }

  next(what = "next item", ms = SOON) {
    if (this.#items.length) return Promise.resolve(this.#items.shift());
    if (this.#ended) return Promise.reject(new Error(`${what}: ${this.#ended}`));
    const waiter = deferred();
    this.#waiting.push(waiter);
    return within(waiter.promise, what, ms).catch((error) => {
      this.#waiting = this.#waiting.filter((other) => other !== waiter);
      throw error;
    });
  }

  async take(count, what = "items") {
    const items = [];
    while (items.length < count) items.push(await this.next(`${what} (${items.length + 1} of ${count})`));
    return items;
  }

  get length() {
    return this.#items.length;
  }
}
