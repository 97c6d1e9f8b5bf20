// What happens to official clients that send too much or read too slowly.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connectedClient, connection, MODES, newClient, received } from "../lib/clients.mjs";
import { once, TEST_LIMIT, within } from "../lib/deadline.mjs";
import { CALM, referenceDeviates, serverWith } from "../lib/server.mjs";

const together = { concurrency: 4, timeout: TEST_LIMIT };
const noSuchOption = referenceDeviates("has no such options");

const RATE = 20;
const EXCEEDED = { error: "rate limit exceeded" };

for (const [mode, transport] of Object.entries(MODES)) {
  describe(`a rate of events, ${mode}`, { ...together, ...noSuchOption }, () => {
    it("drops events beyond it with an error to the ack, and serves on", async (t) => {
      const server = await serverWith({ ...CALM, "rate-limit": RATE });
      const [busy, calm] = [await connectedClient(t, server, transport), await connectedClient(t, server, transport)];
      const calls = Array.from({ length: 10 * RATE }, (_, n) => busy.timeout(10_000).emitWithAck("message-with-ack", n));
      const answers = await Promise.all(calls);
      const refused = answers.filter((answer) => answer?.error !== undefined);
      assert.ok(refused.length > 0 && refused.length <= 9 * RATE, `${refused.length} were refused`);
      for (const answer of refused) assert.deepEqual(answer, EXCEEDED);
      answers.forEach((answer, n) => assert.ok(answer === n || answer?.error, `${n}: ${answer}`));
      assert.equal(await calm.timeout(10_000).emitWithAck("message-with-ack", "calm"), "calm");
      assert.ok(busy.connected);
    });
  });
}

const EVENTS = 3_000;
const LONG = "x".repeat(10_000);

/** A client over WebSocket that does not read until `client.read()` is called. */
async function slowClient(t, server, room) {
  const client = newClient(t, server, { transports: ["websocket"] });
  await connection(client);
  client.emit("join", room);
  await client.timeout(10_000).emitWithAck("message-with-ack", "joined");
  const socket = client.io.engine.transport.ws._socket;
  socket.pause();
  client.read = () => socket.resume();
  return client;
}

describe("a client that reads slowly", { ...together, ...noSuchOption }, () => {
  const server = () => serverWith({ ...CALM, "max-outbox": 256 << 10, "full-outbox": "drop-oldest" });

  it("gets the newest events, in order, and stays", async (t) => {
    const slow = await slowClient(t, await server(), "drop");
    const quick = await connectedClient(t, await server());
    const events = received(slow, "n");
    for (let n = 0; n < EVENTS; n++) quick.emit("to", "drop", "n", n, LONG);
    quick.emit("to", "drop", "n", "last");
    await quick.timeout(30_000).emitWithAck("message-with-ack", 1);
    slow.read();
    const numbers = [];
    for (;;) {
      const [n] = await events.next();
      if (n === "last") break;
      numbers.push(n);
    }
    assert.ok(numbers.length < EVENTS, `${numbers.length} events`);
    assert.deepEqual(numbers, numbers.toSorted((a, b) => a - b));
    assert.equal(numbers.at(-1), EVENTS - 1);
    assert.equal(await slow.timeout(10_000).emitWithAck("message-with-ack", "here"), "here");
  });

  it("gets the newest event of each key", async (t) => {
    const slow = await slowClient(t, await server(), "keys");
    const quick = await connectedClient(t, await server());
    const events = received(slow, "price");
    for (let n = 0; n < EVENTS; n++) {
      for (const key of ["tea", "salt"]) quick.emit("conflate", key, "keys", "price", key, n, LONG);
    }
    quick.emit("to", "keys", "price", "end");
    await quick.timeout(60_000).emitWithAck("message-with-ack", 1);
    slow.read();
    const newest = {};
    let count = 0;
    for (;;) {
      const [key, n] = await events.next();
      if (key === "end") break;
      assert.ok(n > (newest[key] ?? -1), `${key}: ${n} after ${newest[key]}`);
      newest[key] = n;
      count += 1;
    }
    assert.deepEqual(newest, { tea: EVENTS - 1, salt: EVENTS - 1 });
    assert.ok(count < EVENTS, `${count} events`);
  });
});

describe("a client that is cut by the server", { ...together, ...noSuchOption }, () => {
  it("is told by the reason, and one that reads nothing is disconnected by default", async (t) => {
    const server = await serverWith({ ...CALM, "max-outbox": 64 << 10 });
    const slow = await slowClient(t, server, "cut");
    const quick = await connectedClient(t, server);
    for (let n = 0; n < EVENTS; n++) quick.emit("to", "cut", "n", n, LONG);
    await within(quick.timeout(30_000).emitWithAck("message-with-ack", 1), "ack", 30_000);
    slow.read();
    const [reason] = await once(slow, "disconnect");
    assert.equal(reason, "transport close");
  });
});
