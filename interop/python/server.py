"""The server under test, started once for each set of options, and a TCP proxy that cuts its connections.

Environment: SWITCHBOARD_SERVER is the command, INTEROP_ARGS what this run of the matrix adds to it.
"""

import atexit
import os
import re
import shlex
import socket
import struct
import subprocess
import threading

CALM = {"ping-interval": 25_000, "ping-timeout": 20_000}
BRISK = {"ping-interval": 400, "ping-timeout": 600}

_running = {}


def server_with(options=None):
    """The address ("http://127.0.0.1:PORT") of a server with these options."""
    options = options or CALM
    key = tuple(sorted(options.items()))
    if key not in _running:
        _running[key] = _start(options)
    return _running[key]


def _start(options):
    # An option that is `True` takes no value.
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value)) if word != "True"]
    # The system chooses the port, and the server prints it.
    command = shlex.split(os.environ["SWITCHBOARD_SERVER"]) + ["--addr", "127.0.0.1:0"]
    command += shlex.split(os.environ.get("INTEROP_ARGS", "")) + flags
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    atexit.register(process.kill)
    for line in process.stdout:
        if listening := re.search(r"listening on .*:(\d+)", line):
            threading.Thread(target=process.stdout.read, daemon=True).start()
            return f"http://127.0.0.1:{listening[1]}"
    raise RuntimeError(f"no server from {command}")


class Proxy:
    """Forwards to the server. On command it resets every connection."""

    def __init__(self, target):
        host, port = target.removeprefix("http://").split(":")
        self._target = (host, int(port))
        self._sockets = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
                upstream = socket.create_connection(self._target)
            except OSError:
                return
            self._sockets |= {client, upstream}
            for pair in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source, sink):
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            self._sockets.discard(end)
            _shut(end)

    def reset(self):
        for end in list(self._sockets):
            try:
                # A linger time of zero makes the close a reset.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                continue  # its other end has gone first
            _shut(end)

    def close(self):
        _shut(self._listener)
        self.reset()


def _shut(end):
    try:
        # Wakes the thread that reads from it.
        end.shutdown(socket.SHUT_RD)
    except OSError:
        pass
    end.close()
