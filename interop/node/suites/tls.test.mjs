// TLS with a self-signed certificate of the server: the official clients and `ws`, unchanged, with and
// without TLS on one port.

import assert from "node:assert/strict";
import https from "node:https";
import { describe, it } from "node:test";
import tls from "node:tls";
import WebSocket from "ws";
import { connectedClient, connectedEngine, MODES, received, upgraded } from "../lib/clients.mjs";
import { once, Queue, TEST_LIMIT, within } from "../lib/deadline.mjs";
import { CALM, isReference, serverWith } from "../lib/server.mjs";

// No authority has signed it, so these tests check the encryption but not the server's identity.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
// Node warns once for each process that this is not secure.
process.removeAllListeners("warning");
const unsigned = { rejectUnauthorized: false };

const mounted = /--mount/.test(process.env.INTEROP_ARGS ?? "");
const skip = isReference ? "the reference leaves TLS to Node" : mounted && "the server that it is mounted in accepts";

if (skip) {
  it("TLS", { skip }, () => {});
} else {
  const server = await serverWith({ ...CALM, tls: true });
  const secure = { http: server.http.replace("http:", "https:"), ws: server.ws.replace("ws:", "wss:"), port: server.port };
  const together = { concurrency: 8, timeout: TEST_LIMIT };

  const request = (path, options = {}) =>
    within(
      new Promise((resolve, reject) => {
        const asked = https.request(secure.http + path, { agent: false, ...options }, (answer) => {
          const parts = [];
          answer.on("data", (part) => parts.push(part));
          answer.on("end", () => resolve({ status: answer.statusCode, body: Buffer.concat(parts).toString() }));
        });
        asked.on("error", reject).end(options.body);
      }),
      "answer",
    );

  for (const [mode, transport] of Object.entries(MODES)) {
    describe(`socket.io-client over TLS, ${mode}`, together, () => {
      it("gets its events, acks and binary back", async (t) => {
        const client = await connectedClient(t, secure, { ...unsigned, ...transport, auth: { token: "abc" } });
        assert.deepEqual(await client.auths.next(), [{ token: "abc" }]);
        const blob = Buffer.alloc(500_000, 7);
        const answers = received(client, "message-back");
        client.emit("message", "text", { a: blob });
        assert.deepEqual(await answers.next(), ["text", { a: blob }]);
        assert.deepEqual(await within(client.emitWithAck("message-with-ack", 1), "ack"), 1);
      });
    });
  }

  describe("TLS", together, () => {
    it("clients with TLS and without are in the same rooms", async (t) => {
      const clients = await Promise.all(
        [secure, server, secure, server].map((target) => connectedClient(t, target, { ...unsigned, transports: ["websocket"] })),
      );
      const heard = clients.map((client) => received(client, "broadcast"));
      for (let number = 0; number < 20; number += 1) clients[0].emit("broadcast", number, Buffer.alloc(2_000, number));
      for (const queue of heard) {
        for (let number = 0; number < 20; number += 1) {
          assert.deepEqual(await queue.next(), [number, Buffer.alloc(2_000, number)]);
        }
      }
    });

    it("engine.io-client upgrades, and gets its messages back", async (t) => {
      const socket = await connectedEngine(t, secure, unsigned);
      if (socket.transport.name !== "websocket") await once(socket, "upgrade");
      socket.send("hello");
      assert.equal(await socket.messages.next(), "hello");
    });

    it("socket.io-client upgrades", async (t) => {
      await upgraded(await connectedClient(t, secure, unsigned));
    });

    for (const version of ["TLSv1.2", "TLSv1.3"]) {
      it(`ws gets its messages back over ${version}, of any size`, async (t) => {
        const socket = new WebSocket(`${secure.ws}/ws`, { minVersion: version, maxVersion: version });
        t.after(() => socket.terminate());
        await within(new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject)), "open");
        const messages = new Queue();
        socket.on("message", (data) => messages.push(data));
        for (const size of [0, 1, 125, 16_383, 16_384, 16_385, 1_000_000, 5_000_000]) {
          const message = Buffer.alloc(size, size);
          socket.send(message);
          assert.ok(message.equals(await messages.next()), `${size} bytes`);
        }
        socket.close(1000, "enough");
        const [code] = await new Promise((resolve) => socket.once("close", (...end) => resolve(end)));
        assert.equal(code, 1000);
      });
    }

    it("requests are answered on a kept connection, and on one for each", async (t) => {
      const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
      t.after(() => agent.destroy());
      for (const options of [{ agent }, { agent }, {}, {}]) {
        const open = await request("/socket.io/?EIO=4&transport=polling", options);
        assert.equal(open.status, 200);
        const { sid } = JSON.parse(open.body.slice(1));
        const post = { ...options, method: "POST", body: "40" };
        assert.equal((await request(`/socket.io/?EIO=4&transport=polling&sid=${sid}`, post)).body, "ok");
        assert.match((await request(`/socket.io/?EIO=4&transport=polling&sid=${sid}`, options)).body, /^40\{"sid"/);
        assert.equal((await request("/nothing", options)).status, 404);
      }
    });

    it("a session of TLS is resumed", async () => {
      const options = { host: server.host, port: server.port, maxVersion: "TLSv1.2" };
      const first = tls.connect(options);
      await within(new Promise((resolve) => first.once("session", (session) => resolve((options.session = session)))), "a ticket");
      first.destroy();
      const second = tls.connect(options);
      await within(new Promise((resolve) => second.once("secureConnect", resolve)), "handshake");
      assert.ok(second.isSessionReused());
      second.destroy();
    });
  });
}
