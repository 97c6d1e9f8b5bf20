// The official clients. Each is made for one test and closed after it.

import { Fetch, Socket as EngineSocket } from "engine.io-client";
import { io } from "socket.io-client";
import { once, Queue, within } from "./deadline.mjs";

/** The transports by which an official client reaches a server. */
export const MODES = {
  "polling only": { transports: ["polling"] },
  "polling by fetch": { transports: [Fetch] },
  "websocket only": { transports: ["websocket"] },
  "polling that upgrades": { transports: ["polling", "websocket"] },
};

/** A socket.io-client of `target` (server or proxy), not yet connected. It reconnects only if told to. */
export function newClient(t, target, { nsp = "/", ...options } = {}) {
  const client = io(target.http + nsp, { forceNew: true, reconnection: false, ...options });
  t.after(() => client.disconnect());
  return client;
}

/** The same, connected; `auth` events are in `client.auths`. */
export async function connectedClient(t, target, options) {
  const client = newClient(t, target, options);
  client.auths = received(client, "auth");
  await connection(client);
  return client;
}

export function connection(client) {
  return within(
    new Promise((resolve, reject) => client.once("connect", resolve).once("connect_error", reject)),
    "connect",
  );
}

/** All later `event`s, as lists of arguments. */
export function received(emitter, event) {
  const queue = new Queue();
  emitter.on(event, (...args) => queue.push(args));
  return queue;
}

/** Resolves when the client's connection has become a WebSocket. */
export async function upgraded(client) {
  const { engine } = client.io;
  if (engine.transport.name !== "websocket") await once(engine, "upgrade");
}

/** An engine.io-client at the bare Engine.IO endpoint, open. Its messages are in `socket.messages`. */
export async function connectedEngine(t, target, options = {}) {
  const socket = new EngineSocket(target.http, { path: "/engine.io/", ...options });
  t.after(() => socket.close());
  socket.messages = new Queue();
  socket.on("message", (data) => socket.messages.push(data));
  await within(
    new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject)),
    "open",
  );
  return socket;
}
