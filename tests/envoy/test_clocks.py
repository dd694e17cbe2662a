"""What time does to a mesh: clocks that differ, and connections that outlive certificates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.support import istio, scale
from tests.support.envoy import eventually
from tests.support.machine import Machine, machine
from tests.support.netns import needs_root
from tests.support.traffic import Load

pytestmark = needs_root
RPS = scale.count(100, 300)
ROUNDS = scale.count(1, 5)
REVIEWS = {"Host": "reviews.example"}
HOUR = 3600


@pytest.fixture
def world() -> Iterator[Machine]:
    with machine() as found:
        there = istio.weights("reviews", port=9080, v1=100)
        hosts = ["reviews.example"]
        found.apply(istio.virtual_service("reviews", there, hosts=hosts, gateways=["gw"]))
        yield found


def issued(world: Machine) -> list[timedelta]:
    """How long ago the certificates begin that proxies have."""
    chains = [json.loads(p.read_bytes())["chain"] for p in _identities(world)]
    leaves = [x509.load_pem_x509_certificate(chain[0].encode()) for chain in chains]
    return [datetime.now(UTC) - leaf.not_valid_before_utc for leaf in leaves]


def _identities(world: Machine) -> list[Path]:
    return list(world.data.glob("run/proxy/*/own/identity"))


@pytest.mark.parametrize("ahead", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_no_request_fails_though_the_control_planes_clock_is_an_hour_off(
    world: Machine, ahead: int
):
    with (
        Load(world.gateway, rps=RPS, headers=REVIEWS) as load,
        world.another_plane(ahead=ahead),
    ):
        eventually(world.serials, 60, "the other control plane")
        world.run("ca", "rotate", "--wait", "--timeout", "100", seconds=120)
        world.run("restart", "deployment/reviews-v1", "--wait")
        begun = issued(world)
        sent = load.sent
        eventually(lambda: load.sent > sent + 2 * RPS, 60, "a load after it")

    usual = timedelta(minutes=90)
    assert load.failures == []
    assert all(abs(since - usual + timedelta(seconds=ahead)) < usual / 6 for since in begun)


def test_long_connections_live_through_new_certificates_and_roots(world: Machine):
    stop = world.data.parent / "stop"
    talk = f"traffic.held('echo:9082', 'echo:9081', {str(stop)!r})"
    with ThreadPoolExecutor() as pool, world.another_plane(certificate_life="10"):
        eventually(world.serials, 60, "the other control plane")
        held = pool.submit(world.call, talk)
        try:
            for _ in range(ROUNDS):
                world.run("ca", "rotate", "--wait", "--timeout", "100", seconds=120)
                before = world.serials()
                eventually(lambda: not before & world.serials(), 30, "all are renewed")  # noqa: B023
        finally:
            stop.touch()
        messages = eval(held.result(60))

    assert min(messages) > 100
