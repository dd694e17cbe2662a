"""Requests through proxies, counted: HTTP in steady streams, gRPC, WebSocket, TCP."""

from __future__ import annotations

import asyncio
import collections
import http.client
import json
import math
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Self

_PATIENCE = 2.0  # seconds after which a call counts as not answered


def get(
    address: str, path: str = "/", headers: Mapping[str, str] | None = None, timeout: float = 10
) -> tuple[int, dict[str, Any]]:
    """Status and JSON body (empty if it is none) of one GET over a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    is_json = "json" in (response.getheader("content-type") or "")
    return response.status, json.loads(body) if is_json else {}


def names(
    address: str, count: int, path: str = "/", headers: Mapping[str, str] | None = None
) -> Counter[str]:
    """Who answered `count` GETs over one connection; other statuses by their number."""
    found: Counter[str] = collections.Counter()
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        for _ in range(count):
            connection.request("GET", path, headers=dict(headers or {}))
            response = connection.getresponse()
            body = response.read()
            found[json.loads(body)["name"] if response.status == 200 else str(response.status)] += 1
    finally:
        connection.close()
    return found


def within_five_sigma(hits: int, total: int, share: float) -> bool:
    """Whether `hits` of `total` fit a share of 0..1; shares 0 and 1 must be met exactly."""
    sigma = math.sqrt(total * share * (1 - share))
    return abs(hits - total * share) <= 5 * sigma


class Load(threading.Thread):
    """A steady stream of GETs in the background; every answer that is not 200 is kept."""

    def __init__(
        self, address: str, *, rps: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(daemon=True)
        self._address, self._rps, self._headers = address, rps, dict(headers or {})
        self._stopping = threading.Event()
        self.sent = 0
        self.failures: list[str] = []
        self.seen: Counter[str] = collections.Counter()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.join(20)

    def run(self) -> None:
        begin, connection = time.monotonic(), None
        while not self._stopping.is_set() and self.sent < 60_000:
            connection = connection or http.client.HTTPConnection(self._address, timeout=10)
            self.sent += 1
            try:
                connection.request("GET", "/", headers=self._headers)
                response = connection.getresponse()
                body = response.read()
                if response.status == 200:
                    self.seen[json.loads(body)["name"]] += 1
                else:
                    flags = response.getheader("x-flags") or ""
                    self.failures.append(f"{response.status} {flags} {body[:80]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                connection = None
            ahead = begin + self.sent / self._rps - time.monotonic()
            if ahead > 0:
                self._stopping.wait(ahead)
        if connection is not None:
            connection.close()


def tcp_echo(address: str, text: bytes = b"ping\n", timeout: float = 10) -> tuple[bytes, bytes]:
    """The greeting of a server that speaks first, and its echo."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=timeout) as sock:
        file = sock.makefile("rwb")
        greeting = file.readline()
        file.write(text)
        file.flush()
        return greeting, file.readline()


