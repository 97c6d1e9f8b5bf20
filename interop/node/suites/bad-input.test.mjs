// Bad input, tested from outside: inputs that broke other Engine.IO and Socket.IO servers, each with its
// defined answer. Each test then serves a healthy client.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { TEST_LIMIT, until, within } from "../lib/deadline.mjs";
import { openWebSocket, PollingSession } from "../lib/engine.mjs";
import { frame, RawSocket, request, upgradeHead } from "../lib/http.mjs";
import { CALM, referenceDeviates, serverWith } from "../lib/server.mjs";
import { connected, healthy } from "../lib/socketio.mjs";
import { Peer } from "../lib/websocket.mjs";

const server = await serverWith(CALM);
const together = { concurrency: 8, timeout: TEST_LIMIT };

const MIB = 1024 * 1024;
const UNKNOWN = "/engine.io/?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA";

/** `count` chunks of a MiB. */
function* mebibytes(count) {
  const chunk = Buffer.alloc(MIB, "4");
  for (let i = 0; i < count; i += 1) yield chunk;
}

describe("too much", together, () => {
  it("a POST of 100 MB is refused while it comes, and not held", async () => {
    const session = await PollingSession.open(server);
    const before = server.memory();
    const response = await session.post(mebibytes(100), { headers: { "Content-Length": 100 * MIB } });
    // A client that continues to send may get a reset before it reads the response.
    assert.ok([413, 0].includes(response.status), `status ${response.status}`);
    assert.equal(response.text, "");
    assert.ok(server.memory("VmHWM") - before < 64 * MIB, "memory grew by the body");
    await healthy(server);
  });

  it("a POST in chunks without end is refused while it comes", async () => {
    const session = await PollingSession.open(server);
    const response = await session.post(mebibytes(100));
    assert.ok([413, 0].includes(response.status), `status ${response.status}`);
    await healthy(server);
  });

  it("a body with a request that may have none harms nobody", async () => {
    for (const path of ["/engine.io/?EIO=4&transport=polling", UNKNOWN.replace("websocket", "polling")]) {
      const { status } = await request(server, path, { method: "POST", body: mebibytes(20) });
      assert.ok([400, 413, 0].includes(status), `status ${status}`);
    }
    await healthy(server);
  });

  it("a header of a megabyte is refused", async () => {
    const raw = await RawSocket.connect(server);
    raw.write(`GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\nX-Long: ${"x".repeat(MIB)}\r\n\r\n`);
    await within(raw.closed, "close");
    assert.match(raw.text, /^(HTTP\/1\.1 4(00|31) .*)?/);
    assert.doesNotMatch(raw.text, /^HTTP\/1\.1 200/);
    await healthy(server);
  });

  it("a thousand WebSocket messages in tiny fragments are one message or a close", async () => {
    const peer = await openWebSocket(server);
    peer.send("4", { fin: false });
    for (let i = 0; i < 1000; i += 1) peer.send(i % 2 ? "" : "x", { fin: false });
    peer.send("", { fin: true });
    const answer = await peer.next().catch(() => "closed");
    assert.ok(answer === "closed" || answer.length === 501, `answer of ${answer.length}`);
    peer.terminate();
    await healthy(server);
  });

  it("empty fragments without end are closed", referenceDeviates("takes them for ever"), async () => {
    const peer = await Peer.open(`${server.ws}/ws`);
    peer.send("x", { fin: false });
    const empty = Buffer.concat(Array.from({ length: 10_000 }, () => frame(0, "", { fin: false })));
    const before = server.memory();
    for (let i = 0; i < 200 && peer.ws.readyState === 1 && !peer.ws._socket.destroyed; i += 1) {
      const written = new Promise((resolve) => peer.ws._socket.write(empty, resolve));
      await within(Promise.race([written, peer.closed]), "write");
      if (server.memory() - before > 64 * MIB) assert.fail("memory grows with empty fragments");
    }
    await peer.end();
    await healthy(server);
  });

  it("a reader that never reads is held back or closed, in bounded memory", referenceDeviates("buffers it all"), async () => {
    const peer = await openWebSocket(server);
    peer.ws._socket.pause();
    const before = server.memory();
    const packet = `4${"x".repeat(500_000)}`;
    for (let sent = 0; sent < 200; sent += 1) {
      const written = new Promise((resolve) => peer.ws.send(packet, resolve));
      const stalled = await within(Promise.race([written, peer.closed]), "write", 1000).then(() => false, () => true);
      if (stalled || peer.ws.readyState !== 1) break;
    }
    assert.ok(server.memory() - before < 64 * MIB, "memory grew with what was not read");
    peer.terminate();
    await healthy(server);
  });
});

