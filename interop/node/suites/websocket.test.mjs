// Raw WebSocket: `/ws` echoes; `/ws-cast` and the Socket.IO namespace `/cast` are one room over two
// protocols. (Autobahn checks every case of RFC 6455. These are the cases that a foreign client meets.)

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connectedClient, connection, MODES, newClient, received } from "../lib/clients.mjs";
import { once, TEST_LIMIT, within } from "../lib/deadline.mjs";
import { frame, RawSocket, request, upgradeHead } from "../lib/http.mjs";
import { CALM, serverWith } from "../lib/server.mjs";
import { Peer, refused } from "../lib/websocket.mjs";

const server = await serverWith(CALM);
const url = `${server.ws}/ws`;
const together = { concurrency: 8, timeout: TEST_LIMIT };

const TEXT = 1;
const CLOSE = 8;
const MIB = 1024 * 1024;

describe("/ws", together, () => {
  const messages = [
    ["text", "hello"],
    ["an empty text", ""],
    ["text beyond ASCII", "€ 😀 \u0000 \u{10ffff}"],
    ["binary", Buffer.from([0, 255, 1])],
    ["empty binary", Buffer.alloc(0)],
    ...[125, 126, 65_535, 65_536, 2 * MIB].map((length) => [`binary of ${length} bytes`, Buffer.alloc(length, 9)]),
    ["a text of 5 MiB, more than Engine.IO would take", "x".repeat(5 * MIB)],
  ];
  for (const [what, message] of messages) {
    it(`sends ${what} back as it came`, async () => {
      const peer = await Peer.open(url);
      peer.send(message);
      assert.deepEqual(await peer.next(), message);
      await peer.close();
    });
  }

  it("puts fragments together, with a ping between them", async () => {
    const peer = await Peer.open(url);
    const pong = once(peer.ws, "pong");
    peer.send("one ", { fin: false });
    peer.send("two ", { fin: false });
    peer.ws.ping("between");
    peer.send("three", { fin: true });
    assert.equal(await peer.next(), "one two three");
    assert.equal((await pong)[0].toString(), "between");
    await peer.close();
  });

  it("puts fragments together that split a character", async () => {
    const peer = await Peer.open(url);
    const bytes = Buffer.from("€");
    peer.send(bytes.subarray(0, 1), { binary: false, fin: false });
    peer.send(bytes.subarray(1), { binary: false, fin: true });
    assert.equal(await peer.next(), "€");
    await peer.close();
  });

  it("answers a ping with its payload", async () => {
    const peer = await Peer.open(url);
    for (const payload of ["", "x", "y".repeat(125)]) {
      const pong = once(peer.ws, "pong");
      peer.ws.ping(payload);
      assert.equal((await pong)[0].toString(), payload);
    }
    await peer.close();
  });

  it("passes over a pong nobody asked for", async () => {
    const peer = await Peer.open(url);
    peer.ws.pong("unasked");
    peer.send("hello");
    assert.equal(await peer.next(), "hello");
    await peer.close();
  });

  it("keeps 2000 messages in order", async () => {
    const peer = await Peer.open(url);
    const sent = Array.from({ length: 2000 }, (_, i) => (i % 2 ? `${i}` : Buffer.from(`${i}`)));
    for (const message of sent) peer.send(message);
    assert.deepEqual(await peer.take(sent.length), sent);
    await peer.close();
  });

  for (const code of [1000, 1001, 3000, 4999]) {
    it(`answers a close of ${code} with the same`, async () => {
      const peer = await Peer.open(url);
      assert.equal((await peer.close(code)).code, code);
    });
  }

  it("is no page: a plain GET is refused", async () => {
    const { status } = await request(server, "/ws");
    assert.ok(status >= 400 && status < 500, `status ${status}`);
  });

  it("is not there under another name", async () => {
    const { status } = await refused(`${server.ws}/nowhere`);
    assert.equal(status, 404);
  });

  it("reads frames that came in one piece with the upgrade request", async () => {
    const raw = await RawSocket.connect(server);
    raw.write(Buffer.concat([Buffer.from(upgradeHead("/ws")), frame(TEXT, "first"), frame(TEXT, "second")]));
    const text = await raw.seen((seen) => seen.endsWith("\x81\x05first\x81\x06second"), "both echoes");
    assert.ok(text.startsWith("HTTP/1.1 101 "));
    assert.match(text, /sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/i);
    raw.destroy();
  });

  it("reads a handshake and a frame that come byte by byte", async () => {
    const raw = await RawSocket.connect(server);
    raw.socket.setNoDelay();
    for (const byte of Buffer.concat([Buffer.from(upgradeHead("/ws")), frame(TEXT, "slow")])) {
      await raw.flush(Buffer.from([byte]));
    }
    await raw.seen((seen) => seen.endsWith("\x81\x04slow"), "echo");
    raw.destroy();
  });
});

