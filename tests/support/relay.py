"""A TCP relay between a proxy and its control plane that counts what is sent, by HTTP/2 frame."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

DATA = 0


class Relay:
    """Passes connections on to `target` (``host:port``).

    Attributes:
        address: where to connect to.
        sent: payload bytes of DATA frames that the server sent, since `reset`.
        connections: how many were opened, since `reset`.
    """

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = self.connections = 0

    def reset(self) -> None:
        self.sent = self.connections = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for one in tuple(self._open):
            _end(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self.connections += 1
            self._open |= {client, server}
            threading.Thread(target=self._copy, args=(client, server), daemon=True).start()
            threading.Thread(target=self._count, args=(server, client), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        self._close(source, sink)

    def _count(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            reader = source.makefile("rb")
            while len(head := reader.read(9)) == 9:
                size = int.from_bytes(head[:3], "big")
                body = reader.read(size)
                if head[3] == DATA:
                    self.sent += size
                sink.sendall(head + body)
        self._close(source, sink)

    def _close(self, *ends: socket.socket) -> None:
        for one in ends:
            self._open.discard(one)
            _end(one)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
