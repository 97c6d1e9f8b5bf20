// Two real pages chat while the network between them breaks in three ways.
//
// SWITCHBOARD_URL   the server that serves the chat, such as http://127.0.0.1:3000. With heartbeats of one
//                   second (--ping-interval 1000 --ping-timeout 1000) the silent cuts are short. Any others
//                   work too: the test reads the times from the handshake
// SCREENSHOTS       a folder for pictures of the pages; without it, none are taken
// CHROMIUM          the browser; the default is /usr/bin/chromium
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { DESKTOP, launch, PHONE, visit } from "./page.mjs";
import { hills, noise } from "./png.mjs";
import { Proxy } from "./proxy.mjs";

const server = process.env.SWITCHBOARD_URL;
if (!server) throw new Error("SWITCHBOARD_URL says which server to test, as http://127.0.0.1:3000");
const { hostname: host, port } = new URL(server);

let browser;
/** Ada's network, which the tests break. Tom's network always works. */
let network;

before(async () => {
  browser = await launch();
  network = await new Proxy({ host, port: Number(port) || 80 }).listen();
});

after(async () => {
  await browser?.close();
  await network?.close();
});

/** Ada on a desktop behind the breakable network, and Tom on a phone, in a new room. */
async function pair(t) {
  network.heal();
  const room = `test-${randomBytes(6).toString("hex")}`;
  const ada = await visit(browser, network.url, { name: "Ada", room, ...DESKTOP });
  t.after(() => ada.close());
  const tom = await visit(browser, server.replace(/\/$/, ""), { name: "Tom", room, ...PHONE });
  t.after(() => tom.close());
  await ada.sees(["Ada", "Tom"]);
  await tom.sees(["Ada", "Tom"]);
  return { ada, tom, room };
}

function nothingBroke(...visitors) {
  for (const visitor of visitors) assert.deepEqual(visitor.errors, []);
}

test("messages go both ways, in one order", async (t) => {
  const { ada, tom } = await pair(t);
  await ada.say("hello, Tom");
  await tom.shows(["hello, Tom"]);
  await tom.say("hello, Ada");
  await ada.say("two lines?");
  await tom.say("naïve café, 日本語, 🚆, <b>not bold</b> & \"quoted\"");
  const all = ["hello, Tom", "hello, Ada", "two lines?", "naïve café, 日本語, 🚆, <b>not bold</b> & \"quoted\""];
  await ada.shows(all);
  await tom.shows(all);
  nothingBroke(ada, tom);
});

test("the page shows websocket after the upgrade, and a round-trip time", async (t) => {
  const { ada } = await pair(t);
  await ada.reads("#transport", /^websocket$/);
  await ada.reads("#upgrade", /^after \d+ ms$/);
  await ada.reads("#rtt", /^[\d.]+ ms$/);
  await ada.reads("#state", /^Connected$/);
});

test("typing shows while it lasts, and to the others only", async (t) => {
  const { ada, tom } = await pair(t);
  await ada.page.locator("#text").pressSequentially("I am");
  await tom.reads("#typing", /^Ada is typing…$/);
  assert.equal(await ada.page.textContent("#typing"), "");
  await ada.page.press("#text", "Enter");
  await tom.shows(["I am"]);
  await tom.reads("#typing", /^$/);
});

test("people and rooms are listed as they come and go", async (t) => {
  const { ada, tom, room } = await pair(t);
  const eve = await visit(browser, server.replace(/\/$/, ""), { name: "Eve", room, ...DESKTOP });
  await ada.sees(["Ada", "Eve", "Tom"]);
  await eve.page.fill("#room-name", `${room} B`);
  await eve.page.press("#room-name", "Enter");
  await eve.sees(["Eve"]);
  await tom.sees(["Ada", "Tom"]);
  await ada.reads("#rooms", new RegExp(`${room}-b`));
  await eve.page.fill("#name", "Evelyn");
  await eve.page.press("#name", "Enter");
  await eve.sees(["Evelyn"]);
  await eve.page.goBack();
  await ada.sees(["Ada", "Evelyn", "Tom"]);
  await eve.close();
  await ada.sees(["Ada", "Tom"]);
});

test("a dropped picture arrives byte for byte, live and from the history", async (t) => {
  const { ada, tom } = await pair(t);
  const sent = noise(320, 240, 7);
  await ada.drop("noise.png", "image/png", sent);
  await ada.page.press("#text", "Enter");
  const [live] = await tom.pictures(1);
  assert.equal(live.type, "image/png");
  assert.ok(live.bytes.equals(sent), "the live picture differs");
  await tom.page.reload();
  const [kept] = await tom.pictures(1);
  assert.ok(kept.bytes.equals(sent), "the picture from the history differs");
  nothingBroke(ada, tom);
});

test("a history with more pictures than a packet may have attachments comes whole", async (t) => {
  const { ada, tom } = await pair(t);
  const sent = Array.from({ length: 12 }, (_, i) => noise(40, 30, i + 1));
  for (const [i, bytes] of sent.entries()) {
    await ada.drop(`${i}.png`, "image/png", bytes);
    await ada.say(`picture ${i}`);
  }
  await tom.page.reload();
  const kept = await tom.pictures(12);
  for (const [i, { bytes }] of kept.entries()) assert.ok(bytes.equals(sent[i]), `picture ${i} differs`);
});

