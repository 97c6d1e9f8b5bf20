// socket.io-client 4.8 over every transport: events, acks, binary, rooms, namespaces, refusals.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connectedClient, connection, MODES, newClient, received, upgraded } from "../lib/clients.mjs";
import { once, TEST_LIMIT, until, within } from "../lib/deadline.mjs";
import { CALM, serverWith } from "../lib/server.mjs";

const server = await serverWith(CALM);
const together = { concurrency: 8, timeout: TEST_LIMIT };

const blob = (length, fill = 7) => Buffer.alloc(length, fill);

const ARGUMENTS = [
  ["no argument", []],
  ["scalars", ["text", 0, -1.5, true, false, null]],
  ["text beyond ASCII", ["€ 😀 \u0000 \u2028 \x1e", { é: "ü" }]],
  ["objects and lists", [{ a: { b: [1, [2, [3]]] } }, []]],
];

const BINARY = [
  ["a buffer", [blob(3)]],
  ["a buffer in the first, a middle and the last place", [blob(1), "x", blob(2), { y: 1 }, blob(3)]],
  ["buffers deep inside", [{ a: [{ b: blob(5) }, "x", [blob(6)]], c: blob(1) }]],
  ["ten buffers", Array.from({ length: 10 }, (_, i) => blob(i + 1, i))],
  ["empty buffers", [blob(0), { empty: blob(0) }, ""]],
  ["a buffer of 500 kB", [blob(500_000)]],
  ["every byte", [Buffer.from(Array.from({ length: 256 }, (_, i) => i))]],
];

for (const [mode, transport] of Object.entries(MODES)) {
  describe(`socket.io-client, ${mode}`, together, () => {
    for (const nsp of ["/", "/custom"]) {
      it(`connects to ${nsp}, with auth and without`, async (t) => {
        const auth = { token: "abc", roles: ["a", "b"] };
        const [with_, without] = await Promise.all([
          connectedClient(t, server, { ...transport, nsp, auth }),
          connectedClient(t, server, { ...transport, nsp }),
        ]);
        assert.deepEqual(await with_.auths.next(), [auth]);
        assert.deepEqual(await without.auths.next(), [{}]);
        assert.notEqual(with_.id, without.id);
        assert.ok(!with_.recovered);
      });
    }

    for (const [what, args] of [...ARGUMENTS, ...BINARY]) {
      it(`gets its event back: ${what}`, async (t) => {
        const client = await connectedClient(t, server, transport);
        const answers = received(client, "message-back");
        client.emit("message", ...args);
        assert.deepEqual(await answers.next(), args);
      });

      it(`gets an ack: ${what}`, async (t) => {
        const client = await connectedClient(t, server, transport);
        const answer = new Promise((resolve) => client.emit("message-with-ack", ...args, (...acked) => resolve(acked)));
        assert.deepEqual(await within(answer, "ack"), args);
      });
    }

    it("gets every ack to the call it belongs to", async (t) => {
      const client = await connectedClient(t, server, transport);
      const calls = Array.from({ length: 100 }, (_, i) => client.timeout(10_000).emitWithAck("message-with-ack", i));
      assert.deepEqual(await Promise.all(calls), Array.from({ length: 100 }, (_, i) => i));
    });

    it("gives up on an ack that does not come, and on that alone", async (t) => {
      const client = await connectedClient(t, server, transport);
      await assert.rejects(client.timeout(50).emitWithAck("nobody listens", 1), /operation has timed out/);
      assert.equal(await client.timeout(10_000).emitWithAck("message-with-ack", "alive"), "alive");
    });

    it("delivers a volatile event while it is connected", async (t) => {
      const client = await connectedClient(t, server, transport);
      // Over polling the client drops a volatile event while a POST is under way. Then it is sent again.
      const answer = await until(async () => {
        assert.ok(client.connected, "the client lost its connection");
        return client.timeout(1000).volatile.emitWithAck("message-with-ack", "v").catch(() => null);
      }, "answer to a volatile event");
      assert.equal(answer, "v");
    });

    it("joins rooms, hears what is said there, and leaves", async (t) => {
      const room = `room of ${mode}`;
      const [inside, outside] = await Promise.all([
        connectedClient(t, server, transport),
        connectedClient(t, server, transport),
      ]);
      const [heard, overheard] = [received(inside, "said"), received(outside, "said")];
      inside.emit("join", room);
      await inside.emitWithAck("message-with-ack");
      outside.emit("to", room, "said", "hello", { file: blob(4) });
      assert.deepEqual(await heard.next(), ["hello", { file: blob(4) }]);
      inside.emit("leave", room);
      await inside.emitWithAck("message-with-ack");
      outside.emit("to", room, "said", "anyone?");
      await outside.emitWithAck("message-with-ack");
      await inside.emitWithAck("message-with-ack");
      assert.deepEqual([heard.length, overheard.length], [0, 0]);
    });

    it("shares one connection between namespaces, and leaves one without the other", async (t) => {
      const main = await connectedClient(t, server, transport);
      const custom = main.io.socket("/custom");
      t.after(() => custom.disconnect());
      await connection(custom);
      assert.notEqual(custom.id, main.id);
      custom.disconnect();
      assert.equal(await main.emitWithAck("message-with-ack", "main"), "main");
      await connection(custom.connect());
      main.disconnect();
      assert.equal(custom.connected, true);
    });

    it("is told of an invalid namespace", async (t) => {
      const client = newClient(t, server, { ...transport, nsp: "/nowhere" });
      const [error] = await once(client, "connect_error");
      assert.equal(error.message, "Invalid namespace");
      assert.equal(client.connected, false);
    });

    it("is gone from the namespace once it has disconnected", async (t) => {
      const [leaver, stayer] = await Promise.all([
        connectedClient(t, server, transport),
        connectedClient(t, server, transport),
      ]);
      const room = `left by ${mode}`;
      const heard = received(leaver, "said");
      leaver.emit("join", room);
      await leaver.emitWithAck("message-with-ack");
      const reasons = received(leaver, "disconnect");
      leaver.disconnect();
      assert.equal((await reasons.next())[0], "io client disconnect");
      stayer.emit("to", room, "said", 1);
      await stayer.emitWithAck("message-with-ack");
      assert.equal(heard.length, 0);
    });

    it("is disconnected for a message over the limit, with the transport's reason", async (t) => {
      const client = await connectedClient(t, server, transport);
      if (mode === "polling that upgrades") await upgraded(client);
      const reasons = received(client, "disconnect");
      client.emit("message", blob(1_100_000).toString());
      const polls = client.io.engine.transport.name !== "websocket";
      assert.equal((await reasons.next())[0], polls ? "transport error" : "transport close");
      const another = await connectedClient(t, server, transport);
      assert.equal(await another.emitWithAck("message-with-ack", "well"), "well");
    });

    it("sends several messages that together are over the limit", async (t) => {
      const client = await connectedClient(t, server, transport);
      const answers = received(client, "message-back");
      const texts = Array.from({ length: 30 }, (_, i) => `${i}`.repeat(50_000));
      for (const text of texts) client.emit("message", text);
      assert.deepEqual((await answers.take(texts.length)).flat(), texts);
    });

    it("keeps 500 messages in order", async (t) => {
      const client = await connectedClient(t, server, transport);
      const answers = received(client, "message-back");
      const sent = Array.from({ length: 500 }, (_, i) => (i % 10 ? [i] : [i, blob(i)]));
      for (const args of sent) client.emit("message", ...args);
      assert.deepEqual(await answers.take(sent.length), sent);
    });
  });
}

