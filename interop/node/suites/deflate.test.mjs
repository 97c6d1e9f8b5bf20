// permessage-deflate (RFC 7692) with `ws` and the official clients: with and without context takeover at
// either end, all window sizes, one room of clients with different options, and a decompression bomb.
// (Autobahn checks the bytes on the wire.)

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deflateRawSync } from "node:zlib";
import { connectedClient, connectedEngine, received, upgraded } from "../lib/clients.mjs";
import { TEST_LIMIT, within } from "../lib/deadline.mjs";
import { RawSocket, upgradeHead } from "../lib/http.mjs";
import { CALM, isReference, referenceDeviates, serverWith } from "../lib/server.mjs";
import { Peer } from "../lib/websocket.mjs";

// The reference compresses messages from 1 KiB on, with context. These servers do the same.
const frugal = await serverWith({ ...CALM, deflate: true });
const takeover = isReference ? frugal : await serverWith({ ...CALM, deflate: true, "deflate-takeover": true, "deflate-threshold": 0 });
const small = isReference ? frugal : await serverWith({ ...CALM, deflate: true, "deflate-takeover": true, "deflate-threshold": 0, "deflate-window-bits": 9 });
const plain = await serverWith(CALM);
const together = { concurrency: 8, timeout: TEST_LIMIT };

const SERVERS = { "a server without context": frugal, "a server with context": takeover, "a server with small windows": small };

/** Similar texts of different lengths. */
const texts = (length) => Array.from({ length: 5 }, (_, i) => `{"number":${i},"name":"someone who says much"},`.repeat(length / 40));

/** The offers of `ws`, and the required responses. */
const OFFERS = {
  "as ws has it": {},
  "no context of the server's": { serverNoContextTakeover: true },
  "no context of the client's": { clientNoContextTakeover: true },
  "no context at all": { serverNoContextTakeover: true, clientNoContextTakeover: true },
  ...Object.fromEntries([9, 10, 12, 15].map((bits) => [`a window of ${bits} bits for the server`, { serverMaxWindowBits: bits }])),
  ...Object.fromEntries([9, 11, 14, 15].map((bits) => [`a window of ${bits} bits for the client`, { clientMaxWindowBits: bits }])),
  "no bound for the client": { clientMaxWindowBits: true },
  "all of it": { serverNoContextTakeover: true, clientNoContextTakeover: true, serverMaxWindowBits: 10, clientMaxWindowBits: 11 },
};

/** A client with this offer. The server's response is in `agreed`. */
async function offering(url, perMessageDeflate) {
  const peer = new Peer(url, { perMessageDeflate });
  peer.ws.on("upgrade", (response) => {
    peer.agreed = response.headers["sec-websocket-extensions"] ?? "";
  });
  await within(peer.opened, `WebSocket ${url}`);
  return peer;
}

