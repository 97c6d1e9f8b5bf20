// Order across an upgrade from polling to WebSocket, in both directions: no message is lost, repeated, or out
// of order.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connectedClient, connectedEngine, received, upgraded } from "../lib/clients.mjs";
import { once, TEST_LIMIT } from "../lib/deadline.mjs";
import { PollingSession } from "../lib/engine.mjs";
import { Proxy, UPGRADES } from "../lib/proxy.mjs";
import { CALM, serverWith } from "../lib/server.mjs";

const server = await serverWith(CALM);
const together = { concurrency: 4, timeout: TEST_LIMIT };

const COUNT = 1000;
const numbers = Array.from({ length: COUNT }, (_, i) => i);
/** The point in a run of messages at which the held-back WebSocket is let through. */
const MIDDLE = 300;
const IN_FLIGHT = 10;

describe("1000 messages across an upgrade", together, () => {
  it("of socket.io-client, there and back", async (t) => {
    const proxy = await Proxy.open(t, server, { upgrades: UPGRADES.hold });
    const client = await connectedClient(t, proxy);
    const answers = received(client, "message-back");
    let sent = 0;
    const send = () => sent < COUNT && client.emit("message", sent++);
    while (sent < IN_FLIGHT) send();
    const got = [];
    let upgradedAt;
    upgraded(client).then(() => (upgradedAt = got.length));
    while (got.length < COUNT) {
      got.push(...(await answers.next()));
      send();
      if (got.length === MIDDLE) proxy.releaseUpgrades();
    }
    assert.deepEqual(got, numbers);
    assert.ok(upgradedAt >= MIDDLE && upgradedAt < COUNT, `upgraded at message ${upgradedAt}`);
  });

  it("of socket.io-client, all sent before the upgrade begins", async (t) => {
    const proxy = await Proxy.open(t, server, { upgrades: UPGRADES.hold });
    const client = await connectedClient(t, proxy);
    const answers = received(client, "message-back");
    for (const i of numbers) client.emit("message", i, i % 50 ? "text" : Buffer.from([i & 255]));
    proxy.releaseUpgrades();
    const got = await answers.take(COUNT);
    assert.deepEqual(got.map(([i]) => i), numbers);
    await upgraded(client);
    assert.equal(answers.length, 0);
  });

  it("to socket.io-client, from others in its room", async (t) => {
    const proxy = await Proxy.open(t, server, { upgrades: UPGRADES.hold });
    const [speaker, listener] = [
      await connectedClient(t, server, { transports: ["websocket"] }),
      await connectedClient(t, proxy),
    ];
    const room = "across an upgrade";
    const heard = received(listener, "said");
    listener.emit("join", room);
    await listener.emitWithAck("message-with-ack");
    const got = [];
    let upgradedAt;
    upgraded(listener).then(() => (upgradedAt = got.length));
    let sent = 0;
    const send = () => sent < COUNT && speaker.emit("to", room, "said", sent++);
    while (sent < IN_FLIGHT) send();
    while (got.length < COUNT) {
      got.push(...(await heard.next()));
      send();
      if (got.length === MIDDLE) proxy.releaseUpgrades();
    }
    assert.deepEqual(got, numbers);
    assert.ok(upgradedAt >= MIDDLE && upgradedAt < COUNT, `upgraded at message ${upgradedAt}`);
  });

  it("of engine.io-client, text and binary, there and back", async (t) => {
    const proxy = await Proxy.open(t, server, { upgrades: UPGRADES.hold });
    const socket = await connectedEngine(t, proxy);
    const message = (i) => (i % 7 ? `${i}` : Buffer.from(`${i}`));
    let upgrade;
    for (const i of numbers) {
      socket.send(message(i));
      if (i === MIDDLE) {
        upgrade = once(socket, "upgrade");
        proxy.releaseUpgrades();
      }
    }
    assert.deepEqual(await socket.messages.take(COUNT), numbers.map(message));
    await upgrade;
    assert.equal(socket.transport.name, "websocket");
    assert.equal(socket.messages.length, 0);
  });

  it("by hand, with the last poll's answer, its noop and the WebSocket's first messages in turn", async () => {
    const session = await PollingSession.open(server);
    const got = [];
    const half = COUNT / 2;
    const chunk = 50;
    const poll = async () => got.push(...(await session.packets()).filter((packet) => packet !== "6"));
    for (let i = 0; i < half; i += chunk) {
      // Sent while a poll may be waiting, so its response and the POST's response may cross.
      await Promise.all([poll(), session.send(...numbers.slice(i, i + chunk).map((n) => `4${n}`))]);
    }
    const peer = await session.probe();
    await session.send(...numbers.slice(half, half + chunk).map((n) => `4${n}`));
    peer.send("5");
    for (const n of numbers.slice(half + chunk)) peer.send(`4${n}`);
    got.push(...(await peer.take(COUNT - got.length)));
    assert.deepEqual(got, numbers.map((n) => `4${n}`));
    await peer.close();
  });
});

describe("1000 messages while polling", together, () => {
  it("come back to socket.io-client in order", async (t) => {
    const client = await connectedClient(t, server, { transports: ["polling"] });
    const answers = received(client, "message-back");
    for (const i of numbers) client.emit("message", i);
    assert.deepEqual((await answers.take(COUNT)).flat(), numbers);
    await client.emitWithAck("message-with-ack");
    assert.equal(answers.length, 0);
  });

  it("from another's room reach a poller in order", async (t) => {
    const [speaker, listener] = [
      await connectedClient(t, server, { transports: ["websocket"] }),
      await connectedClient(t, server, { transports: ["polling"] }),
    ];
    const heard = received(listener, "said");
    listener.emit("join", "pollers");
    await listener.emitWithAck("message-with-ack");
    for (const i of numbers) speaker.emit("to", "pollers", "said", i);
    assert.deepEqual((await heard.take(COUNT)).flat(), numbers);
  });
});
