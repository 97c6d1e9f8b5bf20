// engine.io-client 6.6 at the bare Engine.IO endpoint, over every transport.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connectedEngine, MODES, received } from "../lib/clients.mjs";
import { once, TEST_LIMIT } from "../lib/deadline.mjs";
import { CALM, PATIENT, serverWith } from "../lib/server.mjs";

const server = await serverWith(CALM);
const patient = await serverWith(PATIENT);
const together = { concurrency: 8, timeout: TEST_LIMIT };

const MESSAGES = [
  ["text", "hello"],
  ["text beyond ASCII", "€ 😀 é \u0000"],
  ["a text of 500 kB", "x".repeat(500_000)],
  ["binary", Buffer.from([0, 1, 2, 250, 255])],
  ["empty binary", Buffer.alloc(0)],
  ["binary of 500 kB", Buffer.alloc(500_000, 3)],
];

for (const [mode, transport] of Object.entries(MODES)) {
  describe(`engine.io-client, ${mode}`, together, () => {
    for (const [what, message] of MESSAGES) {
      it(`gets back ${what}`, async (t) => {
        const socket = await connectedEngine(t, server, transport);
        socket.send(message);
        assert.deepEqual(await socket.messages.next(), message);
      });
    }

    it("gets back 300 messages in order", async (t) => {
      const socket = await connectedEngine(t, server, transport);
      const sent = Array.from({ length: 300 }, (_, i) => (i % 3 ? `${i}` : Buffer.from(`${i}`)));
      for (const message of sent) socket.send(message);
      assert.deepEqual(await socket.messages.take(sent.length), sent);
    });

    it("stays open over many heartbeats", async (t) => {
      const socket = await connectedEngine(t, patient, transport);
      const pings = received(socket, "ping");
      await pings.take(4);
      socket.send("well");
      assert.equal(await socket.messages.next(), "well");
    });

    it("closes when it has sent what was waiting", async (t) => {
      const socket = await connectedEngine(t, server, transport);
      const closed = once(socket, "close");
      socket.send("last words");
      socket.close();
      assert.equal((await closed)[0], "forced close");
    });

    it("is closed for a message over the limit", async (t) => {
      const socket = await connectedEngine(t, server, transport);
      if (mode === "polling that upgrades") await once(socket, "upgrade");
      const closed = once(socket, "close");
      socket.send("x".repeat(1_100_000));
      const [reason] = await closed;
      assert.equal(reason, socket.transport.name === "websocket" ? "transport close" : "transport error");
    });
  });
}

describe("engine.io-client", together, () => {
  it("upgrades and keeps its id", async (t) => {
    const socket = await connectedEngine(t, server);
    const { id } = socket;
    await once(socket, "upgrade");
    socket.send("hello");
    assert.equal(await socket.messages.next(), "hello");
    assert.deepEqual([socket.id, socket.transport.name], [id, "websocket"]);
  });

  it("does not upgrade when it does not want to", async (t) => {
    const socket = await connectedEngine(t, server, { upgrade: false });
    socket.send("hello");
    assert.equal(await socket.messages.next(), "hello");
    assert.equal(socket.transport.name, "polling");
  });
});
