// Chromium behind nginx with its defaults. The page joins the chat and upgrades to WebSocket, although the
// server gets another host than the page's. A page of another origin gets no access.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, it } from "node:test";
import { launch, visit } from "../browser/page.mjs";
import { TEST_LIMIT, until } from "../node/lib/deadline.mjs";

const hosts = JSON.parse(process.env.NGINX_HOSTS);
const url = (name) => `http://${hosts[name]}`;

describe("Chromium behind nginx with its defaults", { timeout: TEST_LIMIT }, () => {
  let browser;
  before(async () => (browser = await launch()));
  after(() => browser?.close());

  it("visitors of the chat hear each other over WebSocket", async () => {
    const upgrades = [];
    const prepare = (page) =>
      page.on("websocket", (socket) => socket.on("framereceived", ({ payload }) => payload === "3probe" && upgrades.push(socket.url())));
    const [ann, bea] = await Promise.all(["Ann", "Bea"].map((name) => visit(browser, url("bare"), { name, room: "bare", prepare })));
    await until(() => upgrades.length === 2, "upgrades");
    await ann.say("through the proxy");
    await bea.shows(["through the proxy"]);
    await bea.say("and back");
    await ann.shows(["through the proxy", "and back"]);
    assert.deepEqual([...ann.errors, ...bea.errors], []);
  });

  it("a page of another origin opens neither a session nor a WebSocket", async (t) => {
    const page = await browser.newPage();
    const lines = [];
    page.on("console", (line) => lines.push(line.text()));
    // A different port is a different origin.
    const elsewhere = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html>"));
    await new Promise((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
    t.after(() => elsewhere.closeAllConnections() ?? elsewhere.close());
    await page.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
    const opened = await page.evaluate(async (host) => {
      const polling = await fetch(`http://${host}/socket.io/?EIO=4&transport=polling`).then(() => "answered", () => "refused");
      const websocket = await new Promise((resolve) => {
        const socket = new WebSocket(`ws://${host}/socket.io/?EIO=4&transport=websocket`);
        socket.onopen = () => resolve("opened");
        socket.onerror = () => resolve("refused");
      });
      return { polling, websocket };
    }, hosts.bare);
    assert.deepEqual(opened, { polling: "refused", websocket: "refused" });
    await until(() => lines.some((line) => /WebSocket.*Unexpected response code: 403/.test(line)), "the reason in the browser's console");
  });
});
