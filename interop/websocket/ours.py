"""Our client as a program: each line of its input is a message to send, each line of its output is a received one."""

import asyncio
import os
import shlex

SOON = 20
"""Seconds for anything that should happen at once."""


class Client:
    """The example `client` of the WebSocket crate. Its reports of failures and closes are in `errors`."""

    def __init__(self, url, *options, env=None):
        self.command = shlex.split(os.environ["SWITCHBOARD_CLIENT"]) + [url, "--timeout", str(SOON // 2), *options]
        self.env = {**os.environ, **(env or {})}
        self.errors = ""

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            *self.command, stdin=pipe, stdout=pipe, stderr=pipe, env=self.env, limit=16 << 20
        )
        return self

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.kill()
        self.process.stdin.close()
        await self.process.communicate()

    def send(self, *lines):
        for line in lines:
            self.process.stdin.write(line.encode() + b"\n")

    async def next(self):
        """The next message; `None` when there is no more."""
        line = await asyncio.wait_for(self.process.stdout.readline(), SOON)
        return line.decode().removesuffix("\n") if line else None

    async def end(self):
        """Closes, and returns the exit status. Earlier output must have been read."""
        self.process.stdin.close()
        _, errors = await asyncio.wait_for(self.process.communicate(), SOON)
        self.errors = errors.decode()
        return self.process.returncode


async def failure(url, *options, env=None):
    """The client's report of a connection that fails."""
    async with Client(url, *options, env=env) as client:
        status = await client.end()
        assert status == 1, (status, client.errors)
        return client.errors.strip()
