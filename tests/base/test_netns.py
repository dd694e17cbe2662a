"""Sockets in other network namespaces."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.base import netns
from tests.support.netns import Network, needs_root

pytestmark = needs_root


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as made:
        made.host("a")
        made.host("b")
        yield made


def path(network: Network, host: str) -> str:
    return f"/run/netns/{network.namespace(host)}"


def test_one_process_listens_in_one_namespace_and_calls_from_another(network: Network):
    async def story() -> tuple[str, bytes]:
        loop = asyncio.get_running_loop()
        address = (network.address("a"), 8080)
        with (
            netns.bound(path(network, "a"), socket.SOCK_STREAM, address) as server,
            await netns.connected(path(network, "b"), address) as client,
        ):
            accepted, (caller, _) = await loop.sock_accept(server)
            with accepted:
                await loop.sock_sendall(client, b"hello")
                return caller, await loop.sock_recv(accepted, 100)

    assert asyncio.run(story()) == (network.address("b"), b"hello")


def test_the_same_port_is_free_in_each_namespace_and_taken_in_one(network: Network):
    address = ("127.0.0.1", 15053)
    with (
        netns.bound(path(network, "a"), socket.SOCK_DGRAM, address),
        netns.bound(path(network, "b"), socket.SOCK_DGRAM, address),
        netns.bound(path(network, "a"), socket.SOCK_STREAM, address),
        pytest.raises(OSError, match="in use"),
    ):
        netns.bound(path(network, "a"), socket.SOCK_STREAM, address)


def test_the_caller_stays_where_it_is(network: Network):
    here = Path("/proc/self/ns/net").stat().st_ino
    thread = Path("/proc/thread-self/ns/net")

    there = netns.inside(path(network, "a"), lambda: thread.stat().st_ino)

    assert there == Path(path(network, "a")).stat().st_ino
    assert there != here == thread.stat().st_ino
    assert netns.inside("", lambda: thread.stat().st_ino) == here


def test_what_goes_wrong_inside_is_raised_outside(network: Network):
    with pytest.raises(ZeroDivisionError):
        netns.inside(path(network, "a"), lambda: 1 // 0)


def test_a_namespace_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="no-such"):
        netns.bound("/run/netns/no-such", socket.SOCK_STREAM, ("127.0.0.1", 80))
    with pytest.raises(OSError, match="cannot enter /etc/hostname"):
        netns.inside("/etc/hostname", lambda: None)


def test_where_nobody_answers_a_call_fails(network: Network):
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(netns.connected(path(network, "a"), ("127.0.0.1", 9)))
