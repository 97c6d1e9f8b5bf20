// socket.io-client 0.9.17 over the transports that it has in Node, beside the client of today.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { describe, it } from "node:test";
import { connectedClient, received } from "../node/lib/clients.mjs";
import { once, TEST_LIMIT, within } from "../node/lib/deadline.mjs";
import { Proxy, UPGRADES } from "../node/lib/proxy.mjs";
import { CALM, serverWith } from "../node/lib/server.mjs";

const server = await serverWith({ ...CALM, "old-clients": true });
const together = { concurrency: 8, timeout: TEST_LIMIT };

const TRANSPORTS = ["websocket", "xhr-polling"];

const require = createRequire(import.meta.url);

/** The module anew, with these transports: its clients share one list, and an option for one changes it for all. */
function load(transports) {
  for (const path of Object.keys(require.cache)) {
    if (path.includes("socket.io-client-0.9")) delete require.cache[path];
  }
  const io = require("socket.io-client-0.9");
  io.transports.splice(0, io.transports.length, ...transports);
  return io;
}

const modules = new Map(
  [["websocket"], ["xhr-polling"], ["websocket", "xhr-polling"]].map((list) => [list.join(), load(list)]),
);

/** A client of 0.9, not yet connected. It comes back only if told to. */
function newClient(t, target, transport, { nsp = "", ...options } = {}) {
  const io = modules.get(transport);
  const all = { "force new connection": true, reconnect: false, ...options };
  const client = io.connect(target.http + nsp, all);
  t.after(() => client.socket.disconnect());
  return client;
}

async function connected(t, target, transport, options) {
  const client = newClient(t, target, transport, options);
  client.auths = received(client, "auth");
  await once(client, "connect");
  return client;
}

const asked = (client, event, ...args) =>
  within(new Promise((resolve) => client.emit(event, ...args, (...answer) => resolve(answer))), `answer to ${event}`);

const ARGUMENTS = [
  ["no argument", []],
  ["scalars", ["text", 0, -1.5, true, false, null]],
  ["text beyond ASCII", ["\u20ac \u{1f600} \u2028 \u0000 \ufffd5\ufffd", { "\u00e9": "\u00fc" }]],
  ["text that looks like packets", ["5:::{}", "::", "~m~1~m~a", "</script>"]],
  ["objects and lists", [{ a: { b: [1, [2, [3]]] } }, []]],
  ["a long text", ["\u{1f600}x".repeat(50_000)]],
];

for (const transport of TRANSPORTS) {
  describe(`socket.io-client 0.9.17, ${transport}`, together, () => {
    for (const [what, args] of ARGUMENTS) {
      it(`gets its event back, and an acknowledgement: ${what}`, async (t) => {
        const client = await connected(t, server, transport);
        assert.equal(client.socket.transport.name, transport);
        const back = received(client, "message-back");
        client.emit("message", ...args);
        assert.deepEqual(await back.next(), args);
        assert.deepEqual(await asked(client, "message-with-ack", ...args), args);
      });
    }

    it("sends messages of text and JSON, and has acknowledgements at once", async (t) => {
      const client = await connected(t, server, transport);
      const back = received(client, "message-back");
      for (const [send, value] of [[client.send, "text \u{1f600}"], [client.send, ""], [client.json.send, { a: [1] }]]) {
        await within(new Promise((resolve) => send.call(send === client.send ? client : client.json, value, resolve)), "ack");
        assert.deepEqual(await back.next(), [value]);
      }
    });

    it("is in namespaces, and is told of those that it may not join", async (t) => {
      const client = await connected(t, server, transport);
      const custom = client.socket.of("/custom");
      const auths = received(custom, "auth");
      await once(custom, "connect");
      assert.deepEqual(await auths.next(), [{}]);
      const nowhere = client.socket.of("/nowhere");
      assert.deepEqual(await once(nowhere, "connect_failed"), ["unauthorized"]);
      custom.disconnect();
      assert.deepEqual(await asked(client, "message-with-ack", "still here"), ["still here"]);
    });

    it("shares rooms with clients of today", async (t) => {
      const room = `${transport} ${Math.random()}`;
      const [old, today] = await Promise.all([
        connected(t, server, transport),
        connectedClient(t, server, { transports: ["websocket"] }),
      ]);
      await asked(old, "join", room);
      await within(today.emitWithAck("join", room), "join");
      const [news, olds] = [received(today, "told"), received(old, "told")];
      old.emit("to", room, "told", "from 0.9", { "\u20ac": ["\u{1f600}"] });
      assert.deepEqual(await news.next(), ["from 0.9", { "\u20ac": ["\u{1f600}"] }]);
      assert.deepEqual(await olds.next(), ["from 0.9", { "\u20ac": ["\u{1f600}"] }]);
      today.emit("to", room, "told", "from 4", Buffer.from("hi"));
      assert.deepEqual(await olds.next(), ["from 4", { base64: "aGk=" }]);
      assert.deepEqual(await news.next(), ["from 4", Buffer.from("hi")]);
    });

    it("gets a thousand events in order", async (t) => {
      const client = await connected(t, server, transport);
      const back = received(client, "message-back");
      for (let n = 0; n < 1000; n += 1) client.emit("message", n);
      for (let n = 0; n < 1000; n += 1) assert.deepEqual(await back.next(), [n]);
    });

    it("ends its session, and comes back as another", async (t) => {
      const client = await connected(t, server, transport);
      const { sessionid } = client.socket;
      client.disconnect();
      client.socket.connect();
      await once(client, "connect");
      assert.notEqual(client.socket.sessionid, sessionid);
      assert.deepEqual(await asked(client, "message-with-ack", 1), [1]);
    });

    it("comes back by itself after its connection was reset, and says what it kept", async (t) => {
      const proxy = await Proxy.open(t, server);
      const client = await connected(t, proxy, transport, { reconnect: true, "reconnection delay": 10 });
      const custom = client.socket.of("/custom");
      await once(custom, "connect");
      const [again, back] = [received(client, "connect"), received(client, "message-back")];
      await proxy.cutOff("reset", client);
      client.emit("message", "said while away");
      await again.next("the client to come back");
      assert.deepEqual(await back.next(), ["said while away"]);
    });
  });
}

describe("socket.io-client 0.9.17 by any transport", together, () => {
  it("goes on by polling where no WebSocket comes through", async (t) => {
    const proxy = await Proxy.open(t, server, { upgrades: UPGRADES.reset });
    const client = newClient(t, proxy, "websocket,xhr-polling", {
      reconnect: true,
      "reconnection delay": 10,
      "connect timeout": 500,
    });
    client.on("error", () => {});
    await once(client, "connect");
    assert.equal(client.socket.transport.name, "xhr-polling");
    assert.deepEqual(await asked(client, "message-with-ack", 1), [1]);
  });
});
