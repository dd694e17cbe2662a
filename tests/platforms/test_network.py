"""The network of a mesh: namespaces, addresses, what is left."""

import os
import secrets
import socket
from pathlib import Path

import pytest

from plait.base import netns
from plait.base.errors import PlatformError
from plait.config import capture
from plait.platforms.local import network
from plait.platforms.local.network import Network, NetworkError, free_number
from tests.support.netns import needs_root


@pytest.fixture
def mesh(tmp_path: Path):
    made = Network(tmp_path / secrets.token_hex(4))
    made.prepare()
    yield made
    made.remove_all()


def left(mesh: Network) -> list[str]:
    return [name for name in os.listdir("/run/netns") if name.startswith(mesh.switch)]


def test_numbers_go_round_before_they_come_again():
    assert free_number((), 0) == 1
    assert free_number({2, 3}, 1) == 4
    assert free_number({1}, 65533) == 2
    assert network.address(1) == "10.244.0.2"
    assert network.address(65533) == "10.244.255.254"


def test_no_free_number_is_said():
    with pytest.raises(NetworkError, match="are taken"):
        free_number(range(1, 65534), 7)


def test_what_is_missing_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(PlatformError, match="apt-get install iproute2 iptables"):
        network.check_machine()


def test_without_root_the_way_out_is_named(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(PlatformError, match="need root"):
        network.check_machine()


@needs_root
def test_pods_reach_each_other(mesh):
    mesh.prepare()
    mesh.add(1, "")
    mesh.add(2, capture.rules(capture.Capture(dns=True)))
    server = netns.bound(mesh.path(1), socket.SOCK_STREAM, ("10.244.0.2", 80))

    def call() -> str:
        with socket.create_connection(("10.244.0.2", 80), 5) as sock:
            return str(sock.getsockname()[0])

    with server, netns.bound(mesh.path(2), socket.SOCK_STREAM, ("0.0.0.0", 15001)):
        answered = netns.inside(mesh.path(2), call)

    assert answered == "10.244.0.3"


@needs_root
def test_nothing_is_left(mesh):
    mesh.add(1, "")
    mesh.add(1, "")

    assert mesh.numbers() == (1,)
    mesh.remove_all()
    mesh.remove_all()
    assert left(mesh) == []


@needs_root
def test_a_half_made_namespace_is_taken_away(mesh):
    with pytest.raises(NetworkError, match="iptables"):
        mesh.add(3, "nonsense\n")

    assert mesh.numbers() == ()
