// The code of docs/migrating.md, each part played by one official client: the blocks of JavaScript as they stand
// in the page, on the real server from npm; the Rust of the same part, in the example `migrating`, which stands
// beside the conformance server; and that of socketioxide, if MIGRATING_SOCKETIOXIDE names its program (the
// example `migrating` of benchmark/peers).

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";
import { within } from "../lib/deadline.mjs";
import { isReference } from "../lib/server.mjs";

const PAGE = new URL("../../../docs/migrating.md", import.meta.url);

/** The parts of the page: their JavaScript, and whether each server has code for them. */
function parts() {
  const found = new Map();
  for (const section of readFileSync(PAGE, "utf8").split(/^## /m).slice(1)) {
    const blocks = [...section.matchAll(/^```(\S+)\n([^]*?)^```$/gm)].map(([, language, code]) => ({ language, code }));
    const name = blocks.map(({ code }) => /pub fn (\w+)\(io/.exec(code)?.[1]).find(Boolean);
    if (!name) continue;
    const codes = (language) => blocks.filter((block) => block.language === language).map((block) => block.code);
    found.set(name, { js: codes("js").join("\n"), oxide: codes("rust,ignore").length > 0 });
  }
  return found;
}

async function nodeServer(js) {
  const http = createServer();
  const io = new Server(http);
  new Function("io", js)(io);
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return { address: `127.0.0.1:${http.address().port}`, stop: () => io.close() };
}

async function program(command, part) {
  const child = spawn(command, [part], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const line = await within(new Promise((resolve) => lines.once("line", resolve)), `${command} ${part}`);
  return { address: line.replace("listening on ", ""), stop: () => child.kill() };
}

/** Connects clients, and forgets none of them. */
function clientsOf(address, clients) {
  return async (options = {}, namespace = "/") => {
    const client = connect(`http://${address}${namespace}`, { forceNew: true, reconnection: false, ...options });
    clients.push(client);
    await within(new Promise((resolve, reject) => client.once("connect", resolve).once("connect_error", reject)), "connect");
    return client;
  };
}

const next = (client, event) => within(new Promise((resolve) => client.once(event, (...args) => resolve(args))), event);
const ask = (client, ...args) => within(client.emitWithAck(...args), args[0]);

/** What a client finds, part by part. */
const plays = {
  async events(client) {
    const [ann, bob] = [await client(), await client()];
    const said = next(bob, "said");
    ann.emit("say", "hello");
    assert.deepEqual(await said, [ann.id, "hello"]);
    assert.equal(await ask(ann, "sum", 20, 22), 42);
    const left = next(bob, "left");
    ann.disconnect();
    assert.deepEqual(await left, ["client namespace disconnect"]);
  },

  async rooms(client) {
    const [ann, bob, eve] = [await client(), await client(), await client()];
    await Promise.all([ask(ann, "enter", "a"), ask(bob, "enter", "a"), ask(bob, "enter", "b"), ask(eve, "enter", "b")]);
    await ask(eve, "enter", "quiet");
    assert.deepEqual((await ask(ann, "who", "a")).sort(), [ann.id, bob.id].sort());
    const heard = [];
    for (const [name, one] of Object.entries({ ann, bob, eve })) one.on("told", (text) => heard.push([name, text]));
    let told = next(bob, "told");
    ann.emit("tell", "a", "one");
    await told;
    told = next(bob, "told");
    ann.emit("tell both", "two");
    await told;
    // An acknowledgement comes behind all that was sent before it.
    await ask(ann, "who", "a");
    await ask(eve, "who", "a");
    assert.deepEqual(heard.sort(), [["ann", "two"], ["bob", "one"], ["bob", "two"]]);
    await ask(ann, "empty", "a");
    assert.deepEqual(await ask(ann, "who", "a"), []);
  },

  async admission(client, server) {
    const refused = await client({ auth: { name: "Eve", token: "please" } }).catch((error) => error);
    assert.equal(refused.message, "wrong token");
    assert.deepEqual(refused.data, server === "socketioxide" ? undefined : { code: 401 });
    const ann = await client({ auth: { name: "Ann", token: "let me in" } });
    assert.equal(await ask(ann, "who am I"), "Ann");
  },

  async questions(client) {
    const [ann, bob] = [await client(), await client()];
    assert.equal(await ask(ann, "ask me"), "no answer");
    // socketioxide asks with one argument, null.
    ann.on("your name?", (...args) => args.pop()("Ann"));
    bob.on("your name?", (...args) => args.pop()("Bob"));
    assert.equal(await ask(ann, "ask me"), "Ann");
    assert.deepEqual((await ask(ann, "ask all")).sort(), ["Ann", "Bob"]);
  },

  async binary(client) {
    const ann = await client({}, "/files");
    const answers = new Promise((resolve) => ann.emit("store", "a.bin", Buffer.from([1, 2, 255]), (...all) => resolve(all)));
    const [name, length, bytes] = await within(answers, "store");
    assert.deepEqual([name, length, [...bytes]], ["a.bin", 3, [1, 2, 255]]);
  },

  async every_event(client) {
    const ann = await client();
    let seen = next(ann, "seen");
    assert.equal(await ask(ann, "allowed"), "yes");
    assert.deepEqual(await seen, ["allowed"]);
    const refused = next(ann, "refused");
    seen = next(ann, "seen");
    ann.emit("forbidden");
    assert.deepEqual(await seen, ["forbidden"]);
    assert.deepEqual(await refused, ["not you"]);
  },

  async disconnecting(client) {
    const [ann, bob, eve] = [await client(), await client(), await client()];
    let ends = [next(ann, "disconnect")];
    ann.emit("leave");
    assert.deepEqual((await ends[0])[0], "io server disconnect");
    ends = [next(bob, "disconnect"), next(eve, "disconnect")];
    bob.emit("end");
    for (const [reason] of await Promise.all(ends)) assert.equal(reason, "io server disconnect");
  },
};

const command = (process.env.SWITCHBOARD_SERVER ?? "").split(/\s+/)[0];
const example = join(dirname(command), "migrating");
const noExample = isReference || !existsSync(example) ? "the example `migrating` is not beside the server" : false;
const oxide = process.env.MIGRATING_SOCKETIOXIDE;

describe("docs/migrating.md", { timeout: 60_000 }, () => {
  const all = parts();

  it("has a play for each of its parts", () => {
    assert.deepEqual([...all.keys()], Object.keys(plays));
  });

  for (const [name, part] of all) {
    const servers = {
      Node: { skip: false, start: () => nodeServer(part.js) },
      Switchboard: { skip: noExample, start: () => program(example, name) },
      socketioxide: { skip: !oxide, start: () => program(oxide, name) },
    };
    if (!part.oxide) delete servers.socketioxide;
    for (const [server, { skip, start }] of Object.entries(servers)) {
      it(`${name}: the code of ${server}`, { skip }, async (t) => {
        const clients = [];
        const { address, stop } = await start();
        t.after(() => {
          for (const client of clients) client.close();
          stop();
        });
        await plays[name](clientsOf(address, clients), server);
      });
    }
  }
});
