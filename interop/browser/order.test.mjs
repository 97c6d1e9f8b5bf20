// Programs with the official client check rules of the chat that pages cannot show, above all the single
// order of a room's messages, which several workers receive. SWITCHBOARD_URL is as in chat.test.mjs.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";

const server = process.env.SWITCHBOARD_URL;
if (!server) throw new Error("SWITCHBOARD_URL says which server to test, as http://127.0.0.1:3000");

const CLIENTS = 16;
const EACH = 40;

const secret = () => randomBytes(16).toString("hex");

function connect(t, auth, transports = ["websocket"]) {
  const socket = io(`${server.replace(/\/$/, "")}/chat`, { auth, transports, forceNew: true, reconnection: false });
  t.after(() => socket.close());
  return socket;
}

/** Waits until `done` returns true. A time-out fails the test. */
async function until(done, what) {
  for (const end = Date.now() + 10_000; !done(); await sleep(20)) assert.ok(Date.now() < end, `in vain: ${what()}`);
}

/** Posts the text, at the rate that the server allows. */
async function say(socket, message) {
  for (;;) {
    const reply = await socket.emitWithAck("say", message);
    if (reply.error !== "too-fast") return reply;
    await sleep(200);
  }
}

test("everyone hears a room's messages once and in the order of their numbers", async (t) => {
  const room = `order-${randomBytes(6).toString("hex")}`;
  const clients = [];
  for (let n = 0; n < CLIENTS; n += 1) {
    const socket = connect(t, { visitor: secret() }, [n % 3 === 0 ? "polling" : "websocket"]);
    await once(socket, "connect");
    const client = { socket, heard: [], said: [] };
    socket.on("message", ({ id }) => client.heard.push(id));
    const entered = await socket.emitWithAck("enter", { room, name: `client ${n}` });
    assert.deepEqual([entered.count, entered.last], [n + 1, 0]);
    clients.push(client);
  }
  await Promise.all(
    clients.map(async ({ socket, said }) => {
      for (let n = 0; n < EACH; n += 1) said.push((await say(socket, { room, clientId: `message-${n}`, text: "hi" })).id);
    }),
  );
  const all = Array.from({ length: CLIENTS * EACH }, (_, n) => n + 1);
  for (const { heard, said } of clients) {
    const others = all.filter((id) => !said.includes(id));
    await until(() => heard.length >= others.length, () => `heard ${heard.length} of ${others.length}`);
    assert.deepEqual(heard, others);
  }
});

test("what is malformed is refused in the contract's words, and the connection goes on", async (t) => {
  const socket = connect(t, { visitor: secret() });
  await once(socket, "connect");
  const room = `bad-${randomBytes(6).toString("hex")}`;
  const error = async (...request) => (await socket.timeout(5_000).emitWithAck(...request))?.error;
  const text = { room, clientId: "a", text: "hi" };
  const image = { room, clientId: "b", type: "image/png", name: "p", width: 1, height: 1 };
  assert.equal(await error("say", text), "not-entered");
  assert.equal(await error("enter", { room, name: "Ada" }), undefined);
  for (const [wanted, ...request] of [
    ["bad-request", "say"],
    ["bad-request", "say", null],
    ["bad-request", "say", { room }],
    ["bad-request", "say", { ...text, clientId: "not one" }],
    ["bad-request", "enter", { room, name: "Ada", epoch: 5 }],
    ["bad-request", "image", image, "no binary"],
    ["bad-request", "image", image],
    ["bad-request", "picture", { room, id: -1 }],
    ["bad-room", "enter", { room: "No Room", name: "Ada" }],
    ["bad-name", "enter", { room, name: "a\nb" }],
    ["bad-text", "say", { ...text, text: " " }],
    ["bad-image", "image", image, Buffer.from("<svg/>")],
    ["too-large", "image", image, Buffer.alloc(900_001)],
    ["gone", "picture", { room, id: 1 }],
  ]) {
    assert.equal(await error(...request), wanted, JSON.stringify(request));
  }
  socket.emit("typing", "yes");
  assert.equal(await socket.emitWithAck("rtt"), undefined);
});

test("a connection without a visitor's secret is refused", async (t) => {
  for (const auth of [undefined, {}, { visitor: 5 }, { visitor: "short" }, { visitor: "x".repeat(65) }]) {
    const socket = connect(t, auth);
    const [refused] = await once(socket, "connect_error");
    assert.match(refused.message, /visitor/);
  }
});