describe("socket.io-client", together, () => {
  it("upgrades to WebSocket and goes on", async (t) => {
    const client = await connectedClient(t, server);
    await upgraded(client);
    assert.equal(await client.emitWithAck("message-with-ack", "upgraded"), "upgraded");
  });

  it("forced to base64 gets its binary back over WebSocket", async (t) => {
    const client = await connectedClient(t, server, { transports: ["websocket"], forceBase64: true });
    assert.deepEqual(await client.emitWithAck("message-with-ack", blob(100)), blob(100));
  });

  it("without a trailing slash, with a query and headers of its own, connects", async (t) => {
    for (const transports of [["polling"], ["websocket"]]) {
      const client = await connectedClient(t, server, {
        transports,
        query: { room: "a b&c", sid2: "x" },
        extraHeaders: { "x-own": "value" },
      });
      assert.equal(client.connected, true);
    }
  });

  it("over polling has its session closed by disconnecting", async (t) => {
    const client = await connectedClient(t, server, { transports: ["polling"] });
    const { engine } = client.io;
    const closed = once(engine, "close");
    client.disconnect();
    assert.equal((await closed)[0], "forced close");
  });
});

describe("50 socket.io-clients at once", { timeout: TEST_LIMIT }, () => {
  const CLIENTS = 50;
  const EACH = 4;

  it("all hear every broadcast once, each sender's in order", async (t) => {
    const modes = Object.values(MODES);
    const clients = await Promise.all(
      Array.from({ length: CLIENTS }, (_, i) => connectedClient(t, server, modes[i % modes.length])),
    );
    const heard = clients.map((client) => received(client, "broadcast"));
    for (let round = 0; round < EACH; round += 1) clients.forEach((client, i) => client.emit("broadcast", "crowd", i, round));
    for (const queue of heard) {
      const bySender = Array.from({ length: CLIENTS }, () => []);
      for (const [, sender, round] of await queue.take(CLIENTS * EACH)) bySender[sender].push(round);
      for (const rounds of bySender) assert.deepEqual(rounds, [0, 1, 2, 3]);
    }
    await Promise.all(clients.map((client) => client.timeout(10_000).emitWithAck("message-with-ack")));
    assert.deepEqual(heard.map((queue) => queue.length), Array(CLIENTS).fill(0), "nothing came twice");
  });
});
