"""Our client against foreign servers, with and without TLS, and through foreign proxies."""

import asyncio
import contextlib
import logging
import pathlib
import tempfile
import unittest

from ours import Client, failure
from servers import CLOSE, SERVERS, Certificates, proxy_py, pproxy_server, websockets_server

TEXTS = ["", "hello", "안녕하세요, Straße, 😀", "x" * 125, "y" * 126, "z" * 65_535, "é" * 40_000, "w" * 1_000_000]
USER = "me:secret"


class Ways(unittest.IsolatedAsyncioTestCase):
    """Each test runs for each server, with and without TLS."""

    def setUp(self):
        # Half of these connections are meant to fail.
        logging.disable()
        self.addCleanup(logging.disable, logging.NOTSET)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.certificates = Certificates(pathlib.Path(folder.name))

    async def each_server(self, test):
        for name, serve in SERVERS.items():
            for scheme, certificate in (("ws", None), ("wss", self.certificates.good)):
                with self.subTest(f"{name} {scheme}"):
                    async with serve(certificate) as port:
                        await test(f"{scheme}://localhost:{port}")

    def client(self, url, *options):
        return Client(url, *options, env=self.certificates.trust)

    async def assert_echoes(self, url, *options):
        async with self.client(url, *options) as client:
            for text in TEXTS:
                client.send(text)
                self.assertEqual(await client.next(), text)
            many = [str(number) for number in range(500)]
            client.send(*many)
            self.assertEqual([await client.next() for _ in many], many)
            self.assertEqual(await client.end(), 0, client.errors)
            self.assertIn("closed with 1000", client.errors)
        return client.errors


class Servers(Ways):
    async def test_text_is_echoed(self):
        await self.each_server(self.assert_echoes)

    async def test_binary_is_echoed(self):
        await self.each_server(lambda url: self.assert_echoes(url, "--binary"))

    async def test_compressed_messages_are_echoed(self):
        for way, said in (("takeover", "with"), ("no-takeover", "without")):

            async def test(url):
                for kind in ([], ["--binary"]):
                    errors = await self.assert_echoes(url, "--deflate", way, *kind)
                    self.assertIn(f"messages are compressed {said} context takeover", errors)

            await self.each_server(test)

    async def test_compressed_fragments_are_put_together(self):
        async def test(url):
            async with self.client(f"{url}/fragments", "--deflate", "takeover") as client:
                self.assertEqual(await client.next(), "aäz")

        await self.each_server(test)

    async def test_a_subprotocol_is_agreed_on(self):
        async def test(url):
            for offered, spoken in ((["nothing", "chat"], True), (["chat"], True), ([], False)):
                options = [word for name in offered for word in ("--protocol", name)]
                async with self.client(url, *options) as client:
                    client.send("x")
                    self.assertEqual(await client.next(), "x")
                    self.assertEqual(await client.end(), 0, client.errors)
                    self.assertEqual("the server speaks chat" in client.errors, spoken)

        await self.each_server(test)

    async def test_a_close_of_the_servers_is_answered(self):
        async def test(url):
            async with self.client(f"{url}/close") as client:
                self.assertIsNone(await client.next())
                self.assertEqual(await client.end(), 0, client.errors)
                self.assertIn("closed with {} {}".format(*CLOSE), client.errors)

        await self.each_server(test)

    async def test_a_ping_is_answered(self):
        async def test(url):
            async with self.client(f"{url}/ping") as client:
                self.assertEqual(await client.next(), "pong")

        await self.each_server(test)

    async def test_fragments_are_put_together(self):
        async def test(url):
            async with self.client(f"{url}/fragments") as client:
                self.assertEqual(await client.next(), "aäz")

        await self.each_server(test)

    async def test_a_refusal_is_told_of(self):
        async def test(url):
            said = await failure(f"{url}/no", env=self.certificates.trust)
            self.assertRegex(said, "^the server answered 403 Forbidden")

        await self.each_server(test)


