"""python-socketio's threaded client against the conformance server: over polling, over WebSocket, and upgrading."""

import queue
import time
import unittest

import engineio.payload
import socketio

from server import BRISK, CALM, Proxy, server_with

# By default this client treats a payload of more than 16 packets as an attack. Engine.IO has no such limit.
engineio.payload.Payload.max_decode_packets = 10_000

SOON = 15
"""Seconds to wait for anything that should happen at once."""

LOOK_AGAIN = 0.01
"""Seconds between two checks of a condition that has no event."""

PAYLOADS = {
    "no argument": (),
    "scalars": ("text", 0, -1.5, True, False, None),
    "text beyond ASCII": ("€ 😀 \u0000 \x1e", {"é": "ü"}),
    "objects and lists": ({"a": {"b": [1, [2, [3]]]}}, [], {}),
    "bytes": (b"\x00\x01\xff",),
    "bytes in every place": (b"a", "x", {"y": [b"b", {"z": b"c"}]}, b""),
    "ten attachments": tuple(bytes([i]) * (i + 1) for i in range(10)),
    "500 kB": (b"\x07" * 500_000,),
}


def until(condition, what):
    """Waits for a condition that has no event, with a deadline."""
    end = time.monotonic() + SOON
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {SOON} s")
        time.sleep(LOOK_AGAIN)


class Heard(queue.Queue):
    """Every occurrence of an event, as its list of arguments."""

    def __init__(self, client, event, namespace="/"):
        super().__init__()
        client.on(event, lambda *args: self.put(list(args)), namespace=namespace)

    def next(self):
        return self.get(timeout=SOON)


