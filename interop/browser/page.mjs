// The actions of the tests on a page of the chat, and the values that they read from it. Every wait is for a
// condition, never for a time.
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // A name of this machine that is not a secure context, like the address of a laptop on a phone.
  "--host-resolver-rules=MAP plain.test 127.0.0.1",
  // Several pages are open at once. The browser must not pause a page that is behind another.
  "--disable-renderer-backgrounding",
  "--disable-backgrounding-occluded-windows",
  "--disable-background-timer-throttling",
];

/** Checks at intervals, because a page behind another gets no animation frames. */
const POLLING = 50;

export const DESKTOP = { viewport: { width: 1280, height: 800 } };
export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
}

/**
 * Opens the chat as a visitor with this name in this room, and waits until the room is entered. `prepare`
 * gets the page first.
 */
export async function visit(browser, url, { name, room, prepare, ...look }) {
  const context = await browser.newContext(look);
  await context.addInitScript(remember, name);
  const page = await context.newPage();
  await prepare?.(page);
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (line) => {
    if (/Content.Security.Policy/i.test(line.text())) errors.push(line.text());
  });
  const handshake = page.waitForResponse((response) => {
    const address = new URL(response.url());
    return address.pathname === "/socket.io/" && !address.searchParams.has("sid");
  });
  await page.goto(`${url}/#${room}`);
  const opened = await (await handshake).text();
  const visitor = new Visitor(page, errors, JSON.parse(opened.slice(1)));
  await visitor.settled();
  return visitor;
}

/**
 * Runs in the page before its own scripts. It gives the visitor a name, and keeps the bytes of each picture.
 */
function remember(name) {
  if (!localStorage.getItem("switchboard.name")) localStorage.setItem("switchboard.name", name);
  const blobs = new Map();
  const createObjectURL = URL.createObjectURL.bind(URL);
  URL.createObjectURL = (blob) => {
    const url = createObjectURL(blob);
    blobs.set(url, blob);
    return url;
  };
  globalThis.blobOf = (url) => blobs.get(url);
}

export class Visitor {
  /**
   * @param handshake the data of Engine.IO's open packet: `pingInterval` and `pingTimeout` in milliseconds,
   * and more.
   */
  constructor(page, errors, handshake) {
    this.page = page;
    this.errors = errors;
    /** How long a silent connection may stay undetected, doubled for a busy machine. */
    this.patience = 2 * (handshake.pingInterval + handshake.pingTimeout) + 20_000;
  }

  /** Waits until a condition holds in the page. */
  async wait(condition, argument = null) {
    await this.page.waitForFunction(condition, argument, { timeout: this.patience, polling: POLLING });
  }

  /** Connected, and in the room. */
  async settled() {
    await this.wait(() => document.documentElement.dataset.line === "good");
  }

  /** The page has noticed that the connection is lost. */
  async away() {
    await this.page.waitForSelector("#banner:not([hidden])", { timeout: this.patience });
    await this.wait(() => document.documentElement.dataset.line !== "good");
  }

  /** Types a line and sends it by Enter. Does not wait until it arrives. */
  async write(text) {
    await this.page.fill("#text", text);
    await this.page.press("#text", "Enter");
  }

  /** Writes a line and waits until the server has it. */
  async say(text) {
    await this.write(text);
    await this.delivered();
  }

  async delivered() {
    await this.wait(() => !document.querySelector("[data-state=sending], [data-state=waiting]"));
  }

  /** Waits until the delivered texts are exactly these, in this order: none missing, none twice. */
  async shows(texts) {
    await this.#lists("[data-state=delivered] .text", texts, false);
  }

  /** Waits until the listed members are exactly these, in any order. */
  async sees(names) {
    await this.#lists("#people .name", [...names].sort(), true);
  }

  async reads(selector, pattern) {
    await this.wait(
      ([where, source]) => new RegExp(source).test(document.querySelector(where)?.textContent ?? ""),
      [selector, pattern.source],
    );
  }

  /** The pictures that have arrived, in order: type and bytes. */
  async pictures(count) {
    const wanted = (n) => document.querySelectorAll("[data-state=delivered] .picture img[src]").length === n;
    await this.wait(wanted, count);
    const found = await this.page.evaluate(async () => {
      const images = [...document.querySelectorAll("[data-state=delivered] .picture img[src]")];
      return Promise.all(
        images.map(async (image) => {
          const blob = globalThis.blobOf(image.src);
          const bytes = new Uint8Array(await blob.arrayBuffer());
          return { type: blob.type, base64: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")) };
        }),
      );
    });
    return found.map(({ type, base64 }) => ({ type, bytes: Buffer.from(base64, "base64") }));
  }

  /** Drops a file on the page, as from a folder, and waits for its small picture beside the message box. */
  async drop(name, type, bytes) {
    const transfer = await this.page.evaluateHandle(
      ([fileName, fileType, base64]) => {
        const content = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
        const carried = new DataTransfer();
        carried.items.add(new File([content], fileName, { type: fileType }));
        return carried;
      },
      [name, type, bytes.toString("base64")],
    );
    await this.page.dispatchEvent("#log", "drop", { dataTransfer: transfer });
    await this.page.waitForSelector("#tray img");
  }

  async close() {
    await this.page.context().close();
  }

  /**
   * Waits until the elements' texts are the wanted ones. On a time-out the error contains the actual texts.
   */
  async #lists(selector, wanted, sorted) {
    try {
      await this.wait(
        ([where, texts, sort]) => {
          const found = [...document.querySelectorAll(where)].map((element) => element.textContent);
          if (sort) found.sort();
          return found.length === texts.length && found.every((text, i) => text === texts[i]);
        },
        [selector, wanted, sorted],
      );
    } catch (error) {
      const found = await this.page.$$eval(selector, (elements) => elements.map((element) => element.textContent));
      throw new Error(`wanted ${JSON.stringify(wanted)}, the page has ${JSON.stringify(found)}`, { cause: error });
    }
  }
}
