// The conformance server written with the reference implementation (socket.io, engine.io and ws from npm).
//
// Its answers count as correct: a suite that fails against it is wrong, unless the test says where and why
// Switchboard is stricter. It takes the conformance example's options for these protocols. The others
// (`--workers`, `--mount`) are accepted and have no effect.

import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Server as Engine } from "engine.io";
import { Server as SocketIo } from "socket.io";
import msgpack from "socket.io-msgpack-parser";
import { WebSocketServer } from "ws";

const RAW_LIMIT = 64 * 1024 * 1024;

const { values: option } = parseArgs({
  options: {
    addr: { type: "string", default: "127.0.0.1:3000" },
    "ping-interval": { type: "string", default: "25000" },
    "ping-timeout": { type: "string", default: "20000" },
    "connect-timeout": { type: "string", default: "45000" },
    "max-payload": { type: "string", default: "1000000" },
    "allow-eio3": { type: "boolean", default: false },
    "old-clients": { type: "boolean", default: false },
    jsonp: { type: "string" },
    deflate: { type: "boolean", default: false },
    recovery: { type: "string" },
    workers: { type: "string" },
    mount: { type: "string" },
  },
});

const engineOptions = {
  pingInterval: Number(option["ping-interval"]),
  pingTimeout: Number(option["ping-timeout"]),
  maxHttpBufferSize: Number(option["max-payload"]),
  allowEIO3: option["allow-eio3"] || option["old-clients"],
  perMessageDeflate: option.deflate,
  cors: { origin: "*" },
  destroyUpgrade: false,
};

const http = createServer((_request, response) => response.writeHead(404).end());

const sendAuth = (socket) => socket.emit("auth", socket.handshake.auth);

/** A server at a path, with the events of the conformance server. */
function serve(options) {
  const io = new SocketIo(http, {
    ...engineOptions,
    connectTimeout: Number(option["connect-timeout"]),
    cleanupEmptyChildNamespaces: true,
    ...(option.recovery && { connectionStateRecovery: { maxDisconnectionDuration: Number(option.recovery) } }),
    ...options,
  });
  io.on("connection", (socket) => {
    sendAuth(socket);
    socket.on("message", (...args) => socket.emit("message-back", ...args));
    socket.on("message-with-ack", (...args) => args.pop()(...args));
    socket.on("echo", (text) => socket.emit("echo", text));
    socket.on("broadcast", (...args) => io.emit("broadcast", ...args));
    socket.on("recovered", (ack) => ack(socket.recovered));
    socket.on("join", (room) => socket.join(room));
    socket.on("leave", (room) => socket.leave(room));
    socket.on("compress", (flag, room, event, ...args) => (room === null ? socket : io.to(room)).compress(flag).emit(event, ...args));
    socket.on("to", (room, event, ...args) => io.to(room).emit(event, ...args));
    socket.on("sockets", async (room, answer) => answer((await io.in(room).fetchSockets()).map(({ id }) => id)));
    socket.on("ack-all", async (room, value, answer) => {
      const [answers, silent] = [[], []];
      const ask = (one) =>
        one
          .timeout(1000)
          .emitWithAck("ask", value)
          .then((acked) => answers.push(acked))
          .catch(() => silent.push(one.id));
      await Promise.all((await io.in(room).fetchSockets()).map(ask));
      answer([answers, silent]);
    });
  });
  io.of("/custom").on("connection", sendAuth);
  io.of(/^\/dynamic-\d+$/).on("connection", (socket) => {
    socket.on("message", (...args) => socket.emit("message-back", ...args));
  });
  return io;
}

const io = serve({});
serve({ path: "/msgpack/", parser: msgpack });
serve({ path: "/second/" });

const engine = new Engine(engineOptions);
engine.attach(http, { path: "/engine.io", destroyUpgrade: false });
engine.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));

const rawOptions = { noServer: true, maxPayload: RAW_LIMIT, perMessageDeflate: option.deflate };
const echo = new WebSocketServer(rawOptions);
echo.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
});

const cast = new WebSocketServer(rawOptions);
const castToRaw = (data, options) => cast.clients.forEach((client) => client.send(data, options));
const castNamespace = io.of("/cast").on("connection", (socket) => {
  socket.on("cast", (text) => {
    castNamespace.emit("cast", text);
    castToRaw(text, { binary: false });
  });
});
cast.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (data, isBinary) => {
    castToRaw(data, { binary: isBinary });
    castNamespace.emit("cast", isBinary ? data : data.toString());
  });
});

const rawEndpoints = { "/ws": echo, "/ws-cast": cast };

http.on("upgrade", (request, socket, head) => {
  socket.on("error", () => {});
  const path = request.url.split("?")[0];
  const endpoint = rawEndpoints[path];
  if (endpoint) {
    endpoint.handleUpgrade(request, socket, head, (client) => endpoint.emit("connection", client));
  } else if (!["/socket.io/", "/engine.io/", "/msgpack/", "/second/"].some((served) => path.startsWith(served))) {
    socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  }
});

const [host, port] = option.addr.split(":");
http.listen(Number(port), host, () => {
  console.log(`listening on ${host}:${http.address().port}`);
});