describe("gone in the middle", together, () => {
  it("a reset during a refused upgrade", async () => {
    for (let i = 0; i < 20; i += 1) {
      const raw = await RawSocket.connect(server);
      await raw.flush(upgradeHead(i % 2 ? UNKNOWN : "/nowhere"));
      raw.reset();
    }
    await healthy(server);
  });

  it("a reset during an upgrade that is granted", async () => {
    for (let i = 0; i < 20; i += 1) {
      const session = await PollingSession.open(server);
      const raw = await RawSocket.connect(server);
      await raw.flush(upgradeHead(session.websocketUrl.slice(server.ws.length)));
      raw.reset();
      await session.lives();
    }
    await healthy(server);
  });

  it("200 connections opened and reset", async () => {
    await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const raw = await RawSocket.connect(server);
        if (i % 2) await raw.flush("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n");
        raw.reset();
      }),
    );
    await healthy(server);
  });

  it("a poller that vanishes takes its session along", async () => {
    const session = await PollingSession.open(server);
    // A reset discards the data that the server has not read yet. The request may never have arrived, so
    // another poller tries.
    await until(async () => {
      const poll = await RawSocket.connect(server);
      await poll.flush(`GET ${session.path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      poll.reset();
      return (await session.post("6")).status === 400;
    }, "the session to end with its poller");
    await session.gone();
    await healthy(server);
  });

  it("an abandoned polling session ends by its heartbeat, joined or not", async (t) => {
    const brisk = await serverWith({ "ping-interval": 300, "ping-timeout": 300 });
    const bare = await PollingSession.open(brisk, { endpoint: "/socket.io/" });
    const joined = await PollingSession.open(brisk, { endpoint: "/socket.io/" });
    await joined.send("40", '42["join","abandoned"]');
    await Promise.all([bare.gone("the bare session"), joined.gone("the joined session")]);
    const packets = await connected(t, brisk);
    packets.send('2["to","abandoned","said",1]');
    await packets.lives();
    await healthy(brisk);
  });

  it("a message cut off in a WebSocket frame", async () => {
    const raw = await RawSocket.connect(server);
    raw.write(upgradeHead("/engine.io/?EIO=4&transport=websocket"));
    await raw.seen((text) => text.includes('"sid"'), "open packet");
    await raw.flush(frame(1, "4cut off in the middle").subarray(0, 10));
    raw.reset();
    await healthy(server);
  });
});

describe("slow on purpose", together, () => {
  it("a body that only begins holds nobody else up, and its end ends the session", async () => {
    const session = await PollingSession.open(server);
    const raw = await RawSocket.connect(server);
    await raw.flush(`POST ${session.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n4`);
    await healthy(server);
    await raw.flush("x");
    raw.destroy();
    await session.gone();
  });

  it("a request head that only begins holds nobody else up", async () => {
    const raws = await Promise.all(Array.from({ length: 50 }, () => RawSocket.connect(server)));
    await Promise.all(raws.map((raw) => raw.flush("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: loc")));
    await healthy(server);
    for (const raw of raws) raw.destroy();
  });

  // Engine.IO gives an upgrade ten seconds, and the conformance server has no option for it. So the two tests
  // run at once.
  for (const [what, begin] of [
    ["that never sends its probe", (session) => Peer.open(session.websocketUrl)],
    ["that stalls after its probe", (session) => session.probe()],
  ]) {
    it(`an upgrade ${what} is closed in time, and the session goes on`, async () => {
      const session = await PollingSession.open(server);
      const stalled = await begin(session);
      const started = performance.now();
      await within(stalled.closed, "end of the stalled upgrade", 25_000);
      const elapsed = performance.now() - started;
      assert.ok(elapsed > 8_000, `closed after ${elapsed} ms`);
      await session.lives();
      const peer = await session.upgrade();
      peer.send("4hello");
      assert.equal(await peer.next(), "4hello");
      await peer.close();
      await healthy(server);
    });
  }
});

describe("no HTTP at all", together, () => {
  const garbage = [
    ["random bytes", Buffer.concat([Buffer.from([0xf7]), randomBytes(2000), Buffer.from("\r\n\r\n")])],
    ["NUL bytes", Buffer.alloc(2000)],
    ["a request line of words", Buffer.from("this is no request at all\r\n\r\n")],
    ["a version there is not", Buffer.from("GET / HTTP/9.9\r\n\r\n")],
    ["two different lengths", Buffer.from("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")],
    ["a negative length", Buffer.from("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n")],
    ["a chunk size that is no number", Buffer.from("POST /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n")],
    ["a WebSocket frame without a handshake", frame(1, "4hello")],
  ];
  for (const [what, bytes] of garbage) {
    it(`${what}: refused or dropped`, async () => {
      const raw = await RawSocket.connect(server);
      raw.write(bytes);
      // A request that is not refused at once waits for more bytes, like a slow request. Then the test closes
      // first.
      await raw.seen((text) => text.length > 0, "answer").catch(() => {});
      assert.doesNotMatch(raw.text, /^HTTP\/1\.[01] [23]/);
      raw.destroy();
      await healthy(server);
    });
  }

  it("a TLS hello on a port without TLS", async () => {
    const raw = await RawSocket.connect(server);
    raw.write(Buffer.from("16030100a5010000a10303".padEnd(340, "00"), "hex"));
    await raw.flush(Buffer.from("\r\n\r\n"));
    raw.socket.end();
    await within(raw.closed, "close");
    assert.doesNotMatch(raw.text, /^HTTP\/1\.[01] 2/);
    await healthy(server);
  });
});

describe("requests within requests", together, () => {
  it("two in one piece are answered in turn, the second not taken for the first one's body", async () => {
    const raw = await RawSocket.connect(server);
    raw.write(
      `POST ${UNKNOWN.replace("websocket", "polling")} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n4one` +
        "GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    const text = await raw.seen((seen) => seen.includes('"upgrades"'), "two answers");
    assert.deepEqual(text.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 400", "HTTP/1.1 200"]);
    raw.destroy();
  });

  it("bytes behind a refused upgrade are no request", async () => {
    const raw = await RawSocket.connect(server);
    raw.write(`${upgradeHead(UNKNOWN)}GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n`);
    await raw.seen((text) => text.startsWith("HTTP/1.1 400 "), "status 400");
    raw.destroy();
    await healthy(server);
  });

  it("a length and chunks at once are no valid POST", async () => {
    const session = await PollingSession.open(server);
    const raw = await RawSocket.connect(server);
    raw.write(
      `POST ${session.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n` +
        "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    // Either the request is refused, or its chunks are read as an empty payload. The server never trusts the
    // length.
    await raw.seen((text) => text.length > 0, "answer").catch(() => {});
    assert.doesNotMatch(raw.text, /^HTTP\/1\.1 [23]/);
    raw.destroy();
    await healthy(server);
  });
});
