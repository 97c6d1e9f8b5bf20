// HTTP/2 by prior knowledge, by Node's own client: polling, and WebSockets by extended CONNECT (RFC 8441),
// many on one connection.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TEST_LIMIT } from "../lib/deadline.mjs";
import { decodePayload } from "../lib/engine.mjs";
import { Connection } from "../lib/http2.mjs";
import { CALM, isReference, serverWith } from "../lib/server.mjs";
import { Peer as OverHttp1 } from "../lib/websocket.mjs";

const WEBSOCKET = "/socket.io/?EIO=4&transport=websocket";
const POLLING = "/socket.io/?EIO=4&transport=polling";

const server = isReference ? undefined : await serverWith(CALM);
const skip = isReference && "the reference speaks HTTP/1 only";

describe("over HTTP/2", { concurrency: 4, timeout: TEST_LIMIT, skip }, () => {
  /** A polling session that has joined the main namespace. */
  async function polling(connection) {
    const opened = await connection.request(POLLING);
    assert.equal(opened.status, 200, opened.text);
    const path = `${POLLING}&sid=${JSON.parse(opened.text.slice(1)).sid}`;
    assert.equal((await connection.request(path, { method: "POST", body: "40" })).text, "ok");
    const packets = [];
    while (packets.length < 2) packets.push(...decodePayload((await connection.request(path)).text));
    assert.match(packets[0], /^40{"sid":/);
    assert.match(packets[1], /^42\["auth"/);
    return path;
  }

  async function joined(peer) {
    assert.match(await peer.next("open packet"), /^0{"sid":/);
    peer.send("40");
    assert.match(await peer.next("connect packet"), /^40{"sid":/);
    assert.match(await peer.next("auth"), /^42\["auth"/);
    return peer;
  }

  it("the server says that it takes extended CONNECT", async (t) => {
    const connection = await Connection.open(t, server);
    assert.equal(connection.session.remoteSettings.enableConnectProtocol, true);
  });

  it("many WebSockets echo on one connection, whatever their messages' size", async (t) => {
    const connection = await Connection.open(t, server);
    const peers = await Promise.all(Array.from({ length: 50 }, () => connection.websocket("/ws")));
    await Promise.all(
      peers.map(async (peer, number) => {
        for (const size of [0, 1, 125, 126, 65_535, 65_536, 200_000]) {
          peer.send(`${number} ${"x".repeat(size)}`);
          assert.equal(await peer.next(), `${number} ${"x".repeat(size)}`);
        }
        const binary = Buffer.from([0, 1, 2, 255]);
        peer.send(binary);
        assert.deepEqual(await peer.next(), binary);
        assert.equal((await peer.close(1000)).code, 1000);
      }),
    );
  });

  it("polling is answered, and can be upgraded on the same connection", async (t) => {
    const connection = await Connection.open(t, server);
    const path = await polling(connection);
    const peer = await connection.websocket(path.replace("transport=polling", "transport=websocket"));
    const waiting = connection.request(path);
    peer.send("2probe");
    assert.equal(await peer.next("the probe's answer"), "3probe");
    assert.equal((await waiting).text, "6");
    peer.send("5");
    peer.send('420["message-with-ack",1,"two",[false]]');
    assert.equal(await peer.next("acknowledgement"), '430[1,"two",[false]]');
    await peer.close(1000);
  });

  it("a broadcast reaches clients over HTTP/1 and HTTP/2", async (t) => {
    const connection = await Connection.open(t, server);
    const first = await joined(await connection.websocket(WEBSOCKET));
    const second = await joined(await connection.websocket(WEBSOCKET));
    const old = await joined(await OverHttp1.open(server.ws + WEBSOCKET));
    const room = `room ${process.pid}`;
    for (const peer of [first, second, old]) {
      peer.send(`42${JSON.stringify(["join", room])}`);
      peer.send('421["message-with-ack"]');
      assert.equal(await peer.next(), "431[]");
    }
    old.send(`42${JSON.stringify(["to", room, "news", "from the first version"])}`);
    for (const peer of [first, second, old]) assert.equal(await peer.next(), '42["news","from the first version"]');
    first.send(`42${JSON.stringify(["to", room, "news", "from the second"])}`);
    for (const peer of [first, second, old]) assert.equal(await peer.next(), '42["news","from the second"]');
    for (const peer of [first, second, old]) await peer.close(1000);
  });

  it("what does not become a WebSocket is refused by its status", async (t) => {
    const connection = await Connection.open(t, server);
    const refusals = [
      ["/ws", { ":protocol": "connect-udp" }, 501],
      ["/ws", { "sec-websocket-version": "9" }, 426],
      ["/nothing", {}, 404],
      [POLLING, {}, 400],
      [`${WEBSOCKET}&sid=AAAAAAAAAAAAAAAAAAAA`, {}, 400],
    ];
    for (const [path, headers, status] of refusals) {
      const refused = await connection.connect(path, headers);
      assert.equal(refused.status, status, `${path} ${JSON.stringify(headers)}`);
      refused.stream.close();
    }
    const peer = await connection.websocket("/ws");
    peer.send("the connection goes on");
    assert.equal(await peer.next(), "the connection goes on");
  });
});
