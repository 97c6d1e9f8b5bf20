// ws on Node: echo, each message back as it came. permessage-deflate is off, which is its default;
// `--deflate` turns it on at its defaults. With `--tls-cert` and `--tls-key` it is on Node's own HTTPS
// server.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { WebSocketServer } from "ws";
import { address, argument, flag } from "./address.js";

const cert = argument("--tls-cert");
const http = cert
  ? createSecureServer({ cert: readFileSync(cert), key: readFileSync(argument("--tls-key")) })
  : createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: flag("--deflate") });

server.on("connection", (socket) => {
  socket.on("message", (data, binary) => socket.send(data, { binary }));
  socket.on("error", () => socket.terminate());
});

const { host, port } = address();
http.listen(port, host, 4096, () => console.log(`listening on ${host}:${http.address().port}`));
