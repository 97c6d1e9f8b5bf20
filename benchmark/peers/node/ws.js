// ws on Node: echo, each message back as it came. permessage-deflate is off, which is its default.
import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { address } from "./address.js";

const http = createServer();
const server = new WebSocketServer({ server: http });

server.on("connection", (socket) => {
  socket.on("message", (data, binary) => socket.send(data, { binary }));
  socket.on("error", () => socket.terminate());
});

const { host, port } = address();
http.listen(port, host, 4096, () => console.log(`listening on ${host}:${http.address().port}`));