describe("what breaks RFC 6455 at /ws is closed with the code that says so", together, () => {
  const length64 = (high, low) => {
    const head = Buffer.alloc(14);
    head.set([0x82, 0xff]);
    head.writeUInt32BE(high, 2);
    head.writeUInt32BE(low, 6);
    return head;
  };
  const breaches = [
    ["an unmasked frame", frame(TEXT, "bare", { masked: false }), 1002],
    ["RSV bits without an extension", frame(TEXT, "x", { rsv: 4 }), 1002],
    ["an unknown opcode", frame(3, "x"), 1002],
    ["a fragmented ping", frame(9, "x", { fin: false }), 1002],
    ["a continuation of nothing", frame(0, "x"), 1002],
    ["a message within a message", Buffer.concat([frame(TEXT, "a", { fin: false }), frame(TEXT, "b")]), 1002],
    ["a close of one byte", frame(CLOSE, "x"), 1002],
    ["a close with a code that must not travel", frame(CLOSE, Buffer.from([0x03, 0xed])), 1002],
    ["text that is not UTF-8", frame(TEXT, Buffer.from([0xff, 0xfe])), 1007],
    ["a length that claims more than the limit", length64(0, 64 * MIB + 1), 1009],
    ["a length of 2^52", length64(0x0010_0000, 0), 1009],
  ];
  for (const [what, bytes, code] of breaches) {
    it(`${what}: ${code}`, async () => {
      const peer = await Peer.open(url);
      peer.ws._socket.write(bytes);
      assert.equal((await peer.end()).code, code);
    });
  }
});

describe("/ws-cast and the Socket.IO namespace /cast", { timeout: TEST_LIMIT }, () => {
  async function crowd(t) {
    const raws = await Promise.all([Peer.open(`${server.ws}/ws-cast`), Peer.open(`${server.ws}/ws-cast`)]);
    t.after(() => raws.forEach((peer) => peer.terminate()));
    const sockets = await Promise.all(
      Object.values(MODES).map(async (transport) => {
        const client = newClient(t, server, { ...transport, nsp: "/cast" });
        client.casts = received(client, "cast");
        await connection(client);
        return client;
      }),
    );
    // An open WebSocket may not have joined yet. When it gets its own message back, it has joined.
    for (const [i, peer] of raws.entries()) {
      peer.send(`ready ${i}`);
      while ((await peer.next("own message")) !== `ready ${i}`);
    }
    raws[0].send("all here");
    const until = async (next) => {
      while ((await next()) !== "all here");
    };
    await Promise.all([
      ...raws.map((peer) => until(() => peer.next("all here"))),
      ...sockets.map((client) => until(async () => (await client.casts.next("all here"))[0])),
    ]);
    return { raws, sockets };
  }

  it("are one room: what a WebSocket says, everyone hears once, the sender too", async (t) => {
    const { raws, sockets } = await crowd(t);
    raws[0].send("from a WebSocket €");
    for (const peer of raws) assert.equal(await peer.next(), "from a WebSocket €");
    for (const client of sockets) assert.deepEqual(await client.casts.next(), ["from a WebSocket €"]);
  });

  it("are one room: what a Socket.IO client says, everyone hears once, the sender too", async (t) => {
    const { raws, sockets } = await crowd(t);
    for (const [i, speaker] of sockets.entries()) {
      speaker.emit("cast", `from client ${i}`);
      for (const peer of raws) assert.equal(await peer.next(), `from client ${i}`);
      for (const client of sockets) assert.deepEqual(await client.casts.next(), [`from client ${i}`]);
    }
  });

  it("are one room in one order for each speaker", async (t) => {
    const { raws, sockets } = await crowd(t);
    const count = 200;
    for (let i = 0; i < count; i += 1) {
      raws[0].send(`raw ${i}`);
      sockets[0].emit("cast", `client ${i}`);
    }
    const expected = (who) => Array.from({ length: count }, (_, i) => `${who} ${i}`);
    const heard = await Promise.all([
      ...raws.map((peer) => peer.take(2 * count)),
      ...sockets.map(async (client) => (await client.casts.take(2 * count)).flat()),
    ]);
    for (const all of heard) {
      for (const who of ["raw", "client"]) assert.deepEqual(all.filter((text) => text.startsWith(who)), expected(who));
    }
  });

  it("do not reach the other namespaces, nor they them", async (t) => {
    const { raws } = await crowd(t);
    const main = await connectedClient(t, server);
    const casts = received(main, "cast");
    main.emit("broadcast", "to the main namespace");
    main.emit("cast", "not the namespace for it");
    await within(main.emitWithAck("message-with-ack"), "ack");
    raws[1].send("last");
    for (const peer of raws) assert.equal(await peer.next(), "last");
    await main.emitWithAck("message-with-ack");
    assert.equal(casts.length, 0);
  });
});
