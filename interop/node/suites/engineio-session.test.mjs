// Engine.IO v4: messages, payloads, limits, one request of a kind at a time, and the close of a session.

import assert from "node:assert/strict";
import { Agent } from "node:http";
import { describe, it } from "node:test";
import { gunzipSync } from "node:zlib";
import { TEST_LIMIT, until, within } from "../lib/deadline.mjs";
import { openWebSocket, PollingSession, SEPARATOR } from "../lib/engine.mjs";
import { RawSocket } from "../lib/http.mjs";
import { CALM, referenceDeviates, serverWith } from "../lib/server.mjs";

const server = await serverWith(CALM);
const together = { concurrency: 8, timeout: TEST_LIMIT };
const MAX_PAYLOAD = 1_000_000;

const bytes = Buffer.from([0, 1, 2, 3, 30, 250, 255]);

describe("Engine.IO messages over polling", together, () => {
  const payloads = [
    ["one text message", ["4hello"]],
    ["several text messages", ["4test1", "4test2", "4test3"]],
    ["text beyond ASCII", ["4€ 😀 \u{10ffff} é", "4\u0000\u001f\u2028"]],
    ["an empty message", ["4"]],
    ["one binary message", [bytes]],
    ["text and binary in turn", ["4hello", bytes, "4world", Buffer.from([9])]],
  ];
  for (const [what, packets] of payloads) {
    it(`carries ${what} in one payload`, async () => {
      const session = await PollingSession.open(server);
      await session.send(...packets);
      assert.deepEqual(await session.messages(packets.length), packets);
    });
  }

  it("answers a POST with ok as text/html and a poll as text/plain", async () => {
    const session = await PollingSession.open(server);
    const post = await session.post("4hello");
    assert.deepEqual([post.status, post.text], [200, "ok"]);
    assert.match(post.headers["content-type"], /^text\/html/);
    const poll = await session.poll();
    assert.deepEqual([poll.status, poll.text], [200, "4hello"]);
    assert.match(poll.headers["content-type"], /^text\/plain; ?charset=utf-8$/i);
    assert.equal(poll.headers["cache-control"], "no-store");
  });

  it("encodes binary as b and base64", async () => {
    const session = await PollingSession.open(server);
    await session.post(`4hello${SEPARATOR}bAQIDBA==`);
    assert.equal((await session.poll()).text, `4hello${SEPARATOR}bAQIDBA==`);
  });

  it("holds a poll until there is something to say", async () => {
    const session = await PollingSession.open(server);
    const poll = session.packets();
    await session.send("4now");
    assert.deepEqual(await poll, ["4now"]);
  });

  it("passes over a noop", async () => {
    const session = await PollingSession.open(server);
    await session.send("6");
    await session.lives();
  });

  it("serves a whole session on one kept connection", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const session = await PollingSession.open(server, { agent });
    for (const word of ["one", "two", "three"]) {
      assert.equal((await session.post(`4${word}`, { agent })).text, "ok");
      assert.deepEqual(await session.packets({ agent }), [`4${word}`]);
    }
    agent.destroy();
  });

  it("compresses a large poll only for those who ask", async () => {
    const large = `4${"large ".repeat(1000)}`;
    const session = await PollingSession.open(server);
    await session.send(large);
    const plain = await session.poll();
    assert.equal(plain.headers["content-encoding"], undefined);
    assert.equal(plain.text, large);
    await session.send(large);
    const packed = await session.poll({ headers: { "Accept-Encoding": "gzip" } });
    assert.equal(packed.headers["content-encoding"], "gzip");
    assert.equal(gunzipSync(packed.bytes).toString(), large);
    await session.send("4small");
    const small = await session.poll({ headers: { "Accept-Encoding": "gzip" } });
    assert.deepEqual([small.headers["content-encoding"], small.text], [undefined, "4small"]);
  });
});

describe("Engine.IO messages over WebSocket", together, () => {
  it("carry text and binary as they are", async () => {
    const peer = await openWebSocket(server);
    for (const packet of ["4hello", bytes, "4€ 😀", Buffer.alloc(0), "4"]) {
      peer.send(packet);
      assert.deepEqual(await peer.next(), packet);
    }
    await peer.close();
  });

  it("keep their order when many are under way", async () => {
    const peer = await openWebSocket(server);
    const sent = Array.from({ length: 500 }, (_, i) => (i % 5 ? `4message ${i}` : Buffer.from([i >> 8, i & 255])));
    for (const packet of sent) peer.send(packet);
    assert.deepEqual(await peer.take(sent.length), sent);
    await peer.close();
  });
});