def tcp_talk(address: str, text: bytes = b"ping\n") -> bytes:
    """What a server says to a client that speaks first, until it has said that again."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=_PATIENCE) as sock:
        sock.sendall(text)
        found = b""
        while not found.endswith(text) and (data := sock.recv(65536)):
            found += data
        return found


def outcome(kind: str, address: str) -> str:
    """How a call of a kind ends: ``ok``, or what else; ``silent`` if nothing is heard."""
    try:
        return "ok" if _CALLS[kind](address) else "closed"
    except TimeoutError:
        return "silent"
    except Exception as error:  # noqa: BLE001 - whatever it is, the call failed
        code = getattr(error, "code", None)
        return code().name if code else "closed"


def _get(address: str) -> bool:
    status, body = get(address, headers={"Host": address}, timeout=_PATIENCE)
    return status == 200 and bool(body.get("name"))


_CALLS: dict[str, Callable[[str], bool]] = {
    "http": _get,
    "sniffed": _get,
    "grpc": lambda address: grpc_echo(address, address, b"x")[0].endswith(b":x"),
    "tcp": lambda address: tcp_talk(address).endswith(b"ping\n"),
    "sniffed-tcp": lambda address: tcp_talk(address).endswith(b"ping\n"),
    "server-first": lambda address: tcp_echo(address, timeout=_PATIENCE)[1] == b"ping\n",
}


def grpc_echo(address: str, authority: str, *messages: bytes) -> tuple[bytes, list[bytes]]:
    """Answers of a unary call with the first message and of a stream with all of them."""

    async def call() -> tuple[bytes, list[bytes]]:
        import grpc

        options = (("grpc.default_authority", authority), ("grpc.enable_http_proxy", 0))
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            unary = await channel.unary_unary("/echo.Echo/Unary")(messages[0], timeout=10)
            stream = channel.stream_stream("/echo.Echo/Stream")(iter(messages), timeout=10)
            return unary, [answer async for answer in stream]

    return asyncio.run(call())


def held(tcp: str, stream: str, stop: str) -> tuple[int, int]:
    """Echoes over one TCP connection and over one gRPC stream, until a file is there.

    Raises:
        AssertionError: one of them was not what was sent.
    """

    def is_over() -> bool:
        return os.path.exists(stop)

    async def talk() -> tuple[int, int]:
        counts = await asyncio.wait_for(asyncio.gather(_bytes(), _messages()), 300)
        return counts[0], counts[1]

    async def _bytes() -> int:
        host, port = tcp.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        assert (await reader.readline()).startswith(b"hello")
        count = 0
        while not is_over():
            writer.write(b"%d\n" % count)
            assert await reader.readline() == b"%d\n" % count
            count += 1
            await asyncio.sleep(0.05)
        writer.close()
        return count

    async def _messages() -> int:
        import grpc

        options = (("grpc.default_authority", stream), ("grpc.enable_http_proxy", 0))
        async with grpc.aio.insecure_channel(stream, options=options) as channel:
            call = channel.stream_stream("/echo.Echo/Stream")()
            count = 0
            while not is_over():
                await call.write(b"%d" % count)
                assert (await call.read()).endswith(b":%d" % count)
                count += 1
                await asyncio.sleep(0.05)
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            return count

    return asyncio.run(talk())


def websocket_echo(address: str, host: str, *messages: str) -> list[str]:
    """Answers to text messages over one WebSocket."""

    async def talk() -> list[str]:
        import aiohttp

        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://{address}/ws", headers={"Host": host}) as ws,
        ):
            found = []
            for message in messages:
                await ws.send_str(message)
                found.append((await ws.receive(10)).data)
            return found

    return asyncio.run(talk())


def upload(address: str, size: int) -> tuple[int, int]:
    """Status of a POST of `size` bytes, and how many the server says it got."""
    connection = http.client.HTTPConnection(address, timeout=120)
    try:
        connection.request("POST", "/upload", body=bytes(size))
        response = connection.getresponse()
        return response.status, json.loads(response.read())["bytes"]
    finally:
        connection.close()


def headers(address: str, count: int, size: int) -> list[int]:
    """Statuses of a GET with `count` headers of `size` bytes, and of a plain one after it."""
    many = {f"x-test-{number}": "v" * size for number in range(count)}
    return [get(address, "/", extra)[0] for extra in (many, {})]


def headers_h2(address: str, count: int) -> tuple[str, str]:
    """How a gRPC call with `count` headers ends, and one without on the same connection."""

    async def call() -> tuple[str, str]:
        import grpc

        async with grpc.aio.insecure_channel(address) as channel:
            unary = channel.unary_unary("/echo.Echo/Unary")
            many = tuple((f"x-test-{number}", "v") for number in range(count))
            found = []
            for metadata in (many, ()):
                try:
                    await unary(b"x", timeout=10, metadata=metadata)
                    found.append("OK")
                except grpc.aio.AioRpcError as error:
                    found.append(error.code().name)
            return found[0], found[1]

    return asyncio.run(call())
