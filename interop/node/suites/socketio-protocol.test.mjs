// Socket.IO protocol v5, packet by packet, over both transports: connect, disconnect, events, acks, binary.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TEST_LIMIT } from "../lib/deadline.mjs";
import { CALM, referenceDeviates, serverWith } from "../lib/server.mjs";
import { connected, openPackets } from "../lib/socketio.mjs";

const server = await serverWith(CALM);
const impatient = await serverWith({ ...CALM, "connect-timeout": 300 });
const together = { concurrency: 8, timeout: TEST_LIMIT };

const hole = (num) => ({ _placeholder: true, num });
const one = Buffer.from([1, 2, 3]);
const two = Buffer.from([4, 5, 6]);

for (const transport of ["websocket", "polling"]) {
  describe(`Socket.IO CONNECT over ${transport}`, together, () => {
    for (const nsp of ["/", "/custom"]) {
      it(`joins ${nsp} without auth`, async (t) => {
        const packets = await openPackets(t, server, transport);
        const { sid, auth } = await packets.connect(nsp);
        assert.equal(typeof sid, "string");
        assert.deepEqual(auth, {});
      });

      it(`joins ${nsp} with auth, which the server sees`, async (t) => {
        const packets = await openPackets(t, server, transport);
        const auth = { token: "123", nested: { list: [1, null, "€"] } };
        assert.deepEqual((await packets.connect(nsp, auth)).auth, auth);
      });
    }

    it("answers with the socket's sid and nothing else", async (t) => {
      const packets = await openPackets(t, server, transport);
      packets.send("0");
      const answer = await packets.next();
      assert.equal(answer[0], "0");
      assert.deepEqual(Object.keys(JSON.parse(answer.slice(1))), ["sid"]);
    });

    it("needs no comma behind a namespace that nothing follows", async (t) => {
      const packets = await openPackets(t, server, transport);
      packets.send("0/custom");
      assert.ok((await packets.next()).startsWith("0/custom,{"));
    });

    it("gives a sid that is neither the engine's nor another namespace's", async (t) => {
      const packets = await openPackets(t, server, transport);
      const sids = [packets.engineSid, (await packets.connect("/")).sid, (await packets.connect("/custom")).sid];
      assert.equal(new Set(sids).size, 3);
    });

    for (const nsp of ["/random", "/custom/below", "/Custom", "/cust", "/__proto__"]) {
      it(`refuses ${nsp} and keeps the connection`, async (t) => {
        const packets = await openPackets(t, server, transport);
        packets.send(`0${nsp},{"token":"abc"}`);
        const answer = await packets.next();
        assert.ok(answer.startsWith(`4${nsp},`), answer);
        assert.deepEqual(JSON.parse(answer.slice(nsp.length + 2)), { message: "Invalid namespace" });
        await packets.connect("/");
        await packets.lives();
      });
    }

    it("is waited for no longer than the connect timeout", async (t) => {
      const packets = await openPackets(t, impatient, transport);
      await packets.end();
    });

    it("that was refused does not stop the connect timeout", async (t) => {
      const packets = await openPackets(t, impatient, transport);
      packets.send("0/random,");
      assert.ok((await packets.next()).startsWith("4/random,"));
      await packets.end();
    });

    it("in time ends the connect timeout", async (t) => {
      const late = await openPackets(t, impatient, transport);
      const packets = await openPackets(t, impatient, transport);
      await packets.connect("/custom");
      // A connection without CONNECT that was opened later has been closed. So the time of this one is over
      // too.
      const after = await openPackets(t, impatient, transport);
      await Promise.all([late.end(), after.end()]);
      await packets.connect("/");
      await packets.lives();
    });
  });

  describe(`Socket.IO DISCONNECT over ${transport}`, together, () => {
    it("leaves the connection open", async (t) => {
      const packets = await connected(t, server, transport);
      await packets.leave();
    });

    it("of one namespace leaves the other", async (t) => {
      const packets = await connected(t, server, transport);
      await packets.connect("/custom");
      packets.send("1/custom,");
      await packets.lives("main");
    });

    it("can be followed by another CONNECT, which is another socket", async (t) => {
      const packets = await connected(t, server, transport);
      await packets.leave();
      const { sid } = await packets.connect("/");
      assert.notEqual(sid, packets.socket.sid);
      await packets.lives();
    });

    it("can be followed by another CONNECT at once", referenceDeviates("handles DISCONNECT a tick late"), async (t) => {
      const packets = await connected(t, server, transport);
      packets.send("1");
      await packets.connect("/");
      await packets.lives();
    });

    it("takes the socket out of its rooms", async (t) => {
      const room = `left-${transport}`;
      const [leaver, stayer] = await Promise.all([connected(t, server, transport), connected(t, server, transport)]);
      for (const packets of [leaver, stayer]) {
        packets.send(`2["join","${room}"]`);
        await packets.lives("joined");
      }
      await leaver.leave();
      await leaver.connect("/");
      stayer.send(`2["to","${room}","said",1]`);
      assert.deepEqual(await stayer.event(), ["said", 1]);
      await leaver.lives("nothing came before this");
    });
  });

  describe(`Socket.IO EVENT over ${transport}`, together, () => {
    const argumentLists = [
      ["no argument", []],
      ["scalars", [1, "2", true, false, null, -0.5, 1e21]],
      ["objects and lists", [{ 3: [true] }, [], {}, [[[]]]]],
      ["text beyond ASCII, quotes and control characters", ['€ 😀 "\\/ \u0000 \u2028 \x1e']],
      ["what looks like packet syntax", ['42["message"]', "/custom,", "451-", "]"]],
      ["what looks like a placeholder in an event without attachments", [hole(0), { a: hole(7) }]],
      ["a member named __proto__", [JSON.parse('{"__proto__":{"x":1},"constructor":2}')]],
      ["a long text", ["x".repeat(100_000)]],
    ];
    for (const [what, args] of argumentLists) {
      it(`carries ${what}`, async (t) => {
        const packets = await connected(t, server, transport);
        packets.send(`2${JSON.stringify(["message", ...args])}`);
        assert.equal(JSON.stringify(await packets.event()), JSON.stringify(["message-back", ...args]));
      });
    }

    it("may hold white space where JSON lets it", async (t) => {
      const packets = await connected(t, server, transport);
      packets.send('2[ "message" ,\n\t{ "a" : 1 } ]');
      assert.deepEqual(await packets.event(), ["message-back", { a: 1 }]);
    });

    it("nobody listens for is passed over, as is one of a namespace without handlers", async (t) => {
      const packets = await connected(t, server, transport);
      await packets.connect("/custom");
      packets.send('2["nobody listens",1]');
      packets.send('2/custom,["message",1]');
      await packets.lives();
    });

    it("is answered in the order of asking", async (t) => {
      const packets = await connected(t, server, transport);
      const count = 200;
      for (let i = 0; i < count; i += 1) packets.send(`2["message",${i}]`);
      for (let i = 0; i < count; i += 1) assert.deepEqual(await packets.event(), ["message-back", i]);
    });

    it("of one typed argument is echoed", async (t) => {
      const packets = await connected(t, server, transport);
      packets.send('2["echo","typed €"]');
      assert.deepEqual(await packets.event(), ["echo", "typed €"]);
    });

    it("goes to a room, once to each socket, and to nobody else", async (t) => {
      const room = `room-${transport}`;
      const [inside, outside] = await Promise.all([connected(t, server, transport), connected(t, server, transport)]);
      inside.send(`2["join","${room}"]`);
      inside.send(`2["join","${room}"]`);
      await inside.lives("joined");
      outside.send(`2["to","${room}","said",{"by":"outside"},2]`);
      assert.deepEqual(await inside.event(), ["said", { by: "outside" }, 2]);
      await outside.lives();
      inside.send(`2["leave","${room}"]`);
      await inside.lives("left, and nothing came twice");
      outside.send(`2["to","${room}","said",3]`);
      await outside.lives();
      await inside.lives("nothing came");
    });
  });

  describe(`Socket.IO ACK over ${transport}`, together, () => {
    for (const id of ["456", "0", "4294967296", "9007199254740991"]) {
      it(`returns id ${id}`, async (t) => {
        const packets = await connected(t, server, transport);
        packets.send(`2${id}["message-with-ack",1,"2",{"3":[false]}]`);
        assert.equal(await packets.next(), `3${id}[1,"2",{"3":[false]}]`);
      });
    }

    it("of no argument is an empty list", async (t) => {
      const packets = await connected(t, server, transport);
      packets.send('27["message-with-ack"]');
      assert.equal(await packets.next(), "37[]");
    });

    it("that nobody waits for is passed over", async (t) => {
      const packets = await connected(t, server, transport);
      packets.send('3999["x"]');
      packets.send("61-999[{\"_placeholder\":true,\"num\":0}]");
      packets.send(one);
      await packets.lives();
    });
  });

  describe(`Socket.IO binary over ${transport}`, together, () => {
    const lists = [
      ["first and last", [hole(0), hole(1)], [one, two], [one, two]],
      ["deep inside", [{ a: [{ b: hole(0) }], c: hole(1) }, "x"], [one, two], [{ a: [{ b: one }], c: two }, "x"]],
      ["empty", [hole(0)], [Buffer.alloc(0)], [Buffer.alloc(0)]],
      ["placed in another order than sent", [hole(1), hole(0)], [one, two], [two, one]],
      ["ten of them, the most allowed", Array.from({ length: 10 }, (_, i) => hole(i)), Array(10).fill(one), Array(10).fill(one)],
    ];
    for (const [what, args, attachments, expected] of lists) {
      it(`event: ${what}`, async (t) => {
        const packets = await connected(t, server, transport);
        packets.send(`5${attachments.length}-${JSON.stringify(["message", ...args])}`);
        for (const attachment of attachments) packets.send(attachment);
        assert.deepEqual(await packets.assembled(), { type: "5", id: "", data: ["message-back", ...expected] });
        await packets.lives();
      });

      it(`ack: ${what}`, async (t) => {
        const packets = await connected(t, server, transport);
        packets.send(`5${attachments.length}-789${JSON.stringify(["message-with-ack", ...args])}`);
        for (const attachment of attachments) packets.send(attachment);
        assert.deepEqual(await packets.assembled(), { type: "6", id: "789", data: expected });
        await packets.lives();
      });
    }

    it("numbers its placeholders in their order and says how many follow", async (t) => {
      const packets = await connected(t, server, transport);
      packets.send('52-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
      packets.send(one);
      packets.send(two);
      assert.equal(
        await packets.next(),
        '52-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
      );
      assert.deepEqual(await packets.queue.take(2), [one, two]);
    });

    it("event of another namespace is told from this one's", async (t) => {
      const packets = await connected(t, server, transport);
      await packets.connect("/custom");
      packets.send('51-/custom,["message",{"_placeholder":true,"num":0}]');
      packets.send(one);
      await packets.lives();
    });
  });
}

describe("a broadcast of the Socket.IO namespace", { timeout: TEST_LIMIT }, () => {
  it("reaches every socket over every transport, the sender too, binary included", async (t) => {
    const all = await Promise.all(["websocket", "polling", "websocket"].map((how) => connected(t, server, how)));
    all[0].send('51-["broadcast","said",{"_placeholder":true,"num":0}]');
    all[0].send(two);
    for (const packets of all) {
      assert.deepEqual(await packets.assembled(), { type: "5", id: "", data: ["broadcast", "said", two] });
    }
  });

  it("does not reach a socket of another namespace", async (t) => {
    const [sender, other] = [await connected(t, server), await openPackets(t, server)];
    await other.connect("/custom");
    sender.send('2["broadcast","here"]');
    assert.deepEqual(await sender.event(), ["broadcast", "here"]);
    await other.connect("/");
    await other.lives("nothing came before");
  });
});
