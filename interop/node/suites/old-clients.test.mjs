// socket.io-client 1.0 to 3.1 over every transport that it has in Node: events, acks, binary, rooms, namespaces,
// refusals, reconnection; and all of them in one room with 4.8.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connectedClient, received } from "../lib/clients.mjs";
import { once, Queue, TEST_LIMIT, within } from "../lib/deadline.mjs";
import {
  asked,
  CLIENT_3,
  connectedOldClient,
  isUpgraded,
  modesOf,
  oldBuffer,
  OLD_CLIENTS,
  OLD_MODES,
  oldClient,
} from "../lib/old-clients.mjs";
import { CALM, referenceDeviates, serverWith, STEADY } from "../lib/server.mjs";

const server = await serverWith({ ...CALM, "old-clients": true });
const together = { concurrency: 6, timeout: TEST_LIMIT };

const TEXTS = ["text", "", "é", "€ ü ß", "😀 \u{10ffff}", "\u0000 \u2028 \x1e \n \\n", "4:b44", "日本語"];
const VALUES = [0, -1.5, true, null, { a: { b: [1, [2, []]] } }, { é: "😀" }];
const BLOBS = [[1, 2, 3], [], Array.from({ length: 256 }, (_, i) => i)].map((bytes) => Buffer.from(bytes));
const OLD_BLOBS = BLOBS.map(oldBuffer);

/** Old clients give binary data as Buffers or, for some transports, as views. */
const plain = (value) => {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  }
  return value;
};

for (const version of Object.keys(OLD_CLIENTS)) {
  for (const [mode, transport] of modesOf(version)) {
    describe(`socket.io-client ${version}, ${mode}`, together, () => {
      const connected = async (t, options) => {
        const client = await connectedOldClient(t, version, server, { ...transport, ...options });
        if (mode === "polling that upgrades") await isUpgraded(client);
        return client;
      };
      // Clients up to 1.3 encode texts twice on polling, and 1.0 on WebSocket too.
      const twice = referenceDeviates("does not decode texts that were encoded twice");

      it("is in / without asking, and in others after it asked", async (t) => {
        const main = await connected(t);
        assert.deepEqual(main.auth, [{}]);
        const custom = await connected(t, { nsp: "/custom" });
        assert.deepEqual(custom.auth, [{}]);
      });

      it("gets each text back, in an event and in an ack", version < "1.7" ? twice : {}, async (t) => {
        const client = await connected(t);
        const answers = received(client, "message-back");
        for (const text of TEXTS) {
          client.emit("message", text, { [text || "empty"]: [text] });
          assert.deepEqual(await answers.next(text), [text, { [text || "empty"]: [text] }]);
          assert.deepEqual(await asked(client, "message-with-ack", text), [text]);
        }
      });

      it("gets values back, and each ack to its own call", version < "1.7" ? twice : {}, async (t) => {
        const client = await connected(t);
        assert.deepEqual(await asked(client, "message-with-ack", ...VALUES), VALUES);
        const calls = Array.from({ length: 50 }, (_, i) => asked(client, "message-with-ack", i));
        assert.deepEqual((await Promise.all(calls)).flat(), Array.from({ length: 50 }, (_, i) => i));
      });

      it("gets binary back, in an event and in an ack", async (t) => {
        const client = await connected(t);
        const answers = received(client, "message-back");
        const args = ([a, b, c]) => [a, "x", { deep: [b, { er: c }] }];
        client.emit("message", ...args(OLD_BLOBS));
        assert.deepEqual(plain(await answers.next("binary")), args(BLOBS));
        assert.deepEqual(plain(await asked(client, "message-with-ack", ...args(OLD_BLOBS))), args(BLOBS));
        assert.deepEqual(await asked(client, "message-with-ack", "text again"), ["text again"]);
      });

      it("hears its rooms, and what is sent to its own id", async (t) => {
        const [inside, outside] = await Promise.all([connected(t), connected(t)]);
        const room = `room of ${version} ${mode}`;
        const [heard, overheard] = [received(inside, "said"), received(outside, "said")];
        inside.emit("join", room);
        await asked(inside, "message-with-ack");
        outside.emit("to", room, "said", "hello 😀", OLD_BLOBS[0]);
        assert.deepEqual(plain(await heard.next()), ["hello 😀", BLOBS[0]]);
        outside.emit("to", inside.id ?? inside.io.engine.id, "said", "to you");
        assert.deepEqual(await heard.next(), ["to you"]);
        inside.emit("leave", room);
        await asked(inside, "message-with-ack");
        outside.emit("to", room, "said", "anyone?");
        await asked(outside, "message-with-ack");
        await asked(inside, "message-with-ack");
        assert.deepEqual([heard.length, overheard.length], [0, 0]);
      });

      it("is told of an invalid namespace by an error", async (t) => {
        const client = oldClient(t, version, server, { ...transport, nsp: "/nowhere" });
        const [error] = await once(client, "error");
        assert.equal(error.message ?? error, "Invalid namespace");
      });

      it("shares one connection between namespaces, and leaves one without the other", async (t) => {
        const main = await connected(t);
        const custom = main.io.socket("/custom");
        const connects = within(new Promise((resolve) => custom.on("connect", resolve)), "connect");
        custom.on("error", () => {});
        await connects;
        custom.disconnect();
        assert.deepEqual(await asked(main, "message-with-ack", "main"), ["main"]);
      });

      it("reconnects when its connection is lost", async (t) => {
        const client = await connectedOldClient(t, version, server, {
          ...transport,
          reconnection: true,
          reconnectionDelay: 10,
        });
        const connects = received(client, "connect");
        const auths = received(client, "auth");
        client.io.engine.close();
        await connects.next("a second connect");
        await auths.next("auth after the second connect");
        assert.deepEqual(await asked(client, "message-with-ack", "back"), ["back"]);
      });

      if (OLD_CLIENTS[version].query) {
        it("sends the query of a namespace as its auth", async (t) => {
          const client = await connected(t, { nsp: "/custom?token=a%20b&room=1" });
          assert.deepEqual(client.auth, [{ token: "a b", room: "1" }]);
        });
      }
    });
  }
}

