// Browsers older than RFC 6455: `ws` 0.4 from npm as a client of hybi-08, hixie-75 and hixie-76 by hand (no
// working client of these is left), and a Flash player's policy. Each runs against raw WebSocket, Engine.IO
// and Socket.IO.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import WebSocketDraft8 from "ws-draft8";
import { Queue, TEST_LIMIT, within } from "../lib/deadline.mjs";
import { flashPolicy, Hixie } from "../lib/hixie.mjs";
import { CALM, isReference, serverWith } from "../lib/server.mjs";

// `ws` 0.4 uses the old constructor of Buffer, and Node warns about it.
process.removeAllListeners("warning");

const mounted = /--mount/.test(process.env.INTEROP_ARGS ?? "");
const together = { concurrency: 8, timeout: TEST_LIMIT };
const FLASH_MOUNTED = "the server that it is mounted in accepts";

const VERSION_8 = 8;

/** A client of hybi-08, open, with the methods of `Hixie`. */
async function draft8(server, path) {
  const socket = new WebSocketDraft8(server.ws + path, { protocolVersion: VERSION_8, origin: "http://old.example" });
  const messages = new Queue();
  socket.on("message", (data) => messages.push(data));
  const closed = new Promise((resolve) => socket.once("close", (code) => resolve(code)));
  await within(new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject)), "open");
  return {
    send: (data, options) => socket.send(data, options),
    next: (what) => messages.next(what),
    close: async () => {
      socket.close(1000);
      assert.equal(await within(closed, "close"), 1000);
    },
  };
}

const CLIENTS = {
  "hybi-08, by ws 0.4": { open: draft8 },
  // It compares header names byte for byte. If the server is mounted, hyper must be set to write them so.
  "hixie-75": { open: (server, path) => Hixie.open(server, path, { version: 75 }), options: mounted ? { mount: "hyper" } : {} },
  "hixie-76": { open: (server, path) => Hixie.open(server, path) },
  "hixie-76 behind a proxy that holds the body back": {
    open: (server, path) => Hixie.open(server, path, { late: true }),
  },
};

const TEXTS = ["hello", "", "€ 😀 \u{10ffff}", "x".repeat(100_000)];

if (isReference) {
  it("drafts", { skip: "the reference knows RFC 6455 only" }, () => {});
} else {
  const server = await serverWith(CALM);

  for (const [name, { open: openAt, options = {} }] of Object.entries(CLIENTS)) {
    describe(name, together, () => {
      const open = async (path) => openAt(await serverWith({ ...CALM, ...options }), path);

      it("gets its texts back from a raw WebSocket, and closes", async () => {
        const client = await open("/ws");
        for (const text of TEXTS) client.send(text);
        for (const text of TEXTS) assert.equal(await client.next(), text);
        await client.close();
      });

      it("has an Engine.IO session", async () => {
        const client = await open("/engine.io/?EIO=4&transport=websocket");
        const opened = await client.next("handshake");
        assert.equal(opened[0], "0");
        const handshake = JSON.parse(opened.slice(1));
        assert.equal(handshake.pingInterval, CALM["ping-interval"]);
        assert.deepEqual(handshake.upgrades, []);
        for (const text of TEXTS) client.send(`4${text}`);
        for (const text of TEXTS) assert.equal(await client.next(), `4${text}`);
        await client.close();
      });

      it("joins a namespace of Socket.IO, and gets events and acks", async () => {
        const client = await open("/socket.io/?EIO=4&transport=websocket");
        assert.equal((await client.next("handshake"))[0], "0");
        client.send('40{"token":"abc"}');
        const joined = await client.next("answer to CONNECT");
        assert.equal(joined.slice(0, 2), "40");
        assert.match(JSON.parse(joined.slice(2)).sid, /^[\w-]{20}$/);
        assert.equal(await client.next("auth"), '42["auth",{"token":"abc"}]');
        client.send('42["message","€",{"a":[1,null]}]');
        assert.equal(await client.next("event"), '42["message-back","€",{"a":[1,null]}]');
        client.send('427["message-with-ack",1,"two"]');
        assert.equal(await client.next("ack"), '437[1,"two"]');
        client.send("41");
        await client.close();
      });
    });
  }

  describe("hybi-08", together, () => {
    it("carries binary, as long as a frame's length can say in its three ways", async () => {
      const client = await draft8(server, "/ws");
      for (const length of [0, 125, 126, 65_535, 65_536]) {
        client.send(Buffer.alloc(length, 9), { binary: true });
        assert.deepEqual(Buffer.from(await client.next()), Buffer.alloc(length, 9));
      }
      await client.close();
    });
  });

  describe("Flash", { ...together, skip: mounted && FLASH_MOUNTED }, () => {
    const whole = "<policy-file-request/>\0";
    for (const [how, pieces] of [["at once", [whole]], ["in pieces", [whole.slice(0, 1), whole.slice(1, 9), whole.slice(9)]]]) {
      it(`is told its policy when it asks ${how}`, async () => {
        const policy = await flashPolicy(server, pieces);
        assert.match(policy, /^<\?xml version="1\.0"\?>/);
        assert.match(policy, /<cross-domain-policy>.*<allow-access-from domain="\*" to-ports="[^"]+" ?\/>.*<\/cross-domain-policy>\0$/s);
      });
    }
  });
}
