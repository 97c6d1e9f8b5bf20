// Engine.IO v4: the upgrade from polling to WebSocket, and every way in which it fails.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TEST_LIMIT } from "../lib/deadline.mjs";
import { openWebSocket, PollingSession } from "../lib/engine.mjs";
import { CALM, referenceDeviates, serverWith } from "../lib/server.mjs";
import { Peer } from "../lib/websocket.mjs";

const server = await serverWith(CALM);
const together = { concurrency: 8, timeout: TEST_LIMIT };
const badRequest = { code: 3, message: "Bad request" };

describe("an upgrade", together, () => {
  it("answers the probe, releases the poll with a noop, then speaks WebSocket", async () => {
    const session = await PollingSession.open(server);
    const peer = await session.upgrade();
    peer.send("4hello");
    assert.equal(await peer.next(), "4hello");
    await peer.close();
  });

  it("releases every poll that comes while it is under way", async () => {
    const session = await PollingSession.open(server);
    const peer = await session.probe();
    for (let i = 0; i < 3; i += 1) assert.deepEqual(await session.packets(), ["6"]);
    peer.send("5");
    peer.send("4hello");
    assert.equal(await peer.next(), "4hello");
    await peer.close();
  });

  it("delivers over polling what is said before it is complete", async () => {
    const session = await PollingSession.open(server);
    const peer = await session.probe();
    await session.send("4before");
    assert.deepEqual(await session.messages(1), ["4before"]);
    peer.send("5");
    peer.send("4after");
    assert.equal(await peer.next(), "4after");
    await peer.close();
  });

  it("hands what no poll has fetched over to the WebSocket, in order", async () => {
    const session = await PollingSession.open(server);
    const peer = await session.probe();
    const sent = ["4one", Buffer.from([2]), "4three"];
    await session.send(...sent);
    peer.send("5");
    peer.send("4four");
    assert.deepEqual(await peer.take(4), [...sent, "4four"]);
    await peer.close();
  });

  it("takes what comes right behind it in one go", async () => {
    const session = await PollingSession.open(server);
    const peer = await session.probe();
    peer.ws._socket.cork();
    for (const packet of ["5", "4a", "4b", "4c"]) peer.send(packet);
    peer.ws._socket.uncork();
    assert.deepEqual(await peer.take(3), ["4a", "4b", "4c"]);
    await peer.close();
  });

  it("leaves HTTP requests with the session's sid nothing but a 400", async () => {
    const session = await PollingSession.open(server);
    const peer = await session.upgrade();
    // The answer to a message shows that the upgrade is complete.
    peer.send("4done");
    assert.equal(await peer.next(), "4done");
    for (const response of [await session.poll(), await session.post("4x")]) {
      assert.deepEqual([response.status, JSON.parse(response.text)], [400, badRequest]);
    }
    peer.send("4hello");
    assert.equal(await peer.next(), "4hello");
    await peer.close();
  });

  it("is refused to a session that has had it", async () => {
    const session = await PollingSession.open(server);
    const peer = await session.upgrade();
    peer.send("4done");
    assert.equal(await peer.next(), "4done");
    const second = new Peer(session.websocketUrl);
    await second.end();
    peer.send("4hello");
    assert.equal(await peer.next(), "4hello");
    await peer.close();
  });

  it("is refused while another is under way, which it does not disturb", async () => {
    const session = await PollingSession.open(server);
    const first = await session.probe();
    const second = new Peer(session.websocketUrl);
    await second.end();
    assert.deepEqual(await session.packets(), ["6"]);
    first.send("5");
    first.send("4hello");
    assert.equal(await first.next(), "4hello");
    await first.close();
  });

  it("is refused to a session that began on WebSocket", referenceDeviates("answers its probe"), async () => {
    const peer = await openWebSocket(server);
    const second = new Peer(`${server.ws}/engine.io/?EIO=4&transport=websocket&sid=${peer.handshake.sid}`);
    await second.end();
    peer.send("4hello");
    assert.equal(await peer.next(), "4hello");
    await peer.close();
  });

  it("ends the session when its WebSocket ends", async () => {
    const session = await PollingSession.open(server);
    const peer = await session.upgrade();
    peer.send("4done");
    await peer.next();
    peer.terminate();
    await session.gone();
  });

  it("ends with the session, if that is closed under way", async () => {
    const session = await PollingSession.open(server);
    const peer = await session.probe();
    assert.deepEqual(await session.packets(), ["6"]);
    await session.post("1");
    await peer.end();
    await session.gone();
  });
});

describe("a failed probe leaves the session on polling", together, () => {
  const failures = [
    ["a message before the probe", async (peer) => peer.send("4hello")],
    ["a ping that is no probe", async (peer) => peer.send("2other")],
    ["something that is no packet", async (peer) => peer.send("zzz")],
    ["binary", async (peer) => peer.send(Buffer.from([1]))],
    ["a message after the probe", async (peer) => {
      peer.send("2probe");
      assert.equal(await peer.next(), "3probe");
      peer.send("4hello");
    }],
    ["the WebSocket's close before the probe", async (peer) => peer.ws.close()],
    ["the WebSocket's loss after the probe", async (peer) => {
      peer.send("2probe");
      assert.equal(await peer.next(), "3probe");
      peer.terminate();
    }],
    ["a frame that breaks the WebSocket", async (peer) => peer.ws._socket.write(Buffer.from([0xf1, 0x80, 0, 0, 0, 0]))],
  ];
  for (const [what, fail] of failures) {
    it(what, async () => {
      const session = await PollingSession.open(server);
      const failing = await Peer.open(session.websocketUrl);
      await fail(failing);
      await failing.end();
      await session.lives();
      // Another attempt may succeed.
      const peer = await session.upgrade();
      peer.send("4hello");
      assert.equal(await peer.next(), "4hello");
      await peer.close();
    });
  }
});
