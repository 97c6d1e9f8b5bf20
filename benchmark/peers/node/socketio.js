// socket.io on Node: the events of the conformance server that the benchmark uses, and its `auth` greeting.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { address } from "./address.js";

const http = createServer();
const io = new Server(http, { serveClient: false });

io.on("connection", (socket) => {
  socket.emit("auth", socket.handshake.auth);
  socket.on("echo", (text) => socket.emit("echo", text));
  socket.on("broadcast", (text) => io.emit("broadcast", text));
  socket.on("join", (room) => socket.join(room));
  socket.on("ack-all", (room, value, ack) => {
    io.to(room).timeout(1000).emit("ask", value, (_error, answers) => ack([answers, []]));
  });
});

const { host, port } = address();
http.listen(port, host, 4096, () => console.log(`listening on ${host}:${http.address().port}`));
