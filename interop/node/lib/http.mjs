// HTTP for the tests: single requests, each on its own connection (so that any worker may get it), and raw
// sockets for bytes that no HTTP client would send.

import http from "node:http";
import net from "node:net";
import { deferred, within } from "./deadline.mjs";

/**
 * Sends a request and reads the whole response. If the connection breaks before, the result has status 0 and
 * the error.
 * `body` may be a string, a Buffer or an iterable of them (then sent chunked).
 */
export function request(server, path, { method = "GET", headers = {}, body, agent = false, signal } = {}) {
  const { promise, resolve } = deferred();
  const whole = typeof body === "string" || Buffer.isBuffer(body);
  const length = whole ? { "Content-Length": Buffer.byteLength(body) } : {};
  const outgoing = http.request(server.http + path, { method, agent, signal, headers: { ...length, ...headers } });
  outgoing.on("response", (response) => {
    const chunks = [];
    const finish = () => {
      const bytes = Buffer.concat(chunks);
      resolve({ status: response.statusCode, headers: response.headers, bytes, text: bytes.toString() });
    };
    response.on("data", (chunk) => chunks.push(chunk)).on("end", finish).on("error", finish);
  });
  outgoing.on("error", (error) => resolve({ status: 0, error, headers: {}, text: "" }));
  if (body === undefined || whole) outgoing.end(body);
  else stream(outgoing, body);
  return within(promise, `${method} ${path}`, 60_000);
}

async function stream(outgoing, chunks) {
  let stopped = false;
  const stop = new Promise((resolve) => {
    const end = () => {
      stopped = true;
      resolve();
    };
    outgoing.once("error", end).once("response", end).once("close", end);
  });
  for (const chunk of chunks) {
    if (stopped) break;
    if (!outgoing.write(chunk)) {
      await Promise.race([stop, new Promise((resolve) => outgoing.once("drain", resolve))]);
    }
  }
  outgoing.end();
}

/** A TCP connection that the test controls byte by byte. */
export class RawSocket {
  received = Buffer.alloc(0);
  #watchers = [];

  static async connect(server) {
    const raw = new RawSocket();
    const opened = deferred();
    const ended = deferred();
    raw.closed = ended.promise;
    raw.socket = net.connect({ port: server.port, host: server.host, allowHalfOpen: false }, opened.resolve);
    raw.socket.on("error", (error) => opened.reject(error));
    raw.socket.on("close", () => {
      raw.ended = true;
      ended.resolve(raw.received);
      raw.#look();
    });
    raw.socket.on("data", (chunk) => {
      raw.received = Buffer.concat([raw.received, chunk]);
      raw.#look();
    });
    opened.promise.catch(() => {});
    await within(opened.promise, "TCP connection");
    return raw;
  }

  #look() {
    for (const watcher of this.#watchers) watcher();
  }

  write(data) {
    this.socket.write(data);
    return this;
  }

  /** Writes, and waits until the system has taken every byte. */
  flush(data) {
    return within(new Promise((resolve) => this.socket.write(data, resolve)), "write");
  }

  reset() {
    this.socket.resetAndDestroy();
  }

  destroy() {
    this.socket.destroy();
  }

  get text() {
    return this.received.toString("latin1");
  }

  /**
   * Waits until the received text satisfies `test(text)`. If the connection ends before that, it is an error.
   */
  seen(test, what) {
    const { promise, resolve, reject } = deferred();
    const look = () => {
      if (test(this.text)) resolve(this.text);
      else if (this.ended) reject(new Error(`${what}: closed after ${JSON.stringify(this.text.slice(0, 200))}`));
    };
    this.#watchers.push(look);
    look();
    return within(promise, what).finally(() => {
      this.#watchers = this.#watchers.filter((other) => other !== look);
    });
  }
}

/** The head of a WebSocket upgrade request, ready to be written to a raw socket. */
export const upgradeHead = (path, extra = "") =>
  `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
  `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${extra}\r\n`;

/** One client frame (masked with zeros unless told otherwise) with a payload of at most 125 bytes. */
export function frame(opcode, payload = "", { fin = true, rsv = 0, masked = true } = {}) {
  const bytes = Buffer.from(payload);
  const head = Buffer.from([(fin ? 0x80 : 0) | (rsv << 4) | opcode, (masked ? 0x80 : 0) | bytes.length]);
  return Buffer.concat(masked ? [head, Buffer.alloc(4), bytes] : [head, bytes]);
}
