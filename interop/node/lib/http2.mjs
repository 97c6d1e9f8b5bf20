// One HTTP/2 connection by prior knowledge (Node's own client), with requests and WebSockets on it (npm ws,
// by extended CONNECT).

import http2 from "node:http2";
import WebSocket from "ws";
import { deferred, once, Queue, SOON, within } from "./deadline.mjs";

const { HTTP2_HEADER_METHOD, HTTP2_HEADER_PATH, HTTP2_HEADER_PROTOCOL, HTTP2_HEADER_STATUS } = http2.constants;

export class Connection {
  /** A connection to `server`, closed after the test. Its settings have come. */
  static async open(t, server) {
    const connection = new Connection();
    connection.session = http2.connect(server.http);
    connection.session.on("error", (error) => (connection.error = error));
    t.after(() => connection.session.destroy());
    await once(connection.session, "remoteSettings");
    return connection;
  }

  /** Sends a request and reads the whole answer. */
  async request(path, { method = "GET", headers = {}, body } = {}) {
    const stream = this.session.request({ [HTTP2_HEADER_METHOD]: method, [HTTP2_HEADER_PATH]: path, ...headers });
    stream.end(body);
    const [head] = await once(stream, "response");
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    return { status: head[HTTP2_HEADER_STATUS], headers: head, bytes, text: bytes.toString() };
  }

  /** Requests a WebSocket: returns the stream and the head of the response. */
  async connect(path, headers = {}) {
    const stream = this.session.request({
      [HTTP2_HEADER_METHOD]: "CONNECT",
      [HTTP2_HEADER_PROTOCOL]: "websocket",
      [HTTP2_HEADER_PATH]: path,
      "sec-websocket-version": "13",
      ...headers,
    });
    stream.on("error", () => {});
    const [head] = await once(stream, "response");
    return { stream, status: head[HTTP2_HEADER_STATUS], headers: head };
  }

  async websocket(path, headers) {
    const { stream, status } = await this.connect(path, headers);
    if (status !== 200) throw new Error(`${path}: ${status}`);
    return new Peer(stream);
  }
}

/** The `ws` of npm on a new stream. */
class Peer {
  #messages = new Queue();

  constructor(stream) {
    const closed = deferred();
    this.stream = stream;
    this.ws = new WebSocket(null, undefined, { autoPong: true, closeTimeout: SOON });
    // Without an address `ws` acts as a server.
    this.ws._isServer = false;
    this.ws.on("error", (error) => (this.error = error));
    this.ws.on("message", (data, isBinary) => this.#messages.push(isBinary ? data : data.toString()));
    this.ws.on("close", (code, reason) => {
      this.#messages.end(`the WebSocket closed with ${code}`);
      closed.resolve({ code, reason: reason.toString() });
    });
    this.closed = closed.promise;
    this.ws.setSocket(stream, Buffer.alloc(0), { allowSynchronousEvents: true, maxPayload: 0, skipUTF8Validation: false });
  }

  next(what = "message") {
    return this.#messages.next(what);
  }

  send(data) {
    this.ws.send(data);
  }

  async close(code) {
    this.ws.close(code);
    return within(this.closed, "the WebSocket's end");
  }
}
