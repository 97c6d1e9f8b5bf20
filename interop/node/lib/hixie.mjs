// A client of the WebSocket drafts hixie-75 and hixie-76, like browsers of 2009 to 2011 and Flash. It does
// the handshake, checks every part of the response, and uses frames `00 <UTF-8> FF` and the close `FF 00`.
// Also a Flash player that asks for its socket policy.

import assert from "node:assert/strict";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { connect } from "node:net";
import { Queue, within } from "./deadline.mjs";

const ORIGIN = "http://old.example";
const CLOSE = "FF 00";

/** A key of hixie-76: a number multiplied by its count of spaces, with other characters inserted. */
export function newKey() {
  const spaces = randomInt(1, 13);
  const number = randomInt(0, Math.floor(0xffff_ffff / spaces) + 1);
  let key = String(number * spaces);
  const insert = (text, from, to) => {
    const at = randomInt(from, to + 1);
    key = key.slice(0, at) + text + key.slice(at);
  };
  // Neither a digit nor a space.
  const others = [...Array(0x7e - 0x21 + 1).keys()].map((code) => String.fromCharCode(code + 0x21)).filter((other) => !/\d/.test(other));
  for (let count = randomInt(1, 13); count > 0; count -= 1) insert(others[randomInt(others.length)], 0, key.length);
  // A space at either end would count as white space around the header's value. The inserted characters leave
  // room if there is only one digit.
  if (key.length === 1) key += "x";
  for (let count = spaces; count > 0; count -= 1) insert(" ", 1, key.length - 1);
  return { key, number };
}

function challenge(numbers, body) {
  const whole = Buffer.alloc(16);
  numbers.forEach((number, index) => whole.writeUInt32BE(number, index * 4));
  body.copy(whole, 8);
  return createHash("md5").update(whole).digest();
}

/** Bytes in the order in which they come. */
class Bytes {
  #held = Buffer.alloc(0);
  #news = new Queue();

  constructor(socket) {
    socket.on("data", (bytes) => this.#news.push(bytes));
    socket.on("close", () => this.#news.end("the connection has ended"));
    socket.on("error", () => {});
  }

  /** The bytes up to the length that `measure` returns. `measure` gets the bytes so far. */
  async take(measure, what) {
    let length;
    while ((length = measure(this.#held)) === undefined) {
      this.#held = Buffer.concat([this.#held, await this.#news.next(what)]);
    }
    const taken = this.#held.subarray(0, length);
    this.#held = this.#held.subarray(length);
    return taken;
  }

  until(mark, what) {
    return this.take((held) => {
      const at = held.indexOf(mark);
      return at < 0 ? undefined : at + mark.length;
    }, what);
  }

  exactly(length, what) {
    return this.take((held) => (held.length < length ? undefined : length), what);
  }
}

async function dial(server) {
  const socket = connect(server.port, server.host);
  socket.setNoDelay(true);
  const bytes = new Bytes(socket);
  await within(new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject)), "connection");
  return { socket, bytes };
}

/** A connection of one of these drafts, open. */
export class Hixie {
  constructor({ socket, bytes }) {
    this.socket = socket;
    this.bytes = bytes;
  }

  /**
   * `late` holds back the eight bytes after a head of hixie-76 until the server's head has come, as some
   * proxies do.
   */
  static async open(server, path, { version = 76, late = false, protocol, origin = ORIGIN } = {}) {
    const peer = new Hixie(await dial(server));
    const [first, second] = [newKey(), newKey()];
    const body = version === 76 ? randomBytes(8) : Buffer.alloc(0);
    const head = [
      `GET ${path} HTTP/1.1`,
      "Upgrade: WebSocket",
      "Connection: Upgrade",
      `Host: ${server.host}:${server.port}`,
      `Origin: ${origin}`,
      ...(protocol ? [`${version === 76 ? "Sec-" : ""}WebSocket-Protocol: ${protocol}`] : []),
      ...(version === 76 ? [`Sec-WebSocket-Key1: ${first.key}`, `Sec-WebSocket-Key2: ${second.key}`] : []),
    ].join("\r\n");
    peer.socket.write(Buffer.concat([Buffer.from(`${head}\r\n\r\n`), late ? Buffer.alloc(0) : body]));
    await peer.#checkHead(`ws://${server.host}:${server.port}${path}`, origin, version);
    if (version === 76) {
      if (late) peer.socket.write(body);
      const answer = await peer.bytes.exactly(16, "answer to the challenge");
      assert.deepEqual(answer, challenge([first.number, second.number], body));
    }
    return peer;
  }

  async #checkHead(location, origin, version) {
    const [status, ...lines] = (await this.bytes.until("\r\n\r\n", "head")).toString("latin1").trimEnd().split("\r\n");
    assert.equal(status, `HTTP/1.1 101 Web${version === 76 ? "" : " "}Socket Protocol Handshake`);
    // hixie-75 compares the first three lines byte by byte; hixie-76 takes headers in any order and case.
    if (version === 75) assert.deepEqual(lines.slice(0, 2), ["Upgrade: WebSocket", "Connection: Upgrade"]);
    const headers = new Map(lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
    assert.equal(headers.get("upgrade"), "WebSocket");
    assert.equal(headers.get("connection")?.toLowerCase(), "upgrade");
    const prefix = version === 76 ? "sec-" : "";
    assert.equal(headers.get(`${prefix}websocket-origin`), origin);
    assert.equal(headers.get(`${prefix}websocket-location`), location);
  }

  send(text) {
    this.socket.write(Buffer.concat([Buffer.of(0x00), Buffer.from(text), Buffer.of(0xff)]));
  }

  /** The next message; `"FF 00"` for the close. */
  async next(what = "message") {
    const [type] = await this.bytes.exactly(1, what);
    if (type === 0xff) {
      assert.deepEqual([...(await this.bytes.exactly(1, what))], [0x00]);
      return CLOSE;
    }
    assert.equal(type, 0x00, "only text frames and the close are known to these drafts");
    const text = await this.bytes.until(Buffer.of(0xff), what);
    return new TextDecoder("utf-8", { fatal: true }).decode(text.subarray(0, -1));
  }

  /** Closes as the client does: the server answers with its own close. */
  async close() {
    this.socket.write(Buffer.of(0xff, 0x00));
    assert.equal(await this.next("the server's close"), CLOSE);
    this.socket.destroy();
  }
}

/**
 * The response to a Flash player that asks for its policy in these pieces: all bytes until the server ends
 * the connection.
 */
export async function flashPolicy(server, pieces = ["<policy-file-request/>\0"]) {
  const { socket } = await dial(server);
  const parts = [];
  socket.on("data", (part) => parts.push(part));
  const ended = new Promise((resolve) => socket.once("end", resolve).once("close", resolve));
  for (const piece of pieces) {
    await new Promise((resolve) => socket.write(piece, resolve));
  }
  await within(ended, "end of the policy");
  socket.destroy();
  return Buffer.concat(parts).toString();
}