test("a picture too large to send is made smaller first", async (t) => {
  const { ada, tom } = await pair(t);
  const sent = noise(1200, 800, 3);
  assert.ok(sent.length > 2_000_000);
  await ada.drop("large.png", "image/png", sent);
  await ada.page.press("#text", "Enter");
  const [got] = await tom.pictures(1);
  assert.equal(got.type, "image/jpeg");
  assert.ok(got.bytes.length <= 900_000, `${got.bytes.length} bytes`);
});

test("a file that is no picture is refused with a sentence, and Esc lets go of one that is", async (t) => {
  const { ada } = await pair(t);
  await ada.page.setInputFiles("#file", { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("notes") });
  await ada.reads("#rows", /notes\.txt is not a picture/);
  await ada.drop("noise.png", "image/png", noise(8, 8, 1));
  await ada.page.press("#text", "Escape");
  await ada.page.waitForSelector("#tray", { state: "hidden" });
});

test("a reload shows the last 50 messages", async (t) => {
  const { ada, tom } = await pair(t);
  const said = Array.from({ length: 55 }, (_, i) => `line ${i + 1}`);
  for (const line of said) await ada.write(line);
  await ada.shows(said);
  await tom.shows(said);
  await tom.page.reload();
  await tom.shows(said.slice(-50));
  await tom.settled();
  await tom.say("still here");
  await ada.shows([...said, "still here"]);
});

test("after a reset nothing is lost and nothing comes twice", async (t) => {
  const { ada, tom } = await pair(t);
  await ada.say("before");
  await tom.shows(["before"]);
  network.reset();
  await ada.away();
  for (const line of ["from Ada 1", "from Ada 2", "from Ada 3"]) await ada.write(line);
  for (const line of ["from Tom 1", "from Tom 2"]) await tom.say(line);
  await ada.reads("#rows", /Waiting for the connection/);
  network.heal();
  await ada.settled();
  await ada.delivered();
  const all = ["before", "from Tom 1", "from Tom 2", "from Ada 1", "from Ada 2", "from Ada 3"];
  await ada.shows(all);
  await tom.shows(all);
  await ada.reads("#rows", /Back after .*; 2 messages came meanwhile/);
  await ada.sees(["Ada", "Tom"]);
  await tom.sees(["Ada", "Tom"]);
  await ada.reads("#transport", /^websocket$/);
  nothingBroke(ada, tom);
});

test("after a silence nothing is lost and nothing comes twice, a message and a picture under way included", async (t) => {
  const { ada, tom } = await pair(t);
  await ada.say("before");
  await tom.shows(["before"]);
  network.silence();
  const picture = noise(100, 80, 5);
  await ada.write("into the silence");
  await ada.drop("noise.png", "image/png", picture);
  await ada.page.press("#text", "Enter");
  await tom.say("can you hear me?");
  await ada.away();
  await ada.write("written while away");
  network.heal();
  await ada.page.click("#banner-now", { timeout: ada.patience });
  await ada.settled();
  await ada.delivered();
  const all = ["before", "can you hear me?", "into the silence", "written while away"];
  await ada.shows(all);
  await tom.shows(all);
  const [got] = await tom.pictures(1);
  assert.ok(got.bytes.equals(picture), "the picture differs");
  await tom.sees(["Ada", "Tom"]);
  nothingBroke(ada, tom);
});

test("a message whose acknowledgement was lost is not said twice", async (t) => {
  const { ada, tom } = await pair(t);
  await ada.say("before");
  // Over polling, the answer that must be lost could already wait for the request.
  await ada.reads("#transport", /^websocket$/);
  network.deafen();
  await ada.write("did you get this?");
  await tom.shows(["before", "did you get this?"]);
  await ada.away();
  network.heal();
  await ada.settled();
  await ada.delivered();
  await ada.say("after");
  const all = ["before", "did you get this?", "after"];
  await ada.shows(all);
  await tom.shows(all);
  await tom.sees(["Ada", "Tom"]);
  nothingBroke(ada, tom);
});

test("a message is not said twice though the history has moved past it", async (t) => {
  const { ada, tom } = await pair(t);
  await ada.say("before");
  await ada.reads("#transport", /^websocket$/);
  network.deafen();
  await ada.write("did you get this?");
  await tom.shows(["before", "did you get this?"]);
  const lines = Array.from({ length: 52 }, (_, i) => `line ${i + 1}`);
  for (const line of lines) await tom.write(line);
  await tom.delivered();
  await ada.away();
  network.heal();
  await ada.settled();
  await ada.delivered();
  await ada.say("after");
  await tom.shows(["before", "did you get this?", ...lines, "after"]);
  await ada.shows(["before", "did you get this?", ...lines.slice(-50), "after"]);
  await ada.reads("#rows", /3 messages are no longer kept/);
});

