"""Requests through real Envoys: a gateway, and a sidecar without capture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import istio, traffic
from tests.support.envoy import eventually
from tests.support.scale import count
from tests.support.world import Loopback, loopback

REQUESTS = 2000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    with loopback(tmp_path_factory.mktemp("routing")) as found:
        yield found


@pytest.fixture(params=["gateway", "sidecar"])
def way(request: pytest.FixtureRequest, world: Loopback) -> tuple[str, dict[str, str]]:
    """Where requests enter, and their Host."""
    if request.param == "gateway":
        return world.gateway, {"Host": "reviews.example"}
    return world.sidecar, {"Host": f"reviews:{world.mesh_port}"}


def test_a_header_chooses_the_version(world: Loopback, way: tuple[str, dict[str, str]]):
    address, host = way
    world.route(
        {"match": istio.for_user("jason"), **istio.weights("reviews", v2=100)},
        istio.weights("reviews", v1=100),
    )

    assert traffic.names(address, 50, headers={**host, "end-user": "jason"}) == {"v2": 50}
    assert traffic.names(address, 50, headers=host) == {"v1": 50}


@pytest.mark.parametrize("share", [90, 50, 0])
def test_weights_hold_within_five_sigma(
    world: Loopback, way: tuple[str, dict[str, str]], share: int
):
    address, host = way
    world.route(istio.weights("reviews", v1=share, v2=100 - share))

    seen = traffic.names(address, REQUESTS, headers=host)

    assert set(seen) <= {"v1", "v2"}
    assert traffic.within_five_sigma(seen["v1"], REQUESTS, share / 100)


def test_a_prefix_is_matched_and_rewritten(world: Loopback, way: tuple[str, dict[str, str]]):
    address, host = way
    world.route(
        {
            "match": [{"uri": {"prefix": "/old/"}}],
            "rewrite": {"uri": "/new/"},
            **istio.weights("reviews", v3=100),
        },
        istio.weights("reviews", v1=100),
    )

    _, found = traffic.get(address, "/old/page?x=1", host)

    assert (found["name"], found["path"]) == ("v3", "/new/page?x=1")
    assert traffic.get(address, "/older", host)[1]["name"] == "v1"


def test_every_request_after_apply_wait_follows_the_change(
    world: Loopback, way: tuple[str, dict[str, str]]
):
    address, host = way

    for turn in range(count(5, 25)):
        version = ("v1", "v2", "v3")[turn % 3]
        world.route(istio.weights("reviews", **{version: 100}))

        assert traffic.names(address, 20, headers=host) == {version: 20}


def test_a_subset_that_does_not_exist_answers_503_and_the_status_says_so(
    world: Loopback, way: tuple[str, dict[str, str]]
):
    address, host = way
    world.route(
        {"match": [{"uri": {"prefix": "/good"}}], **istio.weights("reviews", v1=100)},
        istio.weights("reviews", v9=100),
    )

    assert traffic.get(address, "/", host)[0] == 503
    assert traffic.get(address, "/good", host)[0] == 200
    said = world.plane.run("get", "virtualservice", "reviews", "-o", "yaml")
    assert "PLT2004" in said
    assert "v9" in said


def test_a_websocket_passes(world: Loopback, way: tuple[str, dict[str, str]]):
    address, host = way
    world.route(istio.weights("reviews", v2=100))

    assert traffic.websocket_echo(address, host["Host"], "a", "b") == ["v2:a", "v2:b"]


def test_grpc_passes_at_the_gateway(world: Loopback):
    to_echo = istio.virtual_service(
        "echo", {"route": [istio.to("echo")]}, hosts=["echo.example"], gateways=["gw"]
    )
    world.plane.apply(to_echo)

    unary, stream = traffic.grpc_echo(world.gateway, "echo.example", b"x", b"y")

    assert (unary, stream) == (b"v1:x", [b"v1:x", b"v1:y"])


def test_a_server_that_speaks_first_passes_on_a_declared_tcp_port(world: Loopback):
    assert traffic.tcp_echo(world.tcp) == (b"hello from v1\n", b"ping\n")


def test_unknown_hosts_are_answered_502_when_only_the_registry_is_allowed(world: Loopback):
    only = istio.document(
        "Sidecar",
        "default",
        {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}, "egress": [{"hosts": ["*/*"]}]},
    )
    world.route(istio.weights("reviews", v1=100))
    world.plane.apply(only)
    try:
        status = traffic.get(world.sidecar, "/", {"Host": "nobody.example"})[0]
        known = traffic.get(world.sidecar, "/", {"Host": f"reviews:{world.mesh_port}"})[0]
    finally:
        world.plane.run("delete", "sidecar", "default")

    assert (status, known) == (502, 200)


def test_the_access_log_names_the_object_that_routed(world: Loopback):
    eventually(lambda: len(world.plane.proxies()) == 2)
    routes = world.plane.run("proxy", "config", "routes", "gateway", "-o", "json")

    assert "VirtualService/default/reviews#http[0]" in routes
