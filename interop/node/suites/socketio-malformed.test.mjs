// Socket.IO protocol v5: a message that is not a packet, comes at the wrong time or exceeds a limit closes
// its connection, over both transports, and only that connection.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TEST_LIMIT } from "../lib/deadline.mjs";
import { CALM, referenceDeviates, serverWith } from "../lib/server.mjs";
import { connected, healthy, openPackets } from "../lib/socketio.mjs";

const server = await serverWith(CALM);
const together = { concurrency: 8, timeout: TEST_LIMIT };

const blob = Buffer.from([1, 2, 3]);
const hole = (num) => ({ _placeholder: true, num });
const binaryEvent = (count, ...args) => `5${count}-${JSON.stringify(["message", ...args])}`;

/** Messages to send before any CONNECT. */
const TOO_EARLY = [
  ["text that is no packet", ["abc"]],
  ["an empty message", [""]],
  ["an EVENT", ['2["message"]']],
  ["an ACK", ["31[]"]],
  ["a DISCONNECT", ["1"]],
  ["an attachment", [blob]],
  ["a CONNECT_ERROR", ['4{"message":"x"}']],
  ["a CONNECT whose auth is a list", ["0[]"]],
  ["a CONNECT whose auth is a text", ['0"token"']],
  ["a CONNECT whose auth is no JSON", ["0{token"]],
];

/** Messages to send to the joined namespace `/`. */
const MALFORMED = [
  ["an unknown packet type", ["abc"]],
  ["packet type 7", ['7["message"]']],
  ["an empty message", [""]],
  ["an EVENT that is no list", ["2{}"]],
  ["an EVENT that is a text", ['2"message"']],
  ["an EVENT without a name", ["2[]"]],
  ["an EVENT that is no JSON", ['2["message"']],
  ["an EVENT with more behind its JSON", ['2["message"]x']],
  ["an ack id that is no number", ['2abc["message-with-ack",1]']],
  ["a negative ack id", ['2-1["message-with-ack",1]']],
  ["an ACK that is no list", ["31{}"]],
  ["a DISCONNECT with a payload", ["1{}"]],
  // Directly after the first one, it would look like a client that connects, disconnects and connects again
  // in one turn.
  ["a second CONNECT of the same namespace, behind an EVENT", ['2["message"]', "0"]],
  ["a CONNECT_ERROR", ['4{"message":"x"}']],
  ["an EVENT for a namespace not joined", ['2/custom,["message"]']],
  ["an ACK for a namespace not joined", ["3/custom,1[]"]],
  ["an EVENT for a namespace there is not", ['2/random,["message"]']],
  ["a binary EVENT without a count", ['5["message"]']],
  ["a count that is missing", ['5-["message"]']],
  ["a count that is no number", ['5x-["message"]']],
  ["a negative count", ['5-1-["message"]']],
  ["a count with a fraction", ['51.5-["message"]']],
  ["a count past every integer", ['599999999999999999999-["message"]']],
  ["more attachments than the cap", [binaryEvent(11, ...Array.from({ length: 11 }, (_, i) => hole(i)))]],
  ["an attachment nobody announced", [blob]],
  ["an attachment more than announced", [binaryEvent(1, hole(0)), blob, blob]],
  ["a text between attachments", [binaryEvent(2, hole(0), hole(1)), blob, '2["message"]', blob]],
  ["a binary EVENT between attachments", [binaryEvent(2, hole(0), hole(1)), blob, binaryEvent(1, hole(0))]],
  ["a placeholder that points nowhere", [binaryEvent(1, hole(1)), blob]],
  ["a negative placeholder", [binaryEvent(1, hole(-1)), blob]],
  ["a placeholder that is a text", [binaryEvent(1, hole("0")), blob]],
  ["a placeholder named as a property of every list", [binaryEvent(1, hole("length")), blob]],
  ["a placeholder without a number", [binaryEvent(1, { _placeholder: true }), blob]],
  ...["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"].map((name) => [
    `the reserved event name ${name}`,
    [`2["${name}",1]`],
  ]),
  ...["null", "true", "{}", '["message"]'].map((name) => [`an event name that is ${name}`, [`2[${name},1]`]]),
  ["a binary EVENT of a reserved name", ['51-["disconnect",{"_placeholder":true,"num":0}]', blob]],
];

