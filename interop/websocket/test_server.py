"""Foreign clients against the conformance server's raw WebSocket."""

import asyncio
import logging
import os
import pathlib
import ssl
import tempfile
import unittest

import websockets.asyncio.client
from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateResponseAccept
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from ours import SOON
from server import server_with
from servers import Certificates

SIZES = (0, 1, 125, 126, 65_535, 65_536, 1_000_000)
MESSAGES = ["안녕하세요, Straße, 😀", *("x" * size for size in SIZES), *(bytes([7]) * size for size in SIZES)]

FOLDER = tempfile.TemporaryDirectory()
CERTIFICATES = Certificates(pathlib.Path(FOLDER.name))
SERVERS = {
    "plain": {},
    "deflate": {"deflate": True},
    "deflate with takeover, small window": {"deflate": True, "deflate-takeover": True, "deflate-window-bits": 9},
}
if os.environ.get("INTEROP_REFERENCE"):
    SERVERS = {"plain": {}}
elif "--mount" not in os.environ.get("INTEROP_ARGS", ""):
    # TLS is only on the library's own listener.
    SERVERS["tls"] = {"tls-cert": CERTIFICATES.good, "tls-key": CERTIFICATES.good}


def url(way, path="/ws"):
    scheme = "wss" if way == "tls" else "ws"
    return server_with(SERVERS[way]).replace("http", scheme).replace("127.0.0.1", "localhost") + path


def context(way):
    return ssl.create_default_context(cafile=CERTIFICATES.authority) if way == "tls" else None


def soon(waiting):
    return asyncio.wait_for(waiting, SOON)


class Ways(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        # Half of these connections are meant to fail.
        logging.disable()
        self.addCleanup(logging.disable, logging.NOTSET)

    async def each_way(self, test):
        for way in SERVERS:
            with self.subTest(way):
                await test(way)


class Websockets(Ways):
    """`websockets` from PyPI."""

    def connect(self, way, path="/ws", **options):
        options = {"compression": "deflate" if "deflate" in way else None, **options}
        connect = websockets.asyncio.client.connect
        return connect(url(way, path), ssl=context(way), max_size=None, open_timeout=SOON, proxy=None, **options)

    async def test_messages_are_echoed(self):
        async def test(way):
            async with self.connect(way) as client:
                self.assertEqual(len(client.protocol.extensions), int("deflate" in way))
                for message in MESSAGES * 2:
                    await client.send(message)
                    self.assertEqual(await soon(client.recv()), message)

        await self.each_way(test)

    async def test_fragments_are_echoed_whole(self):
        async def test(way):
            async with self.connect(way) as client:
                await client.send(["a", "ä", "", "z"])
                self.assertEqual(await soon(client.recv()), "aäz")
                await client.send([b"\x00", b"\xff" * 70_000])
                self.assertEqual(await soon(client.recv()), b"\x00" + b"\xff" * 70_000)

        await self.each_way(test)

    async def test_a_ping_is_answered_and_a_close_too(self):
        async def test(way):
            async with self.connect(way) as client:
                await soon(await client.ping(b"?"))
                await soon(client.close(3001, "done"))
                self.assertEqual(client.close_code, 3001)

        await self.each_way(test)

    async def test_every_window_is_agreed_on(self):
        if "deflate" not in SERVERS:
            self.skipTest("the reference does not compress")
        for bits in range(9, 16):
            for server in (None, bits):
                offer = ClientPerMessageDeflateFactory(server_max_window_bits=server, client_max_window_bits=bits)
                with self.subTest(bits=bits, server=server):
                    async with self.connect("deflate", compression=None, extensions=[offer]) as client:
                        self.assertEqual(len(client.protocol.extensions), 1)
                        text = "".join(chr(65 + number * number % 57) for number in range(70_000))
                        await client.send(text)
                        self.assertEqual(await soon(client.recv()), text)

    async def test_many_at_once_in_order(self):
        async def run(way):
            async with self.connect(way) as client:
                for number in range(100):
                    await client.send(str(number))
                return [await soon(client.recv()) for _ in range(100)]

        async def test(way):
            for got in await asyncio.gather(*(run(way) for _ in range(20))):
                self.assertEqual(got, [str(number) for number in range(100)])

        await self.each_way(test)

    async def test_text_that_is_not_utf_8_is_refused(self):
        async def test(way):
            async with self.connect(way) as client:
                await client.send(b"\xff" * 2000, text=True)
                with self.assertRaises(ConnectionClosed) as closed:
                    await soon(client.recv())
                self.assertEqual(closed.exception.rcvd.code, 1007)

        await self.each_way(test)

    async def test_a_path_that_is_none_is_refused(self):
        async def test(way):
            with self.assertRaises(InvalidStatus) as refused:
                async with self.connect(way, "/nowhere"):
                    pass
            self.assertGreaterEqual(refused.exception.response.status_code, 400)

        await self.each_way(test)


class AutobahnClient(WebSocketClientProtocol):
    def onOpen(self):
        self.factory.heard.put_nowait(("open",))

    def onMessage(self, payload, isBinary):
        self.factory.heard.put_nowait(("message", payload if isBinary else payload.decode()))

    def onPong(self, payload):
        self.factory.heard.put_nowait(("pong", payload))

    def onClose(self, wasClean, code, reason):
        self.factory.heard.put_nowait(("close", wasClean, code, reason))


class Autobahn(Ways):
    """`autobahn` from PyPI, on asyncio."""

    async def connect(self, way, path="/ws"):
        loop = asyncio.get_running_loop()
        factory = WebSocketClientFactory(url(way, path), loop=loop)
        if "deflate" in way:
            factory.setProtocolOptions(
                perMessageCompressionOffers=[PerMessageDeflateOffer()],
                perMessageCompressionAccept=PerMessageDeflateResponseAccept,
            )
        factory.protocol = AutobahnClient
        factory.heard = asyncio.Queue()
        tls = {"ssl": context(way), "server_hostname": "localhost"} if way == "tls" else {}
        _, client = await soon(loop.create_connection(factory, "127.0.0.1", factory.port, **tls))
        return client, lambda: soon(factory.heard.get())

    async def test_messages_are_echoed(self):
        async def test(way):
            client, heard = await self.connect(way)
            self.assertEqual(await heard(), ("open",))
            self.assertEqual(client.websocket_extensions_in_use != [], "deflate" in way)
            for message in MESSAGES * 2:
                binary = isinstance(message, bytes)
                client.sendMessage(message if binary else message.encode(), isBinary=binary)
                self.assertEqual(await heard(), ("message", message))
            client.sendMessage("aäz".encode(), fragmentSize=1)
            self.assertEqual(await heard(), ("message", "aäz"))
            client.sendClose(3001, "done")
            self.assertEqual((await heard())[:3], ("close", True, 3001))

        await self.each_way(test)

    async def test_a_ping_is_answered(self):
        async def test(way):
            client, heard = await self.connect(way)
            self.assertEqual(await heard(), ("open",))
            client.sendPing(b"?")
            self.assertEqual(await heard(), ("pong", b"?"))
            client.sendClose(1000)
            self.assertEqual((await heard())[:3], ("close", True, 1000))

        await self.each_way(test)

    async def test_a_path_that_is_none_is_refused(self):
        async def test(way):
            _, heard = await self.connect(way, "/nowhere")
            self.assertEqual((await heard())[:2], ("close", False))

        await self.each_way(test)