test("what was written away in one room is delivered there though its writer has moved on", async (t) => {
  const { ada, tom, room } = await pair(t);
  network.reset();
  await ada.away();
  await ada.write("for the first room");
  await ada.page.waitForSelector("[data-state=waiting]");
  await ada.page.fill("#room-name", `${room} B`);
  await ada.page.press("#room-name", "Enter");
  await ada.reads("#room-title", new RegExp(`^${room}-b$`));
  network.heal();
  await tom.shows(["for the first room"]);
  await ada.sees(["Ada"]);
  await ada.shows([]);
  nothingBroke(ada, tom);
});

test("cuts in quick succession, at any moment of connecting, end well", async (t) => {
  const { ada, tom } = await pair(t);
  const all = [];
  for (let round = 1; round <= 6; round += 1) {
    network.reset();
    await ada.write(`Ada ${round}`);
    network.heal();
    await tom.say(`Tom ${round}`);
    all.push(`Ada ${round}`, `Tom ${round}`);
  }
  await ada.settled();
  await ada.delivered();
  await ada.say("end");
  await tom.wait((count) => document.querySelectorAll("[data-state=delivered] .text").length >= count, 13);
  const read = (visitor) => visitor.page.$$eval("[data-state=delivered] .text", (rows) => rows.map((row) => row.textContent));
  const heard = await read(tom);
  assert.deepEqual([...heard].sort(), [...all, "end"].sort());
  await ada.shows(heard);
  nothingBroke(ada, tom);
});

test("a second window of the same visitor takes over, and the first can take it back", async (t) => {
  const { ada, tom } = await pair(t);
  const [second] = await Promise.all([
    ada.page.context().waitForEvent("page"),
    ada.page.evaluate(() => void window.open(location.href)),
  ]);
  await second.waitForSelector('[data-line="good"]');
  await ada.reads("#banner-text", /goes on in another window/);
  await tom.sees(["Ada", "Tom"]);
  await ada.page.click("#banner-now");
  await ada.settled();
  await tom.sees(["Ada", "Tom"]);
  await ada.say("mine again");
  await tom.shows(["mine again"]);
});

test("a page over plain HTTP from another machine works too", async (t) => {
  const { tom, room } = await pair(t);
  const plain = network.url.replace("127.0.0.1", "plain.test");
  const eve = await visit(browser, plain, { name: "Eve", room, ...PHONE });
  t.after(() => eve.close());
  assert.equal(await eve.page.evaluate(() => window.isSecureContext), false);
  await eve.say("from the other machine");
  await tom.shows(["from the other machine"]);
  nothingBroke(eve);
});

test("on a phone the side is a drawer that the keyboard can open and leave", async (t) => {
  const { tom } = await pair(t);
  await tom.page.focus("#side-open");
  await tom.page.keyboard.press("Enter");
  await tom.page.waitForSelector("#side.open");
  assert.equal(await tom.page.evaluate(() => document.activeElement?.id), "side-close");
  await tom.page.keyboard.press("Escape");
  await tom.wait(() => document.activeElement?.id === "side-open");
  const overflow = await tom.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(overflow <= 0, `the page is ${overflow} px too wide`);
});

const folder = process.env.SCREENSHOTS;
if (folder) {
  test("pictures of the chat are taken", async (t) => {
    await mkdir(folder, { recursive: true });
    network.heal();
    const room = "lobby";
    const url = server.replace(/\/$/, "");
    const ada = await visit(browser, network.url, { name: "Ada Marlow", room, ...DESKTOP });
    const tom = await visit(browser, url, { name: "Tom Vrba", room, ...PHONE });
    const lin = await visit(browser, url, { name: "Lin Okafor", room, ...DESKTOP, colorScheme: "dark" });
    for (const visitor of [ada, tom, lin]) t.after(() => visitor.close());
    await ada.say("Morning! The new exchange is up. Polling first, then it upgrades: watch the corner.");
    await tom.say("I am on a train, so this is a fair test. Tunnels and all.");
    await lin.say("Send a picture from the hills?");
    await tom.drop("hills.png", "image/png", hills(900, 560));
    await tom.say("There they are 🚆");
    await ada.say("Lovely. Nothing lost in the tunnel?");
    // The lobby of a server that has run for a while may contain more than this message.
    for (const visitor of [ada, lin]) await visitor.page.waitForSelector("li:nth-last-child(-n + 4) .picture img[src]");
    await tom.page.locator("#text").pressSequentially("Not a word");
    await ada.reads("#typing", /Tom Vrba is typing/);
    for (const visitor of [ada, lin]) await visitor.reads("#transport", /^websocket$/);
    await ada.page.screenshot({ path: join(folder, "chat-desktop.png") });
    await lin.page.screenshot({ path: join(folder, "chat-desktop-dark.png") });
    await tom.page.screenshot({ path: join(folder, "chat-phone.png") });
    network.reset();
    await ada.away();
    await ada.write("I will be back in a moment");
    await ada.page.waitForSelector("[data-state=waiting]");
    await ada.page.screenshot({ path: join(folder, "chat-away.png") });
  });
}