/** Also malformed, but the reference accepts them. */
const STRICTER = [
  ["a placeholder with a fraction", [binaryEvent(1, hole(0.5)), blob], "delivers undefined"],
];

for (const transport of ["websocket", "polling"]) {
  describe(`what closes a connection that has joined nothing, over ${transport}`, together, () => {
    for (const [what, messages] of TOO_EARLY) {
      it(what, async (t) => {
        const packets = await openPackets(t, server, transport);
        for (const message of messages) packets.send(message);
        await packets.end();
      });
    }
  });

  describe(`what closes a connection in the namespace, over ${transport}`, together, () => {
    for (const [what, messages] of MALFORMED) {
      it(what, async (t) => {
        const packets = await connected(t, server, transport);
        for (const message of messages) packets.send(message);
        await packets.end();
      });
    }
    it("an EVENT after its namespace was left", async (t) => {
      const packets = await connected(t, server, transport);
      await packets.leave();
      packets.send('2["message"]');
      await packets.end();
    });

    for (const [what, messages, deviation] of STRICTER) {
      it(what, referenceDeviates(deviation), async (t) => {
        const packets = await connected(t, server, transport);
        for (const message of messages) packets.send(message);
        await packets.end();
      });
    }
  });

  describe(`what is odd, over ${transport}`, together, () => {
    it("zero attachments: refused, or an event like any other that leaves the next packet alone", async (t) => {
      const packets = await connected(t, server, transport);
      packets.send('50-["message",1]');
      packets.send('2["message",2]');
      const first = await packets.next().catch(() => "closed");
      if (first === "closed") return;
      assert.equal(first, '2["message-back",1]');
      assert.deepEqual(await packets.event(), ["message-back", 2]);
    });

    it("a number for an event name reaches no handler", async (t) => {
      const packets = await connected(t, server, transport);
      packets.send("2[1,2]");
      packets.send('2["message","after"]');
      // Ignored, as in the reference, or refused because the name is not a text. Never answered.
      const next = await packets.next().catch(() => "closed");
      assert.ok(["closed", '2["message-back","after"]'].includes(next), next);
    });

    it("an attachment that no placeholder names", async (t) => {
      const packets = await connected(t, server, transport);
      packets.send(binaryEvent(1, "plain"));
      packets.send(blob);
      const next = await packets.next().catch(() => "closed");
      assert.ok(["closed", '2["message-back","plain"]'].includes(next), next);
    });

    it("an attachment that two placeholders name", async (t) => {
      const packets = await connected(t, server, transport);
      packets.send(binaryEvent(1, hole(0), hole(0)));
      packets.send(blob);
      const data = await packets.assembled().then((packet) => packet.data, () => "closed");
      assert.deepEqual(data, data === "closed" ? "closed" : ["message-back", blob, blob]);
    });
  });
}

describe("nesting without end", { timeout: TEST_LIMIT }, () => {
  const depth = 100_000;
  const deepNesting = referenceDeviates("runs out of stack, and at times dies of it");
  const nested = `${"[".repeat(depth)}${"]".repeat(depth)}`;
  for (const transport of ["websocket", "polling"]) {
    for (const [what, text] of [
      ["in an event's arguments", `2["message",${nested}]`],
      ["in the arguments of an ack", `21["message-with-ack",${nested}]`],
      ["in a packet with attachments", `51-["message",${nested},{"_placeholder":true,"num":0}]`],
    ]) {
      it(`${what} costs at most its own connection, over ${transport}`, deepNesting, async (t) => {
        const packets = await connected(t, server, transport);
        packets.send(text);
        // Even if the nesting itself is allowed, at least one of these is an attachment too many.
        packets.send(blob);
        packets.send(blob);
        await packets.end();
        await healthy(server);
      });
    }
  }

  it("that is never closed costs only its own connection", async (t) => {
    const packets = await connected(t, server);
    packets.send(`2["message",${"[".repeat(depth)}`);
    await packets.end();
    await healthy(server);
  });

  it("in auth costs at most its own connection", deepNesting, async (t) => {
    const packets = await openPackets(t, server);
    packets.send(`0{"a":${nested}}`);
    packets.send(blob);
    await packets.end();
    await healthy(server);
  });
});
