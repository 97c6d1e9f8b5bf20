"""Foreign servers and proxies, each on a port that the system chooses, and certificates for them."""

import asyncio
import contextlib
import datetime
import os
import pathlib
import ssl
import sys
import tempfile

import pproxy
import pproxy.server
import trustme
import websockets.asyncio.server
import websockets.exceptions
from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflateOfferAccept
from autobahn.websocket.types import ConnectionDeny

from ours import SOON

HERE = pathlib.Path(__file__).parent

# Every server here echoes messages and speaks "chat". On the path /close it closes with 4001 "enough". On
# /ping it sends "pong" after the answer to its ping. On /fragments it sends "a", "ä" and "z" as one text in
# fragments. On /no it answers 403.
CLOSE = (4001, "enough")


class Certificates:
    """Files with certificates of one authority, and the authority's own certificate."""

    def __init__(self, folder):
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.authority)
        past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
        self.good = self._issue(authority, folder / "good.pem", {})
        self.expired = self._issue(authority, folder / "expired.pem", {"not_after": past})
        self.trust = {"SSL_CERT_FILE": str(self.authority), "SSL_CERT_DIR": ""}

    @staticmethod
    def _issue(authority, path, options):
        authority.issue_cert("localhost", "127.0.0.1", **options).private_key_and_cert_chain_pem.write_to_path(path)
        return path


def context(certificate):
    if certificate is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    return made


@contextlib.asynccontextmanager
async def websockets_server(certificate=None):
    """`websockets` from PyPI."""

    async def serve(connection):
        path = connection.request.path
        if path == "/close":
            await connection.close(*CLOSE)
        elif path == "/ping":
            await asyncio.wait_for(await connection.ping(b"?"), SOON)
            await connection.send("pong")
        elif path == "/fragments":
            await connection.send(["a", "ä", "z"])
        # A killed client is not reported here.
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    def process(connection, request):
        return connection.respond(403, "not for you") if request.path == "/no" else None

    serving = websockets.asyncio.server.serve(
        serve,
        "127.0.0.1",
        0,
        ssl=context(certificate),
        select_subprotocol=lambda _, offered: "chat" if "chat" in offered else None,
        process_request=process,
        max_size=None,
    )
    async with serving as server:
        yield server.sockets[0].getsockname()[1]


class Autobahn(WebSocketServerProtocol):
    def onConnect(self, request):
        if request.path == "/no":
            raise ConnectionDeny(403, "not for you")
        self.path = request.path
        return "chat" if "chat" in request.protocols else None

    def onOpen(self):
        if self.path == "/close":
            self.sendClose(*CLOSE)
        elif self.path == "/ping":
            self.sendPing(b"?")
        elif self.path == "/fragments":
            self.sendMessage("aäz".encode(), fragmentSize=1)

    def onPong(self, payload):
        if payload == b"?":
            self.sendMessage(b"pong")

    def onMessage(self, payload, isBinary):
        self.sendMessage(payload, isBinary)


@contextlib.asynccontextmanager
async def autobahn_server(certificate=None):
    """`autobahn` from PyPI, on asyncio."""
    loop = asyncio.get_running_loop()
    factory = WebSocketServerFactory(loop=loop)
    factory.protocol = Autobahn
    compress = lambda offers: next(map(PerMessageDeflateOfferAccept, offers), None)
    factory.setProtocolOptions(utf8validateIncoming=True, perMessageCompressionAccept=compress)
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context(certificate))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def ws_server(certificate=None):
    """`ws` from npm."""
    command = ["node", str(HERE / "ws_server.mjs"), *([str(certificate)] if certificate else [])]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield int(await asyncio.wait_for(process.stdout.readline(), SOON))
    finally:
        process.kill()
        await process.wait()


SERVERS = {"websockets": websockets_server, "autobahn": autobahn_server, "ws": ws_server}


@contextlib.asynccontextmanager
async def proxy_py(*options):
    """`proxy.py` from PyPI: HTTP."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "port"
        command = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0", "--port-file", str(file)]
        process = await asyncio.create_subprocess_exec(
            *command,
            *("--num-workers", "1", "--num-acceptors", "1", "--data-dir", folder, *options),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(SOON):
                while not file.exists() or not file.read_text().strip():
                    await asyncio.sleep(0.02)
            yield int(file.read_text())
        finally:
            # It has child processes, which are in its process group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()


@contextlib.asynccontextmanager
async def pproxy_server(scheme, user=""):
    """`pproxy` from PyPI: HTTP and SOCKS5."""
    # It remembers, for all of its servers, each address that gave the right password.
    pproxy.server.AuthTable._auth.clear()
    server = pproxy.Server(f"{scheme}://127.0.0.1:0{user}")
    running = await server.start_server({"rserver": [], "verbose": lambda _: None})
    try:
        yield running.sockets[0].getsockname()[1]
    finally:
        running.close()
