// Engine.IO v4 by hand: polling sessions and their payloads, and the upgrade to WebSocket.

import assert from "node:assert/strict";
import { until } from "./deadline.mjs";
import { request } from "./http.mjs";
import { Peer } from "./websocket.mjs";

/** The separator between the packets of a payload. */
export const SEPARATOR = "\x1e";

export const ENDPOINTS = ["/engine.io/", "/socket.io/"];

const query = (transport, sid) => `?EIO=4&transport=${transport}${sid ? `&sid=${sid}` : ""}`;

/** A packet in a payload; binary messages are "b" and base64. */
export const encode = (packet) => (Buffer.isBuffer(packet) ? `b${packet.toString("base64")}` : packet);

/** The packets of a payload; binary messages as Buffers. */
export const decodePayload = (text) =>
  text.split(SEPARATOR).map((packet) => (packet[0] === "b" ? Buffer.from(packet.slice(1), "base64") : packet));

/** A session opened over HTTP long-polling. */
export class PollingSession {
  constructor(server, endpoint, handshake) {
    this.server = server;
    this.endpoint = endpoint;
    this.handshake = handshake;
    this.sid = handshake.sid;
    this.path = `${endpoint}${query("polling", handshake.sid)}`;
  }

  static async open(server, { endpoint = "/engine.io/", agent } = {}) {
    const response = await request(server, endpoint + query("polling"), { agent });
    assert.equal(response.status, 200, `handshake: ${response.text}`);
    assert.equal(response.text[0], "0");
    return new PollingSession(server, endpoint, JSON.parse(response.text.slice(1)));
  }

  poll(options) {
    return request(this.server, this.path, options);
  }

  post(body, options) {
    return request(this.server, this.path, { method: "POST", body, ...options });
  }

  /** The packets of one poll. Any status but 200 fails the test. */
  async packets(options) {
    const response = await this.poll(options);
    assert.equal(response.status, 200, `poll: ${response.text}`);
    return decodePayload(response.text);
  }

  /** Sends messages in one payload. */
  async send(...packets) {
    const response = await this.post(packets.map(encode).join(SEPARATOR));
    assert.deepEqual([response.status, response.text], [200, "ok"]);
  }

  /**
   * Polls until `count` message packets have come, and answers pings. Fails if they have not come within
   * `ms`.
   */
  async messages(count, ms = 60_000) {
    const messages = [];
    const end = performance.now() + ms;
    while (messages.length < count) {
      if (performance.now() > end) throw new Error(`${messages.length} of ${count} messages after ${ms} ms`);
      for (const packet of await this.packets()) {
        if (packet === "2") await this.send("3");
        else if (packet !== "6") messages.push(packet);
      }
    }
    return messages;
  }

  /** Echoes one message, which shows that the session lives on polling. */
  async lives(word = "still here") {
    await this.send(`4${word}`);
    assert.deepEqual(await this.messages(1), [`4${word}`]);
  }

  /**
   * Waits until the session is closed, which must be soon: its sid is then unknown. Until then a poll is
   * served, or is a bad request if the session is on a WebSocket.
   */
  async gone(what = "session") {
    const answer = await until(async () => {
      const response = await this.post("6");
      const error = response.status === 400 && response.text && JSON.parse(response.text);
      return error && error.message !== "Bad request" && error;
    }, `${what} to be gone`);
    assert.deepEqual(answer, { code: 1, message: "Session ID unknown" });
  }

  get websocketUrl() {
    return `${this.server.ws}${this.endpoint}${query("websocket", this.sid)}`;
  }

  /** Opens the WebSocket of an upgrade, and takes it up to the answer of the probe. */
  async probe() {
    const peer = await Peer.open(this.websocketUrl);
    peer.send("2probe");
    assert.equal(await peer.next("answer to the probe"), "3probe");
    return peer;
  }

  /** The whole upgrade, as the client does it: probe, release of the pending poll, "5". */
  async upgrade() {
    const poll = this.packets();
    const peer = await this.probe();
    assert.deepEqual(await poll, ["6"]);
    peer.send("5");
    return peer;
  }
}

/** A session opened over WebSocket: the peer, after its handshake was read. */
export async function openWebSocket(server, { endpoint = "/engine.io/", ...options } = {}) {
  const peer = await Peer.open(`${server.ws}${endpoint}${query("websocket")}`, options);
  const open = await peer.next("open packet");
  assert.equal(open[0], "0");
  peer.handshake = JSON.parse(open.slice(1));
  return peer;
}
