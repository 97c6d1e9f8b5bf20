// Engine.IO v4: the server pings, and the client answers. A client that does not answer is closed; one that
// answers stays.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TEST_LIMIT } from "../lib/deadline.mjs";
import { ENDPOINTS, openWebSocket, PollingSession } from "../lib/engine.mjs";
import { BRISK, PATIENT, serverWith } from "../lib/server.mjs";

const brisk = await serverWith(BRISK);
const patient = await serverWith(PATIENT);

const INTERVAL = BRISK["ping-interval"];
const TIMEOUT = BRISK["ping-timeout"];
/** A shared timer wheel may fire earlier by a fifth. */
const EARLIEST = 0.8;
/** The load of the machine decides how late a timer is. This limit is far beyond it. */
const LATEST = 20;

function isOnTime(what, started, expected) {
  const elapsed = performance.now() - started;
  assert.ok(elapsed >= expected * EARLIEST, `${what} after ${elapsed} ms, expected ${expected}`);
  assert.ok(elapsed <= expected * LATEST, `${what} after ${elapsed} ms, expected ${expected}`);
}

for (const endpoint of ENDPOINTS) {
  describe(`heartbeats at ${endpoint}`, { concurrency: 8, timeout: TEST_LIMIT }, () => {
    it("tell their times in the handshake", async () => {
      const { handshake } = await PollingSession.open(brisk, { endpoint });
      assert.deepEqual([handshake.pingInterval, handshake.pingTimeout], [INTERVAL, TIMEOUT]);
    });

    it("go back and forth over polling", async () => {
      const session = await PollingSession.open(patient, { endpoint });
      for (let i = 0; i < 4; i += 1) {
        const started = performance.now();
        assert.deepEqual(await session.packets(), ["2"]);
        if (i > 0) isOnTime("ping", started, INTERVAL);
        await session.send("3");
      }
    });

    it("go back and forth over WebSocket", async () => {
      const peer = await openWebSocket(patient, { endpoint });
      for (let i = 0; i < 4; i += 1) {
        const started = performance.now();
        assert.equal(await peer.next("ping"), "2");
        if (i > 0) isOnTime("ping", started, INTERVAL);
        peer.send("3");
      }
      await peer.close();
    });

    it("that go unanswered close the session over polling", async () => {
      const started = performance.now();
      const session = await PollingSession.open(brisk, { endpoint });
      assert.deepEqual(await session.packets(), ["2"]);
      // A waiting poll gets the close. A poll that comes later gets "unknown sid".
      const last = await session.poll();
      isOnTime("close", started, INTERVAL + TIMEOUT);
      if (last.status === 200) assert.equal(last.text, "1");
      await session.gone();
    });

    it("that are never even fetched close the session over polling", async () => {
      const started = performance.now();
      const session = await PollingSession.open(brisk, { endpoint });
      await session.gone();
      isOnTime("close", started, INTERVAL + TIMEOUT);
    });

    it("that go unanswered close the session over WebSocket", async () => {
      const started = performance.now();
      const peer = await openWebSocket(brisk, { endpoint });
      await peer.end();
      isOnTime("close", started, INTERVAL + TIMEOUT);
      assert.equal(await peer.next(), "2");
    });

    it("go on after an upgrade", async () => {
      const session = await PollingSession.open(patient, { endpoint });
      const peer = await session.probe();
      peer.send("5");
      for (let i = 0; i < 3; i += 1) {
        assert.equal(await peer.next("ping"), "2");
        peer.send("3");
      }
      await peer.close();
    });

    it("that go unanswered close an upgraded session", async () => {
      const session = await PollingSession.open(brisk, { endpoint });
      const peer = await session.probe();
      peer.send("5");
      // One answer on the WebSocket: the reference forgets a ping that it sent before the upgrade.
      assert.equal(await peer.next("ping"), "2");
      peer.send("3");
      await peer.end();
      await session.gone();
    });
  });
}

describe("a pong that nobody asked for", { timeout: TEST_LIMIT }, () => {
  it("harms nothing", async () => {
    const peer = await openWebSocket(patient);
    peer.send("3");
    peer.send("4hello");
    assert.equal(await peer.next(), "4hello");
    await peer.close();
  });

  it("is no way to live without answering", async () => {
    const session = await PollingSession.open(brisk);
    // Messages are not heartbeats. Only a pong is.
    await session.send("4chatter");
    await session.gone();
  });
});
