// A TCP proxy in front of the server that breaks connections as networks do: by a reset, by silence, or by
// delay.

import net from "node:net";
import { within } from "./deadline.mjs";

const isUpgrade = (head) => /^GET .*upgrade: websocket/is.test(head.toString("latin1"));

/** How long a client may take to notice a broken connection before it is broken again, and how many times. */
const NOTICE = 300;
const ATTEMPTS = 80;

/** The action for a connection that asks to become a WebSocket. */
export const UPGRADES = { pass: "pass", hold: "hold", reset: "reset" };

export class Proxy {
  #pairs = new Set();
  #sockets = new Set();
  #held = [];
  #upgrades = UPGRADES.pass;
  /** New connections are reset at once. */
  refusing = false;
  /** The number of connections that asked for a WebSocket. */
  upgradesSeen = 0;

  /** A proxy on its own port, closed after the test. */
  static async open(t, server, { upgrades = UPGRADES.pass } = {}) {
    const proxy = new Proxy();
    proxy.#upgrades = upgrades;
    proxy.listener = net.createServer((client) => proxy.#accept(client, server));
    await new Promise((resolve) => proxy.listener.listen(0, "127.0.0.1", resolve));
    const { port } = proxy.listener.address();
    Object.assign(proxy, { host: "127.0.0.1", port, http: `http://127.0.0.1:${port}`, ws: `ws://127.0.0.1:${port}` });
    t.after(() => proxy.close());
    return proxy;
  }

  #accept(client, server) {
    this.#keep(client);
    if (this.refusing) return client.resetAndDestroy();
    client.once("data", (head) => {
      if (!isUpgrade(head)) return this.#join(client, head, server);
      this.upgradesSeen += 1;
      if (this.#upgrades === UPGRADES.reset) client.resetAndDestroy();
      else if (this.#upgrades === UPGRADES.hold) this.#held.push(() => this.#join(client, head, server));
      else this.#join(client, head, server);
      if (this.#upgrades === UPGRADES.hold) client.pause();
    });
  }

  #join(client, head, server) {
    const upstream = net.connect(server.port, server.host);
    const pair = { client, upstream, silent: false };
    this.#pairs.add(pair);
    this.#keep(upstream);
    upstream.write(head);
    const forward = (from, to) => {
      from.on("data", (chunk) => {
        if (!pair.silent && !to.write(chunk)) from.pause();
      });
      to.on("drain", () => from.resume());
      from.on("close", (failed) => {
        if (pair.silent) return;
        if (failed) to.resetAndDestroy();
        else to.destroySoon(); // once what it was given is written
      });
    };
    forward(client, upstream);
    forward(upstream, client);
    upstream.on("close", () => this.#pairs.delete(pair));
    client.resume();
  }

  #keep(socket) {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
  }

  /** Resets every connection, towards both ends. */
  reset() {
    for (const { client, upstream } of this.#pairs) {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    }
  }

  /**
   * Breaks connections (by `reset` or `silence`) until each of these socket.io clients has noticed. Once is not
   * enough, because a client on polling may have no open connection at that moment.
   */
  async cutOff(how, ...clients) {
    let noticed = false;
    const all = Promise.all(clients.map((client) => new Promise((resolve) => client.once("disconnect", resolve))));
    all.then(() => (noticed = true));
    for (let attempt = 1; !noticed; attempt += 1) {
      if (attempt > ATTEMPTS) throw new Error("not every client noticed that it was cut off");
      this[how]();
      await within(all, "notice", NOTICE).catch(() => {});
    }
  }

  /**
   * From now on no byte of the present connections gets through, and neither end is told of the other's
   * close.
   */
  silence() {
    for (const pair of this.#pairs) pair.silent = true;
  }

  /** Lets the held-back WebSocket connections through. */
  releaseUpgrades() {
    this.#upgrades = UPGRADES.pass;
    for (const join of this.#held.splice(0)) join();
  }

  close() {
    this.listener.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
