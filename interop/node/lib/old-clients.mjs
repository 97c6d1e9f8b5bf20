// The official clients of Socket.IO 1 to 3, of versions that differ on the wire.
//
// The packages of 1.0 name some of their dependencies by addresses of archives. `overrides` in package.json has the
// same code from npm in their place.

import { createRequire } from "node:module";
import { once, within } from "./deadline.mjs";
import { received } from "./clients.mjs";
import { isReference } from "./server.mjs";

const require = createRequire(import.meta.url);

const io = (version) => require(`socket.io-client-${version}`);

/**
 * Each version. `query`: it sends the query of a namespace with its CONNECT. `notOver`: a mode in which no request
 * tells the version from later ones. (Such a client takes an ack of later versions for one without an end, and
 * hangs.)
 */
export const OLD_CLIENTS = {
  "1.0.2": { io: io("1.0.2"), notOver: "websocket only" },
  "1.0.6": { io: io("1.0.6") },
  "1.3.7": { io: io("1.3") },
  "1.7.4": { io: io("1.7"), query: true },
  "2.0.4": { io: io("2.0"), query: true },
  "2.5.0": { io: io("2.5"), query: true },
};

// The reference sends such a client an acknowledgement that it reads for ever.
if (isReference) delete OLD_CLIENTS["1.0.2"];

export const CLIENT_3 = io("3.1");

/** The transports by which such a client reaches a server in Node. */
export const OLD_MODES = {
  "polling only": { transports: ["polling"] },
  "websocket only": { transports: ["websocket"] },
  "polling that upgrades": { transports: ["polling", "websocket"] },
};

/** The modes of a version. */
export const modesOf = (version) => Object.entries(OLD_MODES).filter(([mode]) => mode !== OLD_CLIENTS[version].notOver);

/**
 * A Buffer as Node had them in the time of Socket.IO 1.0, which sends the `buffer` of one that has it: in Node of
 * today that is a pool of many.
 */
export function oldBuffer(bytes) {
  return Object.defineProperty(Buffer.from(bytes), "buffer", { value: undefined });
}

/** A client, not yet connected. It reconnects only if told to. */
export function oldClient(t, version, server, { nsp = "/", ...options } = {}) {
  const make = typeof version === "string" ? OLD_CLIENTS[version].io : version;
  const client = make(server.http + nsp, { forceNew: true, "force new connection": true, reconnection: false, ...options });
  // Up to 1.0 an error without a listener is thrown.
  client.on("error", () => {});
  t.after(() => client.disconnect());
  return client;
}

/** The same, connected. The arguments of its event `auth` are in `client.auth`. */
export async function connectedOldClient(t, version, server, options) {
  const client = oldClient(t, version, server, options);
  const auths = received(client, "auth");
  await within(
    new Promise((resolve, reject) => {
      client.on("connect", resolve);
      client.on("connect_error", reject);
    }),
    "connect",
  );
  client.auth = await auths.next("auth");
  return client;
}

/** Emits an event, and resolves with the arguments of its acknowledgement. */
export const asked = (client, event, ...args) =>
  within(new Promise((resolve) => client.emit(event, ...args, (...answer) => resolve(answer))), `ack of ${event}`);

/** Resolves when the client's connection has become a WebSocket. */
export async function isUpgraded(client) {
  const { engine } = client.io;
  if (engine.transport.name !== "websocket") await once(engine, "upgrade");
}
