// socket.io-client with socket.io-msgpack-parser, at the path /msgpack/ of the same namespaces, and a second
// Socket.IO server at the path /second/ of the same port.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import parser from "socket.io-msgpack-parser";
import { connectedClient, connection, MODES, newClient, received } from "../lib/clients.mjs";
import { once, TEST_LIMIT, within } from "../lib/deadline.mjs";
import { CALM, referenceDeviates, serverWith } from "../lib/server.mjs";

const server = await serverWith(CALM);
const together = { concurrency: 8, timeout: TEST_LIMIT };
const packed = (transport) => ({ ...transport, path: "/msgpack/", parser });
const blob = (length, fill = 7) => Buffer.alloc(length, fill);

const VALUES = [
  ["scalars", ["text", 0, -1.5, 1.5e-7, 2 ** 40, -(2 ** 40), 200, -200, true, false, null]],
  ["text beyond ASCII", ["€ 😀 \u0000 \u2028 \x1e".repeat(20), { é: "ü" }]],
  ["objects and lists", [{ a: { b: [1, [2, [3]]] } }, [], {}, Array.from({ length: 100 }, (_, i) => i)]],
  ["buffers deep inside", [{ a: [{ b: blob(5) }, "x", [blob(300)]], c: blob(0) }]],
  ["more buffers than attachments may be", Array.from({ length: 50 }, (_, i) => blob(i, i))],
  ["a buffer of 500 kB", [blob(500_000)]],
];

for (const [mode, transport] of Object.entries(MODES)) {
  describe(`socket.io-msgpack-parser, ${mode}`, together, () => {
    it("connects with auth, and is refused in words", async (t) => {
      const auth = { token: "abc", roles: ["a", 1] };
      const client = await connectedClient(t, server, { ...packed(transport), nsp: "/custom", auth });
      assert.deepEqual(await client.auths.next(), [auth]);
      const lost = newClient(t, server, { ...packed(transport), nsp: "/nowhere" });
      const [error] = await once(lost, "connect_error");
      assert.equal(error.message, "Invalid namespace");
    });

    for (const [what, args] of VALUES) {
      it(`gets an event and an ack back: ${what}`, async (t) => {
        const client = await connectedClient(t, server, packed(transport));
        const answers = received(client, "message-back");
        client.emit("message", ...args);
        assert.deepEqual(await answers.next(), args);
        const answer = new Promise((resolve) => client.emit("message-with-ack", ...args, (...acked) => resolve(acked)));
        assert.deepEqual(await within(answer, "ack"), args);
      });
    }

    it("gets dates as text, and undefined as the default parser has it", referenceDeviates("has dates and undefined as they are"), async (t) => {
      const client = await connectedClient(t, server, packed(transport));
      const date = new Date(1_700_000_000_123);
      const answer = await client.emitWithAck("message-with-ack", { date, none: undefined, list: [undefined, new Date(-1)] });
      assert.deepEqual(answer, { date: date.toJSON(), list: [null, new Date(-1).toJSON()] });
    });

    it("shares a room with a client of the default parser", referenceDeviates("has one parser for all clients"), async (t) => {
      const room = `of both parsers, ${mode}`;
      const [one, other] = await Promise.all([
        connectedClient(t, server, packed(transport)),
        connectedClient(t, server, transport),
      ]);
      const heard = [one, other].map((client) => received(client, "said"));
      for (const client of [one, other]) {
        client.emit("join", room);
        await client.emitWithAck("message-with-ack");
      }
      const said = ["hello", { file: blob(4), n: 1.5 }];
      for (const client of [one, other]) {
        client.emit("to", room, "said", ...said);
        for (const queue of heard) assert.deepEqual(await queue.next(), said);
      }
    });

    it("leaves and comes back, and is disconnected for a message that is no packet", async (t) => {
      const client = await connectedClient(t, server, packed(transport));
      client.disconnect();
      await connection(client.connect());
      const reasons = received(client, "disconnect");
      client.io.engine.write("no packet of MessagePack");
      assert.match((await reasons.next())[0], /transport (close|error)/);
    });
  });

  describe(`a second server on the port, ${mode}`, together, () => {
    const second = { ...transport, path: "/second/" };

    it("has handlers, acks and namespaces of its own", async (t) => {
      const client = await connectedClient(t, server, { ...second, auth: { a: 1 } });
      assert.deepEqual(await client.auths.next(), [{ a: 1 }]);
      assert.equal(await client.emitWithAck("message-with-ack", "second"), "second");
      const lost = newClient(t, server, { ...second, nsp: "/nowhere" });
      const [error] = await once(lost, "connect_error");
      assert.equal(error.message, "Invalid namespace");
    });

    it("has rooms of its own, even if their names are the same", async (t) => {
      const room = `of both servers, ${mode}`;
      const clients = await Promise.all([connectedClient(t, server, transport), connectedClient(t, server, second)]);
      const heard = clients.map((client) => received(client, "said"));
      for (const client of clients) {
        client.emit("join", room);
        await client.emitWithAck("message-with-ack");
      }
      for (const [at, client] of clients.entries()) {
        client.emit("to", room, "said", at);
        assert.deepEqual(await heard[at].next(), [at]);
      }
      for (const client of clients) await client.emitWithAck("message-with-ack");
      assert.deepEqual(heard.map((queue) => queue.length), [0, 0]);
    });
  });
}
