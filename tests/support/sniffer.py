"""What goes over the wires of a network namespace."""

from __future__ import annotations

import socket
import threading
from typing import Self

from plait.base import netns

_EVERY_PROTOCOL = 3  # ETH_P_ALL


class Sniffer(threading.Thread):
    """Keeps every packet of a namespace, up to a limit, while it is entered."""

    def __init__(self, namespace: str, limit: int = 64_000_000) -> None:
        super().__init__(daemon=True)
        self._socket = netns.inside(namespace, _opened)
        self._limit = limit
        self._stopping = threading.Event()
        self.seen = bytearray()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join(5)
        self._socket.close()

    def run(self) -> None:
        while not self._stopping.is_set() and len(self.seen) < self._limit:
            try:
                self.seen += self._socket.recv(65536)
            except TimeoutError:
                continue


def _opened() -> socket.socket:
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_PROTOCOL))
    found.settimeout(0.1)
    return found
