// The chat with a browser that takes compression, over HTTP/1.1 and over HTTP/2. Answers to polls are in
// gzip, and the WebSocket agrees on permessage-deflate. Long and short messages arrive unchanged.
//
// SWITCHBOARD_URL   the server. It answers TLS on the same port; it compresses answers to polls from the
//                   first byte on, and WebSocket messages from 1024 bytes on
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { DESKTOP, launch, visit } from "./page.mjs";

const plain = process.env.SWITCHBOARD_URL?.replace(/\/$/, "");
if (!plain) throw new Error("SWITCHBOARD_URL says which server to test, as http://127.0.0.1:3000");

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

/**
 * The compression that the page's WebSockets agree on from now on, and the codings of the answers to polls.
 */
async function codings(page) {
  const seen = { websockets: [], polls: [] };
  const devtools = await page.context().newCDPSession(page);
  const header = (headers, name) => Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1];
  devtools.on("Network.webSocketHandshakeResponseReceived", ({ response }) => {
    seen.websockets.push(header(response.headers, "sec-websocket-extensions"));
  });
  devtools.on("Network.responseReceived", ({ response }) => {
    // The first answer of the session is always to a GET.
    if (/transport=polling/.test(response.url) && !/sid=/.test(response.url)) seen.polls.push(header(response.headers, "content-encoding"));
  });
  await devtools.send("Network.enable");
  return seen;
}

for (const [over, url] of [
  ["HTTP/1.1", plain],
  ["HTTP/2", plain.replace("http:", "https:")],
]) {
  test(`over ${over} what is compressed arrives as it was written`, async (t) => {
    const room = `test-${randomBytes(6).toString("hex")}`;
    let seen;
    const options = { room, ...DESKTOP, ignoreHTTPSErrors: true };
    const prepare = async (page) => (seen = await codings(page));
    const ada = await visit(browser, url, { name: "Ada", prepare, ...options });
    t.after(() => ada.close());
    const tom = await visit(browser, url, { name: "Tom", ...options });
    t.after(() => tom.close());
    await ada.reads("#transport", /^websocket$/);
    assert.deepEqual(seen.polls, ["gzip"]);
    assert.equal(seen.websockets.length, 1);
    assert.match(seen.websockets[0], /^permessage-deflate/);
    const long = "as long as it takes to be worth compressing; ".repeat(40).trim();
    await ada.say("short");
    await ada.say(long);
    await tom.shows(["short", long]);
    await tom.say(long);
    await ada.shows(["short", long, long]);
    assert.deepEqual([...ada.errors, ...tom.errors], []);
  });
}
