"""What a gateway does not let through from clients that nobody knows."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from plait.mesh import ir
from tests.support import istio, traffic
from tests.support.envoy import Envoy
from tests.support.world import Loopback

HOST = {"Host": "reviews.example"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loopback, Envoy]]:
    directory = tmp_path_factory.mktemp("edge")
    settings = directory / "mesh.yaml"
    settings.write_text("pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}\n")
    with ExitStack() as stack:
        world = Loopback(directory, stack, "--mesh-config", str(settings))
        envoy = world.start(ir.Role.GATEWAY, "gateway")
        world.route(
            {"match": [{"uri": {"prefix": "/private"}}], "directResponse": {"status": 403}},
            istio.weights("reviews", v1=100),
        )
        yield world, envoy


@pytest.mark.parametrize(
    "path", ["/private", "//private", "/a/..//private", "/%2Fprivate", "/a/%2e%2e/private"]
)
def test_a_path_is_read_in_one_way_only(gateway: tuple[Loopback, Envoy], path: str):
    world, _ = gateway

    assert traffic.get(world.gateway, path, HOST)[0] == 403
    assert traffic.get(world.gateway, "/public", HOST)[0] == 200


def test_headers_that_could_be_taken_for_others_are_dropped(gateway: tuple[Loopback, Envoy]):
    world, _ = gateway

    _, found = traffic.get(world.gateway, "/", {**HOST, "x_user": "root", "x-team": "a"})

    assert found["headers"]["x-team"] == "a"
    assert "x_user" not in found["headers"]


def test_a_head_that_is_too_large_is_refused_and_others_are_served(
    gateway: tuple[Loopback, Envoy],
):
    world, _ = gateway
    host, port = world.gateway.split(":")

    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: reviews.example\r\nx: " + b"y" * (100 << 10))
        sock.sendall(b"\r\n\r\n")
        answer = sock.recv(100)

    assert answer.startswith(b"HTTP/1.1 431")
    assert traffic.get(world.gateway, "/", HOST)[0] == 200


def test_memory_and_connections_have_bounds(gateway: tuple[Loopback, Envoy]):
    _, envoy = gateway

    found = str(envoy.dump())

    assert "envoy.resource_monitors.fixed_heap" in found
    assert "envoy.overload_actions.stop_accepting_requests" in found
    assert "envoy.resource_monitors.global_downstream_max_connections" in found
