// Recovery of connection state, by socket.io-client behind the test's TCP proxy.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { connectedClient, connection, MODES, newClient, received, upgraded } from "../lib/clients.mjs";
import { once, TEST_LIMIT, until } from "../lib/deadline.mjs";
import { Proxy } from "../lib/proxy.mjs";
import { CALM, ownServer, referenceDeviates, serverWith, STEADY } from "../lib/server.mjs";

const RECOVERY = 60_000;

const calm = await serverWith({ ...CALM, recovery: RECOVERY });
const steady = await serverWith({ ...STEADY, recovery: RECOVERY });
const together = { concurrency: 8, timeout: TEST_LIMIT };
const reconnecting = { reconnection: true, reconnectionDelay: 10, reconnectionDelayMax: 50 };

/** The client is connected and the server has handled what it sent. */
const settled = (client) => until(() => client.connected && client.timeout(3000).emitWithAck("message-with-ack", 1).catch(() => 0), "answer");

/** The first arguments of the events of this name that the client has got. */
const texts = (client, event) => {
  const list = [];
  client.on(event, (text) => list.push(text));
  return list;
};

for (const [mode, transport] of Object.entries(MODES)) {
  describe(`recovery, ${mode}`, together, () => {
    for (const [how, server] of [["reset", calm], ["silence", steady]]) {
      it(`a client that was cut by ${how} gets its id, its room and what it has missed, in order`, async (t) => {
        const proxy = await Proxy.open(t, server);
        const client = await connectedClient(t, proxy, { ...transport, ...reconnecting });
        client.io.timeout(2000);
        if (mode === "polling that upgrades") await upgraded(client);
        const speaker = await connectedClient(t, server, { transports: ["websocket"] });
        const room = `${how} ${mode}`;
        client.emit("join", room);
        await settled(client);
        const got = texts(client, "news");
        speaker.emit("to", room, "news", "before");
        await until(() => got.length === 1, "the first event");
        const { id } = client;
        for (const round of [1, 2, 3]) {
          proxy.refusing = true;
          await proxy.cutOff(how, client);
          for (let n = 0; n < 20; n += 1) speaker.emit("to", room, "news", `${round} ${n}`);
          await settled(speaker);
          proxy.refusing = false;
          await settled(client);
          assert.equal(client.id, id);
          assert.ok(client.recovered, `round ${round}`);
          assert.equal(await client.emitWithAck("recovered"), true);
        }
        speaker.emit("to", room, "news", "after");
        await until(() => got.at(-1) === "after", "the last event");
        const expected = [1, 2, 3].flatMap((round) => Array.from({ length: 20 }, (_, n) => `${round} ${n}`));
        assert.deepEqual(got, ["before", ...expected, "after"]);
      });
    }

    it("a client that has got no event yet is recovered", referenceDeviates("forgets a client without an offset"), async (t) => {
      const proxy = await Proxy.open(t, calm);
      const client = await connectedClient(t, proxy, { ...transport, ...reconnecting, nsp: "/cast" });
      const speaker = await connectedClient(t, calm, { transports: ["websocket"], nsp: "/cast" });
      const got = texts(client, "cast");
      const { id } = client;
      proxy.refusing = true;
      await proxy.cutOff("reset", client);
      speaker.emit("cast", mode);
      await once(speaker, "cast");
      proxy.refusing = false;
      await until(() => got.includes(mode), "the missed event");
      assert.ok(client.recovered && client.id === id);
    });

    it("a client that says good-bye does not come back as the same", async (t) => {
      const client = await connectedClient(t, calm, transport);
      const { id } = client;
      // It would be recovered if it came back before its good-bye.
      const closed = once(client.io.engine, "close");
      client.disconnect();
      await closed;
      client.connect();
      await connection(client);
      assert.ok(!client.recovered && client.id !== id);
    });
  });
}

it("an old connection that is still open under the same pid is ended", referenceDeviates("has two sockets of one id"), async (t) => {
  const proxy = await Proxy.open(t, calm);
  const client = await connectedClient(t, proxy, { transports: ["websocket"], ...reconnecting });
  await settled(client);
  const { id } = client;
  // The server is told nothing; the client is.
  proxy.silence();
  client.io.engine.close();
  await until(() => client.connected, "reconnection");
  assert.ok(client.recovered && client.id === id);
  assert.equal(await client.emitWithAck("recovered"), true);
});

/** A server with a store that can be killed and started again. It is what proxies connect to. */
class Killable {
  static async start(t) {
    const killable = new Killable();
    const store = mkdtempSync(join(tmpdir(), "switchboard-recovery-"));
    t.after(() => rmSync(store, { recursive: true, force: true }));
    killable.begin = async () => (killable.server = await ownServer(t, { ...STEADY, recovery: RECOVERY, store }));
    await killable.begin();
    return killable;
  }

  get host() {
    return this.server.host;
  }

  get port() {
    return this.server.port;
  }