class Tls(Ways):
    async def test_only_who_is_to_be_trusted_is_talked_to(self):
        good, expired = self.certificates.good, self.certificates.expired
        trust = self.certificates.trust
        with tempfile.TemporaryDirectory() as folder:
            stranger = Certificates(pathlib.Path(folder))
            for certificate, host, why in (
                (stranger.good, "localhost", "UnknownIssuer|BadSignature"),
                (expired, "localhost", "expired"),
                (good, "127.0.0.2", "not valid for name"),
            ):
                with self.subTest(why):
                    async with websockets_server(certificate) as port:
                        # All addresses in 127.0.0.0/8 belong to this machine, but the server listens on one
                        # of them.
                        options = () if host == "localhost" else ("--proxy", f"http://127.0.0.1:{await self.forward(port)}")
                        said = await failure(f"wss://{host}:{port}/", *options, env=trust)
                        self.assertRegex(said, f"^the TLS handshake with {host}:{port} failed: invalid peer certificate: .*({why})")

    async def forward(self, port):
        """A proxy that always connects to `port` on this machine."""

        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            there = await asyncio.open_connection("127.0.0.1", port)

            async def pump(source, sink):
                while data := await source.read(65_536):
                    sink.write(data)
                sink.close()

            with contextlib.suppress(OSError):
                await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.addCleanup(server.close)
        return server.sockets[0].getsockname()[1]


class Proxies(Ways):
    async def each_way(self, proxy):
        """Through a proxy, to a server without TLS and to one with it."""
        for scheme, certificate in (("ws", None), ("wss", self.certificates.good)):
            with self.subTest(scheme):
                async with websockets_server(certificate) as port:
                    await self.assert_echoes(f"{scheme}://localhost:{port}/", "--proxy", proxy)

    async def test_proxy_py(self):
        async with proxy_py() as port:
            await self.each_way(f"http://127.0.0.1:{port}")

    async def test_proxy_py_with_a_user(self):
        async with proxy_py("--basic-auth", USER) as port:
            await self.each_way(f"http://{USER}@127.0.0.1:{port}")
            for user in ("", "me:wrong@"):
                said = await failure("ws://localhost:1/", "--proxy", f"http://{user}127.0.0.1:{port}")
                self.assertIn("407 Proxy Authentication Required", said)

    async def test_pproxy_http(self):
        async with pproxy_server("http", f"#{USER}") as port:
            await self.each_way(f"http://{USER}@127.0.0.1:{port}")

    async def test_pproxy_socks5(self):
        async with pproxy_server("socks5") as port:
            await self.each_way(f"socks5://127.0.0.1:{port}")
            await self.each_way(f"socks5h://127.0.0.1:{port}")

    async def test_pproxy_socks5_with_a_user(self):
        async with pproxy_server("socks5", f"#{USER}") as port:
            # The right password comes last, because the proxy then remembers the address.
            for user in ("", "me:wrong@"):
                said = await failure("ws://localhost:1/", "--proxy", f"socks5h://{user}127.0.0.1:{port}")
                self.assertIn(f"the proxy socks5h://127.0.0.1:{port} did not connect to localhost:1", said)
                self.assertNotIn("wrong", said)
            await self.each_way(f"socks5h://{USER}@127.0.0.1:{port}")

    async def test_the_environment_names_one_if_asked(self):
        async with websockets_server() as server, pproxy_server("http") as port:
            # The client must not use the proxy for this machine's own name. There is no such proxy.
            env = {"all_proxy": "http://127.0.0.1:1", "no_proxy": ""}
            for options in ((), ("--env-proxy",)):
                async with Client(f"ws://localhost:{server}/", *options, env=env) as client:
                    client.send("x")
                    self.assertEqual(await client.next(), "x")
            env = {"http_proxy": f"http://127.0.0.1:{port}", "https_proxy": "http://127.0.0.1:1", "no_proxy": "a.example"}
            said = await failure("ws://nobody.invalid:1/", "--env-proxy", env=env)
            self.assertIn(f"the proxy http://127.0.0.1:{port} did not connect to nobody.invalid:1", said)
