// The chat over TLS: the page, the polls and the WebSocket all use one HTTP/2 connection (RFC 8441). The test
// checks this in the browser and in the server's metrics.
//
// SWITCHBOARD_URL   the server, which answers TLS on the same port, and shows its metrics
// SCREENSHOTS       a folder for a picture of the page; none is taken without it
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { DESKTOP, launch, PHONE, visit } from "./page.mjs";
import { Proxy } from "./proxy.mjs";

const plain = process.env.SWITCHBOARD_URL?.replace(/\/$/, "");
if (!plain) throw new Error("SWITCHBOARD_URL says which server to test, as http://127.0.0.1:3000");
const secure = plain.replace("http:", "https:");

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

/** A counter of the server. */
async function counted(name) {
  const page = await (await fetch(`${plain}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\d+)`, "m").exec(page)?.[1] ?? 0);
}

/** The browser's report on the page's WebSocket handshakes from now on, as `{ url, status }`. */
async function handshakes(page) {
  const seen = [];
  const urls = new Map();
  const devtools = await page.context().newCDPSession(page);
  devtools.on("Network.webSocketCreated", ({ requestId, url }) => urls.set(requestId, url));
  devtools.on("Network.webSocketHandshakeResponseReceived", ({ requestId, response }) => {
    seen.push({ url: urls.get(requestId), status: response.status });
  });
  await devtools.send("Network.enable");
  return seen;
}

/** The protocol by which each resource of the page came. */
const protocols = (visitor) =>
  visitor.page.evaluate(() => {
    const entries = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    return [...new Set(entries.filter(({ name }) => name.startsWith("http")).map(({ nextHopProtocol }) => nextHopProtocol))];
  });

test("over TLS the page, its polls and its WebSocket go over HTTP/2", async (t) => {
  const websockets = await counted("switchboard_http2_websockets_total");
  const connections = await counted("switchboard_http2_connections_total");
  const room = `test-${randomBytes(6).toString("hex")}`;
  let seen;
  const ada = await visit(browser, secure, {
    name: "Ada",
    room,
    ...DESKTOP,
    ignoreHTTPSErrors: true,
    prepare: async (page) => (seen = await handshakes(page)),
  });
  t.after(() => ada.close());
  await ada.reads("#transport", /^websocket$/);
  assert.deepEqual(await protocols(ada), ["h2"]);
  // Over HTTP/1.1 a handshake is answered with 101.
  assert.deepEqual(seen.map(({ status }) => status), [200]);
  assert.match(seen[0].url, /^wss:.*transport=websocket/);
  assert.equal((await counted("switchboard_http2_websockets_total")) - websockets, 1);
  assert.equal((await counted("switchboard_http2_connections_total")) - connections, 1);

  // One room for both versions.
  const tom = await visit(browser, plain, { name: "Tom", room, ...PHONE });
  t.after(() => tom.close());
  assert.deepEqual(await protocols(tom), ["http/1.1"]);
  await ada.sees(["Ada", "Tom"]);
  await ada.say("over HTTP/2");
  await tom.shows(["over HTTP/2"]);
  await tom.say("over HTTP/1.1");
  await ada.shows(["over HTTP/2", "over HTTP/1.1"]);
  assert.deepEqual([...ada.errors, ...tom.errors], []);

  const folder = process.env.SCREENSHOTS;
  if (folder) {
    await mkdir(folder, { recursive: true });
    await ada.page.screenshot({ path: join(folder, "chat-http2.png") });
  }
});

test("a second page shares the first one's connection", async (t) => {
  const connections = await counted("switchboard_http2_connections_total");
  const websockets = await counted("switchboard_http2_websockets_total");
  const room = `test-${randomBytes(6).toString("hex")}`;
  const ada = await visit(browser, secure, { name: "Ada", room, ...DESKTOP, ignoreHTTPSErrors: true });
  t.after(() => ada.close());
  await ada.reads("#transport", /^websocket$/);
  // As in the same browser window: with the same cookies, storage and connections.
  const other = await ada.page.context().newPage();
  await other.goto(`${secure}/#${room}-b`);
  await other.waitForSelector('[data-line="good"]');
  await other.waitForFunction(() => document.querySelector("#transport")?.textContent === "websocket");
  assert.equal((await counted("switchboard_http2_websockets_total")) - websockets, 2);
  assert.equal((await counted("switchboard_http2_connections_total")) - connections, 1);
});

test("when the one connection is reset, nothing is lost and nothing comes twice", async (t) => {
  const { hostname: host, port } = new URL(plain);
  const network = await new Proxy({ host, port: Number(port) }).listen();
  t.after(() => network.close());
  const room = `test-${randomBytes(6).toString("hex")}`;
  const over = network.url.replace("http:", "https:");
  const ada = await visit(browser, over, { name: "Ada", room, ...DESKTOP, ignoreHTTPSErrors: true });
  t.after(() => ada.close());
  const tom = await visit(browser, plain, { name: "Tom", room, ...PHONE });
  t.after(() => tom.close());
  await ada.reads("#transport", /^websocket$/);
  await ada.say("before");
  await tom.shows(["before"]);
  network.reset();
  await ada.away();
  await ada.write("from Ada");
  await tom.say("from Tom");
  network.heal();
  await ada.settled();
  await ada.delivered();
  await ada.shows(["before", "from Tom", "from Ada"]);
  await tom.shows(["before", "from Tom", "from Ada"]);
  // The chat reconnects with a WebSocket at once. No HTTP/2 connection is open then, so Chromium opens an
  // HTTP/1.1 connection for it.
  assert.deepEqual([...ada.errors, ...tom.errors], []);
});
