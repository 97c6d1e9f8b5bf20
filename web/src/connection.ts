// The page's view of the connection to the server: its state, its transport, its round-trip time. The page
// reconnects by itself, without the client's timer, because it shows a countdown and a button "Try now".
import { io, type Socket } from "socket.io-client";
import type { ClientEvents, ServerEvents } from "./events.ts";

export type Status =
  | { kind: "connecting" }
  | { kind: "connected" }
  /** Open, but the server has not answered since `since` (milliseconds). */
  | { kind: "silent"; since: number }
  /** Closed; the next attempt is at `until` (milliseconds). */
  | { kind: "waiting"; until: number }
  | { kind: "retrying" }
  | { kind: "offline" }
  /** Another page of this visitor took its place. */
  | { kind: "replaced" };

/** `upgradedAfter`: the milliseconds from polling's handshake to the change of transport. */
export interface Transport {
  name: string;
  upgradedAfter?: number;
}

export type ChatSocket = Socket<ServerEvents, ClientEvents>;

const FIRST_DELAY = 800;
const LONGEST_DELAY = 15_000;
const PROBE_EVERY = 3_000;
const PROBE_PATIENCE = 5_000;
/** How long one attempt may take before it counts as failed. */
const ATTEMPT_PATIENCE = 8_000;

export class Connection {
  readonly socket: ChatSocket;
  status: Status = { kind: "connecting" };
  transport: Transport | undefined;
  /** The last round-trip times in milliseconds, newest last. */
  rtts: number[] = [];

  #failures = 0;
  #abandoning = false;
  #upgraded = false;
  #retry: number | undefined;
  #probe: number | undefined;
  #opened = 0;
  readonly #changed: () => void;

  /** `changed` is called after any change of the public fields. */
  constructor(visitor: string, changed: () => void) {
    this.#changed = changed;
    this.socket = io("/chat", { auth: { visitor }, reconnection: false, autoConnect: false, timeout: ATTEMPT_PATIENCE });
    this.socket.on("connect", () => this.#onConnect());
    this.socket.on("connect_error", () => this.#onClosed());
    this.socket.on("disconnect", () => this.#onClosed());
    this.socket.on("replaced", () => this.#set({ kind: "replaced" }));
    this.socket.io.on("open", () => this.#watchTransport());
    window.addEventListener("online", () => this.#hurry());
    window.addEventListener("offline", () => {
      if (this.status.kind === "waiting") this.#onOffline();
    });
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#hurry();
    });
  }

  get connected(): boolean {
    return this.socket.connected;
  }

  /** Starts, or restarts at once in any state. */
  connectNow(): void {
    clearTimeout(this.#retry);
    this.#set({ kind: this.#opened === 0 ? "connecting" : "retrying" });
    // A silent connection or a hanging attempt is dropped first. It does not count as a failure, so there is
    // no wait.
    if (this.socket.active || this.socket.connected) this.#abandon();
    this.socket.io.opts.transports = this.#startsOnWebSocket() ? ["websocket"] : ["polling", "websocket"];
    this.socket.connect();
  }

  /**
   * If WebSocket has worked before, the page reconnects by WebSocket at once. A WebSocket always has a new
   * TCP connection, while polling may get a kept one that died in the silence. Each third attempt uses
   * polling, in case only polling works now.
   */
  #startsOnWebSocket(): boolean {
    return this.#upgraded && this.#failures % 3 !== 0;
  }

  #abandon(): void {
    this.#abandoning = true;
    this.socket.disconnect();
    this.#abandoning = false;
  }

  #hurry(): void {
    if (this.status.kind === "waiting" || this.status.kind === "offline") this.connectNow();
  }

  #onConnect(): void {
    this.#opened += 1;
    this.#set({ kind: "connected" });
    this.#stopProbing();
    void this.#measure();
  }

  #onClosed(): void {
    this.#stopProbing();
    // Events on a dying connection would be sent before `enter` on the next connection.
    this.socket.sendBuffer = [];
    this.transport = undefined;
    if (this.#abandoning) return;
    if (this.status.kind === "replaced") return this.#changed();
    clearTimeout(this.#retry);
    if (!navigator.onLine) return this.#onOffline();
    const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#failures) * (0.75 + Math.random() / 2);
    this.#failures += 1;
    this.#retry = window.setTimeout(() => this.connectNow(), delay);
    this.#set({ kind: "waiting", until: Date.now() + delay });
  }

  /**
   * The page still tries at intervals, because a browser may report offline while the server is on the same
   * machine.
   */
  #onOffline(): void {
    clearTimeout(this.#retry);
    this.#retry = window.setTimeout(() => this.connectNow(), LONGEST_DELAY);
    this.#set({ kind: "offline" });
  }

  #watchTransport(): void {
    const engine = this.socket.io.engine;
    const since = performance.now();
    this.transport = { name: engine.transport.name };
    engine.on("upgrade", (to) => {
      if (engine !== this.socket.io.engine) return;
      this.#upgraded = true;
      this.transport = { name: to.name, upgradedAfter: performance.now() - since };
      this.#changed();
    });
  }

  async #measure(): Promise<void> {
    const sent = performance.now();
    const asked = Date.now();
    const patience = window.setTimeout(() => {
      if (this.status.kind === "connected") this.#set({ kind: "silent", since: asked });
    }, PROBE_PATIENCE);
    try {
      await this.socket.emitWithAck("rtt");
    } catch {
      return; // The connection broke, which is told by its own event.
    } finally {
      clearTimeout(patience);
    }
    // Only a connection that carries data ends the series of failures. A server may accept and then drop.
    this.#failures = 0;
    this.rtts = [...this.rtts.slice(-29), performance.now() - sent];
    if (this.status.kind === "silent") this.status = { kind: "connected" };
    this.#probe = window.setTimeout(() => void this.#measure(), PROBE_EVERY);
    this.#changed();
  }

  #stopProbing(): void {
    clearTimeout(this.#probe);
  }

  #set(status: Status): void {
    this.status = status;
    this.#changed();
  }
}
