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
_INITIAL = 65_535  # window before anybody says another


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return head + payload


def _literal(name: str, value: str) -> bytes:
    """A header field as a literal that is not indexed; both parts shorter than 127."""
    return b"\x00" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


def opening(path: str, more: tuple[tuple[str, str], ...] = ()) -> bytes:
    """What a client says first: its settings, and the headers of the call of a method."""
    settings = (4).to_bytes(2, "big") + _WINDOW.to_bytes(4, "big")  # INITIAL_WINDOW_SIZE
    settings += (5).to_bytes(2, "big") + (1 << 20).to_bytes(4, "big")  # MAX_FRAME_SIZE
    fields = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "xds"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        *more,
    )
    headers = b"".join(_literal(name, value) for name, value in fields)
    return b"".join(
        (
            PREFACE,
            frame(_SETTINGS, 0, 0, settings),
            frame(_UPDATE, 0, 0, (_WINDOW - _INITIAL).to_bytes(4, "big")),
            frame(_HEADERS, 4, 1, headers),
        )
    )


OPENING = opening(PATH)
_BUFFER = memoryview(bytearray(1 << 20))  # of all streams: what is read is taken at once


class GrpcStream(asyncio.BufferedProtocol):
    """One stream; `message` is called with the size and the last bytes of each message.

    Args:
        lost: called when the connection ends.
        begin: what is said first, from `opening`.

    Attributes:
        ended: why it is over; None: it is not.
    """

    def __init__(
        self,
        message: Callable[[GrpcStream, int, bytes], None],
        lost: Callable[[], None],
        begin: bytes = OPENING,
    ) -> None:
        self._message = message
        self._lost = lost
        self._begin = begin
        self._rest = b""  # of a frame's header, or of a frame that is no data
        self._left = 0  # bytes of the data frame that are still to come
        self._tail = bytearray()
        self._size = -1  # of the message; -1: its prefix is still to come
        self._seen = 0
        self._granted = _INITIAL  # window that the server gives to each stream
        self._windows = [_INITIAL, _INITIAL]  # of the connection, and of the stream
        self._waiting = bytearray()
        self._taken = 0
        self.ended: str | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the stream."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self.transport.write(self._begin)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remember that it is over."""
        self.ended = self.ended or f"connection lost: {exc}"
        self._lost()

    def send(self, message: bytes) -> None:
        """Write a message, as the windows allow."""
        self._waiting += b"\0" + len(message).to_bytes(4, "big") + message
        self._flush()

    def finish(self) -> None:
        """Say that nothing follows what was sent; it must have been short."""
        self._write(frame(_DATA, 1, 1, b""))

    def close(self) -> None:
        """End the connection."""
        assert self.transport is not None
        self.transport.close()

    def _flush(self) -> None:
        while self._waiting and (room := min(*self._windows, _FRAME)) > 0:
            part = bytes(self._waiting[:room])
            del self._waiting[:room]
            self._windows = [window - len(part) for window in self._windows]
            self._write(frame(_DATA, 0, 1, part))

    def _write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to."""
        del sizehint
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take what arrived."""
        view = _BUFFER[:nbytes]
        if self._rest:
            view = memoryview(self._rest + bytes(view))
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
            kind = view[place + 3]
            if kind == _DATA:
                self._left = length
                self._credit(length)
                place += _HEAD
                continue
            if len(view) - place < _HEAD + length:
                break
            self._control(kind, bytes(view[place : place + _HEAD + length]))
            place += _HEAD + length
        self._rest = bytes(view[place:])

    def _credit(self, length: int) -> None:
        self._taken += length
        if self._taken > 1 << 29:
            credit = self._taken.to_bytes(4, "big")
            self._taken = 0
            self._write(frame(_UPDATE, 0, 0, credit) + frame(_UPDATE, 0, 1, credit))

    def _control(self, kind: int, whole: bytes) -> None:
        is_answer, stream, payload = whole[4] & 1, int.from_bytes(whole[5:9], "big"), whole[_HEAD:]
        if kind == _SETTINGS and not is_answer:
            self._write(frame(_SETTINGS, 1, 0, b""))
            self._adjust(payload)
        elif kind == _PING and not is_answer:
            self._write(frame(_PING, 1, 0, payload))
        elif kind == _UPDATE:
            self._windows[bool(stream)] += int.from_bytes(payload, "big")
        elif kind in (_RESET, _GOAWAY) or (kind == _HEADERS and is_answer):
            self.ended = f"frame {kind}: {payload!r}"
        self._flush()

    def _adjust(self, payload: bytes) -> None:
        for place in range(0, len(payload), 6):
            if int.from_bytes(payload[place : place + 2], "big") == 4:
                granted = int.from_bytes(payload[place + 2 : place + 6], "big")
                self._windows[1] += granted - self._granted
                self._granted = granted

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
