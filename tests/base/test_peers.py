"""Who is at the other end of a connection."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from plait.base import peers
from tests.support.envoy import eventually
from tests.support.netns import needs_root
from tests.support.users import as_user

HOSTS = ("127.0.0.1", "::1")
PATIENCE = 10.0


@pytest.fixture(params=["asked", "listed"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is asked; or it may not be, and all connections are read."""

    def refused(*_: object) -> None:
        raise PermissionError

    if request.param == "listed":
        monkeypatch.setattr(peers, "_asked", refused)


def test_the_kernel_may_be_asked_here():
    with accepted("127.0.0.1") as (ours, _), suppress(PermissionError):
        found = peers._asked(socket.AF_INET, ours.getpeername(), ours.getsockname())
        assert found is not None
        assert found[0] == os.geteuid()


@contextmanager
def accepted(host: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection, the server's first."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family) as server,
        socket.create_connection(server.getsockname()[:2]) as client,
    ):
        ours, _ = server.accept()
        with ours:
            yield ours, client


def seen(ours: socket.socket) -> int | None:
    return peers.user(ours.getsockname()[:2], ours.getpeername()[:2])


@pytest.mark.parametrize("host", HOSTS)
def test_the_other_end_is_of_the_user_who_opened_it(host: str):
    with accepted(host) as (ours, client):
        assert seen(ours) == os.geteuid()
        client.shutdown(socket.SHUT_WR)
        assert seen(ours) == os.geteuid()


@needs_root
@pytest.mark.parametrize("host", HOSTS)
def test_another_user_is_told_apart(host: str):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        server.settimeout(PATIENCE)

        def call() -> str:
            with socket.create_connection(server.getsockname()[:2], PATIENCE) as found:
                return found.recv(10).decode()

        with ThreadPoolExecutor(1) as thread:
            said = thread.submit(as_user, 4711, call)
            ours, _ = server.accept()
            with ours:
                uid = seen(ours)
                ours.send(b"hello")
            assert (uid, said.result()) == (4711, "hello")


@pytest.mark.parametrize("host", HOSTS)
def test_an_end_that_was_closed_is_nobodys(host: str):
    """The kernel says root of such an end."""
    with accepted(host) as (ours, client):
        where = ours.getpeername()[:2]
        client.close()
        eventually(lambda: ours.recv(1) == b"", 5)

        assert peers.user(ours.getsockname()[:2], where) is None


def test_the_other_end_of_a_unix_socket_is_known_too(tmp_path: Path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
        ours, _ = server.accept()
        with ours:
            assert peers.holder(ours) == (os.getpid(), os.geteuid())


def test_who_has_no_name_is_a_number():
    assert peers.name(0) == "root"
    assert peers.name(4_000_000_000) == "4000000000"
