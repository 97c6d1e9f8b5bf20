// A TCP proxy that breaks the network on demand: by reset, as a crashed router does, or by silence, as a
// tunnel does.
import { connect, createServer } from "node:net";

/**
 * @typedef {"pass" | "down" | "silent" | "deaf"} Mode
 * pass: bytes go through. down: all connections, and new ones, are reset. silent: all connections, and new
 * ones, stay open and lose the bytes of both directions. deaf: the server receives the page's bytes, but the
 * page receives nothing.
 */
export class Proxy {
  /** @type {Mode} */
  #mode = "pass";
  #server = createServer({ allowHalfOpen: true }, (near) => this.#join(near));
  /** @type {Set<Link>} */
  #links = new Set();
  #target;

  /** @param {{ host: string, port: number }} target */
  constructor(target) {
    this.#target = target;
  }

  /** Starts on a free port of this machine. */
  async listen() {
    await new Promise((resolve, reject) => {
      this.#server.once("error", reject).listen(0, "127.0.0.1", () => resolve(undefined));
    });
    return this;
  }

  get url() {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy does not listen");
    return `http://127.0.0.1:${address.port}`;
  }

  /** Resets every connection, and each new one until `heal`. */
  reset() {
    this.#mode = "down";
    for (const link of this.#links) link.reset();
  }

  /** Lets no more bytes through, and tells neither end. */
  silence() {
    this.#mode = "silent";
    for (const link of this.#links) link.mute("both");
  }

  /** Lets the page send but not receive: its data arrives, and every answer is lost. */
  deafen() {
    this.#mode = "deaf";
    for (const link of this.#links) link.mute("answers");
  }

  /**
   * New connections work. Connections that lost bytes stay broken, because a gap in a TCP stream cannot be
   * repaired.
   */
  heal() {
    this.#mode = "pass";
  }

  async close() {
    this.#mode = "down";
    for (const link of this.#links) link.reset();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(near) {
    if (this.#mode === "down") {
      near.on("error", () => {});
      near.resetAndDestroy();
      return;
    }
    const link = new Link(near, connect({ ...this.#target, allowHalfOpen: true }), () => this.#links.delete(link));
    this.#links.add(link);
    if (this.#mode === "silent") link.mute("both");
    if (this.#mode === "deaf") link.mute("answers");
  }
}

/** One connection through the proxy: `near` to the page, `far` to the server. */
class Link {
  #near;
  #far;
  #muted = { requests: false, answers: false };

  constructor(near, far, gone) {
    this.#near = near;
    this.#far = far;
    this.#carry(near, far, "requests");
    this.#carry(far, near, "answers");
    near.once("close", gone);
  }

  mute(which) {
    this.#muted.answers = true;
    if (which === "both") this.#muted.requests = true;
  }

  reset() {
    this.#near.resetAndDestroy();
    this.#far.resetAndDestroy();
  }

  #carry(from, to, direction) {
    from.setNoDelay(true);
    from.on("data", (bytes) => {
      if (this.#muted[direction] || to.destroyed) return;
      if (to.write(bytes)) return;
      from.pause();
      to.once("drain", () => from.resume());
    });
    from.on("end", () => {
      if (!this.#muted[direction]) to.end();
    });
    // If one end fails, the other is closed too, unless the other end must see only silence.
    from.on("error", () => {
      if (!this.#muted[direction]) to.resetAndDestroy();
    });
    from.on("close", () => {
      if (!this.#muted[direction]) to.destroy();
    });
  }
}
