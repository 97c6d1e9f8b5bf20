// uWebSockets.js on Node: echo, each message back as it came; with `--broadcast` each goes to all connections
// by its `publish`, the sender's too. `--deflate` turns permessage-deflate on, with a compressor for each
// connection; `--no-takeover` takes its shared one. With `--tls-cert` and `--tls-key` it is on its own TLS.
import { createRequire } from "node:module";
import { address, argument, flag } from "../node/address.js";

// The binary itself: the package would fall back to `ws` where that does not load, without a word.
const { arch, platform, versions } = process;
const uWS = createRequire(import.meta.url)(
  `@trufflesuite/uws-js-unofficial/binaries/uws_${platform}_${arch}_${versions.modules}.node`,
);

const cert = argument("--tls-cert");
const deflate = flag("--deflate");
const dedicated = uWS.DEDICATED_COMPRESSOR | uWS.DEDICATED_DECOMPRESSOR;
const shared = uWS.SHARED_COMPRESSOR | uWS.SHARED_DECOMPRESSOR;
const compressor = flag("--no-takeover") ? shared : dedicated;

const app = cert ? uWS.SSLApp({ cert_file_name: cert, key_file_name: argument("--tls-key") }) : uWS.App();
const echo = { message: (socket, message, binary) => socket.send(message, binary, deflate) };
const broadcast = {
  open: (socket) => socket.subscribe("all"),
  message: (socket, message, binary) => app.publish("all", message, binary),
};

app.ws("/*", {
  compression: deflate ? compressor : uWS.DISABLED,
  // Large enough for all that a client of the benchmark has on the way; beyond it messages would be dropped.
  maxPayloadLength: 64 << 20,
  maxBackpressure: 1 << 30,
  ...(flag("--broadcast") ? broadcast : echo),
});

const { host, port } = address();
app.listen(host, port, (socket) => console.log(`listening on ${host}:${uWS.us_socket_local_port(socket)}`));
