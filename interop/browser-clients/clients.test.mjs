// The browser builds of socket.io-client 1.0 to 4.8 in Chromium: polling by XMLHttpRequest and by scripts, WebSocket,
// and the upgrade. A page of the server's own origin, and one of another, for which scripts are.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, describe, it } from "node:test";
import { launch } from "../browser/page.mjs";
import { CALM, serverWith } from "../node/lib/server.mjs";

const LIMIT = 60_000;
const SOON = 20_000;
const server = await serverWith({ ...CALM, "old-clients": true });
const browser = await launch();
after(() => browser.close());

const build = (path) => readFileSync(new URL(`../node/node_modules/${path}`, import.meta.url), "utf8");

const BUILDS = {
  "1.0.6": build("socket.io-client-1.0.6/socket.io.js"),
  "1.7.4": build("socket.io-client-1.7/dist/socket.io.js"),
  "2.5.0": build("socket.io-client-2.5/dist/socket.io.js"),
  "3.1.3": build("socket.io-client-3.1/dist/socket.io.js"),
  "4.8.4": build("socket.io-client/dist/socket.io.js"),
};

const MODES = {
  "polling": { transports: ["polling"] },
  "websocket": { transports: ["websocket"] },
  "polling that upgrades": { transports: ["polling", "websocket"] },
  "polling by scripts": { transports: ["polling"], forceJSONP: true },
};

// A page that comes from no network may not talk to this machine, so both origins have a server.
const other = createServer((_request, response) => response.end("a page"));
await once(other.listen(0, "127.0.0.1"), "listening");
after(() => other.close());
const OTHER = `http://127.0.0.1:${other.address().port}`;

/** A page of an origin with a client's build, in a context of its own. */
async function page(t, origin, version) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const opened = await context.newPage();
  await opened.goto(`${origin}/no-such-page`);
  await opened.addScriptTag({ content: BUILDS[version] });
  return opened;
}

/**
 * Runs in the page: connects, sends texts and bytes, and gives what came back. Names of the transports that were
 * used are in `used`.
 */
async function talk({ url, options, soon }) {
  const within = (promise, what) =>
    Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error(`${what}: too late`)), soon))]);
  const plain = (value) =>
    value instanceof ArrayBuffer || ArrayBuffer.isView(value) ? { bytes: [...new Uint8Array(value)] } : value;
  const socket = globalThis.io(url, { forceNew: true, "force new connection": true, reconnection: false, ...options });
  const errors = [];
  for (const event of ["error", "connect_error"]) socket.on(event, (error) => errors.push(String(error?.message ?? error)));
  const next = (event) => new Promise((resolve) => socket.once(event, (...args) => resolve(args.map(plain))));
  const failed = new Promise((_, reject) => socket.on("connect_error", (error) => reject(new Error(`refused: ${error}`))));
  await within(Promise.race([next("auth"), failed]), `connect (${errors})`);
  const { engine } = socket.io;
  if (options.transports.length > 1 && engine.transport.name !== "websocket") {
    await within(new Promise((resolve) => engine.once("upgrade", resolve)), "upgrade");
  }
  const got = [];
  for (const text of ["text", "é € 😀", "a\nb\\nc \u2028 </script>", "日本"]) {
    const answer = next("message-back");
    socket.emit("message", text);
    got.push((await within(answer, `answer to ${text} (${errors})`))[0]);
    got.push(await within(new Promise((resolve) => socket.emit("message-with-ack", text, resolve)), `ack of ${text}`));
  }
  const answer = next("message-back");
  socket.emit("message", new Uint8Array([0, 1, 254, 255]).buffer, "é");
  const binary = await within(answer, `answer to bytes (${errors})`);
  // The end of the page ends the connection: 1.0.6 by scripts calls itself for ever when it disconnects.
  const used = [engine.transport.name, Boolean(engine.transport.script)];
  return { got, binary, used };
}

const TEXTS = ["text", "é € 😀", "a\nb\\nc \u2028 </script>", "日本"];

for (const version of Object.keys(BUILDS)) {
  for (const [mode, options] of Object.entries(MODES)) {
    const byScripts = Boolean(options.forceJSONP);
    if (byScripts && version.startsWith("4.")) continue;
    describe(`socket.io-client ${version} in Chromium, ${mode}`, { timeout: LIMIT }, () => {
      for (const [whose, origin] of [["its own origin", server.http], ["another origin", OTHER]]) {
        // Clients of 1 and 2 send cookies with each XMLHttpRequest, which `*` does not let another origin do.
        if (origin === OTHER && !byScripts && mode !== "websocket") continue;
        it(`sends and gets texts and bytes on a page of ${whose}`, async (t) => {
          const opened = await page(t, origin, version);
          const { got, binary, used } = await opened.evaluate(talk, { url: server.http, options, soon: SOON });
          assert.deepEqual(got, TEXTS.flatMap((text) => [text, text]));
          assert.deepEqual(binary, [{ bytes: [0, 1, 254, 255] }, "é"]);
          assert.deepEqual(used, [options.transports.at(-1), byScripts]);
        });
      }
    });
  }
}
