"""Foreign clients against the conformance server's raw WebSocket."""

import asyncio
import unittest

import websockets.asyncio.client
from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ours import SOON
from server import server_with

SIZES = (0, 1, 125, 126, 65_535, 65_536, 1_000_000)
MESSAGES = ["안녕하세요, Straße, 😀", *("x" * size for size in SIZES), *(bytes([7]) * size for size in SIZES)]


def url(path="/ws"):
    return server_with().replace("http://", "ws://") + path


def soon(waiting):
    return asyncio.wait_for(waiting, SOON)


class Websockets(unittest.IsolatedAsyncioTestCase):
    """`websockets` from PyPI."""

    def connect(self, path="/ws"):
        return websockets.asyncio.client.connect(url(path), max_size=None, open_timeout=SOON, proxy=None)

    async def test_messages_are_echoed(self):
        async with self.connect() as client:
            for message in MESSAGES:
                await client.send(message)
                self.assertEqual(await soon(client.recv()), message)

    async def test_fragments_are_echoed_whole(self):
        async with self.connect() as client:
            await client.send(["a", "ä", "", "z"])
            self.assertEqual(await soon(client.recv()), "aäz")
            await client.send([b"\x00", b"\xff" * 70_000])
            self.assertEqual(await soon(client.recv()), b"\x00" + b"\xff" * 70_000)

    async def test_a_ping_is_answered_and_a_close_too(self):
        async with self.connect() as client:
            await soon(await client.ping(b"?"))
            await soon(client.close(3001, ""))
            self.assertEqual(client.close_code, 3001)

    async def test_many_at_once_in_order(self):
        async def run():
            async with self.connect() as client:
                for number in range(200):
                    await client.send(str(number))
                return [await soon(client.recv()) for _ in range(200)]

        for got in await asyncio.gather(*(run() for _ in range(50))):
            self.assertEqual(got, [str(number) for number in range(200)])

    async def test_text_that_is_not_utf_8_is_refused(self):
        async with self.connect() as client:
            await client.send(b"\xff", text=True)
            with self.assertRaises(ConnectionClosed) as closed:
                await soon(client.recv())
            self.assertEqual(closed.exception.rcvd.code, 1007)

    async def test_a_path_that_is_none_is_refused(self):
        with self.assertRaises(InvalidStatus) as refused:
            async with self.connect("/nowhere"):
                pass
        self.assertGreaterEqual(refused.exception.response.status_code, 400)


class AutobahnClient(WebSocketClientProtocol):
    def onOpen(self):
        self.factory.heard.put_nowait(("open",))

    def onMessage(self, payload, isBinary):
        self.factory.heard.put_nowait(("message", payload if isBinary else payload.decode()))

    def onPong(self, payload):
        self.factory.heard.put_nowait(("pong", payload))

    def onClose(self, wasClean, code, reason):
        self.factory.heard.put_nowait(("close", wasClean, code, reason))


class Autobahn(unittest.IsolatedAsyncioTestCase):
    """`autobahn` from PyPI, on asyncio."""

    async def connect(self, path="/ws"):
        loop = asyncio.get_running_loop()
        factory = WebSocketClientFactory(url(path), loop=loop)
        factory.protocol = AutobahnClient
        factory.heard = asyncio.Queue()
        _, client = await soon(loop.create_connection(factory, factory.host, factory.port))
        return client, lambda: soon(factory.heard.get())

    async def test_messages_are_echoed(self):
        client, heard = await self.connect()
        self.assertEqual(await heard(), ("open",))
        for message in MESSAGES:
            binary = isinstance(message, bytes)
            client.sendMessage(message if binary else message.encode(), isBinary=binary)
            self.assertEqual(await heard(), ("message", message))
        client.sendMessage("aäz".encode(), fragmentSize=1)
        self.assertEqual(await heard(), ("message", "aäz"))
        client.sendClose(3001, "done")
        self.assertEqual((await heard())[:3], ("close", True, 3001))

    async def test_a_ping_is_answered(self):
        client, heard = await self.connect()
        self.assertEqual(await heard(), ("open",))
        client.sendPing(b"?")
        self.assertEqual(await heard(), ("pong", b"?"))
        client.sendClose(1000)
        self.assertEqual((await heard())[:3], ("close", True, 1000))

    async def test_a_path_that_is_none_is_refused(self):
        _, heard = await self.connect("/nowhere")
        self.assertEqual((await heard())[:2], ("close", False))