describe("heartbeats of clients of Engine.IO 3", { concurrency: true, timeout: TEST_LIMIT }, () => {
  for (const version of ["1.0.6", "1.7.4", "2.5.0"]) {
    for (const [mode, transport] of Object.entries(OLD_MODES)) {
      it(`${version}, ${mode}: the client pings, and stays for several times of them`, async (t) => {
        const brisk = await serverWith({ ...STEADY, "old-clients": true });
        const client = await connectedOldClient(t, version, brisk, transport);
        const pongs = new Queue();
        client.io.engine.on("packet", (packet) => packet.type === "pong" && pongs.push(packet));
        // More of them than the interval and the time-out are long.
        await pongs.take(10, "pongs");
        assert.deepEqual(await asked(client, "message-with-ack", "alive"), ["alive"]);
      });
    }
  }
});

describe("socket.io-client 3.1.3", together, () => {
  for (const [mode, transport] of Object.entries(OLD_MODES)) {
    it(`speaks Engine.IO 4, ${mode}`, async (t) => {
      const client = await connectedOldClient(t, CLIENT_3, server, { ...transport, auth: { token: "x" } });
      assert.deepEqual(client.auth, [{ token: "x" }]);
      const answers = received(client, "message-back");
      client.emit("message", "😀", BLOBS[2]);
      assert.deepEqual(await answers.next(), ["😀", BLOBS[2]]);
      assert.deepEqual(await asked(client, "message-with-ack", BLOBS[0]), [BLOBS[0]]);
    });
  }
});

const decodes = referenceDeviates("does not decode texts that were encoded twice");
it("all versions hear each other in one room, each transport", { timeout: TEST_LIMIT, ...decodes }, async (t) => {
  const room = "all of them";
  const joined = [];
  const join = async (name, client) => {
    const heard = received(client, "said");
    client.emit("join", room);
    await asked(client, "message-with-ack");
    joined.push({ name, client, heard });
  };
  for (const [mode, transport] of Object.entries(OLD_MODES)) {
    await Promise.all([
      ...Object.keys(OLD_CLIENTS).filter((version) => OLD_CLIENTS[version].notOver !== mode).map(async (version) =>
        join(`${version} ${mode}`, await connectedOldClient(t, version, server, transport)),
      ),
      connectedOldClient(t, CLIENT_3, server, transport).then((client) => join(`3.1.3 ${mode}`, client)),
      connectedClient(t, server, transport).then((client) => join(`4.8.4 ${mode}`, client)),
    ]);
  }
  for (const { name, client } of joined) {
    const args = [name, "é 😀", { file: BLOBS[2] }];
    client.emit("to", room, "said", name, "é 😀", { file: OLD_BLOBS[2] });
    for (const other of joined) assert.deepEqual(plain(await other.heard.next(`${name} to ${other.name}`)), args);
  }
});
