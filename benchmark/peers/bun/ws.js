// Bun: echo on its own server's WebSockets, each message back as it came; with `--broadcast` each goes to all
// connections by its `publish`, the sender's too. `--deflate` turns permessage-deflate on, with a compressor
// for each connection; `--no-takeover` takes its shared one, which keeps no context. With `--tls-cert` and
// `--tls-key` it is on its own TLS.
const argument = (name) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
};
const flag = (name) => process.argv.includes(name);

const [hostname, port] = (argument("--addr") ?? "127.0.0.1:0").split(":");
const cert = argument("--tls-cert");
const kind = flag("--no-takeover") ? "shared" : "dedicated";
const deflate = flag("--deflate");
const broadcast = flag("--broadcast");

const server = Bun.serve({
  hostname,
  port: Number(port),
  tls: cert ? { cert: Bun.file(cert), key: Bun.file(argument("--tls-key")) } : undefined,
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("a WebSocket is expected", { status: 426 })),
  websocket: {
    perMessageDeflate: deflate ? { compress: kind, decompress: kind } : false,
    // Large enough for all that a client of the benchmark has on the way; beyond it messages would be
    // dropped.
    maxPayloadLength: 64 << 20,
    backpressureLimit: 1 << 30,
    open: (socket) => {
      if (broadcast) socket.subscribe("all");
    },
    message: broadcast
      ? (socket, message) => void server.publish("all", message)
      : (socket, message) => void socket.send(message, deflate),
  },
});

console.log(`listening on ${hostname}:${server.port}`);
