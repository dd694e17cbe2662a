"""Who may come near a proxy's sockets: its own Envoy, told by the kernel, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from plait.agent import gate
from plait.agent.gate import Gate, Guest, Peer, looked_at, refusal
from plait.base import processes
from plait.base.processes import Handle
from tests.support.netns import Network, envoy_readable, needs_root

UID = 1337
_CALLER = """
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.settimeout(20)
    sys.stdin.readline()  # until the other side knows our number
    sock.connect(sys.argv[1])
    try:
        sock.sendall(b"hello")
        print(sock.recv(100).decode() or "nothing", flush=True)
    except OSError:
        print("nothing", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as made:
        made.host("web")
        made.host("other")
        yield made


class Caller:
    """A process that connects once it is told to."""

    def __init__(self, path: Path, prefix: list[str]) -> None:
        self.process = subprocess.Popen(
            [*prefix, "/usr/bin/env", "python3", "-c", _CALLER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def handle(self) -> Handle:
        found = processes.handle(self.process.pid)
        assert found is not None
        return found

    async def call(self) -> str:
        """What it was answered."""
        assert self.process.stdin is not None
        self.process.stdin.write("now\n")
        self.process.stdin.flush()
        return await asyncio.to_thread(self._answer)

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.communicate("\n", 20)


class World:
    """A gate before an echo, in the network of the host ``web``."""

    def __init__(self, directory: Path, network: Network | None) -> None:
        self.network = network
        self.public, self.private = directory / "sds.sock", directory / "own.sock"
        self.envoy: Handle | None = None
        self.reached = 0
        self.callers: list[Caller] = []
        path = f"/run/netns/{network.namespace('web')}" if network else ""
        uid = UID if network else os.geteuid()
        guest = Guest(uid=uid, network=path, envoy=lambda: self.envoy)
        self.gate = Gate(self.public, self.private, guest, "web")

    def caller(self, host: str = "web", uid: int | None = UID, path: Path | None = None) -> Caller:
        prefix = self.network.prefix(host, uid=uid) if self.network else []
        made = Caller(path or self.public, prefix)
        self.callers.append(made)
        return made

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached += 1
        while data := await reader.read(100):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def world(directory: Path, network: Network | None = None) -> AsyncIterator[World]:
    made = World(envoy_readable(directory), network)
    server = await asyncio.start_unix_server(made.echo, made.private)
    made.private.chmod(0o600)
    async with server, asyncio.TaskGroup() as group:
        task = group.create_task(made.gate.run())
        async with asyncio.timeout(10):
            while not made.public.exists():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
        try:
            yield made
        finally:
            for one in made.callers:
                one.end()
            task.cancel()


def run(story: Callable[[], Awaitable[None]]) -> list[Any]:
    """What was logged."""
    with capture_logs() as logs:
        asyncio.run(story())  # type: ignore[arg-type]
    return list(logs)


@needs_root
def test_the_proxys_own_envoy_comes_in_and_bytes_go_both_ways(tmp_path: Path, network: Network):
    async def story() -> None:
        async with world(tmp_path, network) as made:
            caller = made.caller()
            made.envoy = caller.handle

            assert await caller.call() == "hello"

    assert run(story) == []


@needs_root
def test_the_envoy_of_a_neighbour_is_refused_and_logged_once(tmp_path: Path, network: Network):
    async def story() -> None:
        async with world(tmp_path, network) as made:
            thief = made.caller("other")
            made.envoy = thief.handle  # even if it were taken for ours

            assert await thief.call() == "nothing"
            assert made.reached == 0

    [told] = run(story)
    assert (told["event"], told["uid"]) == ("connection refused", UID)
    assert told["error"] == "it is in another network than the proxy"
    assert told["pid"] > 0
    assert told["network"] > 0


@needs_root
@pytest.mark.parametrize(("host", "uid"), [("other", None), ("web", None), ("web", 1000)])
def test_root_elsewhere_and_applications_are_refused(
    tmp_path: Path, network: Network, host: str, uid: int | None
):
    async def story() -> None:
        async with world(tmp_path, network) as made:
            assert await made.caller(host, uid).call() == "nothing"
            assert made.reached == 0

    [told] = run(story)
    assert told["error"] == f"it is of user {uid or 0}, and Envoy of user {UID}"


@needs_root
def test_an_application_that_runs_as_envoys_user_beside_it_is_refused(
    tmp_path: Path, network: Network
):
    async def story() -> None:
        async with world(tmp_path, network) as made:
            made.envoy = processes.current()

            assert await made.caller().call() == "nothing"
            assert made.reached == 0

    [told] = run(story)
    assert told["error"] == "it is not the proxy's Envoy"


@needs_root
def test_a_socket_that_was_moved_elsewhere_lets_nobody_else_in(tmp_path: Path, network: Network):
    async def story() -> None:
        async with world(tmp_path, network) as made:
            stolen, linked = tmp_path / "stolen.sock", tmp_path / "linked.sock"
            linked.hardlink_to(made.public)
            made.public.rename(stolen)

            assert await made.caller("other", path=stolen).call() == "nothing"
            assert await made.caller("other", path=linked).call() == "nothing"
            assert made.reached == 0

    assert len(run(story)) == 2  # two processes


@needs_root
def test_the_socket_behind_the_gate_is_for_root_alone(tmp_path: Path, network: Network):
    async def story() -> None:
        async with world(tmp_path, network) as made:
            caller = made.caller(path=made.private)
            assert caller.process.stdin is not None
            caller.process.stdin.write("now\n")
            caller.process.stdin.flush()
            await asyncio.to_thread(caller.process.wait, 20)

            assert caller.process.returncode == 1
            assert made.reached == 0

    assert run(story) == []


def test_an_envoy_that_was_just_started_is_waited_for(tmp_path: Path):
    async def story() -> None:
        async with world(tmp_path) as made, asyncio.TaskGroup() as group:
            caller = made.caller()
            answer = group.create_task(caller.call())
            await asyncio.sleep(0.1)
            made.envoy = caller.handle

            assert await answer == "hello"

    assert run(story) == []


def test_one_process_is_logged_once_however_often_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gate, "_PATIENCE", 0.05)

    async def story() -> None:
        async with world(tmp_path) as made:
            for _ in range(5):
                with socket.socket(socket.AF_UNIX) as one:
                    one.settimeout(0)
                    loop = asyncio.get_running_loop()
                    await loop.sock_connect(one, str(made.public))
                    with contextlib.suppress(ConnectionError):
                        assert await loop.sock_recv(one, 1) == b""

    assert len(run(story)) == 1


def test_connections_are_bounded_and_room_is_made_again(tmp_path: Path):
    async def story() -> None:
        async with world(tmp_path) as made:
            made.envoy = processes.current()
            loop = asyncio.get_running_loop()
            held = [socket.socket(socket.AF_UNIX) for _ in range(gate.MOST + 3)]
            for one in held:
                one.settimeout(0)
                await loop.sock_connect(one, str(made.public))
                with contextlib.suppress(OSError):
                    await loop.sock_sendall(one, b"x")
            assert await loop.sock_recv(held[0], 1) == b"x"
            with contextlib.suppress(ConnectionError):
                assert await loop.sock_recv(held[-1], 1) == b""
            for one in held:
                one.close()
            async with asyncio.timeout(10):
                while made.gate.count:  # noqa: ASYNC110 - a count has no event
                    await asyncio.sleep(0.01)
            with socket.socket(socket.AF_UNIX) as late:
                late.settimeout(0)
                await loop.sock_connect(late, str(made.public))
                await loop.sock_sendall(late, b"y")
                assert await loop.sock_recv(late, 1) == b"y"

    [told] = run(story)
    assert "more than 16 connections" in told["error"]


def test_a_process_that_ended_is_nobody_even_if_its_number_is_used_again():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    file = os.pidfd_open(ended.pid)
    try:
        ended.wait()
        with pytest.raises(ProcessLookupError):  # the number of a process that lives
            looked_at(os.getpid(), os.geteuid(), file)
    finally:
        os.close(file)


def test_a_proxy_whose_network_is_gone_is_nobodys():
    peer = Peer(handle=processes.current(), uid=os.geteuid(), network=(0, 0))
    guest = Guest(uid=os.geteuid(), network="/run/netns/no-such", envoy=processes.current)

    assert "the network of the proxy is not there" in refusal(peer, guest)
