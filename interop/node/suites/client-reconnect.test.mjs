// socket.io-client behind the test's TCP proxy, which resets, falls silent, or lets no WebSocket through.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connectedClient, connection, MODES, newClient, received, upgraded } from "../lib/clients.mjs";
import { once, TEST_LIMIT, until } from "../lib/deadline.mjs";
import { PollingSession } from "../lib/engine.mjs";
import { Proxy, UPGRADES } from "../lib/proxy.mjs";
import { CALM, PATIENT, serverWith, STEADY } from "../lib/server.mjs";

const calm = await serverWith(CALM);
const steady = await serverWith(STEADY);
const patient = await serverWith(PATIENT);
const together = { concurrency: 8, timeout: TEST_LIMIT };
const reconnecting = { reconnection: true, reconnectionDelay: 10, reconnectionDelayMax: 50 };

const settle = async (client, mode) => {
  if (mode === "polling that upgrades") await upgraded(client);
};

/**
 * The server's answer. If the connection breaks before it, the request is sent again, because a lost ack
 * never comes.
 */
const asked = async (client, value = "well") => {
  const ask = () => client.timeout(3000).emitWithAck("message-with-ack", value).catch(() => undefined);
  return until(ask, "acknowledgement");
};

/** Connected again, perhaps after failed attempts. */
const back = (client) => until(() => client.connected, "reconnection");

for (const [mode, transport] of Object.entries(MODES)) {
  describe(`a broken connection, ${mode}`, together, () => {
    it("by reset: the client comes back as another socket and has lost nothing it said meanwhile", async (t) => {
      const proxy = await Proxy.open(t, calm);
      const client = await connectedClient(t, proxy, { ...transport, ...reconnecting });
      await settle(client, mode);
      const before = client.id;
      const [reasons, answers] = [received(client, "disconnect"), received(client, "message-back")];
      await proxy.cutOff("reset", client);
      const [reason] = await reasons.next();
      assert.ok(["transport close", "transport error"].includes(reason), reason);
      client.emit("message", "said while away");
      await back(client);
      assert.notEqual(client.id, before);
      assert.ok(!client.recovered);
      assert.deepEqual(await answers.next(), ["said while away"]);
    });

    it("by silence: both ends notice by the heartbeat, and the client comes back", async (t) => {
      const proxy = await Proxy.open(t, steady);
      const client = await connectedClient(t, proxy, { ...transport, ...reconnecting });
      // Fetch may use a silent kept connection for an attempt. The client then gives up and makes a new one.
      client.io.timeout(2000);
      await settle(client, mode);
      const reasons = received(client, "disconnect");
      const session = new PollingSession(steady, "/socket.io/", { sid: client.io.engine.id });
      await proxy.cutOff("silence", client);
      assert.equal((await reasons.next())[0], "ping timeout");
      await back(client);
      assert.equal(await asked(client, "back"), "back");
      await session.gone("the silent session");
    });

    it("and refused for a while: the client tries until it is let in", async (t) => {
      const proxy = await Proxy.open(t, calm);
      const client = await connectedClient(t, proxy, { ...transport, ...reconnecting });
      await settle(client, mode);
      const attempts = received(client.io, "reconnect_error");
      proxy.refusing = true;
      await proxy.cutOff("reset", client);
      await attempts.take(3);
      proxy.refusing = false;
      await back(client);
      assert.equal(await asked(client, "back"), "back");
    });

    it("leaves no ghost in the rooms", async (t) => {
      const room = `ghost of ${mode}`;
      const proxy = await Proxy.open(t, calm);
      const other = await connectedClient(t, calm, { transports: ["websocket"] });
      const client = await connectedClient(t, proxy, { ...transport, ...reconnecting });
      await settle(client, mode);
      client.emit("join", room);
      await asked(client);
      await proxy.cutOff("reset", client);
      await back(client);
      const heard = received(client, "said");
      other.emit("to", room, "said", "to the socket that was");
      await asked(other);
      client.emit("join", room);
      await asked(client);
      other.emit("to", room, "said", "to the socket that is");
      assert.deepEqual(await heard.next(), ["to the socket that is"]);
    });

    it("stays up over many heartbeats when nothing breaks", async (t) => {
      const client = await connectedClient(t, patient, transport);
      const pings = received(client.io, "ping");
      await pings.take(4);
      assert.equal(await asked(client, "well"), "well");
    });
  });
}

describe("50 clients cut off at once", { timeout: TEST_LIMIT }, () => {
  it("all come back and all are served", async (t) => {
    // Not on the calm server: if an upgrade is cut in its last step, the client waits until its heartbeat
    // fails.
    const slower = await serverWith({ "ping-interval": 2_000, "ping-timeout": 8_000 });
    const proxy = await Proxy.open(t, slower);
    const modes = Object.entries(MODES);
    const clients = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const [mode, transport] = modes[i % modes.length];
        const client = await connectedClient(t, proxy, { ...transport, ...reconnecting });
        await settle(client, mode);
        return client;
      }),
    );
    const away = clients.map((client) => client.id);
    await proxy.cutOff("reset", ...clients);
    await until(() => clients.every((client, i) => client.connected && client.id !== away[i]), "all to be back");
    const answers = clients.map((client, i) => client.timeout(10_000).emitWithAck("message-with-ack", i));
    assert.deepEqual(await Promise.all(answers), clients.map((_, i) => i));
  });
});

describe("a network that lets no WebSocket through", together, () => {
  it("leaves the client on polling, in the same session, with each message once", async (t) => {
    const proxy = await Proxy.open(t, calm, { upgrades: UPGRADES.reset });
    const client = newClient(t, proxy);
    const failure = once(client.io, "open").then(() => once(client.io.engine, "upgradeError"));
    await connection(client);
    const { id } = client;
    await failure;
    const heard = received(client, "broadcast");
    client.emit("broadcast", "only once");
    assert.deepEqual(await heard.next(), ["only once"]);
    assert.equal(await asked(client, "still"), "still");
    assert.deepEqual([client.id, client.io.engine.transport.name, heard.length], [id, "polling", 0]);
  });

  it("lets a client in that tries its other transport", async (t) => {
    const proxy = await Proxy.open(t, calm, { upgrades: UPGRADES.reset });
    const client = await connectedClient(t, proxy, { transports: ["websocket", "polling"], tryAllTransports: true });
    assert.equal(client.io.engine.transport.name, "polling");
  });
});
