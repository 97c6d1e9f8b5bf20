// Socket.IO v5 packets by hand, over a WebSocket or over polling, with one interface: `send` takes the text
// of a packet or an attachment, and `next` returns them. Engine.IO's own packets are handled inside.

import assert from "node:assert/strict";
import { deferred, Queue, within } from "./deadline.mjs";
import { encode, openWebSocket, PollingSession, SEPARATOR } from "./engine.mjs";

const ENDPOINT = "/socket.io/";

class Packets {
  queue = new Queue();
  #ended = deferred();
  closed = this.#ended.promise;

  received(packet) {
    this.queue.push(packet);
  }

  ended(reason) {
    this.queue.end(reason);
    this.#ended.resolve(reason);
  }

  next(what = "packet") {
    return this.queue.next(what);
  }

  /** The next packet, which must be an event: its name and arguments. */
  async event(what = "event", nsp = "") {
    const packet = await this.next(what);
    const prefix = `2${nsp}`;
    assert.ok(packet.startsWith?.(`${prefix}[`), `${what}: expected an event of "${nsp}", got ${packet}`);
    return JSON.parse(packet.slice(prefix.length));
  }

  /** The next packet, with its attachments in place. */
  async assembled(what = "binary packet") {
    const text = await this.next(what);
    const [, type, count, rest] = text.match(/^(\d)(\d+)-(.*)$/s) ?? assert.fail(`${what}: not binary: ${text}`);
    const attachments = await this.queue.take(Number(count), "attachment");
    const [, id, json] = rest.match(/^(\d*)(\[.*)$/s);
    const fill = (_key, value) => (value?._placeholder === true ? new Hole(value.num) : value);
    return { type, id, data: refill(JSON.parse(json, fill), attachments) };
  }

  /** CONNECT, its answer and the `auth` event that the conformance server sends in `/` and `/custom`. */
  async connect(nsp = "/", auth) {
    const prefix = nsp === "/" ? "" : `${nsp},`;
    this.send(`0${prefix}${auth === undefined ? "" : JSON.stringify(auth)}`);
    const answer = await this.next("CONNECT");
    assert.ok(answer.startsWith(`0${prefix}{`), `CONNECT of ${nsp} answered by ${answer}`);
    const { sid } = JSON.parse(answer.slice(1 + prefix.length));
    const [name, data] = await this.event("auth", prefix);
    assert.equal(name, "auth");
    return { sid, auth: data };
  }

  /** DISCONNECT from `/`. The answer to a later CONNECT of `/custom` shows that it was handled. */
  async leave() {
    this.send("1");
    await this.connect("/custom");
  }

  /**
   * Asks for an echo. This shows that the connection and its `/` socket work, and that no other packet came
   * before.
   */
  async lives(word = "still here") {
    this.send(`2["message","${word}"]`);
    assert.deepEqual(await this.event("echo"), ["message-back", word]);
  }

  end(what = "the connection's end") {
    return within(this.closed, what);
  }
}

class Hole {
  constructor(num) {
    this.num = num;
  }
}

function refill(value, attachments) {
  if (value instanceof Hole) return attachments[value.num];
  if (Array.isArray(value)) return value.map((item) => refill(item, attachments));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, refill(item, attachments)]));
}

class OverWebSocket extends Packets {
  static async open(server) {
    const packets = new OverWebSocket();
    packets.peer = await openWebSocket(server, { endpoint: ENDPOINT });
    packets.engineSid = packets.peer.handshake.sid;
    packets.peer.ws.on("message", (data, isBinary) => {
      const message = isBinary ? data : data.toString();
      if (message === "2") packets.peer.send("3");
      else packets.received(isBinary ? message : message.slice(1));
    });
    packets.peer.closed.then(({ code }) => packets.ended(`the WebSocket closed with ${code}`));
    return packets;
  }

  send(data) {
    this.peer.send(Buffer.isBuffer(data) ? data : `4${data}`);
  }

  close() {
    this.peer.terminate();
  }
}

class OverPolling extends Packets {
  #posts = Promise.resolve();
  #outgoing = [];
  #abort = new AbortController();

  static async open(server) {
    const packets = new OverPolling();
    packets.session = await PollingSession.open(server, { endpoint: ENDPOINT });
    packets.engineSid = packets.session.sid;
    packets.#pump();
    return packets;
  }

  async #pump() {
    for (;;) {
      const response = await this.session.poll({ signal: this.#abort.signal }).catch((error) => ({ status: error.message }));
      if (response.status !== 200) return this.ended(`poll answered ${response.status}`);
      for (const packet of response.text.split(SEPARATOR)) {
        if (packet === "1") return this.ended("the server sent close");
        if (packet === "2") this.#push("3");
        else if (packet[0] === "4") this.received(packet.slice(1));
        else if (packet[0] === "b") this.received(Buffer.from(packet.slice(1), "base64"));
      }
    }
  }

  #push(packet) {
    this.#outgoing.push(packet);
    this.#posts = this.#posts.then(async () => {
      if (!this.#outgoing.length) return;
      await this.session.post(this.#outgoing.splice(0).join(SEPARATOR));
    });
  }

  send(data) {
    this.#push(Buffer.isBuffer(data) ? encode(data) : `4${data}`);
  }

  close() {
    this.#abort.abort();
  }
}

export const TRANSPORTS = { websocket: OverWebSocket, polling: OverPolling };

/** An Engine.IO connection to the Socket.IO endpoint that has joined no namespace. Closed after the test. */
export async function openPackets(t, server, transport = "websocket") {
  const packets = await TRANSPORTS[transport].open(server);
  t.after(() => packets.close());
  return packets;
}

/** The same, connected to `/`. */
export async function connected(t, server, transport = "websocket") {
  const packets = await openPackets(t, server, transport);
  packets.socket = await packets.connect();
  return packets;
}

/** Serves a healthy client. Every test of bad input ends with this. */
export async function healthy(server) {
  assert.ok(server.alive, "the server has exited");
  for (const transport of Object.values(TRANSPORTS)) {
    const packets = await transport.open(server);
    await packets.connect();
    await packets.lives("healthy");
    packets.close();
  }
}