class Suite:
    """Rules for every transport; a class for each transport inherits them."""

    transports = None

    def client(self, address=None, namespaces=("/",), auth=None, **options):
        client = socketio.Client(**{"reconnection": False, **options})
        client.heard = {name: Heard(client, name) for name in ("auth", "message-back", "echo", "broadcast", "said")}
        client.auths = {name: client.heard["auth"] if name == "/" else Heard(client, "auth", name) for name in namespaces}
        client.disconnects = Heard(client, "disconnect")
        self.addCleanup(client.shutdown)
        client.connect(
            address or server_with(CALM),
            transports=self.transports,
            namespaces=list(namespaces),
            auth=auth,
            wait_timeout=SOON,
        )
        return client

    def ack(self, client, *args):
        return client.call("message-with-ack", args, timeout=SOON)

    def test_connects_to_both_namespaces_with_its_auth(self):
        client = self.client(namespaces=("/", "/custom"), auth={"token": "abc"})
        for heard in client.auths.values():
            self.assertEqual(heard.next(), [{"token": "abc"}])
        self.assertNotEqual(client.get_sid("/"), client.get_sid("/custom"))

    def test_is_told_of_an_invalid_namespace(self):
        client = socketio.Client(reconnection=False)
        errors = Heard(client, "connect_error", "/nowhere")
        with self.assertRaisesRegex(socketio.exceptions.ConnectionError, "/nowhere"):
            client.connect(server_with(CALM), transports=self.transports, namespaces=["/nowhere"], wait_timeout=SOON)
        self.assertEqual(errors.next(), [{"message": "Invalid namespace"}])

    def test_gets_its_event_back(self):
        client = self.client()
        for what, args in PAYLOADS.items():
            with self.subTest(what):
                client.emit("message", args)
                self.assertEqual(client.heard["message-back"].next(), list(args))

    def test_gets_an_ack(self):
        client = self.client()
        for what, args in PAYLOADS.items():
            with self.subTest(what):
                answer = self.ack(client, *args)
                expected = args if len(args) > 1 else args[0] if args else None
                self.assertEqual(answer, expected)

    def test_gives_up_on_an_ack_that_does_not_come(self):
        client = self.client()
        with self.assertRaises(socketio.exceptions.TimeoutError):
            client.call("nobody listens", 1, timeout=0.05)
        self.assertEqual(self.ack(client, "alive"), "alive")

    def test_gets_each_ack_to_the_call_it_belongs_to(self):
        client = self.client()
        answers = queue.Queue()
        for i in range(100):
            client.emit("message-with-ack", i, callback=lambda answer, i=i: answers.put((i, answer)))
        got = [answers.get(timeout=SOON) for _ in range(100)]
        self.assertEqual(sorted(got), [(i, i) for i in range(100)])

    def test_keeps_300_messages_in_order(self):
        client = self.client()
        sent = [[i] if i % 10 else [i, bytes([i % 256])] for i in range(300)]
        for args in sent:
            client.emit("message", tuple(args))
        self.assertEqual([client.heard["message-back"].next() for _ in sent], sent)

    def test_echoes_a_typed_string(self):
        client = self.client()
        client.emit("echo", "typed €")
        self.assertEqual(client.heard["echo"].next(), ["typed €"])

    def test_joins_a_room_and_leaves_it(self):
        room = f"room of {type(self).__name__}"
        inside, outside = self.client(), self.client()
        inside.emit("join", room)
        self.ack(inside)
        outside.emit("to", (room, "said", "hello", {"file": b"x"}))
        self.assertEqual(inside.heard["said"].next(), ["hello", {"file": b"x"}])
        inside.emit("leave", room)
        self.ack(inside)
        outside.emit("to", (room, "said", "anyone?"))
        self.ack(outside)
        self.ack(inside)
        self.assertTrue(inside.heard["said"].empty())
        self.assertTrue(outside.heard["said"].empty())

    def test_hears_a_broadcast_once_as_everyone_does(self):
        clients = [self.client() for _ in range(5)]
        clients[0].emit("broadcast", ("to all", b"\x01"))
        for client in clients:
            self.assertEqual(client.heard["broadcast"].next(), ["to all", b"\x01"])
            self.ack(client)
            self.assertTrue(client.heard["broadcast"].empty())

    def test_leaves_one_namespace_and_keeps_the_other(self):
        client = self.client(namespaces=("/", "/custom"))
        # The client has no public call to leave one namespace, so the test sends the packet itself.
        client._send_packet(client.packet_class(socketio.packet.DISCONNECT, namespace="/custom"))
        self.assertEqual(self.ack(client, "main"), "main")

    def test_comes_back_after_a_reset(self):
        proxy = Proxy(server_with(CALM))
        self.addCleanup(proxy.close)
        client = self.client(proxy.address, reconnection=True, reconnection_delay=0.05, reconnection_delay_max=0.1)
        before = client.get_sid()

        def cut():
            proxy.reset()
            return not client.disconnects.empty()

        until(cut, "the client to notice the reset")
        until(lambda: client.connected and client.get_sid() not in (before, None), "the client to be back")
        self.assertEqual(self.ack(client, "back"), "back")

    def test_stays_over_many_heartbeats(self):
        client = self.client(server_with(BRISK))
        pings = queue.Queue()
        handle = client.eio._receive_packet

        def count(packet):
            if packet.packet_type == 2:
                pings.put(packet)
            handle(packet)

        client.eio._receive_packet = count
        for _ in range(4):
            pings.get(timeout=SOON)
        self.assertEqual(self.ack(client, "well"), "well")

    def test_is_disconnected_for_a_message_over_the_limit(self):
        # Over polling this client notices only when its poll returns, so the server has quick heartbeats.
        client = self.client(server_with(BRISK))
        client.emit("message", "x" * 1_100_000)
        client.disconnects.next()
        self.assertEqual(self.ack(self.client(), "well"), "well")


class OverPolling(Suite, unittest.TestCase):
    transports = ["polling"]


class OverWebSocket(Suite, unittest.TestCase):
    transports = ["websocket"]


class Upgrading(Suite, unittest.TestCase):
    def test_is_on_websocket_once_connected(self):
        self.assertEqual(self.client().transport(), "websocket")


class MixedTransports(unittest.TestCase):
    def test_clients_of_every_transport_share_a_room(self):
        suites = [suite() for suite in (OverPolling, OverWebSocket, Upgrading)]
        for suite in suites:
            self.addCleanup(suite.doCleanups)
        clients = [suite.client() for suite in suites]
        for suite, client in zip(suites, clients):
            client.emit("join", "mixed")
            suite.ack(client)
        for i, speaker in enumerate(clients):
            speaker.emit("to", ("mixed", "said", i, bytes([i])))
            for client in clients:
                self.assertEqual(client.heard["said"].next(), [i, bytes([i])])
