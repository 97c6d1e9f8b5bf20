// A WebSocket client (npm ws) with messages and an end that can be awaited.

import WebSocket from "ws";
import { deferred, Queue, within } from "./deadline.mjs";

export class Peer {
  #messages = new Queue();

  constructor(url, { protocols = [], ...options } = {}) {
    const opened = deferred();
    const closed = deferred();
    this.ws = new WebSocket(url, protocols, { perMessageDeflate: false, handshakeTimeout: 15_000, ...options });
    this.closed = closed.promise;
    this.opened = opened.promise;
    this.opened.catch(() => {});
    this.ws.on("open", opened.resolve);
    this.ws.on("error", (error) => {
      this.error = error;
      this.status = Number(error.message.match(/^Unexpected server response: (\d+)/)?.[1]) || undefined;
    });
    this.ws.on("message", (data, isBinary) => this.#messages.push(isBinary ? data : data.toString()));
    this.ws.on("close", (code, reason) => {
      opened.reject(new Error(`WebSocket refused: ${this.status ?? this.error ?? code}`));
      this.#messages.end(`the WebSocket closed with ${code}`);
      closed.resolve({ code, reason: reason.toString(), status: this.status });
    });
  }

  static async open(url, options) {
    const peer = new Peer(url, options);
    await within(peer.opened, `WebSocket ${url}`);
    return peer;
  }

  next(what = "message") {
    return this.#messages.next(what);
  }

  take(count, what = "message") {
    return this.#messages.take(count, what);
  }

  /** Messages that have come and were not taken. */
  get pending() {
    return this.#messages.length;
  }

  send(data, options) {
    this.ws.send(data, options);
  }

  end(what = "the WebSocket's end") {
    return within(this.closed, what);
  }

  async close(code) {
    this.ws.close(code);
    return this.end();
  }

  terminate() {
    this.ws.terminate();
  }
}

/** The end of a WebSocket that must not work: refused (`status`), or closed after it was opened (`code`). */
export function refused(url, options) {
  return new Peer(url, options).end(`refusal of ${url}`);
}
