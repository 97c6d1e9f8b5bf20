// The server described in servers.py, with `ws` from npm: `node ws_server.mjs [FILE]`. It uses TLS if FILE
// holds a key and certificates. It prints its port.

import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { createRequire } from "node:module";

const { WebSocketServer } = createRequire(new URL("../node/package.json", import.meta.url))("ws");

const pem = process.argv[2] && readFileSync(process.argv[2]);
const server = pem ? https.createServer({ key: pem, cert: pem }) : http.createServer();
const sockets = new WebSocketServer({
  noServer: true,
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (offered) => (offered.has("chat") ? "chat" : false),
});

server.on("upgrade", (request, socket, head) => {
  if (request.url === "/no") {
    socket.end("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 11\r\n\r\nnot for you");
    return;
  }
  sockets.handleUpgrade(request, socket, head, (connection) => {
    connection.on("message", (data, binary) => connection.send(data, { binary }));
    if (request.url === "/close") connection.close(4001, "enough");
    if (request.url === "/ping") {
      connection.on("pong", (data) => data.toString() === "?" && connection.send("pong"));
      connection.ping("?");
    }
    if (request.url === "/fragments") {
      connection.send("a", { fin: false });
      connection.send("ä", { fin: false });
      connection.send("z");
    }
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
