// The browser build of socket.io-client 0.9.17 in Chromium, over each transport that it has there, against the
// conformance server. htmlfile is Internet Explorer's: a few lines stand in for the object by which that browser
// opens such a page.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { launch } from "../browser/page.mjs";
import { connectedClient } from "../node/lib/clients.mjs";
import { CALM, serverWith } from "../node/lib/server.mjs";

const SOON = 20_000;
const PAGE = "<!doctype html><script></script><p>";
const client = () => readFileSync(createRequire(import.meta.url).resolve("socket.io-client-0.9/dist/socket.io.js"), "utf8");

const server = await serverWith({ ...CALM, "old-clients": true });
const url = server.http;
let browser, elsewhere;

before(async () => {
  // A page of another origin.
  elsewhere = createServer((_, response) => response.setHeader("content-type", "text/html").end(PAGE)).listen(0, "127.0.0.1");
  await once(elsewhere, "listening");
  browser = await launch();
});

after(async () => {
  await browser?.close();
  elsewhere?.close();
});

/** Stands in for Internet Explorer's object `htmlfile`. */
function pretendHtmlfile() {
  globalThis.CollectGarbage = () => {};
  globalThis.ActiveXObject = class {
    constructor(name) {
      if (name !== "htmlfile") throw new Error(`there is no ${name}`);
      this.frame = document.createElement("iframe");
      document.body.append(this.frame);
    }
    open() {}
    write() {}
    close() {}
    get parentWindow() {
      return this.frame.contentWindow;
    }
    get body() {
      return this.frame.contentDocument.body;
    }
    createElement(name) {
      return this.frame.contentDocument.createElement(name);
    }
  };
}

/** A page with the client, which has this transport only. Its host is the server's, or another one. */
async function open(t, transport, host) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  // At the bare path the server has a page of text.
  await page.goto(host === "its own" ? `${url}/socket.io/` : `http://127.0.0.1:${elsewhere.address().port}/`);
  if (transport === "htmlfile") await page.evaluate(pretendHtmlfile);
  await page.addScriptTag({ content: client() });
  await page.evaluate(
    ([url, transport]) => {
      const { io } = globalThis;
      io.transports.splice(0, io.transports.length, transport);
      globalThis.heard = [];
      globalThis.socket = io.connect(url, { reconnect: false });
      for (const event of ["auth", "message-back", "told"]) {
        socket.on(event, (...args) => heard.push([event, ...args]));
      }
      return new Promise((resolve, reject) => {
        socket.on("connect", resolve);
        for (const event of ["connect_failed", "error"]) socket.on(event, (why) => reject(new Error(`${event}: ${why}`)));
      });
    },
    [url, transport],
  );
  return { page, errors };
}

const ask = (page, event, ...args) =>
  page.evaluate(([event, args]) => new Promise((resolve) => socket.emit(event, ...args, (...answer) => resolve(answer))), [event, args]);

const hears = async (page, event, ...args) => {
  const said = JSON.stringify([event, ...args]);
  await page.waitForFunction((said) => heard.some((one) => JSON.stringify(one) === said), said, { timeout: SOON, polling: 50 });
};

const TEXT = "\u20ac \u{1f600} \u2028 \ufffd5\ufffd </script><!-- a/b \\ \" \n";

for (const [transport, host] of [
  ["websocket", "its own"],
  ["htmlfile", "its own"],
  ["xhr-polling", "its own"],
  ["jsonp-polling", "its own"],
  ["websocket", "another"],
  ["xhr-polling", "another"],
  ["jsonp-polling", "another"],
]) {
  test(`socket.io-client 0.9.17 by ${transport}, in a page of ${host} origin`, { timeout: 4 * SOON }, async (t) => {
    const { page, errors } = await open(t, transport, host);
    assert.equal(await page.evaluate(() => socket.socket.transport.name), transport);
    await hears(page, "auth", {});
    assert.deepEqual(await ask(page, "message-with-ack", 1, TEXT, { a: [null] }), [1, TEXT, { a: [null] }]);
    await page.evaluate((text) => socket.send(text), TEXT);
    await hears(page, "message-back", TEXT);

    const room = `${transport} ${Math.random()}`;
    await ask(page, "join", room);
    const today = await connectedClient(t, server, { transports: ["websocket"] });
    await today.emitWithAck("join", room);
    const told = once(today, "told");
    await page.evaluate(([room, text]) => socket.emit("to", room, "told", text), [room, TEXT]);
    assert.deepEqual(await told, [TEXT]);
    today.emit("to", room, "told", { from: "today", text: TEXT });
    await hears(page, "told", { from: "today", text: TEXT });

    await page.evaluate(() => new Promise((resolve) => {
      socket.on("disconnect", resolve);
      socket.disconnect();
    }));
    assert.deepEqual(errors, []);
  });
}
