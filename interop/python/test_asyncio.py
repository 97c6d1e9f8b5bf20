"""python-socketio's asyncio client (on aiohttp) against the conformance server."""

import asyncio
import unittest

import engineio.payload
import socketio

from server import CALM, server_with

# By default this client treats a payload of more than 16 packets as an attack. Engine.IO has no such limit.
engineio.payload.Payload.max_decode_packets = 10_000

SOON = 15
"""Seconds to wait for anything that should happen at once."""

TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgrading": None}


class AsyncClient(unittest.IsolatedAsyncioTestCase):
    async def connected(self, transports, namespaces=("/",), auth=None):
        client = socketio.AsyncClient(reconnection=False)
        client.heard = asyncio.Queue()
        for event in ("message-back", "broadcast"):
            client.on(event, lambda *args, event=event: client.heard.put_nowait((event, *args)))
        self.addAsyncCleanup(client.shutdown)
        await client.connect(
            server_with(CALM), transports=transports, namespaces=list(namespaces), auth=auth, wait_timeout=SOON
        )
        return client

    async def test_events_acks_and_binary(self):
        for name, transports in TRANSPORTS.items():
            with self.subTest(name):
                client = await self.connected(transports, auth={"token": "t"})
                args = ("€", {"deep": [b"\x01\x02", None]}, b"")
                await client.emit("message", args)
                self.assertEqual(await asyncio.wait_for(client.heard.get(), SOON), ("message-back", *args))
                self.assertEqual(await client.call("message-with-ack", args, timeout=SOON), args)

    async def test_many_in_order(self):
        for name, transports in TRANSPORTS.items():
            with self.subTest(name):
                client = await self.connected(transports)
                for i in range(300):
                    await client.emit("message", i)
                got = [await asyncio.wait_for(client.heard.get(), SOON) for _ in range(300)]
                self.assertEqual(got, [("message-back", i) for i in range(300)])

    async def test_invalid_namespace(self):
        for name, transports in TRANSPORTS.items():
            with self.subTest(name), self.assertRaisesRegex(socketio.exceptions.ConnectionError, "/nowhere"):
                await self.connected(transports, namespaces=("/nowhere",))

    async def test_thirty_clients_hear_a_broadcast(self):
        ways = list(TRANSPORTS.values())
        clients = await asyncio.gather(*(self.connected(ways[i % len(ways)]) for i in range(30)))
        await asyncio.gather(*(client.emit("broadcast", i) for i, client in enumerate(clients)))
        for client in clients:
            got = [await asyncio.wait_for(client.heard.get(), SOON) for _ in clients]
            self.assertEqual(sorted(got), [("broadcast", i) for i in range(30)])
