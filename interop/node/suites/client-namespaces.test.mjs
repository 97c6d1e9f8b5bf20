// socket.io-client 4.8 over every transport: namespaces that are made by connecting, and requests to many
// sockets at once.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connectedClient, MODES, newClient, received } from "../lib/clients.mjs";
import { once, TEST_LIMIT, within } from "../lib/deadline.mjs";
import { CALM, serverWith } from "../lib/server.mjs";

const server = await serverWith(CALM);
const together = { concurrency: 8, timeout: TEST_LIMIT };

/** A dynamic namespace that no other test uses. */
let last = 0;
const unused = () => `/dynamic-${++last}`;

for (const [mode, transport] of Object.entries(MODES)) {
  describe(`dynamic namespaces, ${mode}`, together, () => {
    it("makes a namespace by connecting to it", async (t) => {
      const [one, other] = await Promise.all(
        [unused(), unused()].map((nsp) => connectedClient(t, server, { ...transport, nsp })),
      );
      const [answers, others] = [received(one, "message-back"), received(other, "message-back")];
      one.emit("message", "text", Buffer.from([1, 2, 3]));
      assert.deepEqual(await answers.next(), ["text", Buffer.from([1, 2, 3])]);
      other.emit("message", "other");
      assert.deepEqual(await others.next(), ["other"]);
      assert.equal(answers.length, 0);
    });

    for (const nsp of ["/dynamic-", "/dynamic-a", "/dynamic-1/", "/my/dynamic-1"]) {
      it(`is refused where the pattern does not match: ${nsp}`, async (t) => {
        const [error] = await once(newClient(t, server, { ...transport, nsp }), "connect_error");
        assert.equal(error.message, "Invalid namespace");
      });
    }

    it("is one of many that make the same namespace at the same time", async (t) => {
      const nsp = unused();
      const clients = await Promise.all(
        Array.from({ length: 10 }, () => connectedClient(t, server, { ...transport, nsp })),
      );
      assert.equal(new Set(clients.map((client) => client.id)).size, 10);
      const answers = clients.map((client) => received(client, "message-back"));
      clients.forEach((client, i) => client.emit("message", i));
      assert.deepEqual(await Promise.all(answers.map((queue) => queue.next())), clients.map((_, i) => [i]));
    });

    it("makes a namespace again that was removed when it was empty", async (t) => {
      const nsp = unused();
      for (let round = 0; round < 5; round += 1) {
        const client = await connectedClient(t, server, { ...transport, nsp });
        const answers = received(client, "message-back");
        client.emit("message", round);
        assert.deepEqual(await answers.next(), [round]);
        client.disconnect();
      }
    });
  });

  describe(`requests to many sockets, ${mode}`, together, () => {
    const inRoom = async (t, room, count) => {
      const clients = await Promise.all(
        Array.from({ length: count }, () => connectedClient(t, server, transport)),
      );
      for (const client of clients) {
        client.emit("join", room);
        await client.emitWithAck("message-with-ack");
      }
      return clients;
    };

    it("are asked for acknowledgements, and those who do not answer are named", async (t) => {
      const room = `asked by ${mode}`;
      const [first, second, silent] = await inRoom(t, room, 3);
      const asker = await connectedClient(t, server, transport);
      first.on("ask", (value, answer) => answer({ first: value }));
      second.on("ask", (value, answer) => answer(Buffer.from([1, 2, 3])));
      const asked = received(silent, "ask");
      const [answers, ids] = await within(asker.emitWithAck("ack-all", room, "a value"), "all acknowledgements");
      assert.equal((await asked.next())[0], "a value");
      assert.deepEqual(ids, [silent.id]);
      answers.sort((a, b) => Number(Buffer.isBuffer(a)) - Number(Buffer.isBuffer(b)));
      assert.deepEqual(answers, [{ first: "a value" }, Buffer.from([1, 2, 3])]);
      // The next question knows nothing of the acknowledgement that did not come.
      silent.on("ask", (value, answer) => answer?.("late"));
      const [again, none] = await within(asker.emitWithAck("ack-all", room, 2), "all acknowledgements");
      assert.deepEqual([again.length, none], [3, []]);
    });

    it("are found by their room", async (t) => {
      const room = `found by ${mode}`;
      const clients = await inRoom(t, room, 3);
      const asker = await connectedClient(t, server, transport);
      const ids = async () => (await asker.emitWithAck("sockets", room)).sort();
      assert.deepEqual(await ids(), clients.map((client) => client.id).sort());
      const [leaves, ...stay] = clients;
      leaves.emit("leave", room);
      await leaves.emitWithAck("message-with-ack");
      assert.deepEqual(await ids(), stay.map((client) => client.id).sort());
    });
  });
}
