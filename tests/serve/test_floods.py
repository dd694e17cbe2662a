"""Floods at every door: memory is bounded, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from plait.base.crowd import Limits, allow_files
from plait.base.porch import MOST
from plait.xds import protos
from plait.xds.resource import CLUSTER
from tests.support.doored import DOORS, JOIN, Doored
from tests.support.envoy import eventually
from tests.support.scale import count
from tests.support.xds_client import SERVICE

MANY = count(600, 10_000)
ROOM = count(160, 400)
"""MB by which a flood may make the control plane greater: TLS takes 32 KB for each handshake."""
TLS_HELLO = bytes.fromhex("16030100f8010000f40303")
BEGUN = {
    "api": b"GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ",
    "api-tls": TLS_HELLO,
    "xds": b"PRI * HTTP/2.0\r\n\r\nSM",
    "xds-tls": TLS_HELLO,
    "join": TLS_HELLO,
}
"""The beginning of what each door waits for."""


@pytest.fixture(scope="module")
def doored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doored]:
    allow_files()
    with Doored(tmp_path_factory.mktemp("doored")) as running:
        for door in DOORS:
            assert running.serves(door)
        yield running


@contextmanager
def held(place: tuple[str, int], number: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that stay, and have said something."""
    found: list[socket.socket] = []
    try:
        for _ in range(number):
            sock = socket.create_connection(place, 20)
            found.append(sock)
            if said:
                sock.sendall(said)
        yield found
    finally:
        for sock in found:
            sock.close()


@contextmanager
def bounded(doored: Doored) -> Iterator[None]:
    before = doored.memory()
    yield
    assert doored.memory() - before < ROOM


@pytest.mark.parametrize("said", ["nothing", "half"])
@pytest.mark.parametrize("door", DOORS)
def test_connections_that_do_not_go_on_are_bounded_and_harm_nobody(
    doored: Doored, door: str, said: str
):
    words = BEGUN[door] if said == "half" else b""

    with bounded(doored), held(doored.place(door), MANY, words):
        served = [doored.serves(one) for one in DOORS]

    assert served == [True] * len(DOORS)


def test_a_flood_after_a_flood_takes_no_more(doored: Doored):
    for _ in range(2):
        with held(doored.place("xds-tls"), MANY, TLS_HELLO):
            assert doored.serves("xds-tls")
    before = doored.memory()

    for _ in range(3):
        with held(doored.place("xds-tls"), MANY, TLS_HELLO):
            assert doored.serves("xds-tls")

    assert doored.memory() - before < ROOM / 2


def drip(socks: Sequence[socket.socket]) -> bool:
    """Say one more byte on each connection that is still open."""
    for sock in socks:
        try:
            sock.send(b"a")
        except OSError:
            continue
    return True


@pytest.mark.parametrize("door", DOORS)
def test_a_slow_client_is_sent_away_though_it_goes_on(doored: Doored, door: str):
    few = doored.connections()

    with held(doored.place(door), 50, BEGUN[door]) as socks:
        eventually(lambda: drip(socks) and doored.connections() < few + 25, 30, "they are gone")

    assert doored.serves(door)


def test_who_waits_without_asking_at_the_api_leaves_for_others(doored: Doored):
    few, limits = doored.connections(), Limits()

    with held(doored.place("api"), 2 * limits.waiting):
        assert doored.serves("api")
        waiting = doored.connections() - few

    assert waiting <= limits.waiting + 10


def test_handshakes_at_the_api_are_so_many_at_once(doored: Doored):
    few = doored.connections()

    with held(doored.place("api-tls"), 3 * MOST, TLS_HELLO):
        assert doored.serves("api-tls")
        assert doored.connections() - few <= MOST + 10