describe("an invalid Engine.IO packet", together, () => {
  const payloads = [
    ["no packet at all", "abc"],
    ["an unknown packet type", "7hello"],
    ["a payload that ends with a separator", `4hello${SEPARATOR}`],
    ["a payload that begins with a separator", `${SEPARATOR}4hello`],
    ["a good packet, then a bad one", `4hello${SEPARATOR}zzz`],
    ["an empty body", ""],
    ["a ping, which is the server's to send", "2"],
  ];
  for (const [what, body] of payloads) {
    it(`closes the session over polling: ${what}`, async () => {
      const session = await PollingSession.open(server);
      // The reference cuts the connection of the POST. A response is 400 for a payload that does not parse,
      // otherwise 200.
      const { status } = await session.post(body);
      assert.ok([0, 200, 400].includes(status), `status ${status}`);
      await session.gone();
    });
  }

  for (const message of ["abc", "7hello", "", "2"]) {
    it(`closes the session over WebSocket: ${JSON.stringify(message)}`, async () => {
      const peer = await openWebSocket(server);
      peer.send(message);
      await peer.end();
    });
  }

  it("may be base64 that is none: refused, or read as far as it goes", async () => {
    const session = await PollingSession.open(server);
    const { status } = await session.post("b!!!!");
    // The reference decodes the valid part, and echoes an empty message.
    if (status === 200) assert.deepEqual((await session.messages(1)).map((packet) => packet.length), [0]);
    else await session.gone();
  });

  it("as application/octet-stream is refused and closes the session", async () => {
    const session = await PollingSession.open(server);
    const headers = { "Content-Type": "application/octet-stream" };
    const { status } = await session.post(Buffer.from([4, 1, 2]), { headers });
    assert.ok([0, 400].includes(status), `status ${status}`);
    await session.gone();
  });
});

describe("the limit of an Engine.IO message", together, () => {
  it("lets a body of exactly that size in", async () => {
    const session = await PollingSession.open(server);
    const packet = `4${"x".repeat(MAX_PAYLOAD - 1)}`;
    await session.send(packet);
    assert.deepEqual(await session.messages(1), [packet]);
  });

  it("is in bytes, not characters", async () => {
    const session = await PollingSession.open(server);
    const { status } = await session.post(`4${"é".repeat(MAX_PAYLOAD / 2)}`);
    assert.equal(status, 413);
  });

  for (const [what, body] of [
    ["of known length", "4".repeat(MAX_PAYLOAD + 1)],
    ["in chunks", Array.from({ length: 11 }, () => "4".repeat(MAX_PAYLOAD / 10))],
  ]) {
    it(`answers a larger body ${what} with 413 and nothing else`, async () => {
      const session = await PollingSession.open(server);
      const response = await session.post(body);
      assert.deepEqual([response.status, response.text], [413, ""]);
    });
  }

  it("lets a WebSocket message of exactly that size pass", async () => {
    const peer = await openWebSocket(server);
    const packet = `4${"x".repeat(MAX_PAYLOAD - 1)}`;
    peer.send(packet);
    assert.equal(await peer.next(), packet);
    await peer.close();
  });

  for (const [what, send] of [
    ["in one frame", (peer) => peer.send("4".repeat(MAX_PAYLOAD + 1))],
    [
      "in fragments",
      (peer) => {
        for (let i = 0; i < 11; i += 1) peer.send("4".repeat(MAX_PAYLOAD / 10), { fin: i === 10 });
      },
    ],
  ]) {
    it(`closes a WebSocket with 1009 for a larger one ${what}`, async () => {
      const peer = await openWebSocket(server);
      send(peer);
      assert.equal((await peer.end()).code, 1009);
    });
  }
});