for (const [what, server] of Object.entries(SERVERS)) {
  describe(what, together, () => {
    for (const [offer, options] of Object.entries(OFFERS)) {
      it(`takes an offer: ${offer}`, async () => {
        const peer = await offering(`${server.ws}/ws`, { threshold: 0, ...options });
        assert.match(peer.agreed, /^permessage-deflate/);
        if (options.serverNoContextTakeover) assert.match(peer.agreed, /server_no_context_takeover/);
        if (options.clientNoContextTakeover && !isReference) assert.match(peer.agreed, /client_no_context_takeover/);
        const bits = (end) => Number(peer.agreed.match(new RegExp(`${end}_max_window_bits=(\\d+)`))?.[1] ?? 15);
        if (options.serverMaxWindowBits) assert.ok(bits("server") <= options.serverMaxWindowBits, peer.agreed);
        if (server === small && !isReference) assert.equal(bits("server"), 9);
        for (const length of [80, 1200, 20_000, 200_000]) {
          for (const text of texts(length)) {
            peer.send(text);
            assert.ok((await peer.next()) === text, `${length} bytes come back`);
            peer.send(Buffer.from(text));
            assert.ok((await peer.next()).equals(Buffer.from(text)), `${length} bytes come back as binary`);
          }
        }
        peer.send("");
        assert.equal(await peer.next(), "");
        await peer.close();
      });
    }

    it("takes fragments of a compressed message, with a ping between them", async () => {
      const peer = await offering(`${server.ws}/ws`, { threshold: 0 });
      const parts = texts(1200);
      parts.forEach((part, i) => {
        peer.send(part, { fin: i === parts.length - 1 });
        peer.ws.ping("between");
      });
      assert.equal(await peer.next(), parts.join(""));
      await peer.close();
    });

    it("sends to who offers nothing as ever", async () => {
      const peer = await offering(`${server.ws}/ws`, false);
      assert.equal(peer.agreed, "");
      const [text] = texts(5000);
      peer.send(text);
      assert.equal(await peer.next(), text);
      await peer.close();
    });

    it("casts to clients that have agreed on different things, between what is for one alone", async () => {
      const offers = [false, ...Object.values(OFFERS).map((options) => ({ threshold: 0, ...options }))];
      const peers = await Promise.all(offers.map((offer) => offering(`${server.ws}/ws-cast`, offer)));
      for (const [i, text] of [...texts(60), ...texts(2000), ...texts(40_000)].entries()) {
        peers[i % peers.length].send(text);
        for (const peer of peers) assert.ok((await peer.next()) === text, `cast ${i}`);
      }
      for (const peer of peers) await peer.close();
    });

    for (const transports of [["websocket"], ["polling", "websocket"]]) {
      it(`serves socket.io-client over ${transports.join(" that becomes ")}`, async (t) => {
        const options = { transports, perMessageDeflate: { threshold: 0 } };
        const clients = [await connectedClient(t, server, options), await connectedClient(t, server, { transports: ["websocket"] })];
        await upgraded(clients[0]);
        const back = received(clients[0], "message-back");
        for (const text of [...texts(60), ...texts(3000)]) {
          clients[0].emit("message", { text, binary: Buffer.from(text) });
          const [{ text: echoed, binary }] = await back.next();
          assert.ok(echoed === text && Buffer.from(binary).equals(Buffer.from(text)));
          assert.deepEqual(await within(clients[0].emitWithAck("message-with-ack", text), "ack"), text);
        }
        // The room belongs to the whole server, so each test has its own event.
        const event = `deflate ${transports.length} ${Math.random()}`;
        const events = clients.map((client) => received(client, event));
        for (const client of clients) {
          client.emit("join", event);
          await within(client.emitWithAck("message-with-ack", "joined"), "ack");
        }
        for (const text of texts(3000)) {
          clients[0].emit("to", event, event, text, Buffer.from(text));
          for (const queue of events) {
            const [cast, binary] = await queue.next();
            assert.ok(cast === text && Buffer.from(binary).equals(Buffer.from(text)));
          }
        }
      });
    }

    it("serves engine.io-client", async (t) => {
      const socket = await connectedEngine(t, server, { transports: ["websocket"], perMessageDeflate: { threshold: 0 } });
      for (const text of [...texts(60), ...texts(3000)]) {
        socket.send(text);
        assert.equal(await socket.messages.next(), text);
      }
    });
  });
}

describe("offers", together, () => {
  const answer = async (server, offer) => {
    const socket = await RawSocket.connect(server);
    socket.write(upgradeHead("/ws", `Sec-WebSocket-Extensions: ${offer}\r\n`));
    const head = await socket.seen((text) => text.includes("\r\n\r\n"), "the answer");
    socket.destroy();
    return head.match(/^sec-websocket-extensions: (.*)$/im)?.[1].trim();
  };

  for (const offer of ["permessage-deflate; unknown", "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", "x-webkit-deflate-frame"]) {
    it(`that cannot be kept are declined: ${offer}`, async () => {
      assert.equal(await answer(frugal, offer), undefined);
    });
  }

  it("behind one that cannot be kept are looked at", referenceDeviates("refuses the request"), async () => {
    const offers = "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=11";
    assert.match(await answer(frugal, offers), /; server_max_window_bits=11/);
  });

  it("of a window of 8 bits are declined", referenceDeviates("says 8 and compresses with 9"), async () => {
    assert.equal(await answer(frugal, "permessage-deflate; server_max_window_bits=8"), undefined);
  });

  it("are not heard where compression is off", async () => {
    assert.equal(await answer(plain, "permessage-deflate; client_max_window_bits"), undefined);
    const peer = await offering(`${plain.ws}/ws`, true);
    assert.equal(peer.agreed, "");
    await peer.close();
  });
});

describe("a bomb", together, () => {
  it("is refused at the limit, and costs no memory beyond it", referenceDeviates("is not measured"), async () => {
    const server = await serverWith({ ...CALM, deflate: true, "max-payload": 100_000 });
    const before = server.memory();
    const bomb = deflateRawSync(Buffer.alloc(80 * 1024 * 1024));
    assert.ok(bomb.length > 65_535 && bomb.length < 100_000);
    const head = Buffer.from([0xc2, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    head.writeUInt32BE(bomb.length, 6);
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        const peer = await offering(`${server.ws}/engine.io/?EIO=4&transport=websocket`, true);
        await peer.next();
        peer.ws._socket.write(Buffer.concat([head, bomb]));
        assert.equal((await peer.end()).code, 1009);
      }),
    );
    const grown = server.memory("VmHWM") - before;
    assert.ok(grown < 16 * 1024 * 1024, `${grown} bytes for eight bombs`);
  });
});