@pytest.mark.parametrize(
    "said",
    [
        b"\x00" * 1000,
        b"GET " + b"a" * 100_000,
        b"GET /version HTTP/1.1\r\n" + b"A: b\r\n" * 10_000,
        b"GET /version HTTP/1.1\r\nA: " + b"b" * 100_000,
        b"POST /api/v1/namespaces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ],
    ids=["zeros", "long line", "many headers", "long header", "huge", "huge chunk", "two lengths"],
)
def test_what_is_no_request_is_answered_or_ended(doored: Doored, said: bytes):
    with bounded(doored):
        for _ in range(count(20, 500)):
            with held(doored.place("api"), 1) as (sock,):
                answer = b""
                try:
                    sock.sendall(said)
                    answer = sock.recv(100)
                except ConnectionError:
                    pass
                assert answer == b"" or answer.startswith((b"HTTP/1.0 4", b"HTTP/1.1 4"))

    assert doored.serves("api")


def asked(doored: Doored, sock: ssl.SSLSocket, headers: str) -> bytes:
    sock.sendall(f"GET /api/v1/secrets HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())
    return sock.recv(1000)[:12]


def test_a_flood_without_a_token_is_refused_and_harms_nobody(doored: Doored):
    shown = ("", "Authorization: Bearer a.b.c\r\n", f"Authorization: Bearer {'a' * 8000}\r\n")
    with bounded(doored), held(doored.place("api-tls"), 1) as (plain,):
        with doored.context().wrap_socket(plain, server_hostname="127.0.0.1") as sock:
            answers = {asked(doored, sock, shown[i % 3]) for i in range(count(300, 10_000))}
        served = doored.serves("api-tls")

    assert (answers, served) == ({b"HTTP/1.1 401"}, True)


def test_handshakes_without_a_certificate_come_to_nothing(doored: Doored):
    async def outcome() -> grpc.StatusCode:
        key = grpc.ssl_channel_credentials(doored.root.encode())
        async with grpc.aio.secure_channel(doored.addresses["xds-tls"], key) as channel:
            call = channel.stream_stream(SERVICE + "DeltaAggregatedResources")()
            return await call.code()

    async def all_of_them() -> set[grpc.StatusCode]:
        return {await outcome() for _ in range(count(100, 2_000))}

    with bounded(doored):
        assert asyncio.run(all_of_them()) == {grpc.StatusCode.UNAVAILABLE}

    assert doored.serves("xds-tls")


def request(**fields: Any) -> bytes:
    message = protos.DeltaDiscoveryRequest(type_url=CLUSTER, **fields)
    found: bytes = message.SerializeToString()
    return found


@pytest.mark.parametrize("door", ["xds", "xds-tls"])
@pytest.mark.parametrize(
    ("said", "codes"),
    [
        (b"\xff" * 100, {grpc.StatusCode.INVALID_ARGUMENT}),
        (b"\x0a\xff\xff\xff\xff\x0f", {grpc.StatusCode.INVALID_ARGUMENT}),
        (b"\x12\x05hello", {grpc.StatusCode.INVALID_ARGUMENT}),
        (bytes(65 * 1024 * 1024), {grpc.StatusCode.RESOURCE_EXHAUSTED}),
    ],
    ids=["garbage", "length", "type", "oversized"],
)
def test_messages_that_cannot_be_read_end_their_stream(
    doored: Doored, door: str, said: bytes, codes: set[grpc.StatusCode]
):
    async def outcome() -> grpc.StatusCode:
        key = doored.credentials(door)
        options = (("grpc.max_send_message_length", -1),)
        channel = (
            grpc.aio.secure_channel(doored.addresses[door], key, options=options)
            if key
            else grpc.aio.insecure_channel(doored.addresses[door], options=options)
        )
        async with channel:
            call = channel.stream_stream(SERVICE + "DeltaAggregatedResources")()
            try:
                await call.write(said)
                await call.read()
            except grpc.aio.AioRpcError:
                pass
            return await call.code()

    with bounded(doored):
        times = count(3, 50) if len(said) > 1000 else count(20, 1_000)
        assert {asyncio.run(outcome()) for _ in range(times)} == codes

    assert doored.serves(door)


def test_a_flood_at_the_door_for_joining_harms_nobody(doored: Doored):
    async def flood() -> list[bytes]:
        key = doored.credentials("join")
        async with grpc.aio.secure_channel(doored.addresses["join"], key) as channel:
            ask = channel.unary_unary(JOIN)
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(answer(ask(bytes(60_000)))) for _ in range(count(500, 10_000))
                ]
            return [task.result() for task in tasks]

    async def answer(call: Any) -> bytes:
        try:
            return bytes((await call)[:1])
        except grpc.aio.AioRpcError:  # more than a connection may ask for at once
            return b""

    with bounded(doored):
        assert set(asyncio.run(flood())) <= {b"\0", b""}

    assert doored.serves("join")
