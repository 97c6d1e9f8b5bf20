"""python-socketio 4 and socketIO-client 0.7 against the conformance server: clients of Engine.IO 3 that are no
browsers' and not of Node."""

import logging
import queue
import time
import unittest

import engineio.payload
import socketio
import socketIO_client

from server import BRISK, CALM, server_with

# By default this client treats a payload of more than 16 packets as an attack. Engine.IO has no such limit.
engineio.payload.Payload.max_decode_packets = 10_000
# It says each packet that it does not expect.
logging.getLogger("socketIO-client").setLevel(logging.ERROR)

SOON = 15
"""Seconds to wait for anything that should happen at once."""

OLD = {"old-clients": True}

PAYLOADS = {
    "no argument": (),
    "scalars": ("text", 0, -1.5, True, False, None),
    "text beyond ASCII": ("€ 😀 \u0000 \x1e", {"é": "ü"}),
    "objects and lists": ({"a": {"b": [1, [2, [3]]]}}, [], {}),
    "bytes": (b"\x00\x01\xff",),
    # Empty ones this client sends, and reads as nothing.
    "bytes in every place": (b"a", "x", {"y": [b"b", {"z": b"c"}]}, b"d"),
    "500 kB": (b"\x07" * 500_000,),
}


class Heard(queue.Queue):
    """Every occurrence of an event, as its list of arguments."""

    def __init__(self, client, event, namespace="/"):
        super().__init__()
        client.on(event, lambda *args: self.put(list(args)), namespace=namespace)

    def next(self):
        return self.get(timeout=SOON)


class Suite:
    """Rules of python-socketio 4 for every transport; a class for each transport inherits them."""

    transports = None

    def client(self, options=CALM, namespaces=("/",), url=""):
        client = socketio.Client(reconnection=False)
        client.heard = {name: Heard(client, name) for name in ("auth", "message-back", "said")}
        client.auths = {name: client.heard["auth"] if name == "/" else Heard(client, "auth", name) for name in namespaces}
        self.addCleanup(client.disconnect)
        client.connect(server_with({**options, **OLD}) + url, transports=self.transports, namespaces=list(namespaces))
        client.heard["auth"].next() if "/" in namespaces else None
        return client

    def ack(self, client, *args):
        return client.call("message-with-ack", args, timeout=SOON)

    def test_is_in_both_namespaces(self):
        client = self.client(namespaces=("/", "/custom"))
        self.assertEqual(client.auths["/custom"].next(), [{}])

    def test_gets_its_event_back_and_an_ack(self):
        client = self.client()
        for what, args in PAYLOADS.items():
            with self.subTest(what):
                client.emit("message", args)
                self.assertEqual(client.heard["message-back"].next(), list(args))
                answer = self.ack(client, *args)
                expected = None if not args else args[0] if len(args) == 1 else list(args)
                self.assertEqual(list(answer) if isinstance(answer, tuple) else answer, expected)

    def test_hears_its_room_and_a_client_of_the_same_room(self):
        inside, outside = self.client(), self.client()
        room = f"room of {self.transports}"
        inside.emit("join", room)
        self.ack(inside, 1)
        outside.emit("to", (room, "said", "hello 😀", b"\x00\xff"))
        self.assertEqual(inside.heard["said"].next(), ["hello 😀", b"\x00\xff"])

    def test_stays_while_it_pings(self):
        client = self.client(BRISK)
        pongs = queue.Queue()
        handler = client.eio._receive_packet

        def receive(packet):
            if packet.packet_type == 3:
                pongs.put(packet)
            handler(packet)

        client.eio._receive_packet = receive
        for _ in range(6):
            pongs.get(timeout=SOON)
        self.assertEqual(self.ack(client, "alive"), "alive")


class Polling(Suite, unittest.TestCase):
    transports = ["polling"]


class WebSocket(Suite, unittest.TestCase):
    transports = ["websocket"]


class Upgrading(Suite, unittest.TestCase):
    transports = ["polling", "websocket"]


class SocketIOClient(unittest.TestCase):
    """socketIO-client 0.7: it reads payloads in the binary form alone, and sends all in it."""

    def client(self, transports):
        host, port = server_with({**CALM, **OLD}).removeprefix("http://").split(":")
        client = socketIO_client.SocketIO(host, int(port), transports=transports, wait_for_connection=False)
        self.addCleanup(client.disconnect)
        return client

    def test_gets_events_and_acks_over_each_transport(self):
        for transports in (["xhr-polling"], ["websocket"], ["xhr-polling", "websocket"]):
            with self.subTest(transports):
                client = self.client(transports)
                heard = []
                client.on("message-back", lambda *args: heard.append(args))
                client.emit("message", "€ 😀", {"é": [1, None]})
                client.emit("message-with-ack", "ü", 7, callback=lambda *args: heard.append(args))
                end = time.monotonic() + SOON
                while len(heard) < 2 and time.monotonic() < end:
                    client.wait(seconds=0.05)
                self.assertCountEqual(heard, [("€ 😀", {"é": [1, None]}), ("ü", 7)])

    def test_is_in_another_namespace(self):
        client = self.client(["xhr-polling"])
        heard = []

        class Custom(socketIO_client.BaseNamespace):
            def on_auth(self, *args):
                heard.append(args)

        client.define(Custom, "/custom")
        end = time.monotonic() + SOON
        while not heard and time.monotonic() < end:
            client.wait(seconds=0.05)
        self.assertEqual(heard, [({},)])


if __name__ == "__main__":
    unittest.main()
