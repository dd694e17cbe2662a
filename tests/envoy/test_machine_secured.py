"""Identities on one machine, with nothing configured: who calls, who serves, and what is seen."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from plait.base import place as places
from plait.platforms.local.network import Network
from tests.support import istio, scale, traffic
from tests.support.envoy import eventually
from tests.support.machine import Machine, directory, machine, service
from tests.support.netns import needs_root
from tests.support.sniffer import Sniffer

pytestmark = needs_root
LONG = scale.is_long()
HOST = {"Host": "reviews.example"}
CANARY = "canary-on-the-wire"
RPS = 300


@pytest.fixture(scope="module")
def world() -> Iterator[Machine]:
    with machine() as found:
        yield found


def open_gateway(world: Machine) -> None:
    route = istio.weights("reviews", port=9080, v2=100)
    hosts = [istio.host("reviews"), "reviews.example"]
    world.apply(istio.virtual_service("reviews", route, hosts=hosts, gateways=["gw", "mesh"]))


def policy(world: Machine, mode: str) -> None:
    world.apply(istio.peers(mode))


def on_the_bridge(world: Machine) -> bytes:
    """What is seen between the Pods while one calls another and says the canary."""
    bridge = f"/run/netns/{Network(world.place.run).switch}"
    request = f"traffic.get('reviews:9080', '/{CANARY}', headers={{'x-secret': '{CANARY}'}})[0]"
    text = f"{CANARY}\n".encode()
    with Sniffer(bridge) as wire:
        assert world.call(request) == "200"
        assert world.call(f"traffic.tcp_echo('echo:9082', {text!r})[1]") == str(text)
        time.sleep(0.2)  # what was sent is handed to the sniffer
    return bytes(wire.seen)


def test_nothing_readable_goes_over_the_bridge(world: Machine):
    encrypted = on_the_bridge(world)
    policy(world, "DISABLE")
    try:
        plain = on_the_bridge(world)
    finally:
        world.run("delete", "peerauthentication", "default")

    assert CANARY.encode() not in encrypted
    assert b"HTTP/1.1" not in encrypted
    assert b"\x17\x03\x03" in encrypted  # TLS says that application data follows
    assert CANARY.encode() in plain


def test_both_ends_are_who_they_should_be(world: Machine):
    identity = re.escape("spiffe://cluster.local/ns/default/sa/default")
    said = rf'By={identity};Hash=[0-9a-f]{{64}};Subject="";URI={identity}'

    # a connection from before an identity was asked for takes one request more
    def told() -> str:
        call = "traffic.get('reviews:9080')[1]['headers'].get('x-forwarded-client-cert')"
        return world.call(call)

    eventually(lambda: re.fullmatch(said, told()), 10, "who calls and who is called")


def test_what_both_ends_speak_is_said_with_the_policy(world: Machine):
    web = world.pod(app="web")["metadata"]["name"]
    policy(world, "STRICT")
    try:
        name = f"outbound|9080||{istio.host('reviews')}"
        cluster = world.run("why", "resource", "cluster", name, "--proxy", web)
        listener = world.run("why", "resource", "listener", "virtualInbound", "--proxy", web)
    finally:
        world.run("delete", "peerauthentication", "default")

    said = "STRICT  PeerAuthentication default/default spec.mtls"
    assert "calls by mutual TLS where the endpoint takes it: automatic" in cluster
    assert f"1 endpoint of reviews-v2 in default: mutual TLS; port 9080 is {said}" in cluster
    assert f"\nport 9080: {said}" in listener


@contextmanager
def short_lived(seconds: int) -> Iterator[Machine]:
    """A gateway before ``reviews``, which asks for identities; certificates last so long."""
    with directory() as top:
        world = Machine(top)
        world.environment["PLAIT_CERTIFICATE_LIFE"] = str(seconds)
        world.write(
            "reviews",
            service("reviews", http=9080),
            world.backend("reviews", "v2"),
            istio.rule("reviews", "v2"),
            istio.gateway("gw", (world.port, "HTTP")),
        )
        try:
            world.up()
            open_gateway(world)
            policy(world, "STRICT")
            yield world
        finally:
            world.down()


def test_certificates_and_roots_change_under_load_without_a_failed_request():
    with (
        short_lived(10) as world,
        traffic.Load(world.gateway, rps=RPS, headers=HOST) as load,
    ):
        first = serials(world)
        eventually(lambda: not first & serials(world), 30, "certificates are renewed")
        before = roots(world)
        world.run("ca", "rotate", "--wait", "--timeout", "120", seconds=150)
        after = roots(world)
        eventually(lambda: load.sent > (9_000 if LONG else 2_000), 60, "enough requests")

    assert load.failures == []
    assert (len(before), len(after)) == (1, 1)
    assert before != after


def test_no_request_fails_while_nobody_renews_certificates():
    life, away = (60, 25) if LONG else (16, 6)
    with (
        short_lived(life) as world,
        traffic.Load(world.gateway, rps=RPS, headers=HOST) as load,
    ):
        first = serials(world)
        half = min(one["left"] for one in certificates(world)) - life / 2
        time.sleep(max(half - 1, 0))  # they are due while nobody is there
        mesh = places.read(world.place.mesh, places.Mesh)
        assert mesh is not None
        os.kill(mesh.pid, signal.SIGKILL)
        time.sleep(away)
        world.up()
        eventually(lambda: not first & serials(world), life, "certificates are renewed")
        sent = load.sent
        eventually(lambda: load.sent > sent + RPS * life / 2, life, "their end has passed")

    assert load.failures == []


def certificates(world: Machine) -> list[dict[str, Any]]:
    """The newest one of each proxy."""
    found: list[dict[str, Any]] = json.loads(world.run("cert", "-o", "json"))
    return found


def serials(world: Machine) -> set[str]:
    """Of the certificates in use."""
    return {one["serial"] for one in certificates(world)}


def roots(world: Machine) -> list[str]:
    """Fingerprints of the roots that are trusted."""
    page = json.loads(world.run("ca", "status", "-o", "json"))
    return [one["fingerprint"] for one in page["roots"]]
