// Socket.IO's admin page, as its authors build it, in a real browser: it logs in, shows the server's sockets, rooms
// and events, and acts on a socket.
//
// SWITCHBOARD_URL   a server with an admin page for the user `ada` with the password `changeit`
// SCREENSHOTS       a folder for a picture of the page; without it, none is taken
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, extname, join, normalize } from "node:path";
import { after, before, test } from "node:test";
import { io } from "socket.io-client";
import { launch } from "./page.mjs";

const server = process.env.SWITCHBOARD_URL?.replace(/\/$/, "");
if (!server) throw new Error("SWITCHBOARD_URL says which server to test, as http://127.0.0.1:3000");

/** The page, beside the server's side of it in Node, which the package's entry is. */
const built = join(dirname(createRequire(import.meta.url).resolve("@socket.io/admin-ui")), "../ui/dist");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png" };
const PATIENCE = 20_000;

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** The page, under the server's own origin, so that no origin has to be let in. */
async function open(t) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  await page.route((url) => url.origin !== server, (route) => route.abort());
  await page.route(`${server}/admin-page/**`, async (route) => {
    const name = normalize(new URL(route.request().url()).pathname.replace(/^\/admin-page\//, "") || "index.html");
    const body = await readFile(join(built, name)).catch(() => null);
    if (body === null) return route.fulfill({ status: 404 });
    await route.fulfill({ body, contentType: TYPES[extname(name)] ?? "application/octet-stream" });
  });
  await page.goto(`${server}/admin-page/`);
  return page;
}

async function logIn(page, password) {
  const fields = page.locator(".v-dialog form input[type=text], .v-dialog form input[type=password]");
  await fields.nth(0).fill(server);
  await fields.nth(1).fill("ada");
  await page.locator("input[type=password]").fill(password);
  await page.locator(".v-dialog button[type=submit]").click();
}

const isIn = (page) => page.locator("input[type=password]").waitFor({ state: "hidden" });

/** Goes to one of the views. */
const visit = (page, view) => page.evaluate((view) => (location.hash = `#/${view}`), view);

/** A client in the namespace `/`. */
async function client(t) {
  const socket = io(server, { forceNew: true, transports: ["websocket"] });
  t.after(() => socket.disconnect());
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  return socket;
}

test("a wrong password is refused, the right one is taken, and the login is kept", async (t) => {
  const page = await open(t);
  await logIn(page, "guess");
  await page.locator(".v-dialog .red--text").filter({ hasText: /invalid credentials/i }).waitFor();
  await logIn(page, "changeit");
  await isIn(page);
  await page.reload();
  await page.waitForFunction(() => localStorage.getItem("session_id"));
  await visit(page, "servers/");
  await page.locator("tbody tr").filter({ hasText: /healthy|up/i }).first().waitFor();
  assert.equal(await page.locator("input[type=password]").isVisible(), false);
});

test("the page shows a socket, its rooms and its events, lets it join and leave a room, and disconnects it", { timeout: 4 * PATIENCE }, async (t) => {
  const socket = await client(t);
  const page = await open(t);
  await logIn(page, "changeit");
  await isIn(page);
  const viewOf = (socket) => `n/${encodeURIComponent("/")}/sockets/${socket.id}`;
  // The page knows a socket once it was told of all.
  await visit(page, "sockets/");
  await page.locator(".v-select").first().waitFor();
  await visit(page, viewOf(socket));
  await page.getByText(socket.id).first().waitFor();
  await page.getByText("websocket", { exact: false }).first().waitFor();
  // Joins a room that the page names.
  await page.locator(".select-room input[type=text]").fill("attic");
  await page.locator(".select-room input[type=text]").press("Tab");
  await page.locator("form:has(.select-room) button[type=submit]").click();
  const room = page.locator(".v-card:has(.select-room) tbody tr").filter({ hasText: "attic" });
  await room.waitFor();
  // Its events are shown.
  socket.emit("greeting", "from the attic");
  await visit(page, "events/");
  await page.locator("tr").filter({ hasText: "greeting" }).first().waitFor();
  // A client that comes later is shown, too.
  const later = await client(t);
  await visit(page, "sockets/");
  await page.locator("tbody tr").filter({ hasText: later.id }).filter({ hasText: "127.0.0.1" }).waitFor();
  if (process.env.SCREENSHOTS) {
    await mkdir(process.env.SCREENSHOTS, { recursive: true });
    await visit(page, viewOf(socket));
    await room.waitFor();
    await page.screenshot({ path: join(process.env.SCREENSHOTS, "admin.png") });
  }
  await visit(page, viewOf(socket));
  await room.locator("button").click();
  await room.waitFor({ state: "detached" });
  // Disconnects the socket.
  const gone = new Promise((resolve) => socket.once("disconnect", resolve));
  await visit(page, "sockets/");
  await page.locator("tbody tr").filter({ hasText: socket.id }).filter({ hasText: "127.0.0.1" }).locator("button").click();
  assert.equal(await gone, "io server disconnect");
  assert.equal(later.connected, true);
});
