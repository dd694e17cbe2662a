"""The edge with a real Envoy: the machine's ports that lead to sockets of gateways."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plait.base import place as places
from plait.base.place import EdgePort, EdgeSpec
from tests.support.agent import LONG, Agent, agent, memory
from tests.support.envoy import eventually
from tests.support.plane import free_port

HEAD = b"\r\n\r\n\0\r\nQUIT\n"
"""What a connection begins with by version 2 of the PROXY protocol."""


class Gateway:
    """Answers each line with its name, and notes what connections begin with."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.heads: list[bytes] = []
        self._name = name.encode()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        path.chmod(0o777)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            head = connection.recv(16, socket.MSG_WAITALL)
            self.heads.append(head + connection.recv(int.from_bytes(head[14:16], "big")))
            while connection.recv(100):
                connection.sendall(self._name)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.path.unlink()


@pytest.fixture
def running() -> Iterator[Agent]:
    with agent(f"127.0.0.1:{free_port()}") as made:
        yield made


@contextmanager
def gateway(running: Agent, name: str) -> Iterator[Gateway]:
    made = Gateway(running.place.run.parent / f"{name}.sock", name)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        yield


def door(port: int, *gateways: Gateway) -> EdgePort:
    return EdgePort(host="127.0.0.1", port=port, sockets=tuple(str(one.path) for one in gateways))


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 5)


def said(client: socket.socket) -> str:
    client.sendall(b"hello")
    return client.recv(100).decode()


def answer(port: int) -> str:
    with connected(port) as client:
        return said(client)


def opens(running: Agent, *ports: int) -> None:
    wanted = tuple(sorted(f"127.0.0.1:{port}" for port in ports))
    eventually(lambda: running.edge().listening == wanted, LONG, f"{wanted} are open")


def test_a_port_leads_to_the_gateway_which_learns_who_called(running: Agent):
    port = free_port()
    with gateway(running, "gw") as one:
        running.want_ports(EdgeSpec(ports=(door(port, one),)))
        opens(running, port)

        with connected(port) as client:
            host, source = client.getsockname()
            found = said(client)

    assert found == "gw"
    assert one.heads[0].startswith(HEAD)
    assert one.heads[0][16:20] == socket.inet_aton(host)
    assert int.from_bytes(one.heads[0][24:26], "big") == source


def test_a_port_that_is_taken_is_told_others_open_and_it_opens_when_it_is_free(running: Agent):
    ports = sorted((free_port(), free_port()))
    with gateway(running, "gw") as one:
        spec = EdgeSpec(ports=tuple(door(port, one) for port in ports))
        with taken(ports[0]):
            running.want_ports(spec)
            opens(running, ports[1])
            problems = running.edge().problems
            open_one = answer(ports[1])
        opens(running, *ports)

        assert open_one == answer(ports[0]) == "gw"
        assert running.edge().problems == {}

    assert list(problems) == [f"127.0.0.1:{ports[0]}"]
    assert "another process listens" in problems[f"127.0.0.1:{ports[0]}"]


def test_what_is_open_goes_on_when_gateways_and_ports_change(running: Agent):
    ports = sorted((free_port(), free_port()))
    with gateway(running, "old") as old, gateway(running, "new") as new:
        running.want_ports(EdgeSpec(ports=(door(ports[0], old),)))
        opens(running, ports[0])
        with connected(ports[0]) as client:
            before = said(client)
            running.want_ports(EdgeSpec(ports=(door(ports[0], old, new), door(ports[1], new))))
            opens(running, *ports)
            eventually(lambda: answer(ports[0]) == "new", LONG, "the new one answers too")

            assert before == said(client) == "old"


def test_a_gateway_that_is_gone_costs_no_connection_while_another_is_there(running: Agent):
    port = free_port()
    with gateway(running, "here") as here:
        gone = EdgePort(host="127.0.0.1", port=port, sockets=(str(here.path), "/no/such.sock"))
        running.want_ports(EdgeSpec(ports=(gone,)))
        opens(running, port)

        assert {answer(port) for _ in range(10)} == {"here"}


def test_the_edge_outlives_the_agent_and_the_next_one_goes_on_with_it(running: Agent):
    port = free_port()
    with gateway(running, "gw") as one:
        running.want_ports(EdgeSpec(ports=(door(port, one),)))
        opens(running, port)
        before = running.edge().pid
        with connected(port) as client:
            said(client)
            running.stop(signal.SIGKILL)
            alone = answer(port)
            (running.place.proxy(places.EDGE) / "state.json").unlink()
            running.start()
            opens(running, port)

            assert said(client) == alone == "gw"
        assert running.edge().pid == before


def test_an_edge_that_is_killed_comes_back_with_its_ports(running: Agent):
    port = free_port()
    with gateway(running, "gw") as one:
        running.want_ports(EdgeSpec(ports=(door(port, one),)))
        opens(running, port)
        first = running.edge().pid
        os.kill(first, signal.SIGKILL)

        eventually(lambda: running.edge().pid not in (0, first), LONG, "another Envoy runs")
        opens(running, port)

        assert answer(port) == "gw"
        assert running.edge().problems == {}


def test_of_an_edge_that_nobody_wants_nothing_is_left(running: Agent):
    port = free_port()
    with gateway(running, "gw") as one:
        running.want_ports(EdgeSpec(ports=(door(port, one),)))
        opens(running, port)
        pid, shared = running.edge().pid, memory(running.journal(places.EDGE).base_id)
        running.place.edge.unlink()

        running.gone(places.EDGE)

    assert not shared.exists()
    eventually(lambda: not Path(f"/proc/{pid}").exists(), LONG, "Envoy has ended")
