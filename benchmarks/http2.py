"""As much of HTTP/2 as a load generator needs: one gRPC stream on one connection.

It takes all it is sent (windows as large as they can be), looks at the end of each message only,
and so costs little beside the server it measures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATH = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
TAIL = 4096
"""Bytes of the end of a message that are kept."""
_WINDOW = 2**31 - 1
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _UPDATE = 0, 1, 3, 4, 6, 7, 8
_HEAD = 9  # bytes of a frame's header
_FRAME = 16_384


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return head + payload


def _literal(name: str, value: str) -> bytes:
    """A header field as a literal that is not indexed; both parts shorter than 127."""
    return b"\x00" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


def _opening() -> bytes:
    settings = (4).to_bytes(2, "big") + _WINDOW.to_bytes(4, "big")  # INITIAL_WINDOW_SIZE
    settings += (5).to_bytes(2, "big") + (1 << 20).to_bytes(4, "big")  # MAX_FRAME_SIZE
    fields = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", PATH),
        (":authority", "xds"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    )
    headers = b"".join(_literal(name, value) for name, value in fields)
    return b"".join(
        (
            PREFACE,
            frame(_SETTINGS, 0, 0, settings),
            frame(_UPDATE, 0, 0, (_WINDOW - 65_535).to_bytes(4, "big")),
            frame(_HEADERS, 4, 1, headers),
        )
    )


OPENING = _opening()


class GrpcStream(asyncio.Protocol):
    """One stream; `message` is called with the size and the last bytes of each message."""

    def __init__(self, message: Callable[[GrpcStream, int, bytes], None]) -> None:
        self._message = message
        self._rest = b""  # of a frame's header, or of a frame that is no data
        self._left = 0  # bytes of the data frame that are still to come
        self._tail = bytearray()
        self._size = -1  # of the message; -1: its prefix is still to come
        self._seen = 0
        self._window = 65_535
        self._waiting = bytearray()
        self._taken = 0
        self.ended: str | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the stream."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self.transport.write(OPENING)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember that it is over."""
        self.ended = self.ended or f"connection lost: {exc}"

    def send(self, message: bytes) -> None:
        """Write a message, as the window allows."""
        self._waiting += b"\0" + len(message).to_bytes(4, "big") + message
        self._flush()

    def _flush(self) -> None:
        transport = self.transport
        while self._waiting and self._window > 0 and transport is not None:
            part = bytes(self._waiting[: min(self._window, _FRAME)])
            del self._waiting[: len(part)]
            self._window -= len(part)
            transport.write(frame(_DATA, 0, 1, part))

    def data_received(self, data: bytes) -> None:
        """Take what arrived."""
        view = memoryview(self._rest + data if self._rest else data)
        self._rest = b""
        place = 0
        while place < len(view):
            if self._left:
                part = view[place : place + self._left]
                self._left -= len(part)
                place += len(part)
                self._body(part)
                continue
            if len(view) - place < _HEAD:
                break
            length = int.from_bytes(view[place : place + 3], "big")
            kind, flags = view[place + 3], view[place + 4]
            if kind == _DATA:
                self._left = length
                self._credit(length)
                place += _HEAD
                continue
            if len(view) - place < _HEAD + length:
                break
            self._control(kind, flags, bytes(view[place + _HEAD : place + _HEAD + length]), view)
            place += _HEAD + length
        self._rest = bytes(view[place:])

    def _credit(self, length: int) -> None:
        self._taken += length
        if self._taken > 1 << 29 and self.transport is not None:
            credit = self._taken.to_bytes(4, "big")
            self._taken = 0
            self.transport.write(frame(_UPDATE, 0, 0, credit) + frame(_UPDATE, 0, 1, credit))

    def _control(self, kind: int, flags: int, payload: bytes, view: memoryview) -> None:
        assert self.transport is not None
        if kind == _SETTINGS and not flags & 1:
            self.transport.write(frame(_SETTINGS, 1, 0, b""))
            self._adjust(payload)
        elif kind == _PING and not flags & 1:
            self.transport.write(frame(_PING, 1, 0, payload))
        elif kind == _UPDATE:
            # Both windows count as one: servers grant them together.
            self._window = min(self._window + int.from_bytes(payload, "big"), _WINDOW)
            self._flush()
        elif kind in (_RESET, _GOAWAY):
            self.ended = f"frame {kind}: {payload!r}"

    def _adjust(self, payload: bytes) -> None:
        for place in range(0, len(payload), 6):
            if int.from_bytes(payload[place : place + 2], "big") == 4:
                granted = int.from_bytes(payload[place + 2 : place + 6], "big")
                self._window += granted - 65_535
        self._flush()

    def _body(self, part: memoryview) -> None:
        """Take bytes of messages; of each only the end is kept."""
        while len(part):
            if self._size < 0:
                need = 5 - len(self._tail)
                self._tail += part[:need]
                part = part[need:]
                if len(self._tail) < 5:
                    return
                self._size = int.from_bytes(self._tail[1:], "big")
                self._seen = 0
                self._tail.clear()
            now = part[: self._size - self._seen]
            part = part[len(now) :]
            self._seen += len(now)
            self._keep(now)
            if self._seen == self._size:
                size, tail = self._size, bytes(self._tail)
                self._size = -1
                self._tail.clear()
                self._message(self, size, tail)

    def _keep(self, part: memoryview) -> None:
        self._tail += part[-TAIL:]
        if len(self._tail) > TAIL:
            del self._tail[:-TAIL]
