// Compressed and uncompressed messages: answers to polls in a coding that the client accepts, as for browsers
// and curl (`httpCompression`), and packets that are marked as uncompressed (`compress(false)`), over both
// transports.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gunzipSync, inflateSync } from "node:zlib";
import { TEST_LIMIT } from "../lib/deadline.mjs";
import { PollingSession, SEPARATOR } from "../lib/engine.mjs";
import { RawSocket, frame, request, upgradeHead } from "../lib/http.mjs";
import { CALM, referenceDeviates, serverWith } from "../lib/server.mjs";

const server = await serverWith(CALM);
const together = { concurrency: 8, timeout: TEST_LIMIT };

const DECODE = { gzip: gunzipSync, deflate: inflateSync, undefined: (bytes) => bytes };

/** The coding of a response, and its decoded text. */
function decoded(response) {
  assert.equal(response.status, 200, response.text);
  const coding = response.headers["content-encoding"];
  assert.equal(Number(response.headers["content-length"] ?? response.bytes.length), response.bytes.length);
  return { coding, text: DECODE[coding](response.bytes).toString() };
}

const takes = (codings) => (codings === undefined ? {} : { headers: { "Accept-Encoding": codings } });

describe("the answer to a poll", together, () => {
  const cases = [
    ["gzip, deflate, br", "gzip"], // browsers
    ["deflate, gzip, br, zstd", "deflate"], // curl
    ["gzip;q=0.5, deflate", "deflate"],
    ["gzip;q=0, deflate;q=0.1", "deflate"],
    ["*", "gzip"],
    ["br, zstd", undefined],
    ["gzip;q=0", undefined],
    ["identity", undefined],
    [undefined, undefined],
  ];
  for (const [codings, expected] of cases) {
    it(`of a client that takes ${codings ?? "nothing in particular"} is in ${expected ?? "no coding"}`, async () => {
      const session = await PollingSession.open(server);
      const message = `4${"a message that is worth it ".repeat(100)}`;
      await session.send(message, "4short", message);
      const { coding, text } = decoded(await session.poll(takes(codings)));
      assert.equal(coding, expected);
      assert.deepEqual(text.split(SEPARATOR), [message, "4short", message]);
    });
  }

  it("is compressed from 1024 bytes on", async () => {
    const session = await PollingSession.open(server);
    for (const [length, expected] of [
      [1023, undefined],
      [1024, "gzip"],
    ]) {
      await session.send(`4${"a".repeat(length - 1)}`);
      const { coding, text } = decoded(await session.poll(takes("gzip")));
      assert.deepEqual([coding, text.length], [expected, length]);
    }
  });

  it("holds text outside of ASCII, and binary as base64", async () => {
    const session = await PollingSession.open(server);
    const [text, binary] = [`4${"안녕하세요 🙂 ".repeat(200)}`, Buffer.alloc(3000, 7)];
    await session.send(text, binary);
    const answer = decoded(await session.poll(takes("gzip")));
    assert.equal(answer.coding, "gzip");
    assert.deepEqual(answer.text.split(SEPARATOR), [text, `b${binary.toString("base64")}`]);
  });

  for (const [flags, expected] of [
    [[false], undefined],
    [[true], "gzip"],
    [[false, false], undefined],
    [[false, true], "gzip"],
    [[true, false], "gzip"],
  ]) {
    for (const room of [null, "own"]) {
      it(`with packets flagged ${flags} ${room ? "in a broadcast " : ""}is ${expected ? "" : "not "}compressed`, async () => {
        const session = await PollingSession.open(server, { endpoint: "/socket.io/" });
        await session.send("40");
        const [connected] = await session.packets();
        await settled(session);
        const own = JSON.parse(connected.slice(2)).sid;
        const text = "a".repeat(2000);
        await session.send(...flags.map((flag) => `42${JSON.stringify(["compress", flag, room && own, "said", text])}`));
        const { coding, text: body } = decoded(await session.poll(takes("gzip")));
        assert.equal(body.split(SEPARATOR).length, flags.length);
        assert.equal(coding, expected);
      });
    }
  }
});

/** Reads the messages that a namespace sends to a socket that joins. */
async function settled(session) {
  await session.send('421["message-with-ack"]');
  let packets = [];
  while (!packets.includes("431[]")) packets = packets.concat(await session.packets());
}

describe("over WebSocket", together, () => {
  for (const room of [false, true]) {
    it(`${room ? "broadcasts" : "packets"} flagged so go uncompressed among others`, referenceDeviates("does not hear the flag there"), async () => {
      const deflating = await serverWith({ ...CALM, deflate: true });
      const socket = await RawSocket.connect(deflating);
      socket.write(upgradeHead("/socket.io/?EIO=4&transport=websocket", "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
      const head = await socket.seen((text) => text.includes("\r\n\r\n"), "the answer");
      assert.match(head, /sec-websocket-extensions: permessage-deflate/i);
      socket.write(frame(1, "40"));
      const own = (await socket.seen((text) => /40\{"sid":"[^"]+"\}/.test(text), "CONNECT")).match(/40\{"sid":"([^"]+)"/)[1];
      const seen = await socket.seen((text) => text.includes('42["auth"'), "the auth");
      let at = seen.length;
      for (const flag of [false, true, false, false, true]) {
        const ask = Buffer.from(`42${JSON.stringify(["compress", flag, room ? own : null, "said", "b".repeat(2000)])}`);
        const header = Buffer.from([0x81, 0xfe, 0, 0, 0, 0, 0, 0]);
        header.writeUInt16BE(ask.length, 2);
        socket.write(Buffer.concat([header, ask]));
        const all = await socket.seen((text) => text.length >= at + 4 && text.length >= at + length(text, at), "a frame");
        const first = all.charCodeAt(at);
        assert.equal(first, flag ? 0xc1 : 0x81);
        assert.equal(all.slice(at, at + length(all, at)).includes("b".repeat(2000)), !flag);
        at += length(all, at);
      }
      socket.destroy();
    });
  }
});

/** The length of the frame at this offset, including its head. */
function length(text, at) {
  const short = text.charCodeAt(at + 1);
  return short < 126 ? 2 + short : 4 + text.charCodeAt(at + 2) * 256 + text.charCodeAt(at + 3);
}
