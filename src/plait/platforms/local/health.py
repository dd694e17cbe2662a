"""gRPC's health check over a plain connection: one call, as few HTTP/2 frames as it takes.

A gRPC client makes its own sockets, but a probe needs one in the Pod's network namespace.
Frames are RFC 9113's; headers are written literally (RFC 7541, 6.2.2) and never read: the answer
stands in the one message, or there is none.
"""

from __future__ import annotations

import asyncio

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_SERVING = {0: "UNKNOWN", 1: "", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_LONGEST = 1 << 20


async def check(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str
) -> str:
    """Ask ``grpc.health.v1.Health/Check``; empty: it serves; else what it answered.

    Raises:
        OSError, asyncio.IncompleteReadError: the connection ended.
    """
    writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
    writer.write(_frame(_HEADERS, _END_HEADERS, 1, _headers(authority)))
    writer.write(_frame(_DATA, _END_STREAM, 1, _message(service)))
    while True:
        kind, flags, payload = await _read(reader)
        if kind == _DATA and len(payload) >= 5:
            return status(payload[5:])
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            writer.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        if kind in (_RESET, _GOAWAY) or (kind == _HEADERS and flags & _END_STREAM):
            return "an error instead of a health status"


def status(message: bytes) -> str:
    """What a ``HealthCheckResponse`` says; empty: SERVING."""
    number = message[1] if message[:1] == b"\x08" and len(message) > 1 else 0
    return _SERVING.get(number, f"status {number}")


def _message(service: str) -> bytes:
    name = service.encode()[:127]
    body = b"\x0a" + bytes([len(name)]) + name if name else b""
    return b"\0" + len(body).to_bytes(4, "big") + body


def _headers(authority: str) -> bytes:
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": authority,
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return b"".join(
        b"\0" + b"".join(bytes([len(part)]) + part.encode() for part in field)
        for field in fields.items()
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


async def _read(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    head = await reader.readexactly(9)
    length = int.from_bytes(head[:3], "big")
    if length > _LONGEST:
        raise ConnectionError("what answers there does not speak HTTP/2")
    return head[3], head[4], await reader.readexactly(length)
