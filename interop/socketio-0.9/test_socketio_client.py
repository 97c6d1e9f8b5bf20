"""socketIO-client 0.5, a client of Socket.IO 0.9 that is no browser's and not of Node, over each of its transports."""

import logging
import unittest

from socketIO_client import BaseNamespace, SocketIO

from server import CALM, server_with

# At the end of the process it would connect again, for ever.
SocketIO.__del__ = lambda self: None
logging.getLogger("socketIO_client").setLevel(logging.ERROR)

OLD = {**CALM, "old-clients": True}
SOON = 15
"""Seconds to wait for anything that should happen at once."""

PAYLOADS = {
    "no argument": (),
    "scalars": ("text", 0, -1.5, True, False, None),
    "text beyond ASCII": ("€ 😀 é", {"é": "ü"}),
    "objects and lists": ({"a": {"b": [1, [2, [3]]]}}, [], {}),
}


class Suite:
    """Rules of the client for every transport; a class for each transport inherits them."""

    transport = None

    def setUp(self):
        host, port = server_with(OLD).removeprefix("http://").split(":")
        self.client = SocketIO(host, int(port), transports=[self.transport])
        self.addCleanup(self.client.disconnect)
        self.heard = []

    def hear(self, socket, event):
        socket.on(event, lambda *args: self.heard.append((event, list(args))))

    def next(self):
        """The next event that was heard."""
        for _ in range(SOON * 10):
            if self.heard:
                return self.heard.pop(0)
            self.client.wait(seconds=0.1)
        raise AssertionError(f"nothing was heard within {SOON} s")

    def test_events_come_back_and_are_acknowledged(self):
        self.hear(self.client, "message-back")
        for what, args in PAYLOADS.items():
            if what == "text beyond ASCII" and self.transport == "jsonp-polling":
                continue  # here this client takes UTF-8 for Latin-1, whatever the server
            with self.subTest(what):
                self.client.emit("message", *args)
                self.assertEqual(self.next(), ("message-back", list(args)))
                acks = []
                self.client.emit("message-with-ack", *args, lambda *args: acks.append(list(args)))
                self.client.wait_for_callbacks(seconds=SOON)
                self.assertEqual(acks, [list(args)])

    def test_messages_are_events_and_are_acknowledged(self):
        self.hear(self.client, "message-back")
        for value in ("text", {"a": [1]}):
            acks = []
            self.client.message(value, lambda *args: acks.append(list(args)))
            self.client.wait_for_callbacks(seconds=SOON)
            self.assertEqual((acks, self.next()), ([[]], ("message-back", [value])))

    def test_namespaces_are_joined(self):
        custom = self.client.define(BaseNamespace, "/custom")
        self.hear(custom, "auth")
        self.assertEqual(self.next(), ("auth", [{}]))


class WebSocket(Suite, unittest.TestCase):
    transport = "websocket"


class XhrPolling(Suite, unittest.TestCase):
    transport = "xhr-polling"


class JsonpPolling(Suite, unittest.TestCase):
    transport = "jsonp-polling"