  /** Kills it by SIGKILL, and starts another one on the same store. */
  async killed() {
    const gone = once(this.server.process, "exit");
    this.server.stop();
    await gone;
    await this.begin();
  }
}

const storeOnly = referenceDeviates("has no store");

it("clients are recovered after the server was killed, each with its room", storeOnly, async (t) => {
  const server = await Killable.start(t);
  const proxy = await Proxy.open(t, server);
  const all = await Promise.all(
    Object.entries(MODES).map(async ([mode, transport]) => {
      const client = await connectedClient(t, proxy, { ...transport, ...reconnecting });
      client.emit("join", mode);
      await settled(client);
      return { mode, client, id: client.id, got: texts(client, "news") };
    }),
  );
  for (const round of [1, 2]) {
    await server.killed();
    for (const { client, id } of all) {
      await settled(client);
      assert.ok(client.recovered && client.id === id, `round ${round}`);
    }
    for (const { mode } of all) all[0].client.emit("to", mode, "news", `${round} for ${mode}`);
    for (const { mode, got } of all) await until(() => got.at(-1) === `${round} for ${mode}`, `news of ${mode}`);
  }
  for (const { mode, got } of all) assert.deepEqual(got, [`1 for ${mode}`, `2 for ${mode}`]);
});

it("a server that is killed at any moment has lost nothing that it has acknowledged", storeOnly, async (t) => {
  const server = await Killable.start(t);
  const proxy = await Proxy.open(t, server);
  const clients = await Promise.all(
    Array.from({ length: 8 }, (_, n) =>
      connectedClient(t, proxy, { ...Object.values(MODES)[n % 4], ...reconnecting }),
    ),
  );
  const heard = clients.map((client) => texts(client, "broadcast"));
  const speaker = await connectedClient(t, proxy, { transports: ["websocket"], ...reconnecting });
  const [kept, rounds] = [[], 6];
  let killing = true;
  const killer = (async () => {
    for (let round = 0; round < rounds; round += 1) {
      await until(() => kept.length >= (round + 1) * 100, "acknowledged broadcasts");
      await server.killed();
    }
    killing = false;
  })();
  for (let n = 0; killing; n += 1) {
    const sent = speaker.timeout(2000).emitWithAck("broadcast", n);
    if (await sent.then(() => true, () => false)) kept.push(n);
  }
  await killer;
  for (const got of heard) {
    await until(() => got.at(-1) >= kept.at(-1), "the last broadcast");
    assert.ok(got.every((n, at) => at === 0 || n > got[at - 1]), "in order, and none twice");
    const all = new Set(got);
    assert.deepEqual(kept.filter((n) => !all.has(n)), [], "all that was acknowledged");
  }
});

// RECOVERY_LOAD=whole: 10 000 broadcasts to 200 clients, each cut every two seconds. Else a sample of it.
const load =
  process.env.RECOVERY_LOAD === "whole"
    ? { broadcasts: 10_000, clients: 200, every: 2000, pace: 4 }
    : { broadcasts: 1000, clients: 20, every: 400, pace: 4 };

// Heartbeats are quick, since a client whose WebSocket breaks amid its upgrade stays on polling without a poll,
// up to its time-out.
it("nothing is lost, nothing comes twice and the order is kept for clients that are cut again and again", async (t) => {
  const proxies = await Promise.all([1, 2, 3, 4].map(() => Proxy.open(t, steady)));
  const modes = Object.values(MODES);
  const all = Array.from({ length: load.clients }, (_, n) => {
    const client = newClient(t, proxies[n % 4], { ...modes[n % modes.length], ...reconnecting });
    return { client, got: texts(client, "broadcast"), mode: n % modes.length };
  });
  await Promise.all(all.map(({ client }) => connection(client)));
  const speaker = await connectedClient(t, steady, { transports: ["websocket"] });
  for (const { client } of all) client.on("connect", () => assert.ok(client.recovered, "it is the same session"));
  let speaking = true;
  const cutting = (async () => {
    for (let turn = 0; speaking; turn += 1) {
      await pause(load.every / proxies.length);
      proxies[turn % proxies.length].reset();
    }
  })();
  for (let n = 0; n < load.broadcasts; n += 1) {
    speaker.emit("broadcast", n);
    if (n % 10 === 9) await pause(load.pace * 10);
  }
  await settled(speaker);
  speaking = false;
  await cutting;
  const late = () => all.filter(({ got }) => got.length < load.broadcasts);
  await until(() => !late().length, "all broadcasts").catch(() => {});
  const wrong = all.filter(({ got }) => got.some((value, n) => value !== n) || got.length !== load.broadcasts);
  const told = wrong.map(({ client, got, mode }) => ({
    mode: Object.keys(MODES)[mode],
    state: client.connected ? "connected" : client.io._readyState,
    count: got.length,
    from: got.findIndex((value, n) => value !== n),
  }));
  assert.deepEqual(told, []);
});
