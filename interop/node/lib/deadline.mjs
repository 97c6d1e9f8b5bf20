// Waiting without sleeping: every wait is for an event or a condition, and has a deadline that names what was
// missed.

import { setTimeout as tick } from "node:timers/promises";

/** Milliseconds a test waits for anything that should happen at once. Generous: the machine may be busy. */
export const SOON = 15_000;

/** Milliseconds for a test as a whole, for the waits in it that have no deadline of their own (an ack that never comes). */
export const TEST_LIMIT = 120_000;

/** Milliseconds between two looks at a condition that announces itself by no event. */
const LOOK_AGAIN = 15;

/** The promise's value, or an error naming `what` once `ms` have passed. */
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

/** A promise with its resolver outside. */
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

/** What arrived and was not yet asked for, in order. */
export class Queue {
  #items = [];
  #waiting = [];
  #ended;

  push(item) {
    const waiter = this.#waiting.shift();
    if (waiter) waiter.resolve(item);
    else this.#items.push(item);
  }

  /** Nothing more will come: whoever waits, now or later, gets an error with this reason. */
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