describe("two requests of a kind at once", together, () => {
  it("close the session when both are polls", async () => {
    const session = await PollingSession.open(server);
    const answers = await Promise.all([session.poll(), session.poll()]);
    const [held, second] = answers.sort((a, b) => a.status - b.status);
    // The waiting one gets the close of the session. The other one is the error.
    assert.deepEqual([held.status, held.text], [200, "1"]);
    assert.ok([400, 500].includes(second.status), `status ${second.status}`);
    await session.gone();
  });

  it("close the session when both are POSTs", async () => {
    const session = await PollingSession.open(server);
    const slow = await RawSocket.connect(server);
    slow.write(`POST ${session.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n4`);
    const overlap = await until(async () => {
      const answer = await session.post("6");
      return answer.status !== 200 && answer;
    }, "the second POST to be refused");
    assert.ok([400, 500].includes(overlap.status), `status ${overlap.status}`);
    await session.gone();
    slow.destroy();
  });

  it("are fine when one is a poll and the other a POST", async () => {
    const session = await PollingSession.open(server);
    for (let i = 0; i < 20; i += 1) {
      const [packets] = await Promise.all([session.packets(), session.send(`4${i}`)]);
      assert.deepEqual(packets, [`4${i}`]);
    }
  });
});

describe("the end of an Engine.IO session", together, () => {
  it("over polling: close from the client releases its poll with a noop", async () => {
    const session = await PollingSession.open(server);
    // The poll is known to wait when it has answered a message sent after it.
    const poll = session.packets();
    await session.send("4first");
    assert.deepEqual(await poll, ["4first"]);
    const [response, post] = await Promise.all([session.poll(), session.post("1")]);
    assert.deepEqual([post.status, post.text], [200, "ok"]);
    // A close that arrives before the poll finds no poll to release.
    if (response.status === 200) assert.equal(response.text, "6");
    else assert.equal(JSON.parse(response.text).code, 1);
    await session.gone();
  });

  it("over polling: what follows a close in its payload is not handled", async () => {
    const session = await PollingSession.open(server);
    await session.post(`1${SEPARATOR}4late`);
    const response = await session.poll();
    assert.deepEqual([response.status, JSON.parse(response.text).code], [400, 1]);
  });

  it("over polling: a poll that its client gave up", async () => {
    const session = await PollingSession.open(server);
    // If the end of the connection comes with the request, an HTTP server may drop both before it handles the
    // request. Then the test tries again.
    await until(async () => {
      const poll = await RawSocket.connect(server);
      await poll.flush(`GET ${session.path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      poll.destroy();
      return (await session.post("6")).status === 400;
    }, "the session to end with its poller");
    await session.gone();
  });

  it("over polling: a POST that its client gave up", async () => {
    const session = await PollingSession.open(server);
    const post = await RawSocket.connect(server);
    await post.flush(`POST ${session.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n4half`);
    post.destroy();
    await session.gone();
  });

  it("over WebSocket: close from the client", referenceDeviates("waits for its ping timeout"), async () => {
    const peer = await openWebSocket(server);
    peer.send("1");
    await peer.end();
  });

  it("over WebSocket: a close frame is answered with its code", async () => {
    const peer = await openWebSocket(server);
    assert.equal((await peer.close(1000)).code, 1000);
  });

  it("over WebSocket: the sid is unknown after it", async () => {
    const peer = await openWebSocket(server);
    const { sid } = peer.handshake;
    await peer.close();
    await new PollingSession(server, "/engine.io/", { sid }).gone();
  });

  it("a method that is neither GET nor POST is refused and harms nothing", async () => {
    const session = await PollingSession.open(server);
    for (const method of ["PUT", "DELETE", "PATCH"]) {
      const { status } = await session.post("4x", { method });
      assert.ok([400, 405, 500].includes(status), `${method}: ${status}`);
    }
    await session.lives();
  });

  it("a session's poll by another transport's name is a bad request", async () => {
    const session = await PollingSession.open(server);
    const path = session.path.replace("polling", "websocket");
    const response = await new PollingSession(server, "/engine.io/", { sid: session.sid }).poll.call({ server, path });
    assert.deepEqual([response.status, JSON.parse(response.text).code], [400, 3]);
    await session.lives();
  });

  it("a POST larger than the limit leaves no poll waiting for ever", referenceDeviates("keeps the session"), async () => {
    const session = await PollingSession.open(server);
    const poll = session.poll();
    assert.equal((await session.post("4".repeat(MAX_PAYLOAD + 1))).status, 413);
    await within(poll, "the poll's answer");
    await session.gone();
  });
});
